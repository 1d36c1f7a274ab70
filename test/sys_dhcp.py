#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Real clients of DHCPv4, DHCPv6 and router advertisements behind a tap, one or
several of them on a bridge, and a host that loses IPv6 and gets it back."""

import contextlib
import errno
import hashlib
import json
import os
import pwd
import re
import shutil
import socket
import time

from lib import server, world
from lib.case import Failure, Skip, case, check, check_that, main, program, wait_for, within
from lib.guest import Background
from lib.relay import is_passt, wait_ready
from lib.world import Lan, Netns, Process, run, scratch

DOWN = 4 << 20
RESOLV_CONF = "nameserver 198.51.100.2\nsearch corp.example test\n"

# What a client's script does: it configures the interface, says what it was told.
HOOK = """#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
what=${reason:-$1}
case $what in
PREINIT|PREINIT6|deconfig) ip link set "$interface" up ;;
BOUND|RENEW|REBIND|REBOOT)
    ip addr replace "$new_ip_address/$new_subnet_mask" dev "$interface"
    ip route replace default via "${new_routers%% *}" ;;
BOUND6|RENEW6|REBIND6)
    [ -z "$new_ip6_address" ] || ip addr replace "$new_ip6_address/128" dev "$interface" nodad ;;
bound|renew)
    [ -z "$ip" ] || ip addr replace "$ip/$mask" dev "$interface"
    [ -z "$ipv6" ] || ip addr replace "$ipv6/128" dev "$interface" nodad
    [ -z "$router" ] || ip route replace default via "${router%% *}" ;;
esac
env >"$HOOK_DIR/new"
mv "$HOOK_DIR/new" "$HOOK_DIR/$what"
"""


class Box:
    """A guest: a namespace with an interface eth0 and a client's state."""

    def __init__(self, netns):
        self.netns = netns
        self.dir = scratch()
        self.hook = os.path.join(self.dir, "hook")
        with open(self.hook, "w") as file:
            file.write(HOOK)
        os.chmod(self.hook, 0o755)
        self.env = dict(os.environ, HOOK_DIR=self.dir)

    def start(self, *argv):
        need(argv[0])
        return Process(list(argv), self.netns, env=self.env)

    def client(self, *argv, seconds=25):
        """Runs a client to its end; it must succeed."""
        process = self.start(*argv)
        status = process.wait(seconds)
        check_that(status == 0, "%s: status %d: %s %s" % (
            argv[0], status, process.out()[-300:], process.err()[-600:]))
        return process

    def told(self, what):
        """The environment of the hook when it was last called for this."""
        path = os.path.join(self.dir, what)
        check_that(os.path.exists(path), "the client never came to %s, but to %s" % (
            what, sorted(os.listdir(self.dir))))
        with open(path) as file:
            return dict(x.split("=", 1) for x in file.read().splitlines() if "=" in x)

    def dhclient(self, *flags):
        state = os.path.join(self.dir, "leases")
        return self.client("dhclient", "-1", "-v", "-sf", self.hook, "-lf", state,
                           "-e", "HOOK_DIR=" + self.dir,
                           "-pf", os.path.join(self.dir, "pid"), *flags, "eth0")

    def udhcpc(self, *flags):
        return self.client("busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "3", "-T", "2",
                           "-s", self.hook, *flags)

    def addresses(self, family):
        found = json.loads(self.netns.ip("-j", "-%d" % family, "addr", "show", "dev", "eth0"))
        return [a["local"] for link in found for a in link.get("addr_info", ())
                if a["scope"] == "global" and not a.get("deprecated")
                and not a.get("tentative")]

    def routes6(self):
        return self.netns.ip("-6", "route", "show", "default")

    def connect(self, address, port, seconds=5):
        with self.netns.entered():
            sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        sock.settimeout(seconds)
        try:
            sock.connect((address, port))
        except OSError:
            sock.close()
            raise
        return sock

    def stop_dhclient(self):
        with contextlib.suppress(OSError, ValueError):
            with open(os.path.join(self.dir, "pid")) as file:
                os.kill(int(file.read()), 15)


