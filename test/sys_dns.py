#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The DNS forwarder with real clients (dig, the kernel's sockets in a namespace
on a tap) and real resolvers (dnsmasq), and one that does as it is told."""

import contextlib
import json
import os
import re
import select
import shutil
import socket
import struct
import sys
import threading
import time

from lib import dns, server, world
from lib.case import Failure, case, check, check_that, main, program, skip_file, wait_for
from lib.relay import is_passt, shared_lan, wait_ready
from lib.world import Netns, Process, run, scratch

DNS = {4: "10.0.2.3", 6: "fd00::3"}
SERVER, SECOND, SILENT = "198.51.100.2", "198.51.100.3", "198.51.100.66"
CLONE_NEWNS, MS_BIND, MS_PRIVATE, MS_REC = 0x20000, 0x1000, 1 << 18, 0x4000
SOA = dns.encode("ns.test") + dns.encode("root.test") + struct.pack("!IIIII", 1, 2, 3, 4, 60)


# --- resolvers ---------------------------------------------------------------


def message(ask, rcode=0, answers=(), authority=(), flags=0x8180):
    """An answer to the query; records are (type, ttl, data)."""
    out = ask[:2] + struct.pack("!HHHHH", flags | rcode, 1, len(answers), len(authority), 0)
    out += dns.question(ask)[2]
    for kind, ttl, data in list(answers) + list(authority):
        out += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data
    return out


class Scripted:
    """Answers with what handler(name, type, query, tcp) returns; None: nothing."""

    def __init__(self, netns, addr, handler, port=53):
        self.handler, self.asked, self.ports = handler, [], set()
        self.udp = server.datagram(netns, addr, port, seconds=None)
        self.port = server.port_of(self.udp)
        self.tcp = server.listen(netns, addr, self.port, seconds=None)
        self.threads = [threading.Thread(target=target, daemon=True)
                        for target in (self._udp, self._tcp)]
        for thread in self.threads:
            thread.start()

    def _answer(self, ask, tcp):
        name, kind, _ = dns.question(ask)
        self.asked.append((name, kind, tcp))
        return self.handler(name, kind, ask, tcp)

    def _udp(self):
        with contextlib.suppress(OSError, ValueError):
            while True:
                ask, peer = self.udp.recvfrom(65535)
                if not peer:
                    return  # shut down
                self.ports.add(peer[1])
                answers = self._answer(ask, False)
                for answer in answers if isinstance(answers, list) else [answers]:
                    if answer is not None:
                        self.udp.sendto(answer, peer)

    def _tcp(self):
        with contextlib.suppress(OSError):
            while True:
                sock = self.tcp.accept()[0]
                threading.Thread(target=self._client, args=(sock,), daemon=True).start()

    def _client(self, sock):
        with contextlib.suppress(OSError, Failure), sock:
            while True:
                size = struct.unpack("!H", server.read_exactly(sock, 2))[0]
                answer = self._answer(server.read_exactly(sock, size), True)
                sock.sendall(struct.pack("!H", len(answer)) + answer)

    def close(self):
        for sock in (self.udp, self.tcp):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:  # while they wait, the port is in use
            thread.join(5)
        self.udp.close()
        self.tcp.close()


def address(name, kind, ask, tcp):
    return message(ask, 0, [(dns.A, 300, b"\xc0\0\2\1")] if kind == dns.A else [])


@contextlib.contextmanager
def scripted(handler=address, addr=SERVER):
    resolver = Scripted(shared_lan().s, addr, handler)
    try:
        yield resolver
    finally:
        resolver.close()


DNSMASQ = ["--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts", "--no-resolv",
           "--bind-interfaces", "--pid-file=", "--user=root", "--local-ttl=300",
           "--auth-ttl=300", "--log-facility=-", "--local=/test/",
           "--host-record=www.test,192.0.2.80,2001:db8::80",
           "--cname=alias.test,www.test", "--mx-host=test,mail.test,10",
           "--srv-host=_sip._tcp.test,www.test,5060,1,2",
           "--txt-record=text.test,hello,world",
           "--dns-rr=https.test,65,00010000010003026832",
           "--dns-rr=odd.test,65280,0badcafe"]


@contextlib.contextmanager
def dnsmasq(*options, addr=SERVER):
    big = ["--txt-record=big.test," + ",".join("%03d" % i + "x" * 240 for i in range(12))]
    process = Process([shutil.which("dnsmasq") or "/usr/sbin/dnsmasq",
                       "--listen-address=" + addr] + DNSMASQ + big + list(options),
                      shared_lan().s)

    def listens():
        check_that(process.alive(), "dnsmasq ended: " + process.err())
        return "status: NOERROR" in run("dig", "+tries=1", "+time=1", "@" + addr, "www.test",
                                        netns=shared_lan().r, check=False)

    try:
        wait_for(listens, 10, "dnsmasq's answer")
        yield
    finally:
        process.kill()


# --- the relay and its guest ---------------------------------------------------


class Guest:
    """A namespace on a tap of the relay."""

    def __init__(self, options, before):
        self.netns, self.dir = Netns(), scratch()
        self.stats_path = os.path.join(self.dir, "stats")
        read_end, write_end = os.pipe()
        self.process = Process([program(), "serve", "--link", "tap:tap0@" + self.netns.path,
                                "--ready-fd", str(write_end), "--stats", self.stats_path] +
                               list(options), shared_lan().r, pass_fds=[write_end],
                               before=before)
        os.close(write_end)
        wait_ready(self.process, read_end)
        for args in (("link", "set", "tap0", "up"), ("addr", "add", "10.0.2.15/24", "dev", "tap0"),
                     ("route", "add", "default", "via", "10.0.2.2"),
                     ("addr", "add", "fd00::15/64", "dev", "tap0", "nodad"),
                     ("-6", "route", "add", "default", "via", "fd00::2")):
            self.netns.ip(*args)

    def dig(self, *args, v=4):
        """dig's whole output; EDNS cookies off, so that answers may be cached."""
        if not any(a.startswith("@") for a in args):
            args = ("@" + DNS[v],) + args
        return run("dig", "+nocookie", "+tries=1", "+time=8", *args, netns=self.netns,
                   check=False)

    def socket(self, kind=socket.SOCK_DGRAM, addr=DNS[4]):
        with self.netns.entered():
            sock = socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, kind)
        sock.settimeout(20)
        sock.connect((addr, 53))
        return sock

    def ask(self, name, kind=dns.A, ident=7, addr=DNS[4]):
        with self.socket(addr=addr) as sock:
            sock.send(dns.query(ident, name, kind))
            return sock.recv(65535)

    def timed(self, name, **options):
        """Seconds until the answer, and its RCODE."""
        start = time.monotonic()
        answer = self.ask(name, **options)
        return time.monotonic() - start, answer[3] & 15

    def stats(self):
        self.process.stop()
        with open(self.stats_path) as file:
            return json.load(file)


