#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The shared library in a program that embeds it: it ends when it is told to,
whatever flows do, and leaves nothing."""

import contextlib
import json
import os
import resource
import subprocess
import sys

from lib import embed, served
from lib.case import PATIENCE, Skip, case, check, check_that, main, wait_for
from lib.relay import shared_lan
from lib.world import Netns, Process

BUILD = os.environ.get("LWR_BUILD", "build/release")
LIBRARY = os.path.abspath(BUILD + "/liblwrelay.so.0")

CLIENT = r"""
import signal, socket, sys
addr, ports = sys.argv[1], [int(p) for p in sys.argv[2:5]]
idle, stuck = int(sys.argv[5]), int(sys.argv[6])
socks = []
def dial(port):
    s = socket.create_connection((addr, port), 20)
    s.setblocking(False)
    socks.append(s)
    return s
for _ in range(idle):
    dial(ports[0])
for _ in range(stuck):
    dial(ports[1])      # floods us, and we do not read
    s = dial(ports[2])  # reads nothing of what we send
    try:
        while True:
            s.send(b"x" * 65536)
    except BlockingIOError:
        pass
print("open", flush=True)
signal.pause()
"""

FLOOD = r"""
import socket, sys
lst = socket.socket()
lst.bind((sys.argv[1], 0))
lst.listen(1000)
print(lst.getsockname()[1], flush=True)
socks = []
while True:
    s = lst.accept()[0]
    s.setblocking(False)
    socks.append(s)
    try:
        while True:
            s.send(b"y" * 65536)
    except BlockingIOError:
        pass
"""


def raise_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def server(argv):
    process = Process([sys.executable, *argv], shared_lan().s,
                      before=raise_limit)
    wait_for(lambda: process.out().endswith("\n"), 5, "the server's port")
    return process, process.out().strip()


class Embedded:
    """The embedding program in R, its guest's network in a namespace."""

    def __init__(self):
        if not os.path.exists(LIBRARY):
            raise Skip("there is no " + LIBRARY)
        self.guest = Netns()
        self.process = Process(
            [sys.executable, embed.__file__, LIBRARY,
             "tap:eth0@" + self.guest.path], shared_lan().r,
            stdin=subprocess.PIPE, before=raise_limit)
        self.lines = 0
        self.wait_line()
        self.configure()

    def configure(self):
        self.guest.ip("addr", "replace", "10.0.2.15/24", "dev", "eth0")
        self.guest.ip("link", "set", "eth0", "up")
        self.guest.ip("route", "replace", "default", "via", "10.0.2.2")

    def wait_line(self, seconds=15):
        def told():
            return self.process.out().count("\n") > self.lines or \
                not self.process.alive()
        wait_for(told, seconds, "the embedding program's answer")
        check_that(self.process.alive(), self.process.err())
        self.lines += 1
        return self.process.out().splitlines()[self.lines - 1]

    def tell(self, word):
        self.process.popen.stdin.write(word.encode() + b"\n")
        self.process.popen.stdin.flush()
        return json.loads(self.wait_line())


def flows_end_with_the_relay(idle, stuck):
    with contextlib.ExitStack() as stack:
        app = Embedded()
        stack.callback(app.process.kill)
        addr = shared_lan().SERVER[4]
        ports = []
        for argv in ([served.__file__, "mute", addr], ["-c", FLOOD, addr],
                     [served.__file__, "mute", addr]):
            process, port = server(argv)
            stack.callback(process.kill)
            ports.append(port)
        client = Process([sys.executable, "-c", CLIENT, addr, *ports,
                          str(idle), str(stuck)], app.guest,
                         before=raise_limit)
        stack.callback(client.kill)
        wait_for(lambda: client.out() or not client.alive(), 60, "connections")
        check(client.out(), "open\n", "the client said " + client.err())
        ended = app.tell("close")
        check_that(ended["seconds"] < PATIENCE, "it took %(seconds).2f s" % ended)
        check(ended["descriptors"], 0, "descriptors left")
        check(ended["threads"], 0, "threads left")


@case(seconds=120)
def ten_thousand_flows_and_stuck_peers_end_within_a_second():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    flows_end_with_the_relay(min(10000, hard // 2 - 500), 50)


@case()
def a_relay_opens_again_after_its_end():
    with contextlib.ExitStack() as stack:
        app = Embedded()
        stack.callback(app.process.kill)
        for _ in range(5):
            app.guest.ip("link", "show", "eth0")
            ended = app.tell("close")
            check(ended["descriptors"], 0, "descriptors left")
            wait_for(lambda: "eth0" not in app.guest.ip("link"), 5, "no eth0")
            app.tell("open")
            app.configure()
        process, port = server([served.__file__, "greet",
                                shared_lan().SERVER[4]])
        stack.callback(process.kill)
        client = Process([sys.executable, "-c",
                          "import socket,sys; print(socket.create_connection("
                          "(sys.argv[1], int(sys.argv[2])), 10).recv(1))",
                          shared_lan().SERVER[4], port], app.guest)
        check(client.wait(), 0, client.err())
        check(client.out(), "b'!'\n", "what the guest read")


if __name__ == "__main__":
    main()
