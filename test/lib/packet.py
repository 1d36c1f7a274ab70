# SPDX-License-Identifier: BSD-3-Clause
"""Build and parse Ethernet, ARP, IP, TCP, UDP, ICMP and DHCP (no scapy)."""

import functools
import socket
import struct

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32

ETH_IP4, ETH_ARP, ETH_IP6 = 0x0800, 0x0806, 0x86DD
ICMP, TCP, UDP, FRAGMENT6, ICMP6 = 1, 6, 17, 44, 58
BROADCAST = b"\xff" * 6


@functools.lru_cache(maxsize=4096)
def packed(addr):
    """The bytes of an IPv4 or IPv6 address given as text."""
    return socket.inet_pton(family_of(addr), addr)


@functools.lru_cache(maxsize=4096)
def text(raw):
    """The text of an address given as 4 or 16 bytes."""
    family = socket.AF_INET if len(raw) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, raw)


def family_of(addr):
    return socket.AF_INET6 if ":" in addr else socket.AF_INET


def checksum(data):
    """The internet checksum: as a number modulo 65535, which is the same."""
    if len(data) & 1:
        data = bytes(data) + b"\0"
    number = int.from_bytes(data, "big")
    if not number:
        return 0xFFFF
    return (number % 0xFFFF or 0xFFFF) ^ 0xFFFF


def pseudo(src, dst, proto, length):
    if ":" in src:
        return packed(src) + packed(dst) + struct.pack("!IHBB", length, 0, 0, proto)
    return packed(src) + packed(dst) + struct.pack("!BBH", 0, proto, length)


# --- building ---------------------------------------------------------------


def ethernet(dst, src, ethertype, payload):
    return dst + src + struct.pack("!H", ethertype) + payload


def arp(op, sha, spa, tha, tpa):
    head = struct.pack("!HHBBH", 1, ETH_IP4, 6, 4, op)
    return head + sha + packed(spa) + tha + packed(tpa)


def ip4(src, dst, proto, payload, ttl=64, ident=0, frag=0x4000):
    """frag is flags and offset as on the wire; DF by default."""
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), ident, frag,
                       ttl, proto, 0) + packed(src) + packed(dst)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ip6(src, dst, proto, payload, ttl=64):
    head = struct.pack("!IHBB", 6 << 28, len(payload), proto, ttl)
    return head + packed(src) + packed(dst) + payload


def ip(src, dst, proto, payload, ttl=64):
    build = ip6 if ":" in src else ip4
    return build(src, dst, proto, payload, ttl)


def tcp_options(mss=None, wscale=None, sack=False, stamp=None):
    opts = b""
    if mss is not None:
        opts += struct.pack("!BBH", 2, 4, mss)
    if sack:
        opts += b"\x04\x02"
    if wscale is not None:
        opts += struct.pack("!BBB", 3, 3, wscale)
    if stamp is not None:
        opts += struct.pack("!BBII", 8, 10, *stamp)
    return opts + b"\x01" * (-len(opts) % 4)


def tcp(src, dst, sport, dport, seq, ack, flags, window, data=b"", opts=b"",
        urgent=0):
    head = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF,
                       ack & 0xFFFFFFFF, (5 + len(opts) // 4) << 4, flags,
                       window, 0, urgent) + opts + data
    total = checksum(pseudo(src, dst, TCP, len(head)) + head)
    return head[:16] + struct.pack("!H", total) + head[18:]


def udp(src, dst, sport, dport, data):
    head = struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data
    total = checksum(pseudo(src, dst, UDP, len(head)) + head) or 0xFFFF
    return head[:6] + struct.pack("!H", total) + head[8:]


def icmp(kind, code, rest, body=b"", ip6_ends=None):
    """ICMP, or ICMPv6 if ip6_ends=(src, dst) is given for its checksum."""
    message = struct.pack("!BBHI", kind, code, 0, rest) + body
    head = pseudo(*ip6_ends, ICMP6, len(message)) if ip6_ends else b""
    total = checksum(head + message)
    return message[:2] + struct.pack("!H", total) + message[4:]


def echo(src, dst, ident, sequence, data):
    """An ICMP or ICMPv6 echo request as a whole IP packet."""
    rest = ident << 16 | sequence
    if ":" in src:
        return ip6(src, dst, ICMP6, icmp(128, 0, rest, data, (src, dst)))
    return ip4(src, dst, ICMP, icmp(8, 0, rest, data))


