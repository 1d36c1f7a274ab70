#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The stream link of `lwrelay serve`: framing, clients that come and go,
frames that are no good, a guest that does not read."""

import os
import random
import socket
import struct
import time

from lib import packet as p
from lib import server, world
from lib.case import Failure, case, check, check_that, main, program, wait_for
from lib.guest import Background, Guest
from lib.relay import Relay, bench, shared_lan, unix_connect, wait_ready
from lib.world import Process, scratch

MIB = 1 << 20


def framed(frame):
    return struct.pack("!I", len(frame)) + frame


def count_replies(guest):
    """ARP replies since the last call."""
    found = [x for x in guest.inbox if x.ethertype == p.ETH_ARP and x.op == 2]
    guest.inbox.clear()
    return len(found)


def expect_replies(guest, count, seconds, what):
    seen = [0]

    def look():
        seen[0] += count_replies(guest)
        return seen[0] >= count

    try:
        guest.wait(look, seconds, what)
    except Failure as failure:
        raise Failure("%s; saw %d of %d replies" % (failure, seen[0], count))


def numbered_datagrams(guest, sink, count):
    """The frames of `count` datagrams that carry their number."""
    addr, port = sink.getsockname()[:2]
    out = []
    for number in range(count):
        raw = p.udp(guest.IP[4], addr, 5000, port, struct.pack("!I", number))
        out.append(p.ethernet(guest.gateway_mac, guest.mac, p.ETH_IP4,
                              p.ip4(guest.IP[4], addr, p.UDP, raw)))
    return out


# --- framing -----------------------------------------------------------------


@case()
def frame_in_one_byte_writes_is_processed():
    with bench() as t:
        for byte in framed(t.guest.arp_request(t.guest.GATEWAY[4])):
            t.guest.link.send_bytes(bytes([byte]))
            t.guest.pump(0.001)
        expect_replies(t.guest, 1, 2, "an ARP reply")


@case()
def five_hundred_frames_in_one_write_are_all_processed():
    with bench() as t:
        t.guest.inbox.clear()
        t.guest.link.send_bytes(framed(t.guest.arp_request(t.guest.GATEWAY[4])) * 500)
        expect_replies(t.guest, 500, 5, "500 ARP replies")


@case()
def frames_keep_their_order_however_they_are_cut():
    rng = random.Random(9)
    with bench() as t:
        sink = server.datagram(t.lan.s, t.lan.SERVER[4])
        stream = b"".join(map(framed, numbered_datagrams(t.guest, sink, 300)))
        reader = Background(lambda: [struct.unpack("!I", sink.recv(100))[0]
                                     for _ in range(300)])
        while stream:
            size = rng.choice([1, 2, 3, 5, 50, 1000, 3000])
            t.guest.link.send_bytes(stream[:size])
            stream = stream[size:]
            if rng.random() < 0.3:
                t.guest.pump(0.001)
        check(reader.result(t.guest), list(range(300)), "numbers in order")


@case()
def impossible_length_ends_that_client_only():
    with bench() as t:
        guest = t.guest
        for length in (0, 13, 65536, 1 << 20, 0xFFFFFFFF):
            guest.link.send_bytes(struct.pack("!I", length) + bytes(64))
            wait_closed(guest, "the link ends after length %d" % length)
            guest.close()
            guest = reconnect(t.relay)
        guest.close()
        check(t.relay.stop()["drop_framing"], 5, "drop_framing")


def wait_closed(guest, what, seconds=2):
    guest.wait(lambda: guest.link.closed, seconds, what)


def reconnect(relay, seconds=10):
    """The next client; the end of the last one may not be noticed yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return relay.guest()
        except (Failure, OSError) as error:
            if time.monotonic() > deadline:
                raise Failure("the next client was not served: %s" % error)
            time.sleep(0.01)


@case()
def largest_and_smallest_lengths_are_taken():
    with bench() as t:
        head = p.ethernet(t.guest.gateway_mac, t.guest.mac, 0x88B5, b"")
        t.guest.link.send(head)
        t.guest.link.send(head + bytes(65535 - 14))
        t.guest.resolve()


