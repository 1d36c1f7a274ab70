# SPDX-License-Identifier: BSD-3-Clause
"""Starts the program under test; passt stands in for it while it is compared."""

import contextlib
import functools
import json
import os
import select
import socket
import time

from . import server
from .case import PATIENCE, Failure, Skip, check, check_that, program, wait_for
from .guest import Guest
from .world import Lan, Process, scratch


def is_passt():
    return os.path.basename(program()).startswith(("passt", "pasta"))


class Relay:
    """`serve` on a link of a kind, with its options, in namespace `netns`."""

    def __init__(self, netns, *options, kind="stream", profile="", before=None,
                 environ=None):
        self.dir = scratch()
        self.path = os.path.join(self.dir, "link")
        self.stats_path = os.path.join(self.dir, "stats.json")
        self.link = "%s:%s%s" % (kind, self.path, profile)
        self.options = options
        self.stopped = False
        start = self._start_passt if is_passt() else self._start
        self.process = start(netns, before, environ)

    def _start(self, netns, before, environ):
        read_end, write_end = os.pipe()
        argv = [program(), "serve", "--link", self.link,
                "--ready-fd", str(write_end), "--stats", self.stats_path]
        env = dict(os.environ, **environ) if environ else None
        process = Process(argv + list(self.options), netns, pass_fds=[write_end],
                          before=before, env=env)
        os.close(write_end)
        wait_ready(process, read_end)
        return process

    def _start_passt(self, netns, before, _environ):
        """Nearest equivalent; options passt has not are left out."""
        os.chmod(self.dir, 0o777)
        argv = [program(), "-f", "-q", "-s", self.path, "-a", Guest.IP[4], "-n", "24",
                "-a", Guest.IP[6], "-g", Guest.GATEWAY[4], "-g", Guest.GATEWAY[6]]
        if "--host-loopback" not in self.options:
            argv.append("--no-map-gw")
        if "--one-off" in self.options:
            argv.append("--one-off")
        if "--mtu" in self.options:
            argv += ["--mtu", self.options[self.options.index("--mtu") + 1]]
        process = Process(argv, netns, before=before)
        wait_for(lambda: self._listening(netns) or not process.alive(), 5,
                 "passt's socket")
        if not process.alive():
            raise Failure("passt ended: " + process.err())
        return process

    def _listening(self, netns):
        with netns.entered(), open("/proc/thread-self/net/unix") as table:
            return any(line.rstrip().endswith(self.path) and " 00010000 " in line
                       for line in table)

    def guest(self, **options):
        return Guest(self.path, **options)

    def stop(self, seconds=1.0):
        """Ends the relay as stop_process(); its counters."""
        self.stop_process(seconds)
        return self.stats()

    def stop_process(self, seconds=1.0):
        """SIGTERM; must end with status 0 within a second of an idle machine."""
        if self.stopped:
            return
        self.stopped = True
        start = time.monotonic()
        status = self.process.stop(seconds=5)
        took = time.monotonic() - start
        check(status, 0, "exit status after SIGTERM")
        if took > seconds * PATIENCE:
            raise Failure("ended %.2f s after SIGTERM, expected at most %g" % (
                took, seconds * PATIENCE))

    def stats(self):
        if is_passt():
            raise Skip("passt has no counters")
        with open(self.stats_path) as file:
            return json.load(file)

    def kill(self):
        self.process.kill()


def wait_ready(process, read_end, seconds=5):
    """Waits for --ready-fd to speak; its end without a word is a failure."""
    readable = select.select([read_end], [], [], seconds * PATIENCE)[0]
    said = os.read(read_end, 64) if readable else b""
    os.close(read_end)
    if not said:
        if not process.alive():
            raise Failure("the program ended with status %d: %s" % (
                process.wait(), process.err().strip()))
        process.kill()
        raise Failure("not ready within %g s: %s" % (seconds * PATIENCE, process.err().strip()))


def unix_connect(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(path)
    return sock


class Bench:
    """A relay with a guest on its link, and the servers' side."""

    def __init__(self, lan, relay, guest):
        self.lan, self.relay, self.guest = lan, relay, guest

    def listen(self, version, port=0, backlog=1024):
        return server.listen(self.lan.s, self.lan.SERVER[version], port, backlog)

    def pair(self, version=4, listener=None, **options):
        """An established connection: the guest's end and the server's."""
        own = listener or self.listen(version)
        conn = self.guest.connect(self.lan.SERVER[version], server.port_of(own), **options)
        sock = server.accept(own)
        if not listener:
            own.close()
        return conn, sock


@functools.lru_cache(maxsize=None)
def shared_lan():
    return Lan()


@contextlib.contextmanager
def bench(*options, lan=None, before=None, resolve=True, environ=None):
    """Starts a relay and a guest; afterwards the relay must still live, end
    within a second with status 0, and have sent no wrong checksum."""
    lan = lan or shared_lan()
    relay = Relay(lan.r, *options, before=before, environ=environ)
    try:
        guest = relay.guest(resolve=resolve)
        yield Bench(lan, relay, guest)
        check(len(guest.unsound), 0, "frames with a wrong checksum")
        check_that(relay.stopped or relay.process.alive(),
                   "the relay ended: " + relay.process.err())
        relay.stop_process()
        guest.close()
    finally:
        relay.kill()
