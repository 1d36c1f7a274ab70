# SPDX-License-Identifier: BSD-3-Clause
"""A small DNS server on UDP and TCP for the tests, and queries to send it."""

import contextlib
import socket
import struct
import threading

from .packet import family_of, packed
from . import server

A, TXT, AAAA = 1, 16, 28


def encode(name):
    parts = name.rstrip(".").split(".")
    return b"".join(bytes([len(x)]) + x.encode() for x in parts) + b"\0"


def query(ident, name, kind=A):
    return struct.pack("!HHHHHH", ident, 0x0100, 1, 0, 0, 0) + encode(name) + \
        struct.pack("!HH", kind, 1)


def question(message):
    """(name, type, the bytes of the question) of a query."""
    at, labels = 12, []
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode())
        at += 1 + message[at]
    kind = struct.unpack_from("!H", message, at + 1)[0]
    return ".".join(labels), kind, message[12:at + 5]


class DnsServer:
    """Answers from `records` {(name, type): [rdata bytes]}; else NXDOMAIN."""

    def __init__(self, netns, addr, records, port=0):
        self.records = records
        self.queries = 0
        self.tcp, self.udp = self._bind(netns, addr, port)
        self.port = server.port_of(self.tcp)
        for target in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=target, daemon=True).start()

    @staticmethod
    def _bind(netns, addr, port):
        """The same port for both; it may be taken for one of them."""
        while True:
            tcp = server.listen(netns, addr, port, seconds=None)
            try:
                return tcp, server.datagram(netns, addr, server.port_of(tcp), seconds=None)
            except OSError:
                tcp.close()
                if port:
                    raise

    def answer(self, message):
        self.queries += 1
        name, kind, raw = question(message)
        rdatas = self.records.get((name, kind))
        known = rdatas is not None or any(n == name for n, _ in self.records)
        flags = 0x8580 | (0 if known else 3)
        out = message[:2] + struct.pack("!HHHHH", flags, 1, len(rdatas or ()), 0, 0) + raw
        for rdata in rdatas or ():
            out += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(rdata)) + rdata
        return out

    def _serve_udp(self):
        with contextlib.suppress(OSError):
            while True:
                message, peer = self.udp.recvfrom(4096)
                self.udp.sendto(self.answer(message), peer)

    def _serve_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                sock = self.tcp.accept()[0]
                threading.Thread(target=self._client, args=(sock,), daemon=True).start()

    def _client(self, sock):
        with contextlib.suppress(Exception), sock:
            while True:
                size = struct.unpack("!H", server.read_exactly(sock, 2))[0]
                out = self.answer(server.read_exactly(sock, size))
                sock.sendall(struct.pack("!H", len(out)) + out)

    def endpoint(self):
        """As --dns wants it."""
        addr = self.udp.getsockname()[0]
        form = "[%s]:%d" if family_of(addr) == socket.AF_INET6 else "%s:%d"
        return form % (addr, self.port)

    def close(self):
        with contextlib.suppress(OSError):
            self.tcp.shutdown(socket.SHUT_RDWR)
        self.tcp.close()
        self.udp.close()


def address_records(names):
    """Records for {name: address or list of addresses}."""
    out = {}
    for name, addrs in names.items():
        for addr in [addrs] if isinstance(addrs, str) else addrs:
            kind = AAAA if ":" in addr else A
            out.setdefault((name, kind), []).append(packed(addr))
    return out