@case()
def client_gone_in_mid_frame_harms_no_later_one():
    with bench() as t:
        frame = framed(t.guest.arp_request(t.guest.GATEWAY[4]))
        guest = t.guest
        for cut in (1, 2, 3, 4, 5, 20, len(frame) - 1):
            guest.link.send_bytes(frame[:cut])
            guest.pump(0.01)
            guest.close()
            guest = reconnect(t.relay)
        guest.close()


@case()
def client_gone_with_unread_frames_harms_no_later_one():
    with bench() as t:
        conn, sock = t.pair()
        sock.settimeout(1)
        try:
            sock.sendall(bytes(8 * MIB))
        except OSError:
            pass
        t.guest.close()
        reconnect(t.relay).close()


@case()
def client_gone_resets_its_flows():
    with bench() as t:
        _, sock = t.pair()
        t.guest.close()
        check_that(server.ending(sock, 3) in ("reset", "eof"),
                   "the server never heard that the guest left")
        reconnect(t.relay).close()


@case()
def a_hundred_clients_in_turn_leak_nothing():
    with bench() as t:
        t.guest.close()
        reconnect(t.relay).close()
        before = t.relay.process.descriptors()
        for _ in range(100):
            reconnect(t.relay).close()
        wait_for(lambda: t.relay.process.descriptors() <= before, 2,
                 "descriptors back to %d" % before)


@case()
def second_client_is_refused_with_a_log_line():
    with bench() as t:
        conn, sock = t.pair()
        second = unix_connect(t.relay.path)
        second.settimeout(10)
        try:
            check(second.recv(100), b"", "what the second client reads")
        except ConnectionResetError:
            pass
        except socket.timeout:
            raise Failure("the second client is neither served nor refused")
        conn.send(b"first")
        check(server.read_exactly(sock, 5), b"first", "the first client's data")
        wait_for(lambda: t.relay.process.err().strip(), 1, "a log line")


@case()
def one_off_ends_when_the_client_leaves():
    relay = Relay(shared_lan().r, "--one-off")
    try:
        relay.guest().close()
        check(relay.process.wait(3), 0, "exit status")
        check(os.path.exists(relay.path), False, "the socket is left behind")
    finally:
        relay.kill()


@case()
def socket_file_is_gone_after_the_end():
    with bench() as t:
        path = t.relay.path
    check(os.path.exists(path), False, "the socket is left behind")


@case()
def stale_socket_file_is_replaced():
    lan = shared_lan()
    relay = Relay(lan.r)
    relay.process.kill()
    check(os.path.exists(relay.path), True, "a stale socket after SIGKILL")
    again = Process([program(), "serve", "--link", "stream:" + relay.path], lan.r)
    try:
        wait_for(lambda: connects(relay.path) or not again.alive(), 5, "a new owner")
        check_that(again.alive(), "it ended: " + again.err())
    finally:
        again.kill()


def connects(path):
    try:
        unix_connect(path).close()
        return True
    except OSError:
        return False


@case()
def socket_of_a_live_owner_is_left_alone():
    with bench() as t:
        other = Process([program(), "serve", "--link", "stream:" + t.relay.path], t.lan.r)
        status = other.wait(5)
        check(status, 1, "exit status of the second relay")
        check_that(other.err().startswith("lwrelay: ") and t.relay.path in other.err()
                   and other.err().count("\n") == 1,
                   "expected one line that names the path, saw %r" % other.err())
        t.guest.resolve()


@case()
def two_links_serve_guests_with_the_same_address():
    lan = shared_lan()
    second = os.path.join(scratch(), "second")
    relay = Relay(lan.r, "--link", "stream:" + second)
    try:
        guests = [relay.guest(), Guest(second, mac=bytes.fromhex("525400abcdef"))]
        listener = server.listen(lan.s, lan.SERVER[4])
        pairs = []
        for guest in guests:
            conn = guest.connect(lan.SERVER[4], server.port_of(listener), sport=7000)
            pairs.append((conn, server.accept(listener)))
        for number, (conn, sock) in enumerate(pairs):
            conn.send(b"up%d" % number)
            check(server.read_exactly(sock, 3), b"up%d" % number, "upload")
            sock.sendall(b"down%d" % number)
            conn.wait_data(5)
            check(bytes(conn.received), b"down%d" % number, "download")
        guests[0].close()
        pairs[1][1].sendall(b"still")
        pairs[1][0].wait_data(10)
        relay.stop_process()
    finally:
        relay.kill()


