#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""TCP through `lwrelay serve` on a stream link: a scripted guest, real servers
in a namespace of their own, every segment of the guest under control."""

import hashlib
import random
import socket
import time

from lib import packet as p
from lib import server, world
from lib.case import Failure, case, check, check_that, main, program, wait_for, within
from lib.guest import Background
from lib.relay import bench, shared_lan

MIB = 1 << 20


def seconds_of(func):
    """Runs func; its value and how long it took."""
    start = time.monotonic()
    return func(), time.monotonic() - start


def check_bytes(seen, expected, what):
    """Like check(), for long byte strings."""
    if seen == expected:
        return
    size = min(len(seen), len(expected))
    differ = next((i for i in range(size) if seen[i] != expected[i]), size)
    raise Failure("%s: expected %d bytes, saw %d, first difference at %d" % (
        what, len(expected), len(seen), differ))


def upload_check(t, conn, sock, data, **options):
    """The guest sends the data; the server must read exactly them."""
    reader = Background(server.read_exactly, sock, len(data))
    conn.send_all(data, **options)
    check_bytes(reader.result(t.guest), data, "what the server read")


# --- connecting: the truth ---------------------------------------------------


@case(families=True)
def refused_port_is_rst_100_times(v):
    with bench() as t:
        addr = t.lan.SERVER[v]
        closed = server.closed_port(t.lan.s, addr)
        port = server.port_of(closed)

        def excess():
            """Seconds that a refusal takes longer than a direct one."""
            _, direct = seconds_of(lambda: server.connect_error(t.lan.r, addr, port))
            conn = t.guest.tcp(addr, port)
            answer, took = seconds_of(conn.attempt)
            check(answer, "refused", "connect to a closed port")
            check(conn.syn_ack, None, "SYN-ACK before the refusal")
            conn.drop()
            return took - direct

        for _ in range(100):
            within(0.05, excess, "a refusal")


# What a router sends: RFC 792, RFC 1812 5.2.7.1, RFC 4443 3.1.
NO_ROUTE = {4: ["icmp 3/0", "icmp 3/1"], 6: ["icmp 1/0"]}
UNREACHABLE = {4: ["icmp 3/1"], 6: ["icmp 1/3", "icmp 1/0"]}
PROHIBITED = {4: ["icmp 3/9", "icmp 3/10", "icmp 3/13"], 6: ["icmp 1/1"]}


def forbidden(v, addr, answers):
    with bench() as t:
        def refusal():
            conn = t.guest.tcp(addr[v], 80)
            answer, took = seconds_of(conn.attempt)
            check_that(answer in answers[v], "connect: expected one of %s, saw %s" % (
                answers[v], answer))
            check(conn.syn_ack, None, "SYN-ACK")
            return took

        within(0.25, refusal, "the answer")


@case(families=True)
def destination_without_a_route_is_icmp_at_once(v):
    forbidden(v, shared_lan().NO_ROUTE, NO_ROUTE)


@case(families=True)
def unreachable_destination_is_icmp_at_once(v):
    forbidden(v, shared_lan().UNREACHABLE, UNREACHABLE)


@case(families=True)
def prohibited_destination_is_icmp_at_once(v):
    forbidden(v, shared_lan().PROHIBITED, PROHIBITED)


@case(families=True)
def silent_destination_fails_at_the_connect_timeout(v):
    with bench("--connect-timeout", "1") as t:
        before = t.relay.process.descriptors()
        conn = t.guest.tcp(t.lan.SILENT[v], 80)
        answer, took = seconds_of(lambda: conn.attempt(5, retry=10))
        check(conn.syn_ack, None, "SYN-ACK")
        check_that(answer.startswith("icmp") or answer == "refused",
                   "at the timeout: expected ICMP or RST, saw " + answer)
        check_that(0.9 < took < 4, "failed after %.2f s, expected 1" % took)
        wait_for(lambda: t.relay.process.descriptors() <= before, 2,
                 "the descriptor of the connect closed")


@case(families=True)
def repeated_syn_makes_one_connection(v):
    with bench() as t:
        listener = t.listen(v)
        conn = t.guest.tcp(t.lan.SERVER[v], server.port_of(listener))
        for _ in range(5):
            conn.send_syn()
        conn.connect()
        sock = server.accept(listener)
        upload_check(t, conn, sock, b"one")
        listener.settimeout(0.3)
        try:
            listener.accept()
            raise Failure("a second connection reached the server")
        except socket.timeout:
            pass


@case(families=True)
def slots_survive_300_aborted_handshakes(v):
    with bench() as t:
        echo = server.EchoServer(t.lan.s, t.lan.SERVER[v])
        for _ in range(300):
            conn = t.guest.tcp(echo.addr, echo.port)
            check(conn.attempt(), "connected", "SYN")
            conn.segment(p.RST, seq=conn.snd_nxt)
            conn.drop()
        conn = t.guest.connect(echo.addr, echo.port)
        conn.send(b"still here")
        conn.wait_data(10)
        check(bytes(conn.received), b"still here", "echo after 300 aborts")
        echo.close()


@case(families=True)
def port_is_reusable_right_after_a_close(v):
    with bench() as t:
        listener = t.listen(v)
        isn = 1000
        for turn in range(20):
            conn, sock = t.pair(v, listener, sport=4242, isn=isn)
            conn.send_fin()
            check(server.ending(sock), "eof", "end at the server, turn %d" % turn)
            sock.close()
            conn.wait_fin()
            isn = (conn.snd_nxt + 100000) & 0xFFFFFFFF


@case(families=True)
def guest_that_forgot_a_connection_can_use_its_port_again(v):
    with bench() as t:
        listener = t.listen(v)
        conn, old = t.pair(v, listener, sport=4343, isn=5000)
        conn.drop()
        again = t.guest.tcp(conn.dst, conn.dport, sport=4343, isn=0x60000000)
        again.connect()  # RFC 9293 3.10.7.4: ACK, our RST, then the SYN again
        upload_check(t, again, server.accept(listener), b"new life")
        check_that(server.ending(old, 2) in ("reset", "eof"), "the old flow ended")


# --- what the guest may reach ------------------------------------------------


def never_connected(t, dst, port, why, seconds=1.0):
    conn = t.guest.tcp(dst, port)
    answer = conn.attempt(seconds)
    check_that(answer != "connected", "%s (%s) was connected" % (dst, why))
    conn.drop()


@case(families=True)
def host_loopback_is_closed_by_default(v):
    with bench() as t:
        lo = {4: "127.0.0.1", 6: "::1"}[v]
        listener = server.listen(t.lan.r, lo)
        port = server.port_of(listener)
        never_connected(t, t.guest.GATEWAY[v], port, "the gateway")
        never_connected(t, t.guest.DNS[v], port, "the DNS address")
        never_connected(t, lo, port, "loopback itself")
        listener.settimeout(0.05)
        try:
            listener.accept()
            raise Failure("a connection reached the host's loopback")
        except socket.timeout:
            pass


@case(families=True)
def host_loopback_opens_the_gateway_address_only(v):
    with bench("--host-loopback") as t:
        lo = {4: "127.0.0.1", 6: "::1"}[v]
        listener = server.listen(t.lan.r, lo)
        port = server.port_of(listener)
        conn = t.guest.connect(t.guest.GATEWAY[v], port)
        upload_check(t, conn, server.accept(listener), b"to the host")
        never_connected(t, lo, port, "loopback itself")


@case()
def link_local_metadata_and_odd_destinations_are_refused():
    with bench() as t:
        with t.lan.r.entered():
            everywhere = socket.socket(socket.AF_INET6)
        everywhere.bind(("::", 0))
        everywhere.listen(8)
        port = server.port_of(everywhere)
        t.lan.r.ip("addr", "add", "169.254.169.254/32", "dev", "lo", check=False)
        for dst in ("169.254.169.254", "169.254.1.1", "0.0.0.0", "127.0.0.1",
                    "127.1.2.3", "255.255.255.255", "224.0.0.1", "::", "::1",
                    "::ffff:127.0.0.1", "::127.0.0.1", "fe80::1", "ff02::1"):
            never_connected(t, dst, port, "must be refused", 0.2)
        everywhere.settimeout(0.05)
        try:
            everywhere.accept()
            raise Failure("a connection reached the host")
        except socket.timeout:
            pass


@case(families=True)
def segments_from_a_foreign_source_reach_nobody(v):
    with bench() as t:
        listener = t.listen(v)
        src = {4: "192.0.2.77", 6: "2001:db8:77::1"}[v]
        conn = t.guest.tcp(t.lan.SERVER[v], server.port_of(listener), src=src)
        conn.attempt(0.5)
        listener.settimeout(0.05)
        try:
            listener.accept()
            raise Failure("a connection from a foreign source was made")
        except socket.timeout:
            pass


# --- closing -----------------------------------------------------------------


@case(families=True)
def guest_half_closes_and_server_answers_10_mib(v):
    answer = server.pattern(10 * MIB)
    with bench() as t:
        conn, sock = t.pair(v)
        conn.send(b"question")
        conn.send_fin()
        check(server.read_all(sock)[0], 8, "bytes before the end of file")
        sender = Background(sock.sendall, answer)
        conn.wait_data(len(answer))
        sender.result(t.guest)
        check(conn.fin, False, "FIN before the server closed")
        sock.close()
        conn.wait_fin()
        check_bytes(bytes(conn.received), answer, "what the guest read")


@case(families=True)
def server_half_closes_and_guest_uploads_10_mib(v):
    data = server.pattern(10 * MIB)
    with bench() as t:
        conn, sock = t.pair(v)
        sock.sendall(b"go")
        sock.shutdown(socket.SHUT_WR)
        conn.wait_fin()
        check(bytes(conn.received), b"go", "bytes before the FIN")
        upload_check(t, conn, sock, data)
        conn.send_fin()
        check(server.ending(sock), "eof", "end at the server")


@case(families=True)
def server_reset_reaches_guest_within_100_ms(v):
    with bench() as t:
        def reset():
            conn, sock = t.pair(v)
            sock.sendall(b"x")
            conn.wait_data(1)
            start = time.monotonic()
            server.reset(sock)
            conn.wait_reset(2)
            check(conn.fin, False, "FIN instead of RST")
            return time.monotonic() - start

        within(0.1, reset, "RST")


@case(families=True)
def guest_reset_reaches_server_within_100_ms(v):
    with bench() as t:
        def reset():
            conn, sock = t.pair(v)
            conn.send(b"x")
            server.read_exactly(sock, 1)
            start = time.monotonic()
            conn.send_rst()
            conn.drop()
            check(server.ending(sock, 2), "reset", "end at the server")
            return time.monotonic() - start

        within(0.1, reset, "RST")


@case(families=True)
def guest_reset_reaches_server_with_data_in_both_directions(v):
    with bench() as t:
        conn, sock = t.pair(v)
        conn.auto_ack = False
        conn.send(b"unread")
        sock.setblocking(False)
        try:
            while sock.send(bytes(1 << 16)):
                pass
        except BlockingIOError:
            pass
        t.guest.quiet(0.1)
        conn.send_rst()
        conn.drop()
        check(server.ending(sock, 2), "reset", "end at the server")


@case(families=True)
def reset_outside_the_window_is_ignored(v):
    with bench() as t:
        conn, sock = t.pair(v)
        conn.segment(p.RST, seq=conn.snd_nxt - 5)
        conn.segment(p.RST, seq=conn.snd_nxt + (1 << 30))
        upload_check(t, conn, sock, b"alive")


@case(families=True)
def fin_with_data_delivers_both(v):
    with bench() as t:
        conn, sock = t.pair(v)
        conn.send_fin(b"last words")
        check(server.read_all(sock), (10, hashlib.sha256(b"last words").hexdigest()),
              "bytes to the end of file")
        conn.wait_acked()


@case(families=True)
def duplicate_fin_is_acknowledged_and_harmless(v):
    with bench() as t:
        conn, sock = t.pair(v)
        conn.send_fin(b"end")
        for _ in range(3):
            conn.segment(p.ACK | p.FIN, b"end", seq=conn.snd_nxt - 4)
        check(server.read_all(sock)[0], 3, "bytes to the end of file")
        conn.wait_acked()
        sock.sendall(b"answer")
        conn.wait_data(6)
        sock.close()
        conn.wait_fin()


@case(families=True)
def fin_behind_a_gap_waits_for_the_gap(v):
    with bench() as t:
        conn, sock = t.pair(v)
        base = conn.snd_nxt
        conn.segment(p.ACK | p.FIN, b"three", seq=base + 6)
        conn.segment(p.ACK, b"two", seq=base + 3)
        t.guest.quiet(0.2)
        sock.setblocking(False)
        try:
            check(sock.recv(100), b"nothing", "what the server reads before the gap is filled")
        except BlockingIOError:
            pass
        conn.segment(p.ACK, b"one", seq=base)
        sock.settimeout(5)
        # a relay that keeps nothing out of order needs all of it again
        t.guest.quiet(0.3)
        conn.segment(p.ACK | p.FIN, b"onetwothree", seq=base)
        check(server.read_all(sock), (11, hashlib.sha256(b"onetwothree").hexdigest()),
              "bytes to the end of file")


@case(families=True)
def both_ends_close_at_once(v):
    with bench() as t:
        before = t.relay.process.descriptors()
        conn, sock = t.pair(v)
        sock.shutdown(socket.SHUT_WR)
        conn.send_fin()
        check(server.ending(sock), "eof", "end at the server")
        conn.wait_fin()
        conn.wait_acked()
        sock.close()
        wait_for(lambda: t.relay.process.descriptors() <= before, 3,
                 "the flow's descriptor closed")


# --- data --------------------------------------------------------------------


@case(families=True)
def data_on_the_handshake_ack_is_delivered(v):
    with bench() as t:
        listener = t.listen(v)
        conn = t.guest.tcp(t.lan.SERVER[v], server.port_of(listener))
        check(conn.attempt(), "connected", "SYN")
        conn.send(b"GET / HTTP/1.0\r\n\r\n")
        check(server.read_exactly(server.accept(listener), 18), b"GET / HTTP/1.0\r\n\r\n",
              "what the server read")
        conn.wait_acked()


@case(families=True)
def data_and_fin_on_the_handshake_ack_are_delivered(v):
    with bench() as t:
        listener = t.listen(v)
        conn = t.guest.tcp(t.lan.SERVER[v], server.port_of(listener))
        check(conn.attempt(), "connected", "SYN")
        conn.send_fin(b"all")
        check(server.read_all(server.accept(listener))[0], 3, "bytes to the end of file")


@case(families=True)
def server_that_speaks_first_is_heard(v):
    with bench() as t:
        listener = t.listen(v)
        banners = []

        def greet():
            banners.append(server.accept(listener))
            banners[0].sendall(b"220 ready\r\n")

        greeter = Background(greet)
        conn, took = seconds_of(
            lambda: t.guest.connect(t.lan.SERVER[v], server.port_of(listener)))
        greeter.result(t.guest)
        conn.wait_data(11, 1)
        check(bytes(conn.received), b"220 ready\r\n", "the banner")


class LossyChannel:
    """Drops, duplicates and reorders a guest's packets, the same every time."""

    def __init__(self, loss=0.1, duplicate=0.05, reorder=True, seed=3):
        self.rng = random.Random(seed)
        self.loss, self.duplicate, self.reorder = loss, duplicate, reorder

    def __call__(self, packets):
        out = []
        for packet in packets:
            if self.rng.random() >= self.loss:
                out.append(packet)
            if self.rng.random() < self.duplicate:
                out.append(packet)
        if self.reorder:
            keyed = [(i + self.rng.random() * 6, x) for i, x in enumerate(out)]
            out = [x for _, x in sorted(keyed, key=lambda k: k[0])]
        return out


