#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""UDP of every size, in fragments, with TTLs and path MTUs; who may answer, and
for how long. The rest of UDP is in sys_services.py."""

import random
import socket
import struct
import threading

from lib import packet as p
from lib import server, world
from lib.case import case, check, check_that, main, program
from lib.relay import bench

FULL = 65507  # both families: in IPv6 one could be 20 bytes longer
SIZES = (0, 1, 1472, 1473, 4096, FULL)


class Echo:
    """Echoes datagrams; remembers who asked and with which TTL."""

    def __init__(self, netns, addr):
        self.sock = server.datagram(netns, addr, 0, seconds=None)
        self.sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        if ":" in addr:
            self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        else:
            self.sock.setsockopt(socket.IPPROTO_IP, 12, 1)  # IP_RECVTTL
        self.addr, self.port = self.sock.getsockname()[:2]
        self.peers, self.ttls = [], []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            data, control, _, peer = self.sock.recvmsg(65536, 256)
            self.peers.append(peer)
            self.ttls += [struct.unpack("i", value)[0] for _, _, value in control]
            self.sock.sendto(data, peer)


class Whole:
    """Puts fragments to the guest together: a condition for guest.wait()."""

    def __init__(self, guest, sport, dport, mtu=1500):
        self.guest, self.ports, self.parts = guest, (sport, dport), {}
        self.frame_max = mtu + 14
        self.got = []

    def __call__(self):
        while self.guest.inbox:
            self._take(self.guest.inbox.popleft())
        return self.got

    def _take(self, x):
        if x.proto != p.UDP:
            return
        check_that(len(x.frame) <= self.frame_max, "a frame of %d bytes" % len(x.frame))
        payload = x.payload
        if x.fragment is not None:
            ident, offset, more = x.fragment
            parts = self.parts.setdefault(ident, {})
            parts[offset] = (x.payload, more)
            payload = b""
            more = True
            while more:
                if len(payload) not in parts:
                    return
                part, more = parts[len(payload)]
                payload += part
        if struct.unpack_from("!HH", payload) == self.ports:
            self.got.append(payload[8:])


def packets(t, v, dst, sport, dport, data, ident, size=1448):
    """One datagram as the guest's kernel would cut it at MTU 1500."""
    raw = p.udp(t.guest.IP[v], dst, sport, dport, data)
    room = {4: 1480, 6: 1460}[v]
    if len(raw) <= room:
        return [p.ip(t.guest.IP[v], dst, p.UDP, raw)]
    cut = p.fragments4 if v == 4 else p.fragments6
    return cut(t.guest.IP[v], dst, p.UDP, raw, ident, size)


def exchange(t, v, echo, data, ident, shuffle=lambda parts: parts, seconds=5, mtu=1500):
    whole = Whole(t.guest, echo.port, 6000, mtu)
    t.guest.inbox.clear()
    for raw in shuffle(packets(t, v, echo.addr, 6000, echo.port, data, ident)):
        t.guest.send_ip(raw)
    t.guest.wait(whole, seconds, "echo of %d bytes" % len(data))
    check_that(whole.got[0] == data, "echo of %d bytes differs" % len(data))


@case(families=True)
def every_size_passes_both_ways(v):
    with bench("--mtu", "1500") as t:
        echo = Echo(t.lan.s, t.lan.SERVER[v])
        for number, size in enumerate(SIZES):
            exchange(t, v, echo, server.pattern(size, seed=size), 100 + number)


@case(families=True)
def fragments_may_come_reversed_doubled_and_shuffled(v):
    ways = (lambda parts: parts[::-1], lambda parts: [x for x in parts for _ in (0, 1)][:-1],
            lambda parts: random.Random(7).sample(parts, len(parts)))
    with bench("--mtu", "1500") as t:
        echo = Echo(t.lan.s, t.lan.SERVER[v])
        for number, way in enumerate(ways):
            exchange(t, v, echo, server.pattern(20000, seed=number), number, way)
        check(len(echo.peers), 3, "datagrams at the server")