@case()
def inherited_socket_serves_one_client():
    ours, theirs = socket.socketpair()
    read_end, write_end = os.pipe()
    argv = [program(), "serve", "--link", "stream-fd:%d" % theirs.fileno(),
            "--ready-fd", str(write_end)]
    process = Process(argv, shared_lan().r, pass_fds=[theirs.fileno(), write_end])
    try:
        theirs.close()
        os.close(write_end)
        wait_ready(process, read_end)
        guest = Guest(sock=ours)
        guest.close()
    finally:
        process.kill()


# --- frames that are no good -------------------------------------------------


@case()
def unknown_and_short_frames_are_counted_by_reason():
    with bench() as t:
        mac = t.guest.gateway_mac + t.guest.mac
        t.guest.link.send(mac + b"\x88\xb5" + bytes(46))  # local experimental
        t.guest.link.send(mac + b"\x81\x00\x00\x05\x08\x00" + bytes(42))  # VLAN
        t.guest.link.send(mac + struct.pack("!H", 38) + bytes(46))  # 802.3
        for size in (0, 1, 10, 19):
            t.guest.link.send(mac + b"\x08\x00" + bytes([0x45] * size))
        for size in (0, 1, 39):
            t.guest.link.send(mac + b"\x86\xdd" + bytes([0x60] * size))
        for size in (0, 1, 27):
            t.guest.link.send(mac + b"\x08\x06" + bytes(size))
        t.guest.resolve()
        stats = t.relay.stop()
        check(stats["drop_ethertype"], 3, "drop_ethertype")
        check(stats["drop_short"] + stats["drop_malformed"], 10,
              "drop_short + drop_malformed")


@case()
def frames_need_no_padding_and_may_have_it():
    with bench() as t:
        request = t.guest.arp_request(t.guest.GATEWAY[4])
        t.guest.inbox.clear()
        t.guest.link.send(request)
        t.guest.link.send(request.ljust(60, b"\0"))
        t.guest.link.send(request.ljust(64, b"\xaa"))
        expect_replies(t.guest, 3, 2, "ARP replies")
        conn, sock = t.pair()
        raw = conn.build(p.ACK | p.PSH, b"hi")
        frame = p.ethernet(t.guest.gateway_mac, t.guest.mac, p.ETH_IP4, raw)
        t.guest.link.send(frame.ljust(80, b"\xff"))
        check(server.read_exactly(sock, 2), b"hi", "data of a padded frame")


@case(seconds=120)
def mutated_frames_do_no_harm():
    """Random and damaged frames, then a normal guest; LWR_TEST_MUTATIONS more."""
    count = int(os.environ.get("LWR_TEST_MUTATIONS", "20000"))
    rng = random.Random(int(os.environ.get("LWR_TEST_SEED", "1")))
    with bench() as t:
        samples = sample_frames(t)
        for number in range(count):
            t.guest.link.send(mutate(rng, rng.choice(samples)))
            if number % 64 == 0:
                t.guest.inbox.clear()
                t.guest.pump(0)
                check_that(not t.guest.link.closed, "the link ended at frame %d" % number)
        t.guest.wait(lambda: not t.guest.link.unsent, 10, "all frames taken")
        t.guest.unsound.clear()
        t.guest.conns.clear()
        t.guest.resolve()
        conn, sock = t.pair()
        conn.send(b"alive")
        check(server.read_exactly(sock, 5), b"alive", "a connection afterwards")