@case(families=True)
def lossy_reordered_upload_arrives_whole(v):
    with bench() as t:
        conn, sock = t.pair(v)
        upload_check(t, conn, sock, server.pattern(MIB), channel=LossyChannel())
        conn.send_fin()
        check(server.ending(sock), "eof", "end at the server")


@case(families=True)
def reordering_alone_needs_no_retransmission(v):
    """Segments in reverse order: the out-of-order queue makes a stream."""
    with bench() as t:
        conn, sock = t.pair(v)
        data = server.pattern(20 * 1000)
        base = conn.snd_nxt
        for at in reversed(range(0, len(data), 1000)):
            conn.segment(p.ACK, data[at:at + 1000], seq=base + at)
        conn.snd_nxt = (base + len(data)) & 0xFFFFFFFF
        conn.wait_acked(1)
        check_bytes(server.read_exactly(sock, len(data)), data, "what the server read")


@case(families=True)
def overlapping_segments_make_one_stream(v):
    rng = random.Random(11)
    with bench() as t:
        conn, sock = t.pair(v)
        data = server.pattern(30000)
        base = conn.snd_nxt
        pieces = [(at, at + rng.randrange(500, 1400)) for at in range(0, 30000, 400)]
        for turn in range(3):
            rng.shuffle(pieces)
            for start, end in pieces:
                conn.segment(p.ACK, data[start:end], seq=base + start)
            t.guest.quiet(0.1)
        conn.snd_nxt = (base + len(data)) & 0xFFFFFFFF
        for start in range(0, 30000, 1000):  # what a queue limit left out
            conn.segment(p.ACK, data[start:start + 1000], seq=base + start)
        conn.wait_acked()
        check_bytes(server.read_exactly(sock, len(data)), data, "what the server read")