@case(families=True)
def overlap_drops_the_set_and_nothing_else(v):
    with bench("--mtu", "1500") as t:
        echo = Echo(t.lan.s, t.lan.SERVER[v])
        good = packets(t, v, echo.addr, 6000, echo.port, bytes(4000), 5)
        early = packets(t, v, echo.addr, 6000, echo.port, b"\1" * 4000, 5, 1440)
        for raw in [good[0], early[1]] + good[1:]:
            t.guest.send_ip(raw)
        exchange(t, v, echo, server.pattern(4000), 6)
        check(len(echo.peers), 1, "datagrams at the server")
        counts = t.relay.stop()
        check(counts["drop_fragment"], 1 + len(good), "drop_fragment")
        check(counts["reassembled"], 1, "reassembled")


@case(families=True)
def incomplete_sets_are_bounded(v):
    # AddressSanitizer would keep 256 MiB of what has been freed
    with bench("--mtu", "1500", environ={"ASAN_OPTIONS": "quarantine_size_mb=1"}) as t:
        echo = Echo(t.lan.s, t.lan.SERVER[v])
        before = t.relay.process.resident_kib()
        for ident in range(20000):
            t.guest.send_ip(packets(t, v, echo.addr, 6000, echo.port, bytes(2000), ident)[0])
            if ident % 200 == 0:
                t.guest.pump(0)
        exchange(t, v, echo, server.pattern(FULL), 0xABCD, seconds=20)
        grown = t.relay.process.resident_kib() - before
        check_that(grown < 16384, "grew by %d KiB" % grown)


@case()
def absent_checksum_is_allowed_in_ipv4_only():
    with bench() as t:
        for v in (4, 6):
            echo = Echo(t.lan.s, t.lan.SERVER[v])
            raw = p.udp(t.guest.IP[v], echo.addr, 6000, echo.port, b"plain")
            t.guest.inbox.clear()
            t.guest.send_ip(p.ip(t.guest.IP[v], echo.addr, p.UDP, raw[:6] + b"\0\0" + raw[8:]))
            if v == 4:
                t.guest.wait(Whole(t.guest, echo.port, 6000), 2, "an echo")
        check(t.relay.stop()["drop_checksum"], 1, "drop_checksum")
        check(len(echo.peers), 0, "datagrams over IPv6")


@case(families=True)
def too_large_for_the_hosts_path_is_told_with_its_mtu(v):
    with bench("--mtu", "9000") as t:
        echo = Echo(t.lan.s, t.lan.SERVER[v])
        data = server.pattern(4000)
        raw = p.ip(t.guest.IP[v], echo.addr, p.UDP,
                   p.udp(t.guest.IP[v], echo.addr, 6000, echo.port, data))
        kind = {4: (p.ICMP, 3, 4), 6: (p.ICMP6, 2, 0)}[v]
        error = t.guest.ask_ip(raw, lambda x: x.fragment is None and x.proto == kind[0]
                               and (x.kind, x.code) == kind[1:], 2, "an error")
        check(struct.unpack_from("!I", error.payload, 4)[0], 1500, "the path's MTU")
        head = {4: 20, 6: 40}[v]
        check(error.data[head:head + 4], raw[head:head + 4], "ports quoted")
        # in fragments, or without DF, it is the host's to cut
        exchange(t, v, echo, data, 77, mtu=9000)
        if v == 4:
            whole = Whole(t.guest, echo.port, 6000, 9000)
            t.guest.inbox.clear()
            t.guest.send_ip(p.ip4(t.guest.IP[4], echo.addr, p.UDP,
                                  p.udp(t.guest.IP[4], echo.addr, 6000, echo.port, data), frag=0))
            t.guest.wait(whole, 2, "an echo of what may be cut")


@case(families=True)
def ttl_is_carried_one_less(v):
    with bench() as t:
        echo = Echo(t.lan.s, t.lan.SERVER[v])
        for ttl in (2, 64, 255, 9):
            raw = p.udp(t.guest.IP[v], echo.addr, 6000, echo.port, b"hop")
            t.guest.ask_ip(p.ip(t.guest.IP[v], echo.addr, p.UDP, raw, ttl=ttl),
                           lambda x: x.proto == p.UDP, 2, "an echo at TTL %d" % ttl)
        check(echo.ttls, [1, 63, 254, 8], "TTLs at the server")