def sample_frames(t):
    guest = t.guest
    addr4, addr6 = t.lan.SERVER[4], t.lan.SERVER[6]
    closed = server.closed_port(t.lan.s, addr4)
    port = server.port_of(closed)
    conn = guest.tcp(addr4, port)
    conn6 = guest.tcp(addr6, port)
    wrap4 = lambda raw: p.ethernet(guest.gateway_mac, guest.mac, p.ETH_IP4, raw)
    wrap6 = lambda raw: p.ethernet(guest.gateway_mac, guest.mac, p.ETH_IP6, raw)
    options = p.tcp_options(1460, 7, True, (1, 0))
    long = p.udp(guest.IP[4], addr4, 9, port, bytes(4000))
    long6 = p.udp(guest.IP[6], addr6, 9, port, bytes(4000))
    discover = p.udp("0.0.0.0", "255.255.255.255", 68, 67,
                     p.dhcp(1, guest.mac, 1, [(55, b"\x01\x03\x06")]))
    out = [guest.arp_request(guest.GATEWAY[4]),
           p.neighbour_solicit(guest.IP[6], guest.mac, guest.GATEWAY[6]),
           p.router_solicit("fe80::1", guest.mac),
           wrap4(conn.build(p.SYN, opts=options)), wrap6(conn6.build(p.SYN, opts=options)),
           wrap4(conn.build(p.ACK, b"data" * 20, ack=5)),
           wrap4(p.echo(guest.IP[4], guest.GATEWAY[4], 1, 1, b"ping" * 10)),
           wrap6(p.echo(guest.IP[6], guest.GATEWAY[6], 1, 1, b"ping" * 10)),
           wrap4(p.ip4("0.0.0.0", "255.255.255.255", p.UDP, discover)),
           wrap4(p.ip4(guest.IP[4], addr4, p.UDP, p.udp(guest.IP[4], addr4, 9, port, b"x")))]
    out += [wrap4(x) for x in p.fragments4(guest.IP[4], addr4, p.UDP, long, 7)]
    out += [wrap6(x) for x in p.fragments6(guest.IP[6], addr6, p.UDP, long6, 7)]
    return out


def mutate(rng, frame):
    out = bytearray(frame)
    kind = rng.randrange(4)
    if kind == 0:  # some bits, anywhere
        for _ in range(rng.randrange(1, 8)):
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    elif kind == 1:  # a header byte becomes an edge value
        out[rng.randrange(12, min(len(out), 80))] = rng.choice([0, 1, 127, 128, 255])
    elif kind == 2:  # cut
        del out[rng.randrange(14, len(out) + 1):]
    else:  # longer than it says
        out += rng.getrandbits(8 * 40).to_bytes(40, "big")
    return repair(out) if rng.random() < 0.7 else bytes(out)


def repair(out):
    """Right checksums again, so that the damage gets past them."""
    if out[12:14] == b"\x08\x00" and len(out) >= 34:
        out[24:26] = b"\0\0"
        out[24:26] = struct.pack("!H", p.checksum(bytes(out[14:34])))
        return repair_upper(out, 34, p.text(bytes(out[26:30])), p.text(bytes(out[30:34])),
                            out[23])
    if out[12:14] == b"\x86\xdd" and len(out) >= 54:
        return repair_upper(out, 54, p.text(bytes(out[22:38])), p.text(bytes(out[38:54])),
                            out[20])
    return bytes(out)


def repair_upper(out, at, src, dst, proto):
    field = {p.TCP: 16, p.UDP: 6, p.ICMP: 2, p.ICMP6: 2}.get(proto)
    if field is None or len(out) < at + field + 2:
        return bytes(out)
    out[at + field:at + field + 2] = b"\0\0"
    head = b"" if proto == p.ICMP else p.pseudo(src, dst, proto, len(out) - at)
    total = p.checksum(head + bytes(out[at:]))
    out[at + field:at + field + 2] = struct.pack("!H", total)
    return bytes(out)


# --- a guest that does not read ----------------------------------------------


@case()
def guest_that_stops_reading_holds_bounded_memory_and_resumes():
    data = server.pattern(8 * MIB)
    with bench() as t:
        conn, sock = t.pair(space=4 * MIB)
        before = t.relay.process.resident_kib()
        sender = Background(sock.sendall, data)
        time.sleep(2)  # not synchronisation: the time the guest is away
        grown = t.relay.process.resident_kib() - before
        check_that(grown < 12 << 10, "resident memory grew by %d KiB" % grown)
        conn.wait_data(len(data), 20)
        sender.result(t.guest)
        check_that(bytes(conn.received) == data, "the download differs")


