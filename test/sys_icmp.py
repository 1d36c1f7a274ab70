#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Echo to other hosts, path MTUs and hops, with ping, traceroute and tracepath
in `lwrelay run` behind routers, and scripted guests on a stream link."""

import functools
import re
import shutil
import socket
import struct

from lib import packet as p
from lib import server, world
from lib.case import Skip, case, check, check_that, expecting, main, program
from lib.relay import bench
from lib.running import running
from lib.world import Netns, Process


class Hops:
    """R - A - B - S, where the relay runs in R; the last link's MTU is 1400."""

    ROUTERS = {4: ["10.91.0.2", "10.92.0.2"], 6: ["2001:db8:91::2", "2001:db8:92::2"]}
    SERVER = {4: "10.93.0.2", 6: "2001:db8:93::2"}
    MTU = 1400

    def __init__(self):
        nets = self.r, a, b, self.s = [Netns() for _ in range(4)]
        for i, mtu in enumerate((1500, 1500, self.MTU)):
            self._join(nets[i], nets[i + 1], 91 + i, mtu)
        for netns in nets:
            netns.sysctl("net.ipv4.ip_forward", 1)
            netns.sysctl("net.ipv6.conf.all.forwarding", 1)
            netns.sysctl("net.ipv4.icmp_ratelimit", 0)
            netns.sysctl("net.ipv6.icmp.ratelimit", 0)
        for netns, via in ((self.r, "91:2"), (a, "92:2"), (b, "92:1"), (self.s, "93:1")):
            net, host = via.split(":")
            netns.ip("route", "add", "default", "via", "10.%s.0.%s" % (net, host))
            netns.ip("-6", "route", "add", "default", "via", "2001:db8:%s::%s" % (net, host))
        with self.r.entered():
            world._allow_ping_sockets()

    @staticmethod
    def _join(near, far, number, mtu):
        up, down = "up%d" % number, "dn%d" % number
        near.ip("link", "add", up, "mtu", str(mtu), "type", "veth", "peer", "name", down,
                "mtu", str(mtu), "netns", far.path)
        for netns, name, host in ((near, up, 1), (far, down, 2)):
            netns.ip("addr", "add", "10.%d.0.%d/24" % (number, host), "dev", name)
            netns.ip("addr", "add", "2001:db8:%d::%d/64" % (number, host), "dev", name, "nodad")
            netns.ip("link", "set", name, "up")


@functools.lru_cache(maxsize=None)
def hops():
    return Hops()


def need(tool):
    if not shutil.which(tool):
        raise Skip("no " + tool)


def inside(*command, options=(), seconds=30):
    """Runs a command in `lwrelay run`; its status and what it says."""
    need(command[0])
    process = Process([program(), "run", "--map-root", *options, "--", *command], hops().r)
    status = process.wait(seconds)
    return status, process.out() + process.err()


def ping(v, *options):
    return inside("ping", "-%d" % v, "-n", "-c", "1", "-W", "3", *options, Hops.SERVER[v])


def said(out, what):
    check_that(re.search(what, out), "%r not in: %s" % (what, out.strip()[-400:]))


# --- with real clients -------------------------------------------------------


@case(families=True)
def ping_of_every_size_comes_back(v):
    head = {4: 28, 6: 48}[v]
    for size in (0, 1, 56, Hops.MTU - head, 4000, 20000):
        status, out = ping(v, "-s", str(size))
        if status and v == 6 and size > Hops.MTU:
            continue  # the first tells the host the path's MTU: see below
        check(status, 0, "status of ping -s %d: %s" % (size, out))
        said(out, "%d bytes from" % (size + 8))


@case()
def large_ping6_comes_back_once_the_path_is_known():
    status, out = inside("ping", "-6", "-n", "-c", "3", "-i", "0.3", "-W", "2", "-s", "4000",
                         Hops.SERVER[6])
    said(out, "4008 bytes from")
    check(status, 0, "status")


@case(families=True)
def ping_with_df_is_told_the_path_mtu_by_the_router(v):
    hops().r.ip("-%d" % v, "route", "flush", "cache")
    _, out = ping(v, "-M", "do", "-s", "1440")
    said(out, {4: r"From 10\.92\.0\.2 .*mtu = 1400", 6: "From 2001:db8:92::2 .*mtu=1400"}[v])


@case(families=True)
def ttl_ends_at_each_hop_in_turn(v):
    gateway = {4: "10.0.2.2", 6: "fd00::2"}[v]
    for ttl, who in enumerate([gateway] + Hops.ROUTERS[v], 1):
        _, out = ping(v, "-t", str(ttl))
        said(out, "From %s .*%s" % (who, {4: "Time to live exceeded", 6: "Hop limit"}[v]))
    status, _ = ping(v, "-t", "4")
    check(status, 0, "status with enough hops")


