#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""--outbound: every socket to a remote host leaves by the address or interface
that was given, and a family that cannot leave that way does not leave at all.

The host has two ways out, A by default and B. The same addresses are there at
the end of either, and every server says at which."""

import errno
import functools
import socket
import threading

from lib import server, world
from lib.case import Failure, case, check, check_that, main
from lib.dns import A, DnsServer
from lib.packet import family_of, packed
from lib.running import running
from lib.world import Netns, Process, run

FAR = {4: "203.0.113.7", 6: "2001:db8:7::7"}
OWN = {4: "10.82.0.1", 6: "2001:db8:82::1"}  # the host's address towards B
GATEWAY = {4: "10.0.2.2", 6: "fd00::2"}
DNS = {4: "10.0.2.3", 6: "fd00::3"}
NAMED = {"A": "192.0.2.1", "B": "192.0.2.2"}  # what each resolver says


class Side:
    """What is at the end of one way: echo servers that prefix their name."""

    def __init__(self, r, name, number, metric):
        self.netns, self.name = Netns(), name
        up = "up%d" % number
        r.ip("link", "add", up, "type", "veth", "peer", "name", "dn0", "netns",
             self.netns.path)
        for netns, dev, host in ((r, up, 1), (self.netns, "dn0", 2)):
            netns.ip("addr", "add", "10.%d.0.%d/24" % (number, host), "dev", dev)
            netns.ip("addr", "add", "2001:db8:%d::%d/64" % (number, host), "dev", dev, "nodad")
            netns.ip("link", "set", dev, "up")
        via = {4: "10.%d.0.%%d" % number, 6: "2001:db8:%d::%%d" % number}
        for v in (4, 6):
            family = "-%d" % v
            self.netns.ip("addr", "add", FAR[v], "dev", "lo", *(["nodad"] if v == 6 else []))
            self.netns.ip(family, "route", "add", "default", "via", via[v] % 1)
            r.ip(family, "route", "add", "default", "via", via[v] % 2, "metric", str(metric))
            r.ip(family, "route", "add", "default", "via", via[v] % 2, "table", str(number))
            r.ip(family, "rule", "add", "from", via[v] % 1, "table", str(number))
        # Only B answers a ping.
        self.netns.sysctl("net.ipv4.icmp_echo_ignore_all", int(name == "A"))
        self.netns.sysctl("net.ipv6.icmp.echo_ignore_all", int(name == "A"))

    def serve(self, v, port):
        """Greets every client by TCP and datagram with this side's name."""
        tcp = server.listen(self.netns, FAR[v], port, seconds=None)
        udp = server.datagram(self.netns, FAR[v], server.port_of(tcp), seconds=None)
        threading.Thread(target=self._tcp, args=(tcp,), daemon=True).start()
        threading.Thread(target=self._udp, args=(udp,), daemon=True).start()
        return server.port_of(tcp)

    def _tcp(self, listener):
        while True:
            sock, peer = listener.accept()
            sock.sendall(("%s %s" % (self.name, peer[0])).encode())
            sock.close()

    def _udp(self, sock):
        while True:
            peer = sock.recvfrom(2048)[1]
            sock.sendto(("%s %s" % (self.name, peer[0])).encode(), peer)


class Ways:
    def __init__(self):
        self.r = Netns()
        self.a, self.b = Side(self.r, "A", 81, 10), Side(self.r, "B", 82, 20)
        self.port = {}
        for v in (4, 6):
            self.port[v] = self.a.serve(v, 0)
            self.b.serve(v, self.port[v])
        with self.r.entered():
            world._allow_ping_sockets()


@functools.lru_cache(maxsize=None)
def ways():
    return Ways()


def by_tcp(t, v):
    with t.guest.entered():
        sock = socket.create_connection((FAR[v], ways().port[v]), 10)
    return recv_all(sock)


def recv_all(sock):
    out = b""
    while True:
        data = sock.recv(4096)
        if not data:
            return out.decode()
        out += data


def udp_socket(t, v):
    """One that tells of every ICMP error (IP_RECVERR)."""
    with t.guest.entered():
        sock = socket.socket(family_of(FAR[v]), socket.SOCK_DGRAM)
    sock.setsockopt(*{4: (socket.IPPROTO_IP, 11, 1), 6: (socket.IPPROTO_IPV6, 25, 1)}[v])
    sock.settimeout(10)
    return sock


def by_udp(t, v, sock=None):
    sock = sock or udp_socket(t, v)
    sock.sendto(b"who", (FAR[v], ways().port[v]))
    return sock.recvfrom(100)[0].decode()


def unreachable(what, how, *args):
    """It must fail because the network is not reachable, and soon."""
    try:
        how(*args)
    except OSError as error:
        check(error.errno, errno.ENETUNREACH, what)
        return
    raise Failure(what + " got through")


