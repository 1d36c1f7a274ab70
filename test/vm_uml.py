#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A stock Debian in User Mode Linux, its files those of this machine: Debian's own
dhclient and its script configure both families, then everyday programs run."""

import functools
import hashlib

from lib import dns, server, vm, world
from lib.case import Failure, Skip, case, check, check_that, main, program
from lib.relay import Relay, is_passt, shared_lan
from lib.web import HttpServer

MIB = 1 << 20
DOWN = 8 * MIB
BOOT_SECONDS = 50
NAME = "www.example.test"
COMMANDS = ("dhclient", "ip", "ping", "curl", "getent")

# Runs in the guest. Each RESULT line is a case below.
SCRIPT = """
lease() {{
    dhclient -$1 -1 -v -pf /run/dhclient$1.pid -lf /var/lib/dhcp/dhclient$1.leases eth0 \\
        2>&1 | tail -n 3
    echo RESULT dns$1 $(grep nameserver /etc/resolv.conf)
    echo RESULT lookup$1 $(getent ahostsv$1 {name})
}}
addresses() {{
    ip -$1 -o addr show dev eth0 scope global | sed -n 's/.*inet6* \\([^ ]*\\) .*/\\1/p'
}}
lease 4
echo RESULT address4 $(addresses 4)
echo RESULT route4 $(ip -4 route show default)
for i in $(seq 100); do
    ip -6 addr show dev eth0 scope global | grep -v tentative | grep -q inet6 && break
    sleep 0.2
done
echo RESULT slaac $(addresses 6)
echo RESULT route6 $(ip -6 route show default)
lease 6
echo RESULT address6 $(addresses 6)
for v in 4 6; do
    echo RESULT page$v $(curl -$v -s -m 30 http://{name}:{web}/)
    echo RESULT down$v $(curl -$v -s -m 60 http://{name}:{web}/bytes/{down} | sha256sum)
done
ping -c 3 -i 0.2 -W 5 10.0.2.2 >/dev/null; echo RESULT ping4 $?
ping -c 3 -i 0.2 -W 5 fd00::2 >/dev/null; echo RESULT ping6 $?
"""


def boot():
    """What the guest says, {name: words}, and its whole console."""
    lan = shared_lan()
    web = HttpServer(lan.s, lan.SERVER[4])
    web6 = HttpServer(lan.s, lan.SERVER[6], port=web.port)
    resolver = dns.DnsServer(lan.s, lan.SERVER[4], dns.address_records(
        {NAME: [lan.SERVER[4], lan.SERVER[6]]}))
    relay = Relay(lan.r, "--dns", resolver.endpoint(), "--mtu", "1500", kind="seqpacket")
    try:
        machine = vm.Debian(
            lan.r, SCRIPT.format(name=NAME, web=web.port, down=DOWN),
            "vec0:transport=bess,dst=%s,depth=128,gro=1,mac=52:54:00:12:34:56" % relay.path,
            BOOT_SECONDS, COMMANDS)
        seen = machine.results()
        relay.stop_process()
        return seen, machine.process.out()
    finally:
        relay.kill()
        for opened in (resolver, web, web6):
            opened.close()


@functools.lru_cache(maxsize=None)
def guest():
    """As boot(), or why there is nothing; it boots once for all cases."""
    if is_passt():
        return Skip("passt has no such link")
    try:
        return boot()
    except (Failure, Skip) as problem:
        return problem


def said(name):
    booted = guest()
    if isinstance(booted, Exception):
        raise booted
    seen, console = booted
    check_that(seen.get(name), "the guest said nothing of %s: %s" % (name, console[-2000:]))
    return seen[name]


@case(seconds=BOOT_SECONDS + 60)
def dhclient_configures_ipv4():
    check(said("address4"), ["10.0.2.15/24"], "address")
    check(said("route4")[:3], ["default", "via", "10.0.2.2"], "default route")
    check(said("dns4"), ["nameserver", "10.0.2.3"], "resolv.conf")


@case()
def the_kernel_configures_ipv6():
    check(said("slaac"), ["fd00::5054:ff:fe12:3456/64"], "address")
    check(said("route6")[:3], ["default", "via", "fe80::2"], "default route")


@case()
def dhclient_configures_ipv6():
    check(sorted(said("address6")), ["fd00::15/128", "fd00::5054:ff:fe12:3456/64"],
          "addresses")
    check(said("dns6"), ["nameserver", "fd00::3"], "resolv.conf")


@case(families=True)
def a_name_resolves_at_the_dns_address(version):
    check(said("lookup%d" % version)[0], shared_lan().SERVER[version], "answer of getent")


@case(families=True)
def curl_fetches_with_equal_hash(version):
    check(" ".join(said("page%d" % version)), "hello from the server", "the page")
    check(said("down%d" % version)[0],
          hashlib.sha256(server.pattern(DOWN)).hexdigest(), "hash of the download")


@case(families=True)
def the_gateway_answers_pings(version):
    check(said("ping%d" % version), ["0"], "status of ping")


if __name__ == "__main__":
    world.need_namespaces()
    program()
    main()