@case(families=True)
def ttl_of_1_ends_at_the_gateway(v):
    with bench() as t:
        raw = p.ip(t.guest.IP[v], t.lan.SERVER[v], p.UDP,
                   p.udp(t.guest.IP[v], t.lan.SERVER[v], 6000, 33434, b"hop"), ttl=1)
        kind = {4: (p.ICMP, 11, 0), 6: (p.ICMP6, 3, 0)}[v]
        error = t.guest.ask_ip(raw, lambda x: x.fragment is None and x.proto == kind[0]
                               and (x.kind, x.code) == kind[1:], 2, "time exceeded")
        check(error.src, t.guest.GATEWAY[v], "who says so")
        check_that(error.data.startswith(raw[:28]), "the packet is quoted as it was")
        check(t.relay.stop()["drop_ttl"], 1, "drop_ttl")


@case(families=True)
def refusals_of_the_hosts_routes_are_told(v):
    codes = {"UNREACHABLE": {4: (3, 1), 6: (1, 3)}, "PROHIBITED": {4: (3, 13), 6: (1, 1)},
             "NO_ROUTE": {4: (3, 0), 6: (1, 0)}}
    with bench() as t:
        for name, want in codes.items():
            addr = getattr(t.lan, name)[v]
            raw = p.ip(t.guest.IP[v], addr, p.UDP, p.udp(t.guest.IP[v], addr, 6000, 9, b"any"))
            error = t.guest.ask_ip(raw, lambda x: x.proto in (p.ICMP, p.ICMP6)
                                   and x.kind == want[v][0], 2, "an error for " + name)
            check((error.kind, error.code), want[v], name)


@case(families=True)
def one_datagram_then_a_stream_of_answers(v):
    """What the host sends keeps a flow, though the guest is silent."""
    with bench("--udp-timeout", "4") as t:
        sink = server.datagram(t.lan.s, t.lan.SERVER[v])
        t.guest.send_udp(t.lan.SERVER[v], 6000, server.port_of(sink), b"subscribe")
        peer = sink.recvfrom(100)[1]
        for number in range(8):
            sink.sendto(b"%d" % number, peer)
            t.guest.expect(lambda x: x.proto == p.UDP and x.data == b"%d" % number, 2,
                           "datagram %d" % number)
            t.guest.quiet(0.7)
        t.guest.quiet(5)
        t.guest.inbox.clear()
        sink.sendto(b"late", peer)
        t.guest.quiet(0.3)
        check_that(not any(x.proto == p.UDP for x in t.guest.inbox), "an expired flow answered")
        check(t.relay.stop()["udp_live"], 0, "udp_live")


@case(variants={"endpoint": False, "any": True})
def strangers_answer_only_if_let(let):
    with bench("--udp-filter", "any" if let else "endpoint") as t:
        known = server.datagram(t.lan.s, t.lan.SERVER[4])
        other = server.datagram(t.lan.s, t.lan.SECOND[4])
        t.guest.send_udp(t.lan.SERVER[4], 6000, server.port_of(known), b"hello")
        peer = known.recvfrom(100)[1]
        t.guest.inbox.clear()
        other.sendto(b"stranger", peer)
        known.sendto(b"known", peer)
        seen = []

        def look():
            seen.extend((x.src, x.data) for x in t.guest.inbox if x.proto == p.UDP)
            t.guest.inbox.clear()
            return (t.lan.SERVER[4], b"known") in seen

        t.guest.wait(look, 2, "the known one's answer")
        check((t.lan.SECOND[4], b"stranger") in seen, let, "the stranger was heard")


@case(families=True)
def bursts_of_many_sizes_arrive_in_order_and_whole(v):
    """They become trains on their way, both ways."""
    with bench() as t:
        echo = Echo(t.lan.s, t.lan.SERVER[v])
        want, sizes = [], random.Random(v)
        for number in range(200):
            size = sizes.choice((64, 64, 64, 1000, 1000, 300, 4, 1452))
            want.append(struct.pack("!I", number) + server.pattern(size - 4, seed=number % 7))
        t.guest.inbox.clear()
        frames = [p.ip(t.guest.IP[v], echo.addr, p.UDP,
                       p.udp(t.guest.IP[v], echo.addr, 6000, echo.port, data)) for data in want]
        whole = Whole(t.guest, echo.port, 6000)
        for start in range(0, 200, 50):
            for raw in frames[start:start + 50]:
                t.guest.send_ip(raw)
            t.guest.wait(lambda: len(whole()) >= start + 50, 3, "%d echoes" % (start + 50))
        check_that(whole.got == want, "the echoes differ")


if __name__ == "__main__":
    world.need_namespaces()
    program()
    main()