def ping(t, v, seconds=1):
    process = Process(["ping", "-%d" % v, "-n", "-c", "1", "-W", str(seconds), FAR[v]], t.guest)
    return process.wait(20) == 0


def out(*options):
    return running(*options, lan=ways())


OPTIONS = {"interface": ["--outbound", "up82"],
           "addresses": ["--outbound", OWN[4], "--outbound", OWN[6]],
           "both": ["--outbound", OWN[4], "--outbound", OWN[6], "--outbound", "up82"]}


@case(families=True)
def without_it_the_default_way_is_taken(v):
    with out() as t:
        check(by_tcp(t, v)[0], "A", "the way of TCP")
        check(by_udp(t, v)[0], "A", "the way of UDP")
        check(ping(t, v), False, "a ping is answered")


@case(variants=OPTIONS)
def every_socket_takes_the_way_that_is_given(options):
    with out(*options) as t:
        for v in (4, 6):
            check(by_tcp(t, v), "B " + OWN[v], "the way of TCP")
            check(by_udp(t, v), "B " + OWN[v], "the way of UDP")
            check(ping(t, v, 10), True, "a ping is answered")


def resolver(side, v, port=0):
    return DnsServer(side.netns, FAR[v], {("who.test", A): [packed(NAMED[side.name])]}, port)


def dig(t, v, *options):
    return run("dig", "@" + DNS[v], "+short", "+tries=1", "+time=10", *options, "who.test",
               netns=t.guest).strip()


@case(variants={"%s_ipv%d" % (k, v): (OPTIONS[k], v) for k in ("interface", "addresses")
                for v in (4, 6)})
def resolvers_are_asked_that_way(how):
    options, v = how
    first = resolver(ways().a, v)
    second = resolver(ways().b, v, first.port)
    with out("--dns", first.endpoint(), "--dns-cache", "0", *options) as t:
        for transport in ("+notcp", "+tcp"):
            check(dig(t, v, transport), NAMED["B"], "who was asked, " + transport)
    check((first.queries, second.queries), (0, 2), "queries of both")
    first.close()
    second.close()


@case(families=True)
def family_without_an_address_is_not_carried(v):
    """The address of a tunnel: nothing of the other family passes by it."""
    other = 10 - v
    servers = [resolver(side, w) for side in (ways().a, ways().b) for w in (other, v)]
    ends = [x.endpoint() for x in servers]
    with out("--outbound", OWN[v], "--dns-cache", "0", "--dns", ends[2], "--dns", ends[0],
             "--dns", ends[3]) as t:
        check(by_tcp(t, v), "B " + OWN[v], "the way of TCP")
        check(by_udp(t, v), "B " + OWN[v], "the way of UDP")
        unreachable("a connect of the other family", by_tcp, t, other)
        unreachable("a datagram of the other family", by_udp, t, other)
        check(ping(t, other, 5), False, "a ping of the other family")
        for transport in ("+notcp", "+tcp"):
            check(dig(t, v, transport), NAMED["B"], "who was asked, " + transport)
        if v == 4:
            check_that("default" not in t.guest.ip("-6", "route"), "IPv6 is offered")
    check([x.queries for x in servers], [0, 0, 0, 2], "queries of all")
    for x in servers:
        x.close()


@case(families=True)
def loopback_is_reached_whatever_the_way(v):
    """By a guest's socket that writes to remote hosts as well."""
    loopback = {4: "127.0.0.1", 6: "::1"}[v]
    local = DnsServer(ways().r, loopback, {("who.test", A): [packed("192.0.2.3")]})
    echo = server.datagram(ways().r, loopback)
    for options in OPTIONS.values():
        with out("--host-loopback", "--dns", local.endpoint(), *options) as t:
            for transport in ("+notcp", "+tcp"):
                check(dig(t, v, transport), "192.0.2.3", "the host's own resolver")
            for _ in range(2):
                sock = udp_socket(t, v)
                for _ in range(2):
                    check(by_udp(t, v, sock), "B " + OWN[v], "the way of UDP")
                    sock.sendto(b"x", (GATEWAY[v], server.port_of(echo)))
                    data, peer = echo.recvfrom(100)
                    check(peer[0], loopback, "who speaks to the loopback")
                    echo.sendto(b"y", peer)
                    check(sock.recvfrom(100)[0], b"y", "the loopback's answer")
    local.close()


@case()
def interface_that_is_gone_is_told():
    ways().r.ip("link", "add", "out0", "type", "veth", "peer", "name", "out1")
    with out("--outbound", "out0") as t:
        ways().r.ip("link", "del", "out0")
        unreachable("a connect", by_tcp, t, 4)
        unreachable("a datagram", by_udp, t, 4)


if __name__ == "__main__":
    world.need_namespaces()
    main()