@contextlib.contextmanager
def guest(*options, before=None):
    g = Guest(options, before)
    try:
        yield g
        check_that(not g.process.alive() or g.process.stop() == 0,
                   "status of the relay: " + g.process.err())
    finally:
        g.process.kill()
        g.netns.close()


def status(out):
    found = re.search(r"status: (\w+)", out)
    return found.group(1) if found else "nothing: " + out.strip()[-200:]


def flags(out):
    return re.search(r";; flags: ([a-z ]*);", out).group(1).split()


def records(out):
    """The answer section without TTLs, sorted."""
    lines = [line.split(None, 4) for line in out.splitlines()
             if line.strip() and not line.startswith(";")]
    return sorted((w[0], w[3], w[4]) for w in lines if len(w) == 5)


# --- what passes ---------------------------------------------------------------


TYPES = [("www.test", "A"), ("www.test", "AAAA"), ("alias.test", "A"), ("test", "MX"),
         ("text.test", "TXT"), ("_sip._tcp.test", "SRV"), ("https.test", "HTTPS"),
         ("odd.test", "TYPE65280"), ("www.test", "ANY"), ("www.test", "MX"),
         ("no.test", "A")]


@case(variants={"udp": ["+notcp"], "tcp": ["+tcp"]})
def every_type_of_dnsmasq_passes(how):
    with dnsmasq(), guest("--dns", SERVER) as g:
        for name, kind in TYPES:
            direct = run("dig", "+nocookie", "@" + SERVER, name, kind, *how,
                         netns=shared_lan().r)
            seen = g.dig(name, kind, *how)
            check((status(seen), records(seen)), (status(direct), records(direct)),
                  "%s %s" % (name, kind))