@case(families=True)
def sequence_numbers_wrap(v):
    with bench() as t:
        conn, sock = t.pair(v, isn=0xFFFFFF00)
        upload_check(t, conn, sock, server.pattern(MIB),
                     channel=LossyChannel(0.02, 0.02))
        conn.send_fin()
        check(server.ending(sock), "eof", "end at the server")


@case(families=True)
def sequence_wrap_on_the_syn_itself(v):
    with bench() as t:
        conn, sock = t.pair(v, isn=0xFFFFFFFF)
        upload_check(t, conn, sock, b"zero")


@case(families=True)
def lossy_download_arrives_whole(v):
    """The guest loses every 50th data segment that the relay sends."""
    data = server.pattern(2 * MIB)
    with bench("--mtu", "1500") as t:
        conn, sock = t.pair(v)
        count = [0]
        take = conn._input_data

        def lose(seq, payload):
            count[0] += 1
            if count[0] % 50:
                take(seq, payload)

        conn._input_data = lose
        sender = Background(sock.sendall, data)
        conn.wait_data(len(data), 50)
        sender.result(t.guest)
        check_bytes(bytes(conn.received), data, "what the guest read")


@case(families=True)
def small_mss_is_never_exceeded(v):
    for mss in (536, 1080, 1220):
        with bench() as t:
            conn, sock = t.pair(v, mss=mss)
            data = server.pattern(MIB)
            sender = Background(sock.sendall, data)
            conn.wait_data(len(data))
            sender.result(t.guest)
            largest = max(len(s.data) for s in conn.log)
            check_that(largest <= mss, "MSS %d: a segment of %d bytes" % (mss, largest))
            check_bytes(bytes(conn.received), data, "download at MSS %d" % mss)