@case()
def guest_that_stops_reading_does_not_hold_up_another():
    lan = shared_lan()
    second = os.path.join(scratch(), "second")
    relay = Relay(lan.r, "--link", "stream:" + second)
    try:
        stuck, lively = relay.guest(), Guest(second)
        listener = server.listen(lan.s, lan.SERVER[4])
        port = server.port_of(listener)
        stuck.connect(lan.SERVER[4], port, space=4 * MIB)
        feed = server.accept(listener)
        feed.setblocking(False)
        wait_for(lambda: full(feed), 5, "the stuck guest's path is full", 0.05)
        conn = lively.connect(lan.SERVER[4], port)
        sock = server.accept(listener)
        data = server.pattern(4 * MIB)
        sender = Background(sock.sendall, data)
        conn.wait_data(len(data), 5)
        sender.result(lively)
        relay.stop_process()
    finally:
        relay.kill()


def full(sock):
    """The socket takes no more, and has not for a while."""
    try:
        while True:
            sock.send(bytes(1 << 16))
    except BlockingIOError:
        before = time.monotonic()
        while time.monotonic() < before + 0.2:
            try:
                sock.send(bytes(1 << 10))
                return False
            except BlockingIOError:
                time.sleep(0.02)
        return True


@case()
def hundred_thousand_datagrams_do_not_deadlock():
    with bench() as t:
        sink = server.datagram(t.lan.s, t.lan.SERVER[4])
        conn, sock = t.pair()
        batch = b"".join(map(framed, numbered_datagrams(t.guest, sink, 1000)))
        for _ in range(100):
            t.guest.link.send_bytes(batch)
            t.guest.wait(lambda: t.guest.link.unsent_bytes < MIB, 10, "the relay reads")
        t.guest.wait(lambda: not t.guest.link.unsent, 10, "the relay reads all")
        conn.send(b"and TCP goes on")
        check(server.read_exactly(sock, 15), b"and TCP goes on", "TCP afterwards")
        stats = t.relay.stop()
        check_that(stats["frames_g2h"] >= 100000, "frames_g2h: %d" % stats["frames_g2h"])


@case()
def every_datagram_to_a_guest_that_does_not_read_is_accounted_for():
    """Received, counted by the relay, or counted by the kernel at its socket."""
    with bench() as t:
        sink = server.datagram(t.lan.s, t.lan.SERVER[4])
        conn, sock = t.pair()
        t.guest.send_udp(t.lan.SERVER[4], 5001, server.port_of(sink), b"hello")
        peer = sink.recvfrom(100)[1]
        before = kernel_drops(t.lan.r)
        t.guest.inbox.clear()
        for _ in range(30000):
            sink.sendto(bytes(1000), peer)
        sock.sendall(b"TCP goes on")
        conn.wait_data(11, 5)
        seen = -1
        while seen != t.guest.seen:
            seen = t.guest.seen
            t.guest.quiet(0.5)
        received = sum(1 for x in t.guest.inbox if x.proto == p.UDP)
        dropped = t.relay.stop()["drop_ring_full"]
        kernel = kernel_drops(t.lan.r) - before
        check(received + dropped + kernel, 30000,
              "received %d + counted %d + at the socket %d" % (received, dropped, kernel))


def kernel_drops(netns):
    """UDP datagrams that the kernel dropped at a full socket (IPv4)."""
    with netns.entered(), open("/proc/thread-self/net/snmp") as table:
        rows = [line.split() for line in table if line.startswith("Udp:")]
    return int(rows[1][rows[0].index("RcvbufErrors")])


@case()
def shutdown_with_a_guest_that_does_not_read_is_quick():
    with bench() as t:
        conn, sock = t.pair(space=4 * MIB)
        sock.setblocking(False)
        wait_for(lambda: full(sock), 5, "the guest's path is full", 0.05)
        t.relay.stop_process()


if __name__ == "__main__":
    world.need_namespaces()
    program()
    main()