def traced(v, *options):
    status, out = inside("traceroute", "-%d" % v, "-n", "-q", "1", "-w", "3", "-m", "8",
                         *options, Hops.SERVER[v])
    check(status, 0, "status of traceroute: " + out)
    return re.findall(r"^ *\d+ +(\S+)", out, re.MULTILINE)[-8:]


@case(families=True)
def traceroute_by_udp_shows_every_hop(v):
    gateway = {4: "10.0.2.2", 6: "fd00::2"}[v]
    check(traced(v), [gateway] + Hops.ROUTERS[v] + [Hops.SERVER[v]], "hops")


@case(families=True)
def traceroute_by_echo_shows_every_hop(v):
    gateway = {4: "10.0.2.2", 6: "fd00::2"}[v]
    check(traced(v, "-I"), [gateway] + Hops.ROUTERS[v] + [Hops.SERVER[v]], "hops")


@case(families=True)
def traceroute_by_tcp_shows_every_hop(v):
    gateway = {4: "10.0.2.2", 6: "fd00::2"}[v]
    path = [gateway] + Hops.ROUTERS[v] + [Hops.SERVER[v]]
    listener = server.listen(hops().s, Hops.SERVER[v])
    check(traced(v, "-T", "-p", str(server.port_of(listener))), path, "hops to an open port")
    closed = server.closed_port(hops().s, Hops.SERVER[v])
    check(traced(v, "-T", "-p", str(server.port_of(closed))), path, "hops to a closed port")


def tcp_with_ttl(t, v, ttl):
    """A client's socket with a TTL, and an error queue, as mtr has it."""
    with t.guest.entered():
        sock = socket.socket({4: socket.AF_INET, 6: socket.AF_INET6}[v], socket.SOCK_STREAM)
    sock.settimeout(5)
    level, hops_option, report = {4: (socket.IPPROTO_IP, socket.IP_TTL, 11),
                                  6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 25)}[v]
    sock.setsockopt(level, hops_option, ttl)
    sock.setsockopt(level, report, 1)
    return sock


def reporter(sock, v):
    """Who reported the error that ended a connect."""
    _, control, _, _ = sock.recvmsg(1, 512, socket.MSG_ERRQUEUE)
    at, family = {4: (20, socket.AF_INET), 6: (24, socket.AF_INET6)}[v]
    return socket.inet_ntop(family, control[0][2][at:at + {4: 4, 6: 16}[v]])


@case(families=True)
def connect_ends_where_its_ttl_does(v):
    gateway = {4: "10.0.2.2", 6: "fd00::2"}[v]
    listener = server.listen(hops().s, Hops.SERVER[v])
    dest = (Hops.SERVER[v], server.port_of(listener))
    with running(lan=hops()) as t:
        for ttl, who in enumerate([gateway] + Hops.ROUTERS[v], 1):
            sock = tcp_with_ttl(t, v, ttl)
            with expecting(OSError, "a connect with TTL %d" % ttl):
                sock.connect(dest)
            check(reporter(sock, v), who, "who says that TTL %d ended" % ttl)
        for ttl in (4, 33):
            sock = tcp_with_ttl(t, v, ttl)
            sock.connect(dest)
            peer = server.accept(listener)
            sock.sendall(b"there")
            check(server.read_exactly(peer, 5), b"there", "data with TTL %d" % ttl)
            peer.sendall(b"back!")
            check(server.read_exactly(sock, 5), b"back!", "data with TTL %d" % ttl)
            sock.close()
            peer.close()


@case(families=True)
def ttl_of_a_connection_is_the_guests(v):
    """Seen on the wire of the server: two routers and the relay are before it."""
    with hops().s.entered():
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    wire.settimeout(5)
    listener = server.listen(hops().s, Hops.SERVER[v])
    with running(lan=hops()) as t:
        for ttl, arrives in ((64, 62), (63, 62), (128, 62), (40, 37), (4, 1)):
            sock = tcp_with_ttl(t, v, ttl)
            sock.connect((Hops.SERVER[v], server.port_of(listener)))
            sock.sendall(b"x")
            peer = server.accept(listener)
            check(peer.recv(1), b"x", "data")
            check(set(ttls(wire, v, peer.getpeername()[1])), {arrives},
                  "TTLs of a guest's TTL %d" % ttl)
            sock.close()
            peer.close()


def ttls(wire, v, port):
    """Of a client's segments up to the one that has payload."""
    at, tcp = {4: (8, 20), 6: (7, 40)}[v]
    while True:
        packet = wire.recv(2048)
        if packet[0] >> 4 != v or struct.unpack_from("!H", packet, tcp)[0] != port:
            continue
        yield packet[at]
        size = len(packet) if v == 6 else struct.unpack_from("!H", packet, 2)[0]
        if size > tcp + (packet[tcp + 12] >> 4) * 4:
            return