@case(families=True)
def guest_without_an_mss_option_gets_the_default(v):
    with bench() as t:
        conn, sock = t.pair(v, mss=None, wscale=None, sack=False)
        data = server.pattern(200000)
        sender = Background(sock.sendall, data)
        conn.wait_data(len(data))
        sender.result(t.guest)
        largest = max(len(s.data) for s in conn.log)
        limit = {4: 536, 6: 1220}[v]
        check_that(largest <= limit, "a segment of %d bytes, at most %d may be" % (
            largest, limit))


@case(families=True)
def mtu_of_the_link_is_never_exceeded(v):
    for mtu in (1280, 1500):
        with bench("--mtu", str(mtu)) as t:
            conn, sock = t.pair(v, mss=65000)
            head = {4: 40, 6: 60}[v]
            check_that(conn.peer_mss <= mtu - head, "MTU %d: MSS %d in the SYN-ACK" % (
                mtu, conn.peer_mss))
            data = server.pattern(MIB)
            sender = Background(sock.sendall, data)
            conn.wait_data(len(data))
            sender.result(t.guest)
            largest = max(len(s.data) for s in conn.log) + head
            check_that(largest <= mtu, "MTU %d: a packet of %d bytes" % (mtu, largest))


@case(families=True)
def large_segments_from_the_guest_are_taken(v):
    with bench("--mtu", "65520") as t:
        conn, sock = t.pair(v, mss=65000)
        upload_check(t, conn, sock, server.pattern(8 * MIB))


