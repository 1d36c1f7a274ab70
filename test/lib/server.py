# SPDX-License-Identifier: BSD-3-Clause
"""Servers in a namespace of the test, in this process or its threads."""

import contextlib
import errno
import hashlib
import select
import socket
import struct
import threading

from .case import PATIENCE, Failure
from .packet import family_of

LINGER_RESET = struct.pack("ii", 1, 0)


def listen(netns, addr, port=0, backlog=1024, seconds=10 * PATIENCE):
    """A TCP listener; its accept() is bounded in time."""
    with netns.entered():
        sock = socket.socket(family_of(addr), socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((addr, port))
    sock.listen(backlog)
    sock.settimeout(seconds)
    return sock


def datagram(netns, addr, port=0, seconds=10 * PATIENCE):
    with netns.entered():
        sock = socket.socket(family_of(addr), socket.SOCK_DGRAM)
    sock.bind((addr, port))
    sock.settimeout(seconds)
    return sock


def port_of(sock):
    return sock.getsockname()[1]


def closed_port(netns, addr):
    """A TCP port nobody listens on: bound to keep others away."""
    with netns.entered():
        sock = socket.socket(family_of(addr), socket.SOCK_STREAM)
    sock.bind((addr, 0))
    return sock


def accept(listener, seconds=10 * PATIENCE):
    listener.settimeout(seconds)
    try:
        sock = listener.accept()[0]
    except socket.timeout:
        raise Failure("no connection reached the server within %g s" % seconds)
    sock.settimeout(seconds)
    return sock


def read_exactly(sock, count):
    out = bytearray()
    while len(out) < count:
        data = sock.recv(min(1 << 20, count - len(out)))
        if not data:
            raise Failure("server: end of file after %d of %d bytes" % (len(out), count))
        out += data
    return bytes(out)


def read_all(sock):
    """Reads to the end of file; the length and the SHA-256."""
    total, digest = 0, hashlib.sha256()
    while True:
        data = sock.recv(1 << 20)
        if not data:
            return total, digest.hexdigest()
        total += len(data)
        digest.update(data)


def ending(sock, seconds=5):
    """How the connection ends at the server: 'eof', 'reset' or 'nothing'."""
    sock.settimeout(seconds * PATIENCE)
    try:
        while True:
            if not sock.recv(1 << 16):
                return "eof"
    except ConnectionResetError:
        return "reset"
    except socket.timeout:
        return "nothing"


def reset(sock):
    """Closes with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    sock.close()


def pattern(count, seed=1):
    """Bytes that differ everywhere and repeat nowhere near."""
    block = hashlib.sha256(str(seed).encode()).digest()
    out = bytearray()
    while len(out) < min(count, 1 << 16):
        block = hashlib.sha256(block).digest()
        out += block
    chunk, number = bytes(out), 0
    out = bytearray()
    while len(out) < count:
        out += struct.pack("!Q", number) + chunk[8:]
        number += 1
    return bytes(out[:count])


class Service:
    """Serves every connection of a listener on one thread per connection,
    or, for echo(), all on one thread."""

    def __init__(self, netns, addr, handler, backlog=4096, port=0):
        self.listener = listen(netns, addr, port, backlog, seconds=None)
        self.port = port_of(self.listener)
        self.addr = addr
        self.accepted = 0
        self.handler = handler
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock = self.listener.accept()[0]
                self.accepted += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with contextlib.suppress(OSError, Failure):
            self.handler(sock)
        sock.close()

    def close(self):
        # shutdown wakes accept(); close alone would not
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class EchoServer:
    """Echoes on any number of connections, on one thread, without hurry."""

    def __init__(self, netns, addr, backlog=4096):
        self.listener = listen(netns, addr, 0, backlog, seconds=None)
        self.listener.setblocking(False)
        self.port = port_of(self.listener)
        self.addr = addr
        self.socks = {}
        self.accepted = 0
        self.stopping = False
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        epoll = select.epoll()
        epoll.register(self.listener, select.EPOLLIN)
        while not self.stopping:
            for fd, _ in epoll.poll(0.1):
                if fd == self.listener.fileno():
                    self._accept(epoll)
                else:
                    self._echo(epoll, fd)
        for sock in [self.listener] + list(self.socks.values()):
            sock.close()

    def _accept(self, epoll):
        with contextlib.suppress(BlockingIOError):
            while True:
                sock = self.listener.accept()[0]
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.accepted += 1
                self.socks[sock.fileno()] = sock
                epoll.register(sock, select.EPOLLIN)

    def _echo(self, epoll, fd):
        sock = self.socks[fd]
        try:
            data = sock.recv(1 << 16)
            if data:
                sock.sendall(data)
                return
        except OSError:
            pass
        epoll.unregister(fd)
        self.socks.pop(fd).close()

    def close(self):
        self.stopping = True


def connect_error(netns, addr, port, seconds=5):
    """What a direct connect() gives: 0 or an errno."""
    with netns.entered():
        sock = socket.socket(family_of(addr), socket.SOCK_STREAM)
    with sock:
        sock.settimeout(seconds)
        try:
            sock.connect((addr, port))
            return 0
        except socket.timeout:
            return errno.ETIMEDOUT
        except OSError as error:
            return error.errno
