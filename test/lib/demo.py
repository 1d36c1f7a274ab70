# SPDX-License-Identifier: BSD-3-Clause
"""The two ends of test/demo.sh. `serve` runs in the server's namespace and prints
its ports; `client` runs wherever and prints one line of figures for each job.

A bulk connection begins with one line: "WAY BYTES HASH\\n", where WAY is seen from
the client, and HASH is 1 to send the SHA-256 of it all afterwards. Speed and hash
are measured in two passes, because hashing costs more than moving.
"""

import contextlib
import hashlib
import itertools
import os
import resource
import socket
import sys
import threading
import time

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from lib import dns, server  # noqa: E402
from lib.web import HttpServer  # noqa: E402

BLOCK = 1 << 18
NAME = "www.example.test"


class Here:
    """The namespace that this process is in."""

    @staticmethod
    def entered():
        return contextlib.nullcontext()


def blocks(count, different):
    """`count` bytes; in 64 MiB of different blocks, or in one that stays in the
    processor's cache, where only the moving counts."""
    base = server.pattern((64 << 20) if different else BLOCK)
    views = [memoryview(base)[at:at + BLOCK] for at in range(0, len(base), BLOCK)]
    for view in itertools.cycle(views):
        if count <= 0:
            return
        yield view[:count]
        count -= BLOCK


def send(sock, source, digest=None):
    for block in source:
        sock.sendall(block)
        if digest:
            digest.update(block)


def receive(sock, count, digest=None):
    buffer = memoryview(bytearray(BLOCK))
    while count:
        got = sock.recv_into(buffer[:min(BLOCK, count)])
        if not got:
            raise EOFError("end of file with %d bytes missing" % count)
        count -= got
        if digest:
            digest.update(buffer[:got])


# --- the server's end -----------------------------------------------------------


def read_line(sock):
    line = b""
    while not line.endswith(b"\n"):
        line += sock.recv(1)
    return line.split()


def serve_bulk(sock):
    way, count, hashed = read_line(sock)
    digest = hashlib.sha256() if hashed == b"1" else None
    if way == b"down":
        send(sock, blocks(int(count), bool(digest)), digest)
    else:
        receive(sock, int(count), digest)
    sock.sendall((digest.hexdigest() if digest else "-").encode() + b"\n")


def serve(addr):
    web = HttpServer(Here(), addr)
    bulk = server.Service(Here(), addr, serve_bulk)
    echo = server.EchoServer(Here(), addr)
    names = dns.DnsServer(Here(), addr, dns.address_records({NAME: addr}))
    print(web.port, bulk.port, echo.port, names.port, flush=True)
    threading.Event().wait()


# --- the client's end -----------------------------------------------------------


def move(addr, port, way, count, hashed):
    """Moves the bytes; (seconds, our hash, the server's hash)."""
    digest = hashlib.sha256() if hashed else None
    with socket.create_connection((addr, port), 30) as sock:
        source = blocks(count, hashed)
        sock.sendall(("%s %d %d\n" % (way, count, hashed)).encode())
        start = time.monotonic()
        if way == "down":
            receive(sock, count, digest)
        else:
            send(sock, source, digest)
        theirs = read_line(sock)[0].decode()  # an upload ends when it is read
        took = time.monotonic() - start
    return took, digest.hexdigest() if digest else "-", theirs


def speed(addr, port, way, count):
    """Gbit/s, the better of two."""
    took = min(move(addr, port, way, count, 0)[0] for _ in range(2))
    print("%.1f" % (count * 8 / took / 1e9))


def proof(addr, port, way, count):
    _, ours, theirs = move(addr, port, way, count, 1)
    print("equal" if ours == theirs else "DIFFERENT", ours[:16])
    sys.exit(ours != theirs)


def many(addr, port, count):
    start = time.monotonic()
    socks = [socket.create_connection((addr, port), 20) for _ in range(count)]
    opened = time.monotonic() - start
    for number, sock in enumerate(socks):
        sock.sendall(b"%08d" % number)
    good = sum(server.read_exactly(sock, 8) == b"%08d" % number
               for number, sock in enumerate(socks))
    print("%d %.0f %.0f" % (good, opened * 1e3, (time.monotonic() - start) * 1e3))
    sys.exit(good != count)


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    job, addr, *rest = sys.argv[1:]
    if job == "serve":
        serve(addr)
    elif job == "many":
        many(addr, *map(int, rest))
    else:
        port, way, count = rest
        {"speed": speed, "proof": proof}[job](addr, int(port), way, int(count))


if __name__ == "__main__":
    main()