@case(families=True)
def ack_beyond_what_was_sent_is_survived(v):
    with bench() as t:
        conn, sock = t.pair(v)
        conn.segment(p.ACK, ack=conn.rcv_nxt + 100000)
        conn.segment(p.ACK, ack=conn.rcv_nxt - 100000)
        t.guest.quiet(0.1)
        sock.sendall(b"from the server")
        conn.wait_data(15)
        upload_check(t, conn, sock, b"from the guest")


@case(families=True)
def urgent_data_is_plain_data(v):
    with bench() as t:
        conn, sock = t.pair(v)
        expected = b""
        for number, pointer in enumerate((0, 1, 5, 10, 11, 1000, 65535)):
            data = b"urgent-%03d" % number
            conn.send(data, p.ACK | p.PSH | p.URG, urgent=pointer)
            expected += data
        conn.segment(p.ACK | p.URG, urgent=65535)
        conn.segment(p.URG, urgent=3)
        conn.send(b"plain")
        check(server.read_exactly(sock, len(expected) + 5), expected + b"plain",
              "what the server read")


@case(families=True)
def wrong_checksum_is_dropped(v):
    with bench() as t:
        conn, sock = t.pair(v)
        good = conn.build(p.ACK | p.PSH, b"corrupt!")
        t.guest.send_ip(good[:-1] + b"?")
        t.guest.quiet(0.1)
        upload_check(t, conn, sock, b"genuine!")