def need(command):
    if not shutil.which(command):
        raise Skip("%s is not installed" % command)


class Net:
    """A relay whose tap is in a namespace of its own; boxes on a bridge there,
    or one box that has the tap itself."""

    def __init__(self, *options, boxes=1, macs=(), lan=None):
        if is_passt():
            raise Skip("passt has no tap of another namespace")
        self.lan = lan or shared_lan()
        self.outer = Netns()
        name = "eth0" if boxes == 1 else "lwr0"
        self.stats_path = os.path.join(scratch(), "stats")
        read_end, write_end = os.pipe()
        self.relay = Process([program(), "serve", "--link", "tap:%s@%s" % (name, self.outer.path),
                              "--ready-fd", str(write_end), "--stats", self.stats_path,
                              *options], self.lan.r, pass_fds=[write_end],
                             before=with_resolv_conf)
        os.close(write_end)
        wait_ready(self.relay, read_end)
        if boxes == 1:
            self.boxes = [Box(self.outer)]
            for mac in macs:
                self.outer.ip("link", "set", "eth0", "address", mac)
        else:
            self._bridge(boxes, macs)
        for box in self.boxes:
            box.netns.sysctl("net.ipv6.conf.eth0.accept_dad", 0)

    def _bridge(self, count, macs):
        self.outer.ip("link", "add", "br0", "type", "bridge", "forward_delay", "0")
        self.outer.sysctl("net.ipv6.conf.br0.disable_ipv6", 1)
        self.outer.sysctl("net.ipv6.conf.lwr0.disable_ipv6", 1)
        self.boxes = [Box(Netns()) for _ in range(count)]
        for i, box in enumerate(self.boxes):
            port = "port%d" % i
            self.outer.ip("link", "add", port, "type", "veth", "peer", "name", "eth0",
                          "netns", box.netns.path)
            if i < len(macs):
                box.netns.ip("link", "set", "eth0", "address", macs[i])
            self.outer.ip("link", "set", port, "master", "br0", "up")
        self.outer.ip("link", "set", "lwr0", "master", "br0", "up")
        self.outer.ip("link", "set", "br0", "up")

    def stop(self):
        check(self.relay.stop(), 0, "exit status of the relay")
        with open(self.stats_path) as file:
            return json.load(file)

    def close(self):
        for box in self.boxes:
            box.stop_dhclient()
        self.relay.kill()


_lan = []


def shared_lan():
    if not _lan:
        _lan.append(Lan())
    return _lan[0]


def private_mounts(*empty):
    """In a child, before it runs: mounts of its own, and some empty folders."""
    world.unshare(0x00020000)  # CLONE_NEWNS
    world._libc("mount", b"none", b"/", None, 0x44000, None)  # MS_REC | MS_PRIVATE
    for path in empty:
        world._libc("mount", b"none", path.encode(), b"tmpfs", 0, None)


def with_resolv_conf():
    """In the relay's process: a resolv.conf of its own."""
    path = os.path.join("/tmp", "lwrelay-resolv-%d" % os.getpid())
    with open(path, "w") as file:
        file.write(RESOLV_CONF)
    try:
        private_mounts()
        world._libc("mount", path.encode(), b"/etc/resolv.conf", None, 0x1000, None)  # MS_BIND
    finally:
        os.unlink(path)


@contextlib.contextmanager
def net(*options, **kwargs):
    n = Net(*options, **kwargs)
    try:
        yield n
        if n.relay.alive():
            n.stop()
    finally:
        n.close()


# --- DHCPv4 -------------------------------------------------------------------


@case()
def dhclient_is_told_everything():
    with net("--mtu", "1400") as n:
        box = n.boxes[0]
        box.dhclient("-4")
        seen = box.told("BOUND")
        for name, value in (("ip_address", "10.0.2.15"), ("subnet_mask", "255.255.255.0"),
                            ("routers", "10.0.2.2"), ("domain_name_servers", "10.0.2.3"),
                            ("interface_mtu", "1400"), ("domain_name", "corp.example"),
                            ("dhcp_server_identifier", "10.0.2.2"),
                            ("dhcp_lease_time", "86400"), ("broadcast_address", "10.0.2.255")):
            check(seen.get("new_" + name), value, name)
        check_that("corp.example" in seen.get("new_domain_search", ""),
                   "search domains: %s" % seen.get("new_domain_search"))