@case(families=True)
def tracepath_finds_the_path_mtu(v):
    status, out = inside("tracepath", "-%d" % v, "-n", "-m", "8", Hops.SERVER[v])
    check(status, 0, "status of tracepath: " + out)
    said(out, r"Resume: pmtu 1400 hops 4 ")
    for router in Hops.ROUTERS[v]:
        said(out, re.escape(router))


@case()
def forbidden_ping_sockets_are_said_once():
    need("ping")
    lan = hops()
    path = "net.ipv4.ping_group_range"
    try:
        lan.r.sysctl(path, "1 0")
        process = Process([program(), "run", "--", "ping", "-n", "-c", "3", "-i", "0.2", "-W", "1",
                           Hops.SERVER[4]], lan.r)
        check_that(process.wait(20) != 0, "ping succeeded")
        said(process.out(), "Packet filtered")
        check(process.err().count("ping_group_range"), 1, "warnings")
    finally:
        lan.r.sysctl(path, "0 65535")


# --- scripted ----------------------------------------------------------------


def is_reply(v, ident):
    proto, kind = {4: (p.ICMP, 0), 6: (p.ICMP6, 129)}[v]
    return lambda x: (x.proto == proto and x.fragment is None and x.kind == kind
                      and struct.unpack_from("!H", x.payload, 4)[0] == ident)


@case(families=True)
def identifier_sequence_and_payload_are_kept(v):
    with bench() as t:
        for ident, sequence, size in ((1, 0, 0), (0xFFFF, 0xFFFF, 1), (7, 1, 56),
                                      (7, 2, {4: 1472, 6: 1452}[v])):
            data = server.pattern(size, seed=size)
            raw = p.echo(t.guest.IP[v], t.lan.SERVER[v], ident, sequence, data)
            x = t.guest.ask_ip(raw, is_reply(v, ident), 2, "a reply of %d bytes" % size)
            check(x.src, t.lan.SERVER[v], "source")
            check(struct.unpack_from("!H", x.payload, 6)[0], sequence, "sequence")
            check_that(x.data == data, "payload of %d bytes differs" % size)


@case(families=True)
def two_guests_identifiers_do_not_mix(v):
    with bench() as t:
        t.guest.inbox.clear()
        for ident in range(100, 140):
            t.guest.send_ip(p.echo(t.guest.IP[v], t.lan.SERVER[v], ident, ident,
                                   str(ident).encode() * 4))
        seen = {}

        def look():
            for x in t.guest.inbox:
                if x.proto in (p.ICMP, p.ICMP6) and x.kind in (0, 129):
                    seen[struct.unpack_from("!H", x.payload, 4)[0]] = x.data
            t.guest.inbox.clear()
            return len(seen) == 40

        t.guest.wait(look, 3, "40 replies")
        for ident, data in seen.items():
            check(data, str(ident).encode() * 4, "payload of %d" % ident)


@case(families=True)
def ten_thousand_echoes_to_a_silent_address_are_bounded(v):
    with bench() as t:
        before = t.relay.process.resident_kib()
        for number in range(10000):
            t.guest.send_ip(p.echo(t.guest.IP[v], t.lan.SILENT[v], number & 0xFFFF, number,
                                   b"anyone there?"))
            if number % 100 == 0:
                t.guest.pump(0)
        raw = p.echo(t.guest.IP[v], t.lan.SERVER[v], 3, 9, b"you")
        t.guest.ask_ip(raw, is_reply(v, 3), 5, "a reply behind them")
        check_that(t.relay.process.descriptors() < 300, "%d descriptors" %
                   t.relay.process.descriptors())
        grown = t.relay.process.resident_kib() - before
        check_that(grown < 16384, "grew by %d KiB" % grown)
        counts = t.relay.stop()
        check_that(counts["echo_limited"] > 9000, "echo_limited %d" % counts["echo_limited"])


@case(families=True)
def echo_to_where_no_route_leads_is_told(v):
    codes = {"UNREACHABLE": {4: (3, 1), 6: (1, 3)}, "PROHIBITED": {4: (3, 13), 6: (1, 1)},
             "NO_ROUTE": {4: (3, 0), 6: (1, 0)}}
    with bench() as t:
        for name, want in codes.items():
            addr = getattr(t.lan, name)[v]
            raw = p.echo(t.guest.IP[v], addr, 5, 1, b"anyone?")
            error = t.guest.ask_ip(
                raw, lambda x: x.proto in (p.ICMP, p.ICMP6) and x.fragment is None
                and x.kind == want[v][0], 2, "an error for " + name)
            check((error.kind, error.code), want[v], name)
            check(error.src, t.guest.GATEWAY[v], "who says so")


if __name__ == "__main__":
    world.need_namespaces()
    program()
    main()