# --- windows -----------------------------------------------------------------


@case(families=True)
def relay_opens_no_window_the_server_does_not_drain(v):
    """A server that reads nothing: what is taken from the guest is bounded."""
    with bench() as t:
        conn, sock = t.pair(v)
        data = bytes(64 * MIB)
        try:
            conn.send_all(data, seconds=1)
            raise Failure("64 MiB were acknowledged, nobody read them")
        except Failure as failure:
            if "acknowledged within" not in str(failure):
                raise
        taken = (conn.snd_una - conn.isn - 1) & 0xFFFFFFFF
        check_that(taken < 48 * MIB, "%d bytes were acknowledged" % taken)
        check_that(conn.peer_window < 64 << 10, "the window stayed open")
        total = [0]

        def drain():
            while total[0] < taken:
                total[0] += len(sock.recv(MIB))

        Background(drain).result(t.guest)
        t.guest.wait(lambda: conn.peer_window > 0, 3, "the window opens again")


@case(families=True)
def zero_window_for_a_while_then_everything(v):
    data = server.pattern(2 * MIB)
    with bench() as t:
        conn, sock = t.pair(v, space=128 << 10, wscale=2)
        conn.manual_read = True
        sender = Background(sock.sendall, data)
        t.guest.quiet(6)
        check_that(len(conn.received) <= 128 << 10, "more came than the window allows")
        start = len(conn.received)
        check_that(start > 64 << 10, "only %d bytes came at first" % start)
        out = bytearray()

        def slurp():
            out.extend(conn.read(len(conn.received)))
            t.guest.pump(0.01)
            return len(out) == len(data)

        t.guest.wait(slurp, 20, "the rest of the data")
        sender.result(t.guest)
        check_bytes(bytes(out), data, "what the guest read")


@case(families=True)
def lost_window_update_is_probed_for(v):
    """The guest's update is lost and nothing else is sent: a probe must come."""
    data = server.pattern(512 << 10)
    with bench() as t:
        conn, sock = t.pair(v, space=32 << 10, wscale=0)
        conn.manual_read = True
        sender = Background(sock.sendall, data)
        t.guest.wait(lambda: conn.window() == 0, 5, "the window to fill")
        t.guest.quiet(0.3)
        out = bytearray(conn.received)
        conn.received.clear()  # the update is "lost": no ACK is sent
        conn.rcv_edge = (conn.rcv_nxt + conn.window()) & 0xFFFFFFFF
        seen = len(conn.log)
        t.guest.wait(lambda: len(conn.log) > seen, 8, "a window probe")
        conn.manual_read, conn.keep = False, True
        if not conn.ack_due:
            conn.send_ack()
        t.guest.wait(lambda: len(out) + len(conn.received) == len(data), 15,
                     "the rest of the data")
        sender.result(t.guest)
        check_bytes(bytes(out + conn.received), data, "what the guest read")


@case(seconds=90, families=True)
def one_byte_window_still_moves(v):
    with bench() as t:
        conn, sock = t.pair(v, space=1, wscale=0)
        sock.sendall(b"drip")
        conn.wait_data(4, 30)
        check(bytes(conn.received), b"drip", "what the guest read")
        conn.space = 65535
        conn.send_ack()
        sock.sendall(server.pattern(100000))
        conn.wait_data(100004, 30)


