# SPDX-License-Identifier: BSD-3-Clause
"""`lwrelay run` with a command that only waits: a guest to enter at will."""

import contextlib
import os
import re
import socket

from . import server
from .case import check_that, program
from .packet import family_of
from .relay import shared_lan, wait_ready
from .world import Netns, Process


def netns_of(pid):
    netns = Netns.__new__(Netns)
    netns.fd = os.open("/proc/%d/ns/net" % pid, os.O_RDONLY | os.O_CLOEXEC)
    netns.path = "/proc/%d/fd/%d" % (os.getpid(), netns.fd)
    return netns


def child_of(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        return int(file.read().split()[0])


class Running:
    """`lwrelay run OPTIONS -- sleep` in R; `guest` is its namespace."""

    def __init__(self, *options, lan=None, command=("sleep", "infinity"), before=None):
        read_end, write_end = os.pipe()
        argv = [program(), "run", "--ready-fd", str(write_end), *options, "--", *command]
        self.lan = lan or shared_lan()
        self.relay = Process(argv, self.lan.r, pass_fds=[write_end], before=before)
        os.close(write_end)
        wait_ready(self.relay, read_end)
        self.guest = netns_of(child_of(self.relay.pid))

    def chosen(self):
        """The port of --publish 0."""
        said = re.search(r"published .*:(\d+) -> ", self.relay.err())
        check_that(said, "no port on stderr: " + self.relay.err())
        return int(said.group(1))

    def be_heard(self, addr):
        """The guest asks there and is refused: a slow one is not taken for absent then."""
        with self.guest.entered():
            sock = socket.socket(family_of(addr), socket.SOCK_DGRAM)
        with sock, contextlib.suppress(OSError):
            sock.settimeout(10)
            sock.connect((addr, 9))
            sock.send(b"x")
            sock.recv(1)

    def client(self, v, port, addr=None, netns=None, seconds=10):
        """A TCP client in S, connected by the host's kernel."""
        addr = addr or self.lan.RELAY[v]
        with (netns or self.lan.s).entered():
            sock = socket.socket(family_of(addr), socket.SOCK_STREAM)
        sock.settimeout(seconds)
        sock.connect((addr, port))
        return sock

    def fate(self, v, port):
        """How a client ends; it may be reset even before connect() is back."""
        try:
            return server.ending(self.client(v, port))
        except ConnectionResetError:
            return "reset"

    def close(self):
        check_that(self.relay.alive(), "the relay ended: " + self.relay.err())
        self.relay.stop()
        os.close(self.guest.fd)


@contextlib.contextmanager
def running(*options, **kwargs):
    t = Running(*options, **kwargs)
    try:
        yield t
        t.close()
    finally:
        t.relay.kill()
