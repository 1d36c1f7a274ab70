#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the relay answers itself (ARP, neighbour discovery, router advertisements,
DHCP, echo) and what it carries as datagrams (UDP, DNS), seen by a scripted guest."""

import random
import socket
import struct
import threading
import time

from lib import dns, server, world
from lib import packet as p
from lib.case import Failure, Skip, case, check, check_that, main, program, within
from lib.relay import Relay, bench, is_passt, shared_lan
from lib.world import Netns

LINK_LOCAL = "fe80::5054:ff:fe12:3456"
ALL_NODES = "ff02::1"


def nothing(guest, wanted, seconds, what):
    """No packet that is wanted may come."""
    check(guest.find(wanted, seconds), None, what)


def seconds_of(func, *args):
    start = time.monotonic()
    func(*args)
    return time.monotonic() - start


# --- ARP ---------------------------------------------------------------------


def is_arp_reply(addr):
    return lambda x: x.ethertype == p.ETH_ARP and x.op == 2 and x.src == addr


@case()
def arp_for_gateway_and_dns_is_answered_within_10_ms():
    with bench() as t:
        for addr in (t.guest.GATEWAY[4], t.guest.DNS[4]):
            within(0.01, lambda: seconds_of(
                t.guest.ask, t.guest.arp_request(addr), is_arp_reply(addr), 2,
                "an ARP reply for " + addr), "ARP for " + addr)


@case()
def arp_reply_is_unicast_and_names_the_asker():
    with bench() as t:
        reply = t.guest.resolve()
        check(reply.dst_mac, t.guest.mac, "Ethernet destination")
        check(reply.src_mac, reply.sha, "Ethernet source and sender address")
        check((reply.tha, reply.dst), (t.guest.mac, t.guest.IP[4]), "target")


@case()
def arp_for_any_other_address_is_never_answered():
    with bench() as t:
        t.guest.inbox.clear()
        for addr in (t.guest.IP[4], "10.0.2.99", "10.0.2.1", "8.8.8.8", "0.0.0.0"):
            t.guest.link.send(t.guest.arp_request(addr))
            t.guest.link.send(t.guest.arp_request(addr, sender="0.0.0.0"))  # probe
        nothing(t.guest, lambda x: x.ethertype == p.ETH_ARP and x.op == 2, 0.5,
                "an ARP reply for an address that is not the relay's")


# --- neighbour discovery -----------------------------------------------------


def is_advert(target):
    return lambda x: (x.proto == p.ICMP6 and x.kind == 136
                      and p.text(x.payload[8:24]) == target)


def gateway_link_local(guest):
    """From a router advertisement."""
    return router_advert(guest).src


def router_advert(guest, seconds=2):
    return guest.ask(p.router_solicit(LINK_LOCAL, guest.mac),
                     lambda x: x.proto == p.ICMP6 and x.kind == 134, seconds,
                     "a router advertisement")


@case()
def neighbour_solicitations_for_the_relay_are_answered():
    with bench() as t:
        for addr in (t.guest.GATEWAY[6], t.guest.DNS[6], gateway_link_local(t.guest)):
            advert = t.guest.ask(p.neighbour_solicit(t.guest.IP[6], t.guest.mac, addr),
                                 is_advert(addr), 2, "an advertisement of " + addr)
            check(advert.payload[4] & 0x60, 0x60, "solicited and override flags")
            check(advert.payload[24:26], b"\x02\x01", "target link-layer option")
            check(advert.payload[26:32], t.guest.gateway_mac, "link-layer address")
            check((advert.dst, advert.ttl), (t.guest.IP[6], 255), "destination, hop limit")


@case()
def duplicate_address_detection_works():
    with bench() as t:
        t.guest.inbox.clear()
        for addr in (t.guest.IP[6], LINK_LOCAL, "fd00::1234"):
            t.guest.link.send(p.neighbour_solicit("::", t.guest.mac, addr))
        nothing(t.guest, lambda x: x.proto == p.ICMP6 and x.kind == 136, 0.5,
                "an advertisement of an address that is not the relay's")
        addr = t.guest.GATEWAY[6]
        advert = t.guest.ask(p.neighbour_solicit("::", t.guest.mac, addr), is_advert(addr),
                             2, "the answer to a probe for the gateway's address")
        check((advert.dst, advert.payload[4] & 0x40), (ALL_NODES, 0),
              "destination and solicited flag")


@case()
def neighbour_solicitation_from_beyond_the_link_is_ignored():
    with bench() as t:
        frame = bytearray(p.neighbour_solicit(t.guest.IP[6], t.guest.mac,
                                              t.guest.GATEWAY[6]))
        frame[21] = 254  # hop limit: it was forwarded
        t.guest.inbox.clear()
        t.guest.link.send(bytes(frame))
        nothing(t.guest, is_advert(t.guest.GATEWAY[6]), 0.3, "an answer at hop limit 254")


def nd_options(raw):
    out, at = {}, 0
    while at < len(raw):
        size = raw[at + 1] * 8
        out[raw[at]] = raw[at:at + size]
        at += size
    return out


@case()
def router_advertisement_has_all_a_guest_needs():
    with bench("--mtu", "1400") as t:
        advert = router_advert(t.guest)
        check_that(advert.src.startswith("fe80:"), "source %s" % advert.src)
        check(advert.ttl, 255, "hop limit of the packet")
        lifetime = struct.unpack_from("!H", advert.payload, 6)[0]
        check_that(lifetime > 0, "router lifetime 0")
        options = nd_options(advert.payload[16:])
        check_that(3 in options, "no prefix option")
        check(options[3][2], 64, "prefix length")
        check(options[3][3] & 0xC0, 0xC0, "on-link and autonomous flags")
        check(p.text(options[3][16:32]), "fd00::", "prefix")
        check(options.get(5, b"")[4:8], struct.pack("!I", 1400), "MTU option")
        check(options.get(1, b"")[2:8], t.guest.gateway_mac, "link-layer option")
        check(p.text(options.get(25, bytes(24))[8:24]), t.guest.DNS[6], "RDNSS")


def quiet_lan_without_ipv6():
    """A namespace that has IPv4 only."""
    netns = Netns()
    netns.ip("link", "add", "up0", "type", "veth", "peer", "name", "far0")
    for name in ("up0", "far0"):
        netns.sysctl("net.ipv6.conf.%s.disable_ipv6" % name, 1)
    netns.ip("link", "set", "far0", "up")
    netns.ip("addr", "add", "198.51.100.1/24", "dev", "up0")
    netns.ip("link", "set", "up0", "up")
    netns.ip("route", "add", "default", "via", "198.51.100.2")
    return netns


@case()
def host_without_ipv6_gives_the_guest_none():
    netns = quiet_lan_without_ipv6()
    for options in ((), ("--no-ipv6",)):
        relay = Relay(netns if not options else shared_lan().r, *options)
        try:
            guest = relay.guest()
            guest.link.send(p.router_solicit(LINK_LOCAL, guest.mac))
            nothing(guest, lambda x: x.proto == p.ICMP6 and x.kind == 134, 0.5,
                    "a router advertisement without IPv6 %s" % (options,))
        finally:
            relay.kill()


# --- DHCP --------------------------------------------------------------------

DISCOVER, OFFER, REQUEST, DECLINE, DHCP_ACK, NAK, RELEASE, INFORM = range(1, 9)
ASKED = (55, bytes([1, 3, 6, 12, 15, 26, 28, 51, 54, 121]))
random_xid = random.Random(1)


class Lease:
    """A BOOTP reply."""

    def __init__(self, packet):
        self.packet, self.raw = packet, packet.data
        self.options = p.dhcp_options(packet.data)
        self.address = p.text(packet.data[16:20])
        self.kind = self.options.get(53, b"\0")[0]


def dhcp(guest, kind, options=(), seconds=1.0, src="0.0.0.0", dst="255.255.255.255",
         ciaddr="0.0.0.0", flags=0, answer=True):
    """Sends a DHCP message; its reply, or that there is none."""
    xid = random_xid.getrandbits(32)
    message = p.dhcp(kind, guest.mac, xid, options, ciaddr, flags)
    raw = p.ip4(src, dst, p.UDP, p.udp(src, dst, 68, 67, message))
    mac = p.BROADCAST if dst == "255.255.255.255" else guest.gateway_mac
    frame = p.ethernet(mac, guest.mac, p.ETH_IP4, raw)
    wanted = lambda x: (x.proto == p.UDP and x.fragment is None and x.dport == 68
                        and x.data[4:8] == struct.pack("!I", xid))
    if not answer:
        guest.link.send(frame)
        nothing(guest, wanted, 0.3, "an answer to DHCP message %d" % kind)
        return None
    return Lease(guest.ask(frame, wanted, seconds, "an answer to DHCP message %d" % kind))


def acquire(guest):
    offer = dhcp(guest, DISCOVER, [ASKED])
    check(offer.kind, OFFER, "answer to DISCOVER")
    return dhcp(guest, REQUEST, [(50, p.packed(offer.address)), (54, offer.options[54]), ASKED])


@case()
def dhcp_gives_address_router_dns_mtu_and_lease():
    with bench("--mtu", "1400") as t:
        lease = acquire(t.guest)
        check((lease.kind, lease.address), (DHCP_ACK, t.guest.IP[4]), "ACK and address")
        expected = {1: p.packed("255.255.255.0"), 3: p.packed(t.guest.GATEWAY[4]),
                    6: p.packed(t.guest.DNS[4]), 26: struct.pack("!H", 1400),
                    54: p.packed(t.guest.GATEWAY[4])}
        for code, value in expected.items():
            check(lease.options.get(code), value, "option %d" % code)
        check_that(int.from_bytes(lease.options[51], "big") >= 600, "lease time")
        check(lease.packet.src, t.guest.GATEWAY[4], "source of the reply")
        check_that(len(lease.raw) >= 300, "BOOTP reply of %d bytes" % len(lease.raw))


@case()
def dhcp_answers_within_100_ms():
    with bench() as t:
        within(0.1, lambda: seconds_of(dhcp, t.guest, DISCOVER, [ASKED]), "DISCOVER")


@case()
def dhcp_keeps_the_order_that_the_guest_asked_in():
    with bench() as t:
        order = bytes([6, 3, 26, 1])
        offer = dhcp(t.guest, DISCOVER, [(55, order)])
        seen = bytes(c for c in offer.options if c in order)
        # RFC 2132 3.3 puts the mask before the router
        check_that(seen in (order, bytes([6, 1, 3, 26])), "order of options: %s" % list(seen))


@case()
def dhcp_rapid_commit_is_one_round_trip():
    with bench() as t:
        lease = dhcp(t.guest, DISCOVER, [(80, b""), ASKED])
        check(lease.kind, DHCP_ACK, "answer to DISCOVER with rapid commit")
        check(lease.options.get(80), b"", "option 80 in the answer")
        check(lease.address, t.guest.IP[4], "address")


@case()
def dhcp_refuses_a_foreign_address():
    with bench() as t:
        nak = dhcp(t.guest, REQUEST, [(50, p.packed("192.168.7.7")), ASKED])
        check(nak.kind, NAK, "answer to REQUEST of 192.168.7.7")
        check(nak.packet.dst, "255.255.255.255", "destination of a NAK")


@case()
def dhcp_renewal_is_answered_to_the_address():
    with bench() as t:
        acquire(t.guest)
        renewed = dhcp(t.guest, REQUEST, [ASKED], src=t.guest.IP[4],
                       dst=t.guest.GATEWAY[4], ciaddr=t.guest.IP[4])
        check((renewed.kind, renewed.address), (DHCP_ACK, t.guest.IP[4]), "renewal")
        check((renewed.packet.dst, renewed.packet.dst_mac), (t.guest.IP[4], t.guest.mac),
              "destination of the renewal's ACK")


@case()
def dhcp_broadcast_flag_is_obeyed():
    with bench() as t:
        offer = dhcp(t.guest, DISCOVER, [ASKED], flags=0x8000)
        check((offer.packet.dst, offer.packet.dst_mac),
              ("255.255.255.255", p.BROADCAST), "destination with the broadcast flag")


@case()
def dhcp_inform_has_no_lease_and_release_no_answer():
    with bench() as t:
        acquire(t.guest)
        ack = dhcp(t.guest, INFORM, [ASKED], src=t.guest.IP[4], dst=t.guest.GATEWAY[4],
                   ciaddr=t.guest.IP[4])
        check((ack.kind, ack.address, ack.options.get(51)), (DHCP_ACK, "0.0.0.0", None),
              "INFORM: type, yiaddr, lease")
        dhcp(t.guest, RELEASE, [(54, p.packed(t.guest.GATEWAY[4]))], src=t.guest.IP[4],
             dst=t.guest.GATEWAY[4], ciaddr=t.guest.IP[4], answer=False)
        check(acquire(t.guest).kind, DHCP_ACK, "a lease after RELEASE")


@case()
def dhcp_for_another_server_is_left_alone():
    with bench() as t:
        dhcp(t.guest, REQUEST, [(50, p.packed(t.guest.IP[4])),
                                (54, p.packed("10.0.2.77"))], answer=False)


@case()
def dhcp_with_broken_options_does_no_harm():
    rng = random.Random(2)
    with bench() as t:
        for _ in range(500):
            message = bytearray(p.dhcp(rng.randrange(9), t.guest.mac, 1,
                                       [(rng.randrange(256), bytes(rng.randrange(60)))]))
            del message[rng.randrange(230, 300):]
            message += rng.getrandbits(8 * 50).to_bytes(50, "big")
            src, dst = "0.0.0.0", "255.255.255.255"
            raw = p.ip4(src, dst, p.UDP, p.udp(src, dst, 68, 67, bytes(message)))
            t.guest.link.send(p.ethernet(p.BROADCAST, t.guest.mac, p.ETH_IP4, raw))
        t.guest.quiet(0.2)
        check(acquire(t.guest).kind, DHCP_ACK, "a lease afterwards")


@case()
def another_subnet_moves_every_address():
    with bench("--subnet", "192.168.44.0/24", resolve=False) as t:
        if is_passt():
            raise Skip("passt has no --subnet")
        reply = t.guest.ask(t.guest.arp_request("192.168.44.2", "192.168.44.15"),
                            is_arp_reply("192.168.44.2"), 2, "ARP in the new subnet")
        t.guest.gateway_mac = reply.sha
        lease = acquire(t.guest)
        check((lease.address, lease.options[3], lease.options[6]),
              ("192.168.44.15", p.packed("192.168.44.2"), p.packed("192.168.44.3")),
              "address, router, DNS")


# --- echo --------------------------------------------------------------------


def is_echo_reply(v, ident, sequence):
    kind = {4: 0, 6: 129}[v]
    head = struct.pack("!HH", ident, sequence)
    return lambda x: (x.proto in (p.ICMP, p.ICMP6) and x.fragment is None
                      and x.kind == kind and x.payload[4:8] == head)


@case(families=True)
def gateway_answers_echo_of_every_size(v):
    with bench("--mtu", "1500") as t:
        for addr in (t.guest.GATEWAY[v], t.guest.DNS[v]):
            for size in (0, 1, 56, 1000, {4: 1472, 6: 1452}[v]):
                data = server.pattern(size)
                reply = t.guest.ask_ip(p.echo(t.guest.IP[v], addr, 77, size, data),
                                       is_echo_reply(v, 77, size), 2,
                                       "echo of %d bytes from %s" % (size, addr))
                check((reply.src, reply.data), (addr, data), "echo of %d bytes" % size)


@case(families=True)
def five_hundred_echoes_in_one_write_are_all_answered(v):
    with bench() as t:
        t.guest.inbox.clear()
        for number in range(500):
            t.guest.send_ip(p.echo(t.guest.IP[v], t.guest.GATEWAY[v], 5, number, b"x" * 56))
        seen = []

        def all_answered():
            seen.extend(struct.unpack("!H", x.payload[6:8])[0] for x in t.guest.inbox
                        if x.proto in (p.ICMP, p.ICMP6) and x.kind in (0, 129))
            t.guest.inbox.clear()
            return len(seen) >= 500

        try:
            t.guest.wait(all_answered, 3, "500 echo replies")
        except Failure as failure:
            raise Failure("%s; saw %d" % (failure, len(seen)))
        check(seen, list(range(500)), "sequence numbers")


# --- UDP ---------------------------------------------------------------------


class UdpEcho:
    """Echoes datagrams; remembers who asked."""

    def __init__(self, netns, addr):
        self.sock = server.datagram(netns, addr, 0, seconds=None)
        # SO_RCVBUFFORCE: a burst must not be lost here, where Python reads
        self.sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
        self.addr, self.port = self.sock.getsockname()[:2]
        self.peers = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        try:
            while True:
                data, peer = self.sock.recvfrom(65536)
                self.peers.append(peer)
                self.sock.sendto(data, peer)
        except OSError:
            pass


def is_datagram(src, sport, dport):
    return lambda x: (x.proto == p.UDP and x.fragment is None and x.src == src
                      and x.sport == sport and x.dport == dport)


class Reassembly:
    """Puts the fragments of datagrams to the guest together."""

    def __init__(self):
        self.parts = {}

    def __call__(self, packet):
        """The whole payload once its last missing fragment came, else None."""
        if packet.proto != p.UDP:
            return None
        if packet.fragment is None:
            return packet.payload
        ident, offset, more = packet.fragment
        parts = self.parts.setdefault((packet.src, ident), {})
        parts[offset] = (packet.payload, more)
        out = b""
        while len(out) in parts:
            payload, more = parts[len(out)]
            out += payload
            if not more:
                return out
        return None


def udp_echo(t, v, size, seconds=2):
    echo = UdpEcho(t.lan.s, t.lan.SERVER[v])
    data = server.pattern(size)
    raw = p.udp(t.guest.IP[v], echo.addr, 6000, echo.port, data)
    whole, put = [], Reassembly()

    def complete(packet):
        payload = put(packet)
        if payload is not None and struct.unpack_from("!HH", payload) == (echo.port, 6000):
            whole.append(payload[8:])
        return whole

    t.guest.ask_ip(p.ip(t.guest.IP[v], echo.addr, p.UDP, raw), complete, seconds,
                   "echo of %d bytes" % size)
    check_that(whole[0] == data, "echo of %d bytes differs" % size)


@case(families=True)
def udp_echo_of_every_size_that_fits_a_frame(v):
    with bench("--mtu", "1500") as t:
        for size in (0, 1, 2, 100, 1000, {4: 1472, 6: 1452}[v]):
            udp_echo(t, v, size)


@case(families=True)
def large_datagram_to_the_guest_is_fragmented(v):
    with bench("--mtu", "1500") as t:
        sink = server.datagram(t.lan.s, t.lan.SERVER[v])
        port = server.port_of(sink)
        t.guest.send_udp(t.lan.SERVER[v], 6001, port, b"send me much")
        peer = sink.recvfrom(100)[1]
        for size in (1473, 4096, 65507 if v == 4 else 65000):
            data = server.pattern(size)
            put, whole = Reassembly(), []

            def complete(packet):
                check_that(len(packet.frame) <= 1514, "a frame of %d bytes" %
                           len(packet.frame))
                payload = put(packet)
                if payload is not None:
                    whole.append(payload[8:])
                return whole

            sink.sendto(data, peer)
            t.guest.expect(complete, 3, "a datagram of %d bytes" % size)
            check_that(whole[0] == data, "datagram of %d bytes differs" % size)


@case(families=True)
def udp_to_a_closed_port_is_port_unreachable_within_100_ms(v):
    with bench() as t:
        closed = server.datagram(t.lan.s, t.lan.SERVER[v])
        port = server.port_of(closed)
        closed.close()
        raw = p.ip(t.guest.IP[v], t.lan.SERVER[v], p.UDP,
                   p.udp(t.guest.IP[v], t.lan.SERVER[v], 6002, port, b"anyone?"))
        wanted = {4: (p.ICMP, 3, 3), 6: (p.ICMP6, 1, 4)}[v]
        errors = []
        within(0.1, lambda: seconds_of(lambda: errors.append(t.guest.ask_ip(
            raw, lambda x: x.fragment is None and x.proto == wanted[0]
            and (x.kind, x.code) == wanted[1:], 2, "port unreachable"))), "port unreachable")
        error = errors[-1]
        head = {4: 20, 6: 40}[v]
        check(error.data[head:head + 4], raw[head:head + 4], "ports in the quoted header")
        check(error.src, t.lan.SERVER[v], "source of the error")


@case(families=True)
def udp_burst_of_64_to_one_destination_all_arrives(v):
    with bench() as t:
        echo = UdpEcho(t.lan.s, t.lan.SERVER[v])
        t.guest.inbox.clear()
        for number in range(64):
            t.guest.send_udp(echo.addr, 6003, echo.port, b"%03d" % number)
        seen = set()

        def all_back():
            seen.update(x.data for x in t.guest.inbox if x.proto == p.UDP)
            t.guest.inbox.clear()
            return len(seen) == 64

        t.guest.wait(all_back, 3, "64 echoes")


@case(families=True)
def two_destinations_see_one_source_port(v):
    with bench() as t:
        echoes = [UdpEcho(t.lan.s, addr[v]) for addr in (t.lan.SERVER, t.lan.SECOND)]
        for echo in echoes:
            t.guest.send_udp(echo.addr, 6004, echo.port, b"who am I?")
            t.guest.expect(is_datagram(echo.addr, echo.port, 6004), 2, "an echo")
        ports = [echo.peers[0][1] for echo in echoes]
        check(ports[0], ports[1], "source port seen by the second destination")


@case()
def a_thousand_destinations_from_one_port():
    with bench() as t:
        echoes = [UdpEcho(t.lan.s, t.lan.SERVER[4]) for _ in range(1000)]
        for number, echo in enumerate(echoes):
            t.guest.send_udp(echo.addr, 6005, echo.port, b"%d" % number)
            if number % 50 == 0:
                t.guest.pump(0.005)
        seen = set()

        def all_back():
            seen.update(x.sport for x in t.guest.inbox if x.proto == p.UDP)
            return len(seen) == 1000

        t.guest.wait(all_back, 5, "1,000 echoes")
        for echo in echoes:
            echo.sock.close()


@case()
def two_thousand_ports_to_one_destination():
    with bench() as t:
        echo = UdpEcho(t.lan.s, t.lan.SERVER[4])
        t.guest.inbox.clear()
        seen = set()

        def look():
            seen.update(x.dport for x in t.guest.inbox if x.proto == p.UDP)
            t.guest.inbox.clear()
            return len(seen) == 2000

        for port in range(10000, 12000):
            t.guest.send_udp(echo.addr, port, echo.port, b"x")
            if port % 50 == 0:
                t.guest.pump(0.005)
                look()
        t.guest.wait(look, 5, "2,000 echoes")


@case()
def udp_flows_beyond_the_limit_evict_the_oldest():
    with bench("--max-udp", "16") as t:
        if is_passt():
            raise Skip("passt has no --max-udp")
        echo = UdpEcho(t.lan.s, t.lan.SERVER[4])
        for port in range(10000, 10100):
            t.guest.send_udp(echo.addr, port, echo.port, b"x")
            t.guest.expect(is_datagram(echo.addr, echo.port, port), 2,
                           "the echo of flow %d" % (port - 10000))
        stats = t.relay.stop()
        check(stats["udp_limited"], 84, "udp_limited")


@case()
def udp_answers_from_strangers_reach_nobody():
    with bench() as t:
        sink = server.datagram(t.lan.s, t.lan.SERVER[4])
        stranger = server.datagram(t.lan.s, t.lan.SECOND[4])
        t.guest.send_udp(t.lan.SERVER[4], 6006, server.port_of(sink), b"hello")
        peer = sink.recvfrom(100)[1]
        t.guest.inbox.clear()
        stranger.sendto(b"spoof", peer)
        nothing(t.guest, lambda x: x.proto == p.UDP, 0.3, "a datagram from a stranger")
        sink.sendto(b"answer", peer)
        t.guest.expect(lambda x: x.proto == p.UDP and x.data == b"answer", 2, "the answer")


@case(families=True)
def udp_cannot_reach_the_host_loopback(v):
    lo = {4: "127.0.0.1", 6: "::1"}[v]
    for options in ((), ("--host-loopback",)):
        with bench(*options) as t:
            echo = UdpEcho(t.lan.r, lo)
            t.guest.send_udp(lo, 6007, echo.port, b"in by the window")
            t.guest.send_udp(t.guest.GATEWAY[v], 6008, echo.port, b"in by the door")
            t.guest.watch(lambda: options and echo.peers, 5 if options else 0.3)
            check(len(echo.peers), len(options), "datagrams that reached the host %s" %
                  (options,))
            echo.sock.close()


# --- DNS ---------------------------------------------------------------------

RECORDS = dns.address_records({"www.example.test": ["192.0.2.80", "2001:db8::80"]})
RECORDS[("big.example.test", dns.TXT)] = [bytes([250]) + b"t" * 250] * 12  # 3,000 bytes


def with_dns(v=4, **options):
    upstream = dns.DnsServer(shared_lan().s, shared_lan().SERVER[v], RECORDS)
    return upstream, bench("--dns", upstream.endpoint(), **options)


@case(families=True)
def dns_over_udp_is_answered_by_the_resolver_untouched(v):
    upstream, opened = with_dns()
    with opened as t:
        if is_passt():
            raise Skip("passt has no port in its --dns")
        for name, kind in (("www.example.test", dns.A), ("www.example.test", dns.AAAA),
                           ("www.example.test", dns.TXT), ("no.example.test", dns.A)):
            ask = dns.query(4711, name, kind)
            t.guest.inbox.clear()
            t.guest.send_udp(t.guest.DNS[v], 6010, 53, ask)
            reply = t.guest.expect(is_datagram(t.guest.DNS[v], 53, 6010), 2, "an answer")
            check(reply.data, upstream.answer(ask), "answer for %s %d" % (name, kind))


@case()
def dns_upstream_may_be_ipv6():
    upstream, opened = with_dns(6)
    with opened as t:
        if is_passt():
            raise Skip("passt has no port in its --dns")
        ask = dns.query(1, "www.example.test")
        t.guest.send_udp(t.guest.DNS[4], 6010, 53, ask)
        reply = t.guest.expect(is_datagram(t.guest.DNS[4], 53, 6010), 2, "an answer")
        check(reply.data, upstream.answer(ask), "answer")


@case()
def dns_answer_of_3000_bytes_arrives_over_udp_and_tcp():
    upstream, opened = with_dns()
    with opened as t:
        if is_passt():
            raise Skip("passt has no port in its --dns")
        ask = dns.query(2, "big.example.test", dns.TXT)
        expected = upstream.answer(ask)
        put, whole = Reassembly(), []

        def complete(packet):
            payload = put(packet)
            if payload is not None:
                whole.append(payload[8:])
            return whole

        t.guest.send_udp(t.guest.DNS[4], 6011, 53, ask)
        t.guest.expect(complete, 2, "an answer over UDP")
        check(whole[0], expected, "answer over UDP")
        conn = t.guest.connect(t.guest.DNS[4], 53)
        conn.send(struct.pack("!H", len(ask)) + ask)
        conn.wait_data(2 + len(expected), 3)
        check(bytes(conn.received), struct.pack("!H", len(expected)) + expected,
              "answer over TCP")


@case()
def a_hundred_dns_queries_at_once_are_all_answered():
    _, opened = with_dns()
    with opened as t:
        if is_passt():
            raise Skip("passt has no port in its --dns")
        t.guest.inbox.clear()
        for ident in range(100):
            t.guest.send_udp(t.guest.DNS[4], 20000 + ident, 53,
                             dns.query(ident, "www.example.test"))
        seen = set()

        def all_back():
            seen.update(struct.unpack_from("!H", x.data)[0] for x in t.guest.inbox
                        if x.proto == p.UDP)
            t.guest.inbox.clear()
            return len(seen) == 100

        t.guest.wait(all_back, 3, "100 answers")
        check_that(t.relay.stop()["dns_queries"] >= 100, "dns_queries counted")


@case()
def pipelined_dns_over_tcp_split_at_odd_places():
    upstream, opened = with_dns()
    with opened as t:
        if is_passt():
            raise Skip("passt has no port in its --dns")
        conn = t.guest.connect(t.guest.DNS[4], 53)
        stream = expected = b""
        for ident in range(10):
            ask = dns.query(ident, "www.example.test")
            stream += struct.pack("!H", len(ask)) + ask
            answer = upstream.answer(ask)
            expected += struct.pack("!H", len(answer)) + answer
        for at in range(0, len(stream), 7):
            conn.send(stream[at:at + 7])
        conn.wait_data(len(expected), 5)
        check(bytes(conn.received), expected, "answers")


if __name__ == "__main__":
    world.need_namespaces()
    program()
    main()