@case(families=True)
def slow_reader_gets_every_byte_then_fin(v):
    data = server.pattern(8 * MIB)
    with bench() as t:
        conn, sock = t.pair(v, space=256 << 10)
        conn.manual_read = True

        def send_and_close():
            sock.sendall(data)
            sock.close()

        sender = Background(send_and_close)
        out = bytearray()
        deadline = time.monotonic() + 40
        while not (conn.fin and not conn.received):
            check_that(time.monotonic() < deadline, "only %d bytes in 40 s" % len(out))
            conn.must_live()
            out += conn.read(64 << 10)
            t.guest.quiet(0.02)
        sender.result(t.guest)
        check_bytes(bytes(out), data, "what the guest read")


@case(families=True)
def reader_that_pauses_gets_every_byte_then_fin(v):
    data = server.pattern(8 * MIB)
    with bench() as t:
        conn, sock = t.pair(v, space=256 << 10)
        conn.manual_read = True

        def send_and_close():
            sock.sendall(data)
            sock.close()

        sender = Background(send_and_close)
        t.guest.quiet(5)
        conn.manual_read = False
        conn.send_ack()
        conn.wait_data(len(data), 20)
        conn.wait_fin()
        sender.result(t.guest)
        check_bytes(bytes(conn.received), data, "what the guest read")


@case(families=True)
def both_directions_at_once_do_not_deadlock(v):
    up, down = server.pattern(16 * MIB, 1), server.pattern(16 * MIB, 2)
    with bench() as t:
        listener = t.listen(v)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
        conn, sock = t.pair(v, listener, space=256 << 10)
        sender = Background(sock.sendall, down)
        reader = Background(server.read_exactly, sock, len(up))
        conn.send_all(up, seconds=50)
        conn.wait_data(len(down), 50)
        sender.result(t.guest)
        check_bytes(reader.result(t.guest), up, "what the server read")
        check_bytes(bytes(conn.received), down, "what the guest read")


# --- latency and fairness ----------------------------------------------------


@case(families=True)
def one_byte_ping_pong_never_stalls(v):
    with bench() as t:
        echo = server.EchoServer(t.lan.s, t.lan.SERVER[v])
        conn = t.guest.connect(echo.addr, echo.port)

        def exchange():
            start = time.monotonic()
            conn.send(b"!")
            conn.wait_data(conn.total + 1, 2)
            return time.monotonic() - start

        within(0.03, lambda: sorted(exchange() for _ in range(500))[-3],
               "the third slowest of 500")
        echo.close()


@case(families=True)
def header_and_body_in_two_writes_do_not_stall(v):
    with bench() as t:
        conn, sock = t.pair(v)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def serve():
            while True:
                server.read_exactly(sock, 12)
                sock.sendall(b"head")
                sock.sendall(b"and body")

        def exchange():
            start = time.monotonic()
            conn.send(b"head")
            conn.send(b"and body")
            conn.wait_data(conn.total + 12, 2)
            return time.monotonic() - start

        Background(serve)
        within(0.03, lambda: sorted(exchange() for _ in range(200))[-3],
               "the third slowest of 200")


@case()
def two_downloads_share_fairly():
    with bench() as t:
        listener = t.listen(4)
        pairs = [t.pair(4, listener) for _ in range(2)]
        running = [True]

        def pour(sock):
            block = bytes(MIB)
            while running[0]:
                sock.sendall(block)

        for conn, sock in pairs:
            conn.keep = False
            sock.settimeout(30)
            Background(pour, sock)
        t.guest.quiet(2)
        t.guest.wait(lambda: min(conn.total for conn, _ in pairs) > MIB, 5,
                     "more than 1 MiB on either")
        running[0] = False
        a, b = (conn.total for conn, _ in pairs)
        jain = (a + b) ** 2 / (2.0 * (a * a + b * b))
        check_that(jain >= 0.9, "Jain index %.2f (%d and %d bytes)" % (jain, a, b))


