#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Published ports: clients in a namespace of their own, the relay in another,
servers in the guest's; and what else binds sockets: services, loopback,
outbound."""

import hashlib
import os
import resource
import socket
import time

from lib import server, world
from lib.case import (Failure, case, check, check_that, expecting, main, program, wait_for,
                      within)
from lib.relay import shared_lan, wait_ready
from lib.running import running
from lib.web import HttpServer
from lib.world import Netns, Process, run, scratch

MIB = 1 << 20
GUEST = {4: "10.0.2.15", 6: "fd00::15"}
GATEWAY = {4: "10.0.2.2", 6: "fd00::2"}
ANY = {4: "0.0.0.0", 6: "::"}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}


def send_all(sock, data):
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def in_background(func, *args):
    import threading
    result = []

    def work():
        try:
            result.append((True, func(*args)))
        except Exception as error:  # told to the caller
            result.append((False, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()

    def join():
        thread.join(20)
        if not result:
            raise Failure("%s did not end" % func.__name__)
        if not result[0][0]:
            raise result[0][1]
        return result[0][1]

    return join


# --- 41: source address, bytes, half-closes, refusal ---------------------------


@case(families=True)
def client_is_seen_with_its_own_address_and_port(v):
    with running("-p", "0:80") as t:
        t.be_heard(GATEWAY[v])
        listener = server.listen(t.guest, ANY[v], 80)
        client = t.client(v, t.chosen())
        sock, peer = listener.accept()
        check(peer[:2], client.getsockname()[:2], "the client that the guest sees")
        sock.sendall(b"hello")
        check(server.read_exactly(client, 5), b"hello", "the guest's answer")


@case(families=True)
def client_of_the_loopback_is_seen_as_the_gateway(v):
    with running("-p", "0:80") as t:
        t.be_heard(GATEWAY[v])
        listener = server.listen(t.guest, ANY[v], 80)
        ports = set()
        clients = [t.client(v, t.chosen(), LOOPBACK[v], t.lan.r) for _ in range(20)]
        for _ in clients:
            sock, peer = listener.accept()
            check(peer[0], GATEWAY[v], "the client that the guest sees")
            ports.add(peer[1])
        check(len(ports), 20, "ports of 20 clients")


@case()
def client_of_a_family_that_the_guest_lacks_comes_by_the_other():
    with running("--no-ipv6", "-p", "0:80") as t:
        listener = server.listen(t.guest, "0.0.0.0", 80)
        client = t.client(6, t.chosen())
        sock, peer = listener.accept()
        check(peer[0], GATEWAY[4], "the client that the guest sees")
        sock.sendall(b"hello")
        check(server.read_exactly(client, 5), b"hello", "the guest's answer")


@case(families=True)
def bytes_are_exact_both_ways_at_once(v):
    with running("-p", "0:80") as t:
        listener = server.listen(t.guest, ANY[v], 80)
        client = t.client(v, t.chosen())
        sock = server.accept(listener)
        up, down = server.pattern(16 * MIB, 1), server.pattern(16 * MIB, 2)
        jobs = [in_background(send_all, client, up), in_background(send_all, sock, down)]
        got = in_background(server.read_all, sock)
        check(server.read_all(client), (len(down), hashlib.sha256(down).hexdigest()), "the client read")
        check(got(), (len(up), hashlib.sha256(up).hexdigest()), "the guest read")
        for job in jobs:
            job()


@case(families=True)
def half_closes_pass_in_both_directions(v):
    data = server.pattern(10 * MIB)
    whole = (len(data), hashlib.sha256(data).hexdigest())
    with running("-p", "0:80") as t:
        listener = server.listen(t.guest, ANY[v], 80)
        for first in ("client", "guest"):
            client = t.client(v, t.chosen())
            sock = server.accept(listener)
            early, late = (client, sock) if first == "client" else (sock, client)
            early.sendall(b"request")
            early.shutdown(socket.SHUT_WR)
            check(server.read_all(late)[0], 7, "bytes before the end of the " + first)
            job = in_background(send_all, late, data)
            check(server.read_all(early), whole, "read after the half-close of the " + first)
            job()


@case(families=True)
def slow_reader_gets_every_byte(v):
    data = server.pattern(8 * MIB)
    with running("-p", "0:80") as t:
        listener = server.listen(t.guest, ANY[v], 80)
        client = t.client(v, t.chosen())
        sock = server.accept(listener)
        job = in_background(send_all, client, data)
        before = t.relay.resident_kib()
        digest, total = hashlib.sha256(), 0
        while True:
            part = sock.recv(256 * 1024)
            if not part:
                break
            digest.update(part)
            total += len(part)
            time.sleep(0.01)  # the reader is slow: that is the case
        check((total, digest.hexdigest()), (len(data), hashlib.sha256(data).hexdigest()), "the guest read")
        check_that(t.relay.resident_kib() - before < 8192, "memory of the relay grew")
        job()


@case(families=True)
def closed_port_of_the_guest_resets_the_client_at_once(v):
    with running("-p", "0:81") as t:
        port = t.chosen()

        def fate():
            start = time.monotonic()
            check(t.fate(v, port), "reset", "the client's end")
            return time.monotonic() - start

        for _ in range(20):
            within(0.5, fate, "the reset")
    stats = os.path.join(scratch(), "stats")
    with running("-p", "0:81", "--stats", stats) as t:
        t.fate(v, t.chosen())
    with open(stats) as file:
        check('"publish_refused": 1' in file.read(), True, "publish_refused is counted")


@case(families=True)
def resets_pass_in_both_directions(v):
    with running("-p", "0:80") as t:
        listener = server.listen(t.guest, ANY[v], 80)
        for first in ("client", "guest"):
            client = t.client(v, t.chosen())
            sock = server.accept(listener)
            one, other = (client, sock) if first == "client" else (sock, client)
            server.reset(one)
            check(server.ending(other), "reset", "the end after the reset of the " + first)


@case()
def real_clients_are_served():
    with running("-p", "8080:80", "-p", "5201") as t:
        web = HttpServer(t.guest, "0.0.0.0", 80)
        iperf = Process(["iperf3", "-s", "-1"], t.guest)
        url = "http://%s:8080/bytes/%d"
        for addr in (t.lan.RELAY[4],):
            out = run("curl", "-s", "-o", "/dev/null", "-w", "%{size_download}",
                      url % (addr, 5 * MIB), netns=t.lan.s)
            check(out, str(5 * MIB), "what curl got")
        wait_for(lambda: ":5201" in run("ss", "-Htln", netns=t.guest), 5, "iperf3 listens")
        run("iperf3", "-c", t.lan.RELAY[4], "-R", "-n", "64M", netns=t.lan.s)
        check(iperf.wait(), 0, "iperf3's status")
        web.shutdown()


# --- 42: binding ----------------------------------------------------------------


def fails(text, *options, status=1):
    process = Process([program(), "run", *options, "--", "true"], shared_lan().r)
    check(process.wait(), status, "exit status")
    check_that(text in process.err(), "expected '%s', saw '%s'" % (text, process.err()))


@case()
def port_in_use_ends_the_start_with_its_name():
    lan = shared_lan()
    held = server.listen(lan.r, "127.0.0.1")
    port = server.port_of(held)
    fails("port %d/tcp" % port, "-p", "127.0.0.1:%d:80" % port)
    fails("Address already in use", "-p", "%d:80" % port)
    with lan.r.entered():
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    fails("port %d/udp" % udp.getsockname()[1],
          "-p", "127.0.0.1:%d/udp" % udp.getsockname()[1])
    fails("no such address", "-p", "203.0.113.99:8080")
    fails("is not [ADDR:]PORT", "-p", "eighty", status=2)


@case()
def ranges_keep_their_order():
    with running("-p", "20000-20015:300") as t:
        for i in (0, 7, 15):
            listener = server.listen(t.guest, "0.0.0.0", 300 + i)
            client = t.client(4, 20000 + i)
            server.accept(listener).sendall(b"%d" % i)
            check(client.recv(10), b"%d" % i, "port %d" % (20000 + i))


@case()
def addresses_are_bound_as_asked():
    with running("-p", "[::1]:20100:80", "-p", "127.0.0.1:20101:80", "-p", "20102:80",
                 "-p", "[::]:20103:80", "-p", "0.0.0.0:20104:80") as t:
        # Both families: a client that the guest refuses may be reset before
        # its connect() is back.
        listener = server.listen(t.guest, "::", 80)

        def reached(v, port, addr):
            return server.connect_error(t.lan.r, addr, port) == 0

        table = {20100: (False, True), 20101: (True, False), 20102: (True, True),
                 20103: (False, True), 20104: (True, False)}
        for port, (four, six) in table.items():
            check(reached(4, port, "127.0.0.1"), four, "IPv4 on port %d" % port)
            check(reached(6, port, "::1"), six, "IPv6 on port %d" % port)
        check(reached(4, 20101, t.lan.RELAY[4]), False, "another address than the one bound")


@case()
def ports_without_clients_cost_no_polling():
    with running("-p", "21000-21255:80") as t:
        listener = server.listen(t.guest, "0.0.0.0", 80 + 255)
        check(t.client(4, 21255).getpeername()[1], 21255, "the last port")
        before, start = t.relay.cpu_seconds(), time.monotonic()
        time.sleep(2)  # idle: that is the case
        spent = t.relay.cpu_seconds() - before
        check_that(spent <= 0.02 * (time.monotonic() - start),
                   "%.3f s of processor time while idle" % spent)


@case(families=True)
def udp_has_a_stable_port_for_each_client(v):
    with running("-p", "0:53/udp") as t:
        echo = server.datagram(t.guest, ANY[v], 53)
        port, seen = t.chosen(), {}
        clients = [server.datagram(t.lan.s, t.lan.SERVER[v]) for _ in range(3)]
        for turn in range(3):
            for i, client in enumerate(clients):
                client.sendto(b"%d" % i, (t.lan.RELAY[v], port))
                data, peer = echo.recvfrom(100)
                check(data, b"%d" % i, "what the guest got")
                check(peer[:2], client.getsockname()[:2], "the client that the guest sees")
                check(seen.setdefault(i, peer), peer, "the same in turn %d" % turn)
                echo.sendto(b"answer %d" % i, peer)
                data, source = client.recvfrom(100)
                check(data, b"answer %d" % i, "the answer")
                check(source[:2], (t.lan.RELAY[v], port), "the answer's source")


@case(families=True)
def udp_of_every_size_both_ways(v):
    with running("-p", "0:53/udp") as t:
        echo = server.datagram(t.guest, ANY[v], 53)
        client = server.datagram(t.lan.s, t.lan.SERVER[v])
        port = t.chosen()
        for size in (0, 1, 1472, 1473, 4096, 9000, 60000):
            data = server.pattern(size)
            client.sendto(data, (t.lan.RELAY[v], port))
            got, peer = echo.recvfrom(65536)
            check(got == data, True, "%d bytes at the guest" % size)
            echo.sendto(data, peer)
            check(client.recv(65536) == data, True, "%d bytes at the client" % size)


@case(families=True)
def udp_client_of_the_loopback_is_the_gateway(v):
    with running("-p", "0:53/udp") as t:
        t.be_heard(GATEWAY[v])
        echo = server.datagram(t.guest, ANY[v], 53)
        client = server.datagram(t.lan.r, LOOPBACK[v])
        client.sendto(b"x", (LOOPBACK[v], t.chosen()))
        _, peer = echo.recvfrom(10)
        check(peer[0], GATEWAY[v], "the client that the guest sees")
        echo.sendto(b"y", peer)
        check(client.recvfrom(10)[0], b"y", "the answer")


# --- 43: descriptors ---------------------------------------------------------------


@case()
def descriptors_that_run_out_come_back():
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))

    with running("-p", "0:80", before=few) as t:
        echo = server.EchoServer(t.guest, "0.0.0.0")
        t.guest.ip("route", "show")
        listener = server.Service(t.guest, "0.0.0.0", lambda s: s.sendall(s.recv(10)), port=80)
        port = t.chosen()
        clients = [t.client(4, port) for _ in range(100)]
        wait_for(lambda: listener.accepted >= 20, 5, "the first clients")
        before = t.relay.cpu_seconds()
        time.sleep(1)  # starved: that is the case
        check_that(listener.accepted < 100, "the limit was not reached")
        check_that(t.relay.cpu_seconds() - before < 0.2, "busy while starved")
        for i, client in enumerate(clients):
            client.settimeout(10)
            client.sendall(b"%d" % i)
            check(client.recv(10), b"%d" % i, "client %d" % i)
            client.close()
        echo.close()
        listener.close()


# --- a guest that is not up ----------------------------------------------------------


class Tapped:
    """`serve` on a tap in a namespace that is not configured yet."""

    def __init__(self, *options):
        self.lan, self.guest = shared_lan(), Netns()
        self.guest.ip("tuntap", "add", "tap9", "mode", "tap")
        read_end, write_end = os.pipe()
        self.relay = Process([program(), "serve", "--link", "tap:tap9@" + self.guest.path,
                              "--ready-fd", str(write_end), *options],
                             self.lan.r, pass_fds=[write_end])
        os.close(write_end)
        wait_ready(self.relay, read_end)

    def up(self):
        self.guest.ip("addr", "add", "10.0.2.15/24", "dev", "tap9")
        self.guest.ip("link", "set", "tap9", "up")
        self.guest.ip("route", "add", "default", "via", "10.0.2.2")


@case()
def client_before_the_guest_waits_for_it():
    t = Tapped("-p", "22000:80", "-p", "22001:80/udp", "--publish-wait", "10")
    try:
        listener = server.listen(t.guest, "0.0.0.0", 80)
        echo = server.datagram(t.guest, "0.0.0.0", 80)
        with t.lan.s.entered():
            client = socket.create_connection((t.lan.RELAY[4], 22000), 15)
        udp = server.datagram(t.lan.s, t.lan.SERVER[4])
        udp.sendto(b"early", (t.lan.RELAY[4], 22001))
        client.sendall(b"early")
        t.up()
        sock = server.accept(listener)
        check(server.read_exactly(sock, 5), b"early", "what the client sent before")
        check(echo.recv(10), b"early", "the datagram sent before")
    finally:
        t.relay.stop()


@case()
def client_of_a_guest_that_never_comes_is_reset_in_time():
    t = Tapped("-p", "22000:80", "--publish-wait", "1")
    try:
        with t.lan.s.entered():
            client = socket.create_connection((t.lan.RELAY[4], 22000), 15)
        start = time.monotonic()
        check(server.ending(client, 10), "reset", "the client's end")
        took = time.monotonic() - start
        check_that(0.8 < took < 5, "reset after %.2f s, expected 1" % took)
    finally:
        t.relay.stop()


# --- Unix sockets ----------------------------------------------------------------------


@case()
def unix_sockets_both_ways():
    path = os.path.join(scratch(), "in")
    service = os.path.join(scratch(), "out")
    data = server.pattern(2 * MIB)
    whole = (len(data), hashlib.sha256(data).hexdigest())
    with running("-p", "unix:%s:80" % path, "--service", "99=unix:" + service) as t:
        listener = server.listen(t.guest, "0.0.0.0", 80)
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(path)
        sock = server.accept(listener)
        job = in_background(send_all, client, data)
        check(server.read_all(sock), whole, "the guest read")
        job()
        sock.sendall(b"late")
        sock.close()
        check(server.read_all(client)[0], 4, "after the half-close")
        # and the guest's way out
        check(server.connect_error(t.guest, GATEWAY[4], 99), 111, "without a socket")
        host = socket.socket(socket.AF_UNIX)
        host.bind(service)
        host.listen(8)
        host.settimeout(10)
        with t.guest.entered():
            inside = socket.create_connection((GATEWAY[4], 99), 10)
        outside = host.accept()[0]
        outside.settimeout(10)
        job = in_background(send_all, inside, data)
        check(server.read_all(outside), whole, "the service read")
        job()
        outside.sendall(b"late")
        outside.close()
        check(server.read_all(inside)[0], 4, "after the half-close")
    check(os.path.exists(path), False, "the socket's file is left")


# --- the other direction: loopback, outbound ------------------------------------------------


@case()
def both_loopbacks_are_tried():
    with running("--host-loopback") as t:
        for v, addr in ((4, "::1"), (6, "127.0.0.1"), (4, "127.0.0.1"), (6, "::1")):
            listener = server.listen(t.lan.r, addr)
            with t.guest.entered():
                inside = socket.create_connection((GATEWAY[v], server.port_of(listener)), 5)
            server.accept(listener).sendall(b"ok")
            check(inside.recv(2), b"ok", "IPv%d to %s" % (v, addr))
            listener.close()


@case()
def both_loopbacks_are_tried_by_udp():
    """Servers come and go on either; a client gets its first datagram answered."""
    with running("--host-loopback") as t:
        for v, addr in ((4, "::1"), (6, "127.0.0.1"), (4, "127.0.0.1"), (6, "::1")):
            echo = server.datagram(t.lan.r, addr)
            port = server.port_of(echo)
            for size in (1, 60000):
                client = server.datagram(t.guest, ANY[v])
                client.connect((GATEWAY[v], port))
                for turn in range(3):
                    client.send(server.pattern(size, seed=turn))
                    data, peer = echo.recvfrom(65536)
                    echo.sendto(data[::-1], peer)
                    check(client.recv(65536)[::-1], server.pattern(size, seed=turn),
                          "IPv%d to %s" % (v, addr))
            echo.close()
            client.send(b"late")
            with expecting(ConnectionRefusedError, "after the server has ended"):
                client.recv(1)
            fresh = server.datagram(t.guest, ANY[v])
            fresh.connect((GATEWAY[v], port))
            fresh.send(b"nobody")
            with expecting(ConnectionRefusedError, "nobody at either loopback"):
                fresh.recv(1)


@case(families=True)
def outbound_address_is_the_source(v):
    lan = shared_lan()
    second = {4: "198.51.100.9", 6: "2001:db8:1::9"}[v]
    lan.r.ip("addr", "replace", second + ("/24" if v == 4 else "/64"), "dev", "up0",
             *(["nodad"] if v == 6 else []))
    for options in (["--outbound", second], ["--outbound", second, "--outbound", "up0"]):
        with running(*options) as t:
            listener = server.listen(t.lan.s, t.lan.SERVER[v])
            with t.guest.entered():
                inside = socket.create_connection((t.lan.SERVER[v], server.port_of(listener)), 5)
            sock, peer = listener.accept()
            check(peer[0], second, "the source of TCP")
            udp = server.datagram(t.lan.s, t.lan.SERVER[v])
            out = server.datagram(t.guest, ANY[v])
            out.sendto(b"x", udp.getsockname()[:2])
            check(udp.recvfrom(10)[1][0], second, "the source of UDP")
            inside.close()
            sock.close()
    fails("--outbound: nowhere0", "--outbound", "nowhere0", status=2)
    lan.r.ip("addr", "del", second + ("/24" if v == 4 else "/64"), "dev", "up0")


if __name__ == "__main__":
    world.need_namespaces()
    main()