def fragments4(src, dst, proto, payload, ident, size=1480):
    """The payload as IPv4 fragments of at most `size` bytes."""
    out = []
    for start in range(0, len(payload), size):
        more = 0x2000 if start + size < len(payload) else 0
        out.append(ip4(src, dst, proto, payload[start:start + size],
                       ident=ident, frag=more | start // 8))
    return out


def fragments6(src, dst, proto, payload, ident, size=1448):
    out = []
    for start in range(0, len(payload), size):
        more = int(start + size < len(payload))
        head = struct.pack("!BBHI", proto, 0, start | more, ident)
        out.append(ip6(src, dst, FRAGMENT6, head + payload[start:start + size]))
    return out


def solicited_node(addr):
    """The multicast address and its MAC that a solicitation goes to."""
    low = packed(addr)[13:]
    return text(packed("ff02::1:ff00:0")[:13] + low), b"\x33\x33\xff" + low


def neighbour_solicit(src, src_mac, target):
    dst, mac = solicited_node(target)
    body = packed(target)
    if src != "::":
        body += b"\x01\x01" + src_mac
    message = icmp(135, 0, 0, body, (src, dst))
    return ethernet(mac, src_mac, ETH_IP6, ip6(src, dst, ICMP6, message, 255))


def neighbour_advert(src, src_mac, dst, dst_mac, target):
    body = packed(target) + b"\x02\x01" + src_mac
    message = icmp(136, 0, 0x60000000, body, (src, dst))
    return ethernet(dst_mac, src_mac, ETH_IP6, ip6(src, dst, ICMP6, message, 255))


def router_solicit(src, src_mac):
    dst = "ff02::2"
    message = icmp(133, 0, 0, b"\x01\x01" + src_mac, (src, dst))
    return ethernet(b"\x33\x33\0\0\0\x02", src_mac, ETH_IP6,
                    ip6(src, dst, ICMP6, message, 255))


def dhcp(kind, mac, xid, options=(), ciaddr="0.0.0.0", flags=0):
    """A BOOTP request with message type `kind` and (code, bytes) options."""
    head = struct.pack("!BBBBIHH", 1, 1, 6, 0, xid, 0, flags)
    head += packed(ciaddr) + bytes(12) + mac + bytes(10) + bytes(192)
    body = b"\x63\x82\x53\x63" + bytes([53, 1, kind])
    for code, value in options:
        body += bytes([code, len(value)]) + value
    return (head + body + b"\xff").ljust(300, b"\0")


def dhcp_options(message):
    """The options of a DHCP message, as a dictionary in their order."""
    out, at = {}, 240
    while at < len(message) and message[at] != 255:
        if message[at] == 0:
            at += 1
            continue
        length = message[at + 1]
        out[message[at]] = out.get(message[at], b"") + message[at + 2:at + 2 + length]
        at += 2 + length
    return out


# --- parsing ----------------------------------------------------------------


class Packet:
    """A frame as seen by the guest; attributes that do not apply are None."""

    def __init__(self, frame):
        self.frame = frame
        self.dst_mac, self.src_mac = frame[:6], frame[6:12]
        self.ethertype = struct.unpack_from("!H", frame, 12)[0]
        self.src = self.dst = self.proto = self.payload = None
        self.ttl = self.fragment = None
        self.sound = True  # every checksum is right
        self.seg = None
        if self.ethertype == ETH_IP4:
            self._ip4(frame[14:])
        elif self.ethertype == ETH_IP6:
            self._ip6(frame[14:])
        elif self.ethertype == ETH_ARP:
            self._arp(frame[14:])
        if self.payload is not None and self.fragment is None:
            self._upper()

    def _arp(self, raw):
        self.op = struct.unpack_from("!H", raw, 6)[0]
        self.sha, self.tha = raw[8:14], raw[18:24]
        self.src, self.dst = text(raw[14:18]), text(raw[24:28])

    def _ip4(self, raw):
        size = (raw[0] & 15) * 4
        total, ident, frag = struct.unpack_from("!HHH", raw, 2)
        self.ttl, self.proto = raw[8], raw[9]
        self.src, self.dst = text(raw[12:16]), text(raw[16:20])
        self.payload = raw[size:total]
        self.sound = checksum(raw[:size]) == 0
        if frag & 0x3FFF:
            self.fragment = (ident, (frag & 0x1FFF) * 8, bool(frag & 0x2000))

    def _ip6(self, raw):
        length, self.proto, self.ttl = struct.unpack_from("!HBB", raw, 4)
        self.src, self.dst = text(raw[8:24]), text(raw[24:40])
        self.payload = raw[40:40 + length]
        if self.proto == FRAGMENT6:
            head = struct.unpack_from("!BBHI", self.payload)
            self.proto = head[0]
            self.fragment = (head[3], head[2] & 0xFFF8, bool(head[2] & 1))
            self.payload = self.payload[8:]

    def _upper(self):
        head = b""
        if self.proto in (TCP, UDP, ICMP6):
            head = pseudo(self.src, self.dst, self.proto, len(self.payload))
        if self.proto in (TCP, UDP, ICMP6, ICMP):
            absent = self.proto == UDP and self.payload[6:8] == b"\0\0"
            self.sound &= absent or checksum(head + self.payload) == 0
        if self.proto == TCP:
            self.seg = Segment(self.payload)
        elif self.proto == UDP:
            self.sport, self.dport = struct.unpack_from("!HH", self.payload)
            self.data = self.payload[8:]
        elif self.proto in (ICMP, ICMP6):
            self.kind, self.code = self.payload[0], self.payload[1]
            self.data = self.payload[8:]


class Segment:
    """A TCP header and its data."""

    def __init__(self, raw):
        (self.sport, self.dport, self.seq, self.ack, offset, self.flags,
         self.window, _, self.urgent) = struct.unpack_from("!HHIIBBHHH", raw)
        size = (offset >> 4) * 4
        self.options = parse_options(raw[20:size]) if size > 20 else {}
        self.data = raw[size:]

    def __repr__(self):
        names = zip((SYN, FIN, RST, PSH, ACK, URG), "SFRPAU")
        flags = "".join(n for bit, n in names if self.flags & bit)
        return "[%s seq %d ack %d win %d len %d]" % (
            flags, self.seq, self.ack, self.window, len(self.data))


def parse_options(raw):
    out, at = {}, 0
    while at < len(raw) and raw[at]:
        if raw[at] == 1:
            at += 1
            continue
        value = raw[at + 2:at + raw[at + 1]]
        if raw[at] == 2:
            out["mss"] = int.from_bytes(value, "big")
        elif raw[at] == 3:
            out["wscale"] = value[0]
        elif raw[at] == 4:
            out["sack"] = True
        elif raw[at] == 8:
            out["stamp"] = struct.unpack("!II", value)
        at += max(raw[at + 1], 2)
    return out