@case()
def dhclient_comes_back_from_its_lease_file_and_releases():
    with net() as n:
        box = n.boxes[0]
        box.dhclient("-4")
        box.stop_dhclient()
        box.dhclient("-4")
        check(box.told("REBOOT")["new_ip_address"], "10.0.2.15", "address after a restart")
        box.client("dhclient", "-4", "-r", "-v", "-sf", box.hook, "-lf",
                   os.path.join(box.dir, "leases"), "-pf", os.path.join(box.dir, "pid"), "eth0")
        box.udhcpc()
        check(box.told("bound")["ip"], "10.0.2.15", "address after the release")
        counters = n.stop()
        check_that(counters["dhcp_acks"] >= 3, "dhcp_acks: %d" % counters["dhcp_acks"])


@case()
def udhcpc_is_told_what_it_asks_for():
    with net() as n:
        box = n.boxes[0]
        box.udhcpc("-O", "search", "-O", "staticroutes", "-O", "mtu", "-O", "hostname", "-x",
                   "hostname:box-1", "-F", "box-1")
        seen = box.told("bound")
        check((seen["ip"], seen["router"], seen["dns"]), ("10.0.2.15", "10.0.2.2", "10.0.2.3"),
              "address, router, DNS")
        check(seen.get("search"), "corp.example test", "search domains")
        check(seen.get("staticroutes"), "0.0.0.0/0 10.0.2.2", "classless routes")
        check(seen.get("hostname"), "box-1", "host name")


@case()
def udhcpc_starts_over_with_a_foreign_address():
    with net() as n:
        n.boxes[0].udhcpc("-r", "192.168.77.5")
        check(n.boxes[0].told("bound")["ip"], "10.0.2.15", "address")


@case()
def udhcpc_renews_by_unicast_and_releases_at_its_end():
    with net() as n:
        box = n.boxes[0]
        client = box.start("busybox", "udhcpc", "-i", "eth0", "-f", "-R", "-s", box.hook)
        path = os.path.join(box.dir, "bound")
        wait_for(lambda: os.path.exists(path), 10, "a lease")
        client.send_signal(10)  # SIGUSR1: renew now
        wait_for(lambda: os.path.exists(os.path.join(box.dir, "renew")), 10, "a renewal")
        client.stop()
        counters = n.stop()
        # busybox may miss an answer that comes before its socket is open.
        check_that(counters["dhcp_acks"] >= 2 and not counters["dhcp_refused"],
                   "dhcp_acks %(dhcp_acks)d, dhcp_refused %(dhcp_refused)d" % counters)


@case()
def dhcpcd_comes_up_with_rapid_commit():
    with net() as n:
        box = n.boxes[0]
        conf = os.path.join(box.dir, "conf")
        with open(conf, "w") as file:
            file.write("option rapid_commit\nduid\n")
        need("dhcpcd")
        state = scratch()

        def private():
            private_mounts("/run", "/var/lib")
            os.makedirs("/var/lib/dhcpcd")
            os.chdir(state)

        dhcpcd = Process(["dhcpcd", "-B", "-4", "-1", "-d", "-f", conf, "-c", "/bin/true",
                          "--noarp", "eth0"], box.netns, before=private)
        status = dhcpcd.wait(25)
        check_that("leased 10.0.2.15" in dhcpcd.err(), "dhcpcd ended with %d: %s" % (
            status, dhcpcd.err()[-800:]))


NETWORKD = "/lib/systemd/systemd-networkd"
NETWORK_FILE = """[Match]
Name=eth0
[Network]
DHCP=yes
IPv6AcceptRA=yes
[DHCPv4]
RapidCommit=yes
"""


