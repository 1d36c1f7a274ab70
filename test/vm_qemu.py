#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A stock Linux guest in QEMU, over the stream, the datagram and a tap link, and in
User Mode Linux over messages: it asks for its address, fetches, pushes,
half-closes, and runs iperf3."""

import contextlib
import hashlib
import os
import shutil

from lib import dns, server, vm, world
from lib.case import Failure, Skip, case, check, check_that, main, program
from lib.web import HttpServer
from lib.relay import Relay, is_passt, shared_lan, wait_ready
from lib.world import Netns, Process

MIB = 1 << 20
BOOT_SECONDS = 60
DOWN, UP = 16 * MIB, 8 * MIB

# Runs in the guest. Each RESULT line is a case below.
SCRIPT = """
ip link set eth0 up
udhcpc -i eth0 -n -q -f -t 5 -T 1 -s /dhcp
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    ip -6 addr show dev eth0 scope global | grep -v tentative | grep -q inet6 && break
    usleep 200000
done
echo RESULT slaac $(ip -6 addr show dev eth0 scope global | grep inet6)
echo RESULT route6 $(ip -6 route show default)
echo RESULT mtu $(cat /sys/class/net/eth0/mtu)
ping -c 3 -W 2 {gateway4} >/dev/null; echo RESULT ping4 $?
ping -c 3 -W 2 {gateway6} >/dev/null; echo RESULT ping6 $?
echo RESULT name $(nslookup www.example.test 2>&1 | grep -A2 www.example.test | grep Address)
echo RESULT page $(wget -q -O - http://www.example.test:{web4}/)
echo RESULT down4 $(wget -q -O - http://{server4}:{web4}/bytes/{down} | sha256sum)
echo RESULT down6 $(wget -q -O - "http://[{server6}]:{web6}/bytes/{down}" | sha256sum)
wget -q -O /tmp/up http://{server4}:{web4}/bytes/{up}
echo RESULT up4 $(nc {server4} {sink4} </tmp/up)
echo RESULT up6 $(nc {server6} {sink6} </tmp/up)
echo RESULT half4 $(echo question | nc {server4} {half4} | sha256sum)
echo RESULT half6 $(echo question | nc {server6} {half6} | sha256sum)
echo RESULT refused $(nc -w 3 {server4} {closed4} </dev/null 2>&1)
echo RESULT unreachable $(nc -w 3 {unreachable4} 80 </dev/null 2>&1)
for i in $(seq 1 50); do wget -q -O - http://{server4}:{web4}/ ; done | wc -l >/tmp/many
echo RESULT many $(cat /tmp/many)
if [ -x /bin/iperf3 ]; then
    iperf3 -c {server4} -p {iperf1} -t 2 -J >/tmp/i1; echo RESULT iperf_up $? $(grep -A9 '"sum_received"' /tmp/i1 | grep bits_per)
    iperf3 -c {server4} -p {iperf2} -t 2 -R -J >/tmp/i2; echo RESULT iperf_down $? $(grep -A9 '"sum_received"' /tmp/i2 | grep bits_per)
fi
udhcpc -i eth0 -n -q -f -t 3 -T 1 -s /dhcp >/dev/null 2>&1; echo RESULT again $?
"""


def hash_of(count):
    return hashlib.sha256(server.pattern(count)).hexdigest()


def answer_after_eof(sock):
    """The server of the half-close: reads all, then sends much."""
    server.read_all(sock)
    sock.sendall(server.pattern(DOWN))


def hash_back(sock):
    """The server of the upload: reads all, then says its hash."""
    sock.sendall(server.read_all(sock)[1].encode() + b"\n")


class Servers:
    """All that the guest's script talks to."""

    def __init__(self):
        lan = shared_lan()
        self.opened = []
        values = {"down": DOWN, "up": UP, "gateway4": "10.0.2.2", "gateway6": "fd00::2",
                  "unreachable4": lan.UNREACHABLE[4]}
        for v in (4, 6):
            addr = lan.SERVER[v]
            values["server%d" % v] = addr
            for name, opened in (("web", HttpServer(lan.s, addr)),
                                 ("sink", server.Service(lan.s, addr, hash_back)),
                                 ("half", server.Service(lan.s, addr, answer_after_eof))):
                values["%s%d" % (name, v)] = opened.port
                self.opened.append(opened)
        self.closed = server.closed_port(lan.s, lan.SERVER[4])
        values["closed4"] = server.port_of(self.closed)
        self.dns = dns.DnsServer(lan.s, lan.SERVER[4], dns.address_records(
            {"www.example.test": lan.SERVER[4]}))
        self.opened.append(self.dns)
        for number in (1, 2):
            values["iperf%d" % number] = self._iperf3(lan)
        self.values = values

    def _iperf3(self, lan):
        if not shutil.which("iperf3"):
            return 1
        with server.closed_port(lan.s, lan.SERVER[4]) as probe:
            port = server.port_of(probe)
        Process(["iperf3", "-s", "-1", "-p", str(port)], lan.s)
        return port

    def script(self):
        return SCRIPT.format(**self.values)

    def close(self):
        for opened in self.opened:
            opened.close()
        self.closed.close()


def boot(netns, network, servers):
    return vm.Machine(netns, servers.script(), network, BOOT_SECONDS).results()


@contextlib.contextmanager
def servers_of_the_guest():
    servers = Servers()
    try:
        yield servers
    finally:
        servers.close()


def on_link(kind, run):
    """run(relay, servers) starts a guest; what it saw."""
    if is_passt() and kind != "stream":
        raise Skip("passt has no such link")
    with servers_of_the_guest() as servers:
        relay = Relay(shared_lan().r, "--dns", servers.dns.endpoint(), "--mtu", "1500",
                      kind=kind)
        try:
            seen = run(relay, servers)
            relay.stop_process()
            return seen
        finally:
            relay.kill()


def over_stream():
    vm.kernel()
    return on_link("stream", lambda relay, servers: boot(shared_lan().r, [
        "-netdev", "stream,id=n,server=off,addr.type=unix,addr.path=" + relay.path,
        "-device", "virtio-net-pci,netdev=n,romfile="], servers))


def over_dgram():
    vm.kernel()
    return on_link("dgram", lambda relay, servers: boot(shared_lan().r, [
        "-netdev", "dgram,id=n,local.type=unix,local.path=%s/vm,remote.type=unix,"
        "remote.path=%s" % (relay.dir, relay.path),
        "-device", "virtio-net-pci,netdev=n,romfile="], servers))


def in_user_mode():
    vm.uml()
    return on_link("seqpacket", lambda relay, servers: vm.UserMode(
        shared_lan().r, servers.script(),
        "vec0:transport=bess,dst=%s,depth=128,gro=1,mac=52:54:00:12:34:56" % relay.path,
        BOOT_SECONDS).results())


def over_tap():
    """The relay's tap and QEMU's meet on a bridge in a namespace of their own."""
    if is_passt():
        raise Skip("passt has no tap of another namespace")
    vm.kernel()
    between = Netns()
    try:
        between.ip("link", "add", "br0", "type", "bridge", "forward_delay", "0")
    except Failure as failure:
        raise Skip("no bridge: %s" % failure)
    with servers_of_the_guest() as servers:
        read_end, write_end = os.pipe()
        relay = Process([program(), "serve", "--link", "tap:lwr0@" + between.path, "--dns",
                         servers.dns.endpoint(), "--ready-fd", str(write_end)],
                        shared_lan().r, pass_fds=[write_end])
        os.close(write_end)
        wait_ready(relay, read_end)
        try:
            between.ip("tuntap", "add", "vm0", "mode", "tap", "vnet_hdr")
            for name in ("lwr0", "vm0"):
                between.ip("link", "set", name, "master", "br0")
            for name in ("br0", "lwr0", "vm0"):
                between.ip("link", "set", name, "up")
            seen = boot(between, [
                "-netdev", "tap,id=n,ifname=vm0,script=no,downscript=no",
                "-device", "virtio-net-pci,netdev=n,romfile="], servers)
            check(relay.stop(), 0, "exit status of the relay")
            return seen
        finally:
            relay.kill()
            between.close()


WORLDS = {"stream": over_stream, "dgram": over_dgram, "tap": over_tap,
          "usermode": in_user_mode}
_seen = {}


def guest(kind):
    """What the guest saw; it boots once for all its cases."""
    if kind not in _seen:
        try:
            _seen[kind] = WORLDS[kind]()
        except (Failure, Skip) as problem:
            _seen[kind] = problem
    if isinstance(_seen[kind], Exception):
        raise _seen[kind]
    return _seen[kind]


def said(kind, name):
    seen = guest(kind).get(name)
    if seen is None:
        raise Failure("the guest said nothing of %s" % name)
    return seen


KINDS = {kind: kind for kind in WORLDS}


@case(seconds=BOOT_SECONDS + 150, variants=KINDS)
def guest_boots_and_gets_its_address_by_dhcp(kind):
    seen = said(kind, "dhcp")
    check(seen[0].split("/")[0], "10.0.2.15", "address")
    if not is_passt():
        check(seen[1:3], ["10.0.2.2", "10.0.2.3"], "router and DNS")
        check(said(kind, "mtu"), ["1500"], "MTU")


@case(variants=KINDS)
def guest_configures_ipv6_by_itself(kind):
    check_that("fd00:" in " ".join(said(kind, "slaac")), "addresses: %s" % said(kind, "slaac"))
    check(said(kind, "route6")[:2], ["default", "via"], "default route")


@case(variants=KINDS)
def guest_pings_the_gateway(kind):
    check((said(kind, "ping4"), said(kind, "ping6")), (["0"], ["0"]), "status of ping")


@case(variants=KINDS)
def guest_resolves_and_fetches(kind):
    check_that("198.51.100.2" in " ".join(said(kind, "name")), "nslookup said %s" %
               said(kind, "name"))
    check(" ".join(said(kind, "page")), "hello from the server", "the page")


@case(variants=KINDS)
def guest_downloads_with_equal_hash(kind):
    for v in ("4", "6"):
        check(said(kind, "down" + v)[0], hash_of(DOWN), "hash of the download, IPv" + v)


@case(variants=KINDS)
def guest_uploads_with_equal_hash(kind):
    for v in ("4", "6"):
        check(said(kind, "up" + v), [hash_of(UP)], "hash of the upload, IPv" + v)


@case(variants=KINDS)
def guest_half_closes_and_reads_the_answer(kind):
    for v in ("4", "6"):
        check(said(kind, "half" + v)[0], hash_of(DOWN), "hash of the answer, IPv" + v)


@case(variants=KINDS)
def guest_is_told_of_refused_and_unreachable(kind):
    check_that("refused" in " ".join(said(kind, "refused")), "closed port: %s" %
               said(kind, "refused"))
    check_that("No route" in " ".join(said(kind, "unreachable")), "unreachable: %s" %
               said(kind, "unreachable"))


@case(variants=KINDS)
def guest_makes_fifty_connections(kind):
    check(said(kind, "many"), ["50"], "pages fetched")


@case(variants=KINDS)
def guest_runs_iperf3_both_ways(kind):
    if not shutil.which("iperf3"):
        raise Skip("iperf3 is not installed")
    for name in ("iperf_up", "iperf_down"):
        seen = said(kind, name)
        check(seen[0], "0", "status of " + name)
        check_that(float(seen[-1].strip(",")) > 1e6, "%s: %s" % (name, seen))


@case(variants=KINDS)
def guest_renews_its_lease(kind):
    check(said(kind, "again"), ["0"], "status of a second udhcpc")


if __name__ == "__main__":
    world.need_namespaces()
    program()
    main()