@case()
def answers_pass_byte_for_byte_whatever_the_rcode():
    def handler(name, kind, ask, _tcp):
        rcode = int(name.split(".")[0])
        return message(ask, rcode, [(kind, 77, b"\1" * kind)], [(6, 5, SOA)], 0x8530)

    with scripted(handler) as resolver, guest("--dns", SERVER, "--dns-cache", "0") as g:
        for v in (4, 6):
            for rcode in (0, 1, 2, 3, 4, 5, 9, 15):
                for kind in (1, 28, 64, 99, 255, 4711):
                    ask = dns.query(rcode * 256 + 1, "%d.MiXed.test" % rcode, kind)
                    with g.socket(addr=DNS[v]) as sock:
                        sock.send(ask)
                        check(sock.recv(65535), handler("%d" % rcode, kind, ask, False),
                              "answer of RCODE %d, type %d" % (rcode, kind))
        check_that(len(resolver.ports) > 10, "source ports seen: %d" % len(resolver.ports))


@case()
def three_thousand_bytes_and_truncation():
    with dnsmasq("--edns-packet-max=4096"), guest("--dns", SERVER) as g:
        for v in (4, 6):
            out = g.dig("+bufsize=4096", "+ignore", "+notcp", "big.test", "TXT", v=v)
            check(("tc" in flags(out), out.count("xxx\"")), (False, 12), "4,096 bytes of EDNS")
            out = g.dig("+bufsize=1232", "+ignore", "+notcp", "big.test", "TXT", v=v)
            check(("tc" in flags(out), len(records(out))), (True, 0), "1,232 bytes of EDNS")
            out = g.dig("+noedns", "+ignore", "+notcp", "big.test", "TXT", v=v)
            check_that("tc" in flags(out), "truncated without EDNS: " + out)
            out = g.dig("+noedns", "big.test", "TXT", v=v)
            check(out.count("xxx\""), 12, "strings after the retry by TCP")


@case()
def what_the_resolver_truncates_is_fetched_by_tcp():
    with dnsmasq("--edns-packet-max=1232"), guest("--dns", SERVER) as g:
        out = g.dig("+bufsize=4096", "+ignore", "+notcp", "big.test", "TXT")
        check(("tc" in flags(out), out.count("xxx\"")), (False, 12), "whole answer over UDP")