@case()
def systemd_networkd_comes_up_with_both_families():
    need(NETWORKD)
    try:
        user = pwd.getpwnam("systemd-network").pw_uid
    except KeyError:
        raise Skip("there is no user systemd-network")
    with net() as n:
        box = n.boxes[0]

        def private():
            private_mounts("/run")
            # Its own /sys is how it sees the namespace's interfaces.
            world._libc("mount", b"sysfs", b"/sys", b"sysfs", 1, None)  # MS_RDONLY
            for folder in ("network", "netif/links", "netif/leases", "netif/lldp"):
                os.makedirs("/run/systemd/" + folder)
            for folder, _, _ in os.walk("/run/systemd"):
                os.chown(folder, user, -1)
            with open("/run/systemd/network/10.network", "w") as file:
                file.write(NETWORK_FILE)

        networkd = Process([NETWORKD], box.netns, before=private,
                           env=dict(os.environ, SYSTEMD_LOG_TARGET="console"))
        try:
            wait_for(lambda: box.addresses(4) == ["10.0.2.15"] or not networkd.alive(), 15,
                     "an IPv4 address")
            wait_for(lambda: "fd00::15" in box.addresses(6) and len(box.addresses(6)) == 2
                     and "via fe80::2" in box.routes6(), 15, "IPv6 addresses and route")
        except Failure as failure:
            raise Failure("%s: %s" % (failure, networkd.err()[-600:]))
        networkd.stop()
        counters = n.stop()
        check((counters["dhcp_acks"], counters["dhcp_refused"]), (2, 0), "ACKs, refused")


@case()
def without_an_ipv4_route_leases_go_on_and_connects_fail_at_once():
    lan = Lan()
    lan.r.ip("route", "del", "default")
    with net(lan=lan) as n:
        box = n.boxes[0]
        box.udhcpc()
        fails_at_once(box, "192.0.2.1")
    lan.close()


# --- several guests behind one link ---------------------------------------------

MACS = ("52:54:00:00:00:0a", "52:54:00:00:00:0b", "52:54:00:00:00:0c")


def fetch(box, listener, version):
    """A download whose server starts when the client is connected."""
    sock = box.connect(shared_lan().SERVER[version], server.port_of(listener))
    return sock, server.accept(listener)


@case()
def guests_on_a_bridge_each_get_an_address_and_their_own_frames():
    with net(boxes=3, macs=MACS) as n:
        for box in n.boxes:
            box.udhcpc()
        check([b.told("bound")["ip"] for b in n.boxes],
              ["10.0.2.15", "10.0.2.16", "10.0.2.17"], "addresses")
        listener = server.listen(n.lan.s, n.lan.SERVER[4])
        pairs = [fetch(box, listener, 4) for box in n.boxes]
        # All are idle now, and the last one spoke last: data go to each.
        for i, (_, far) in enumerate(pairs):
            far.sendall(b"%d" % i)
        check([near.recv(1) for near, _ in pairs], [b"0", b"1", b"2"], "bytes")
        sent = hashlib.sha256(server.pattern(DOWN)).hexdigest()
        workers = [Background(lambda far=far: (far.sendall(server.pattern(DOWN)),
                                                      far.close()))
                   for _, far in pairs]
        reads = [Background(lambda near=near: server.read_all(near)[1])
                 for near, _ in pairs]
        check([r.result() for r in reads], [sent] * 3, "hashes")
        for w in workers:
            w.result()
        listener.close()


@case()
def leases_are_kept_for_their_guests():
    with net("--lease", MACS[1] + "=10.0.2.15,second", "--lease", MACS[2] + "=10.0.2.200",
             boxes=3, macs=MACS) as n:
        for box in n.boxes:
            box.udhcpc("-O", "hostname")
        seen = [b.told("bound") for b in n.boxes]
        check([s["ip"] for s in seen], ["10.0.2.16", "10.0.2.15", "10.0.2.200"], "addresses")
        check(seen[1].get("hostname"), "second", "host name")