@case()
def connects_stay_fast_beside_a_bulk_download():
    with bench() as t:
        listener = t.listen(4)
        bulk, sock = t.pair(4, listener)
        bulk.keep = False
        running = [True]

        def pour():
            block = bytes(MIB)
            while running[0]:
                sock.sendall(block)

        Background(pour)
        t.guest.wait(lambda: bulk.total > MIB, 5, "the download to run")

        def connect():
            start = time.monotonic()
            conn, other = t.pair(4, listener)
            took = time.monotonic() - start
            conn.send_rst()
            other.close()
            return took

        within(0.25, lambda: sorted(connect() for _ in range(20))[-2],
               "the second slowest of 20 connects")
        running[0] = False


@case(seconds=90, families=True)
def keep_alive_reaps_a_vanished_guest(v):
    with bench("--keep-alive", "1") as t:
        before = t.relay.process.descriptors()
        conn, sock = t.pair(v)
        conn.drop()  # nothing answers any more
        ended = Background(server.ending, sock, 75)
        check_that(ended.result(t.guest, 80) in ("reset", "eof"),
                   "the server never heard of the end")
        wait_for(lambda: t.relay.process.descriptors() <= before, 3,
                 "the flow's descriptor closed")


@case(seconds=90)
def keep_alive_leaves_an_idle_guest_alone():
    with bench("--keep-alive", "1") as t:
        conn, sock = t.pair(4)
        t.guest.quiet(15)  # the guest answers probes with an ACK
        conn.must_live()
        upload_check(t, conn, sock, b"still here")


@case(families=True)
def segments_across_the_edge_of_the_window_do_no_harm(v):
    """lwIP asserts that what it kept out of order fits the window."""
    with bench() as t:
        for covered_fin in (False, True):
            conn, sock = t.pair(v, wscale=None)
            edge, start = 65535, conn.snd_nxt
            if covered_fin:
                conn.segment(p.ACK | p.FIN, b"x", seq=start + 1000)
            else:
                conn.segment(p.ACK, bytes(100), seq=start + edge - 1)
            conn.segment(p.ACK, bytes(100), seq=start)
            conn.segment(p.ACK, bytes(edge - 100 - (not covered_fin)), seq=start + 100)
            t.guest.quiet(0.2)
            conn.send_rst()
            sock.close()
        conn, sock = t.pair(v)
        upload_check(t, conn, sock, b"still here")


# --- random ------------------------------------------------------------------


@case(families=True)
def random_segments_on_a_flow_do_no_harm(v):
    rng = random.Random(5)
    with bench() as t:
        conn, sock = t.pair(v)
        other, other_sock = t.pair(v)
        for _ in range(3000):
            conn.segment(rng.getrandbits(6), bytes(rng.randrange(0, 30)),
                         seq=conn.snd_nxt + rng.choice([0, 1, -1, 5000, 1 << 31]),
                         ack=conn.rcv_nxt + rng.choice([0, 1, -1, 5000, 1 << 31]),
                         window=rng.getrandbits(16), urgent=rng.getrandbits(16),
                         opts=random_options(rng))
            if rng.random() < 0.05:
                t.guest.pump(0)
        t.guest.quiet(0.2)
        upload_check(t, other, other_sock, b"unharmed")
        again, again_sock = t.pair(v)
        upload_check(t, again, again_sock, b"and served")


def random_options(rng):
    size = rng.choice([0, 0, 4, 8, 12, 40])
    return bytes(rng.choice([0, 1, 2, 3, 4, 5, 8, 10, rng.getrandbits(8)])
                 for _ in range(size))


@case()
def counters_equal_what_was_done():
    with bench() as t:
        closed = server.closed_port(t.lan.s, t.lan.SERVER[4])
        check(t.guest.tcp(t.lan.SERVER[4], server.port_of(closed)).attempt(),
              "refused", "closed port")
        check_that(t.guest.tcp(t.lan.UNREACHABLE[4], 80).attempt().startswith("icmp"),
                   "unreachable")
        for _ in range(3):
            conn, sock = t.pair(4)
        conn.send_rst()
        check(server.ending(sock), "reset", "end at the server")
        stats = t.relay.stop()
        check(stats["tcp_opened"], 3, "tcp_opened")
        check(stats["tcp_refused"], 1, "tcp_refused")
        check(stats["tcp_unreachable"], 1, "tcp_unreachable")
        check(stats["tcp_reset_guest"], 1, "tcp_reset_guest")


if __name__ == "__main__":
    world.need_namespaces()
    program()
    main()