@case()
def malformed_queries_are_told_or_ignored():
    with scripted(), guest("--dns", SERVER) as g:
        with g.socket() as sock:
            for junk in (b"", b"x", b"\0" * 11, dns.query(1, "a.test")[:2] + b"\x80" * 30):
                sock.send(junk)
            sock.send(struct.pack("!HHHHHH", 9, 0x100, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1")
            answer = sock.recv(65535)
            check((answer[:2], answer[3] & 15), (b"\0\t", 1), "FORMERR")
        check(g.ask("after.test")[3] & 15, 0, "RCODE afterwards")


# --- failover ------------------------------------------------------------------


@case()
def first_resolver_dead_the_second_answers():
    with scripted(), guest("--dns", SILENT, "--dns", SERVER) as g:
        took, rcode = g.timed("first.test")
        check((rcode, took < 4), (0, True), "first query, after %.2f s" % took)
        for i in range(10):
            took, rcode = g.timed("next%d.test" % i)
            check((rcode, took < 1), (0, True), "query %d, after %.2f s" % (i, took))


@case()
def dead_resolver_is_used_again_when_it_lives():
    with scripted(addr=SECOND) as second, guest("--dns", SERVER, "--dns", SECOND) as g:
        check(g.ask("one.test")[3] & 15, 0, "RCODE while the first is closed")
        with scripted() as first:
            names = iter(range(10 ** 6))
            wait_for(lambda: g.ask("probe%d.test" % next(names)) and first.asked, 8,
                     "a probe", pause=0.1)
            wait_for(lambda: g.ask("more%d.test" % next(names)) and
                     first.asked[-1][0].startswith("more"), 5, "the first again", pause=0.05)
            before = len(second.asked)
            for i in range(5):
                g.ask("last%d.test" % i)
            check(len(second.asked), before, "queries to the second")


@case()
def all_dead_is_servfail_within_six_seconds():
    with guest("--dns", SILENT, "--dns", "198.51.100.67", "--dns", SECOND) as g:
        shared_lan().r.ip("neigh", "replace", "198.51.100.67", "lladdr", "02:00:00:00:00:67",
                          "dev", "up0", "nud", "permanent")
        took, rcode = g.timed("x.test")
        check((rcode, took < 6), (2, True), "RCODE after %.2f s" % took)
        check(status(g.dig("+tcp", "+time=7", "x.test")), "SERVFAIL", "status over TCP")
        check(g.stats()["dns_failed"], 2, "dns_failed")


@case()
def refused_everywhere_is_servfail_at_once():
    with guest("--dns", SERVER, "--dns", SECOND) as g:
        took, rcode = g.timed("x.test")
        check((rcode, took < 1), (2, True), "RCODE after %.2f s" % took)


@case()
def failure_of_one_resolver_is_asked_of_the_next():
    def broken(_name, _kind, ask, _tcp):
        return message(ask, 2)

    with scripted(broken), scripted(addr=SECOND), guest("--dns", SERVER, "--dns", SECOND) as g:
        check(g.ask("x.test")[3] & 15, 0, "RCODE")


@case()
def dead_resolver_slows_nothing_else():
    with guest("--dns", SILENT, "--dns", "198.51.100.68") as g:
        pending = g.socket()
        for ident in range(200):
            pending.send(dns.query(ident, "dead%d.test" % ident))
        echo = server.EchoServer(shared_lan().s, SERVER)
        for _ in range(5):
            took, rcode = g.timed("host.internal")
            check((rcode, took < 1), (0, True), "local name, after %.3f s" % took)
            start = time.monotonic()
            with g.netns.entered():
                sock = socket.create_connection((SERVER, echo.port), 5)
            sock.sendall(b"x")
            check(sock.recv(1), b"x", "echo")
            took = time.monotonic() - start
            check_that(took < 1, "TCP echo took %.3f s" % took)
            sock.close()
        got = sum(1 for _ in range(200) if pending.recv(512)[3] & 15 == 2)
        check(got, 200, "SERVFAIL answers")
        echo.close()


# --- resolv.conf ---------------------------------------------------------------


def own_etc(folder):
    """For a child before exec: the folder is its /etc."""
    def before():
        world.unshare(CLONE_NEWNS)
        for source, target, how in ((b"none", b"/", MS_REC | MS_PRIVATE),
                                    (folder.encode(), b"/etc", MS_BIND)):
            if world.LIBC.mount(source, target, None, how, None) < 0:
                raise OSError("mount")
    return before


def write(path, text):
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


@case()
def resolv_conf_is_followed():
    folder = scratch()
    conf, run_dir = os.path.join(folder, "resolv.conf"), os.path.join(folder, "run")
    write(conf, "nameserver %s\n" % SERVER)

    def says(number):
        return lambda _name, _kind, ask, _tcp: message(
            ask, 0, [(dns.A, 300, bytes([192, 0, 2, number]))])

    with scripted(says(1)), scripted(says(2), SECOND), guest(before=own_etc(folder)) as g:
        def answered_by():
            return g.ask("same.test")[-1]  # cached, unless the cache was emptied

        check(answered_by(), 1, "resolver at first")
        write(conf, "nameserver %s\n" % SECOND)
        wait_for(lambda: answered_by() == 2, 3, "the second after a rename")
        with open(conf, "w") as file:
            file.write("nameserver %s\n" % SERVER)
        wait_for(lambda: answered_by() == 1, 3, "the first after a write in place")
        os.unlink(conf)
        os.symlink("run/systemd/stub.conf", conf)
        check(answered_by(), 1, "resolver while the link leads nowhere")
        os.makedirs(os.path.join(run_dir, "systemd"))
        write(os.path.join(run_dir, "systemd", "stub.conf"), "nameserver %s\n" % SECOND)
        wait_for(lambda: answered_by() == 2, 3, "the second when the link's target appears")
        write(os.path.join(run_dir, "systemd", "stub.conf"), "nameserver %s\n" % SERVER)
        wait_for(lambda: answered_by() == 1, 3, "the first when the target is replaced")


# --- many, and TCP ---------------------------------------------------------------


@case()
def hundred_queries_at_once():
    with scripted(), guest("--dns", SERVER) as g:
        socks = [g.socket() for _ in range(100)]
        for ident, sock in enumerate(socks):
            sock.send(dns.query(ident, "n%d.test" % ident))
        for ident, sock in enumerate(socks):
            answer = sock.recv(512)
            check((answer[:2], answer[3] & 15), (struct.pack("!H", ident), 0), "answer")
            sock.close()


def framed(ident, name):
    ask = dns.query(ident, name)
    return struct.pack("!H", len(ask)) + ask


def read_answer(sock):
    return server.read_exactly(sock, struct.unpack("!H", server.read_exactly(sock, 2))[0])


@case(families=True)
def pipelined_tcp_split_at_odd_places(v):
    def handler(name, kind, ask, tcp):
        time.sleep(0.2 if name.startswith("0") else 0)
        return address(name, kind, ask, tcp)

    with scripted(handler), guest("--dns", SERVER) as g:
        sock = g.socket(socket.SOCK_STREAM, DNS[v])
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = b"".join(framed(i, "%d.test" % i) for i in range(10))
        for at in range(0, len(stream), 7):
            sock.sendall(stream[at:at + 7])
        sock.shutdown(socket.SHUT_WR)
        idents = [read_answer(sock)[1] for _ in range(10)]
        check(sorted(idents), list(range(10)), "identifiers")
        check_that(idents[0] != 0, "a slow answer holds up the others: %s" % idents)
        check(sock.recv(1), b"", "the end after all answers")
        sock.close()


@case()
def idle_tcp_connections_and_one_more_query():
    with scripted(), guest("--dns", SERVER) as g:
        idle = [g.socket(socket.SOCK_STREAM) for _ in range(8)]
        idle[0].sendall(b"\0")  # half of a length
        with g.socket(socket.SOCK_STREAM) as sock:
            sock.sendall(framed(5, "x.test"))
            check(read_answer(sock)[3] & 15, 0, "RCODE beside 8 idle connections")
        many = [g.socket(socket.SOCK_STREAM) for _ in range(80)]
        readable = []

        def closed():
            readable[:] = select.select(idle, [], [], 0)[0]
            return len(readable) == 8

        wait_for(closed, 5, "the longest idle make room")
        check([s.recv(1) for s in readable], [b""] * 8, "how they end")
        many[-1].sendall(framed(6, "y.test"))
        check(read_answer(many[-1])[3] & 15, 0, "RCODE on the newest")
        for sock in idle + many:
            sock.close()


@case()
def client_that_reads_nothing_is_bounded():
    def handler(_name, _kind, ask, _tcp):
        return message(ask, 0, [(16, 300, (b"\xff" + b"t" * 255) * 200)])

    with scripted(handler), guest("--dns", SERVER) as g:
        with g.socket(socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            stream = b"".join(framed(i & 0xff, "n%d.test" % i) for i in range(2000))
            sent = 0
            deadline = time.monotonic() + 2
            while sent < len(stream) and time.monotonic() < deadline:
                if select.select([], [sock], [], 0.1)[1]:
                    sent += sock.send(stream[sent:sent + 4096])
            check_that(g.process.resident_kib() < 64 * 1024, "memory: %d KiB" %
                       g.process.resident_kib())
            check(g.ask("host.internal")[3] & 15, 0, "RCODE of another query")


# --- forgery ---------------------------------------------------------------------


@case()
def forged_answers_are_rejected():
    lan = shared_lan()
    forger = server.datagram(lan.s, SECOND, 53)

    def forged(ask, ident=None, name=None):
        if name:
            ask = dns.query(0, name)
        if ident is not None:
            ask = struct.pack("!H", ident) + ask[2:]
        return message(ask, 0, [(dns.A, 300, b"\6\6\6\6")])

    def handler(name, kind, ask, tcp):
        ident = struct.unpack("!H", ask[:2])[0]
        for port in list(resolver.ports):
            forger.sendto(ask[:2] + forged(ask)[2:], (lan.RELAY[4], port))
        time.sleep(0.05)
        return [forged(ask, ident ^ 1), ask[:2] + forged(ask, name="evil.test")[2:], ask,
                b"\0", address(name, kind, ask, tcp)]

    with scripted(handler) as resolver, guest("--dns", SERVER) as g:
        for i in range(10):
            check(g.ask("n%d.test" % i)[-4:], b"\xc0\0\2\1", "address")
        check_that(len(resolver.ports) > 5, "few source ports: %s" % resolver.ports)
    forger.close()


# --- cache -----------------------------------------------------------------------


def ttl_of(answer):
    name_end = answer.index(b"\0", 12) + 5
    return struct.unpack_from("!I", answer, name_end + 6)[0]


@case()
def cached_answers_count_down():
    def handler(_name, _kind, ask, _tcp):
        return message(ask, 0, [(dns.A, 3, b"\1\2\3\4")])

    with scripted(handler) as resolver, guest("--dns", SERVER) as g:
        check(ttl_of(g.ask("TTL.test")), 3, "TTL at first")
        seen = set()

        def over():
            answer = g.ask("ttl.TEST")
            check(answer[13:16], b"ttl", "the spelling of the name")
            if len(resolver.asked) == 1:
                seen.add(ttl_of(answer))
            return len(resolver.asked) == 2

        wait_for(over, 5, "the end of the TTL", pause=0.02)
        check(seen, {3, 2, 1}, "TTLs from the cache")


@case()
def negative_answers_are_cached_by_their_soa():
    def handler(name, _kind, ask, _tcp):
        soa = [(6, 300, SOA)] if "soa" in name else []
        return message(ask, 0 if "data" in name else 3, [], soa)

    with scripted(handler) as resolver, guest("--dns", SERVER) as g:
        for name, times in (("soa.test", 1), ("nodata.soa.test", 1), ("bare.test", 3)):
            resolver.asked.clear()
            for _ in range(3):
                g.ask(name)
            check(len(resolver.asked), times, "queries for " + name)


@case()
def without_cache_every_query_is_asked():
    with scripted() as resolver, guest("--dns", SERVER, "--dns-cache", "0") as g:
        for _ in range(3):
            g.ask("x.test")
        check(len(resolver.asked), 3, "queries")


@case()
def other_queries_have_other_answers():
    with scripted() as resolver, guest("--dns", SERVER) as g:
        for args in ([], ["+dnssec"], ["+norec"], ["+cd"], ["+noedns"], ["+tcp"],
                     ["+subnet=192.0.2.0/24"], ["+subnet=198.51.100.0/24"]):
            g.dig("x.test", *args)
        check(len(resolver.asked), 8, "queries that reached the resolver")


# --- names of the relay ------------------------------------------------------------


@case()
def local_names_are_answered():
    with scripted() as resolver, guest("--dns", SERVER, "--dns-name", "box.lan=192.0.2.7",
                                       "--dns-name", "box.lan=2001:db8::7") as g:
        for name in ("host.internal", "Gateway.Internal", "host.containers.internal",
                     "host.docker.internal", "gateway.docker.internal"):
            check(g.dig("+short", name).split(), ["10.0.2.2"], name)
            check(g.dig("+short", name, "AAAA").split(), ["fd00::2"], name + " AAAA")
        check(g.dig("+short", "box.lan", v=6).split(), ["192.0.2.7"], "box.lan")
        check(g.dig("+short", "+tcp", "BOX.lan", "AAAA").split(), ["2001:db8::7"], "BOX.lan")
        out = g.dig("host.internal", "MX")
        check((status(out), records(out)), ("NOERROR", []), "MX of a local name")
        check(g.dig("+short", "-x", "10.0.2.2").split(), ["host.internal."], "PTR")
        check(g.dig("+short", "-x", "2001:db8::7").split(), ["box.lan."], "PTR of IPv6")
        check(resolver.asked, [], "queries that left the relay")


@case()
def without_ipv6_a_local_name_has_no_aaaa():
    with scripted(), guest("--dns", SERVER, "--no-ipv6") as g:
        out = g.dig("host.internal", "AAAA")
        check((status(out), records(out)), ("NOERROR", []), "AAAA")


@case()
def intercepted_queries_are_answered():
    with scripted(), guest("--dns", SERVER, "--dns-intercept") as g:
        for how in ("+notcp", "+tcp"):
            for addr in ("203.0.113.9", "10.0.2.2", "2001:db8:9::9"):
                check(g.dig("+short", how, "@" + addr, "x.test").split(), ["192.0.2.1"],
                      "answer of %s, %s" % (addr, how))


if __name__ == "__main__":
    world.need_namespaces()
    program()
    if is_passt():
        skip_file("these options are not passt's")
    if not shutil.which("dig"):
        skip_file("there is no dig")
    main()