@case()
def guests_on_a_bridge_have_ipv6_of_their_own():
    with net(boxes=2, macs=MACS) as n:
        for box in n.boxes:
            box.netns.ip("link", "set", "eth0", "up")
        for box in n.boxes:
            wait_for(lambda b=box: b.addresses(6), 15, "an address")
        listener = server.listen(n.lan.s, n.lan.SERVER[6])
        pairs = [fetch(box, listener, 6) for box in n.boxes]
        for i, (_, far) in enumerate(pairs):
            far.sendall(b"%d" % i)
        check([near.recv(1) for near, _ in pairs], [b"0", b"1"], "bytes")
        listener.close()


# --- IPv6 -----------------------------------------------------------------------


def up(box):
    box.netns.ip("link", "set", "eth0", "up")
    wait_for(lambda: "fe80" in box.netns.ip("-6", "addr", "show", "dev", "eth0"), 5,
             "a link-local address")


@case()
def kernel_configures_itself():
    with net("--mtu", "1400") as n:
        box = n.boxes[0]
        up(box)
        wait_for(lambda: box.addresses(6), 10, "an address")
        check_that("via fe80::2" in box.routes6(), "default route: %s" % box.routes6())
        with box.netns.entered(), open("/proc/sys/net/ipv6/conf/eth0/mtu") as file:
            check(int(file.read()), 1400, "MTU")


@case()
def rdisc6_and_ndisc6_see_a_router():
    need("rdisc6")
    with net() as n:
        box = n.boxes[0]
        up(box)
        said = box.client("rdisc6", "-1", "-r", "3", "eth0").out()
        for what in (r"Stateful address conf.*:\s+Yes", r"Stateful other conf.*:\s+Yes",
                     r"Router lifetime\s+:\s+1800", r"MTU\s+:\s+\d+",
                     r"Prefix\s+:\s+fd00::/64", r"Recursive DNS server\s+: fd00::3",
                     r"DNS search list\s+: corp.example"):
            check_that(re.search(what, said), "rdisc6: no %s in %s" % (what, said))
        wait_for(lambda: box.addresses(6), 10, "an address")
        for own in ("fd00::2", "fd00::3", "fe80::2"):
            said = box.client("ndisc6", "-1", own, "eth0").out().lower()
            check_that("52:55:0a:00:02:02" in said, "ndisc6 %s: %s" % (own, said))
        stranger = box.start("ndisc6", "-1", "-r", "1", "fd00::99", "eth0")
        check_that(stranger.wait(10) != 0, "somebody answers for fd00::99")


@case()
def dhclient_gets_an_ipv6_address_and_parameters():
    with net() as n:
        box = n.boxes[0]
        up(box)
        box.dhclient("-6")
        seen = box.told("BOUND6")
        check(seen.get("new_ip6_address"), "fd00::15", "address")
        check(seen.get("new_dhcp6_name_servers"), "fd00::3", "DNS")
        check_that("corp.example" in seen.get("new_dhcp6_domain_search", ""), "search domains")
        box.stop_dhclient()
        box.client("dhclient", "-6", "-r", "-v", "-sf", box.hook, "-lf",
                   os.path.join(box.dir, "leases"), "-pf", os.path.join(box.dir, "pid"), "eth0")
        counters = n.stop()
        check((counters["dhcp_acks"], counters["drop_malformed"]), (1, 0), "ACKs, malformed")


@case()
def dhclient_asks_for_parameters_only():
    with net() as n:
        box = n.boxes[0]
        up(box)
        box.dhclient("-6", "-S")
        found = [f for f in os.listdir(box.dir) if f in ("BOUND6", "INFORM6", "RENEW6")]
        check_that(found, "the client came to %s" % os.listdir(box.dir))
        check(box.told(found[0]).get("new_dhcp6_name_servers"), "fd00::3", "DNS")


def fails_at_once(box, address):
    def failure():
        start = time.monotonic()
        try:
            box.connect(address, 80).close()
            raise Failure("the connect succeeded")
        except OSError as error:
            check_that(error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH),
                       "the connect failed as %s" % error)
        return time.monotonic() - start

    within(0.5, failure, "the connect")


@case()
def ipv6_follows_the_host():
    lan = Lan()
    with net(lan=lan) as n:
        box = n.boxes[0]
        up(box)
        wait_for(lambda: box.addresses(6), 10, "an address")
        lan.r.ip("-6", "route", "del", "default")
        wait_for(lambda: not box.routes6(), 5, "the default route's end")
        check(box.addresses(6), [], "addresses that are not deprecated")
        fails_at_once(box, "2001:db8:3::1")
        lan.r.ip("-6", "route", "add", "default", "via", lan.SERVER[6])
        wait_for(lambda: "via fe80::2" in box.routes6() and box.addresses(6), 10,
                 "the default route's return")
        lan.r.ip("link", "set", "up0", "down")
        wait_for(lambda: not box.routes6(), 10, "the default route's end at link down")
    lan.close()


@case()
def changed_search_domains_are_advertised():
    with net() as n:
        box = n.boxes[0]
        up(box)
        wait_for(lambda: box.addresses(6), 10, "an address")
        with box.netns.entered():
            heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD))
        heard.bind(("eth0", 0x86DD))
        heard.setblocking(False)
        with open("/proc/%d/root/etc/resolv.conf" % n.relay.pid, "w") as file:
            file.write("nameserver 198.51.100.2\nsearch moved.example\n")

        def told():
            with contextlib.suppress(BlockingIOError):
                while True:
                    frame = heard.recv(2048)
                    if frame[54:55] == b"\x86" and b"\x05moved\x07example" in frame:
                        return True
            return False

        wait_for(told, 10, "an advertisement with the new domain")
        heard.close()


@case()
def host_without_ipv6_gives_none_until_it_has_it():
    lan = Lan()
    lan.r.sysctl("net.ipv6.conf.up0.disable_ipv6", 1)
    with net(lan=lan) as n:
        box = n.boxes[0]
        up(box)
        box.udhcpc()
        refused = box.start("dhclient", "-6", "-1", "-sf", box.hook, "-lf",
                            os.path.join(box.dir, "leases6"), "-pf",
                            os.path.join(box.dir, "pid"), "eth0")
        time.sleep(3)  # silence can only be waited for
        check((box.addresses(6), box.routes6()), ([], ""), "IPv6 of the guest")
        check_that(not os.path.exists(os.path.join(box.dir, "BOUND6")), "DHCPv6 gave an address")
        refused.kill()
        lan.r.sysctl("net.ipv6.conf.up0.disable_ipv6", 0)
        lan.r.ip("-6", "addr", "add", lan.RELAY[6] + "/64", "dev", "up0", "nodad")
        lan.r.ip("-6", "route", "replace", "default", "via", lan.SERVER[6])
        wait_for(lambda: box.addresses(6) and "via fe80::2" in box.routes6(), 10, "IPv6")
    lan.close()


@case()
def run_follows_the_host():
    lan = Lan()
    lan.r.sysctl("net.ipv6.conf.up0.disable_ipv6", 1)
    script = "while ! ip -6 route show default | grep -q via; do sleep 0.1; done; echo there"
    process = Process([program(), "run", "--", "sh", "-c", script], lan.r)
    try:
        time.sleep(0.5)
        check(process.out(), "", "a default route")
        lan.r.sysctl("net.ipv6.conf.up0.disable_ipv6", 0)
        lan.r.ip("-6", "addr", "add", lan.RELAY[6] + "/64", "dev", "up0", "nodad")
        lan.r.ip("-6", "route", "replace", "default", "via", lan.SERVER[6])
        check(process.wait(15), 0, "status: " + process.err())
    finally:
        process.kill()
        lan.close()


@case()
def idle_relay_sleeps_after_all_this():
    with net() as n:
        box = n.boxes[0]
        up(box)
        wait_for(lambda: box.addresses(6), 10, "an address")
        box.udhcpc()
        # The guest's kernel has things to say at first (MLD, solicitations).
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            before = n.relay.switches()
            time.sleep(3)
            if n.relay.switches() == before:
                break
        before = n.relay.switches()
        time.sleep(10)
        woken = n.relay.switches() - before
        check_that(woken <= 1, "woken %d times in 10 s" % woken)


if __name__ == "__main__":
    world.need_namespaces()
    program()
    main()
