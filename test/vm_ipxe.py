#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""An iPXE ROM in QEMU, with no kernel at all: it configures itself, resolves a
name and boots a script over HTTP. Its prompt is driven over the serial line."""

import contextlib
import subprocess
import time

from lib import dns, server, vm, world
from lib.case import Failure, Skip, case, check_that, main, program, wait_for
from lib.relay import Relay, is_passt, shared_lan
from lib.world import Process

BOOT_SECONDS = 30
COMMAND_SECONDS = 20
KEYS = 8  # typed at once
TAIL = 600  # of the console, shown with a failure
BANNER = "Ctrl-B for the iPXE command line"
PROMPT = "iPXE>"
NAME = "boot.example.test"


def serve_script(sock):
    """One request, one answer: a script that says what it sees."""
    while b"\r\n\r\n" not in sock.recv(4096):
        pass
    body = b"#!ipxe\necho it-runs by ${net0/mac} at ${net0/ip}\n"
    sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


class Rom:
    """The ROM at its prompt. Its keys pass the BIOS, which keeps 15 that nobody
    has read and drops more: a line is typed in pieces, each after the echo of
    the one before."""

    def __init__(self, netns, path):
        vm.need("qemu-system-x86_64")
        self.process = Process(
            ["qemu-system-x86_64", "-M", "pc,accel=tcg", "-m", "128", "-nographic", "-nodefaults",
             "-serial", "stdio", "-boot", "n,reboot-timeout=0", "-netdev",
             "stream,id=n,server=off,addr.type=unix,addr.path=" + path,
             "-device", "virtio-net-pci,netdev=n"], netns, stdin=subprocess.PIPE)
        self.wait(BANNER, 0, BOOT_SECONDS)
        self.interrupt()

    def interrupt(self):
        """The ROM listens for two seconds; whoever is late meets it after the
        next boot. At the prompt the key does nothing."""
        deadline = time.monotonic() + BOOT_SECONDS
        while PROMPT not in self.process.out() and time.monotonic() < deadline:
            self.press("\x02")
            with contextlib.suppress(Failure):
                wait_for(lambda: PROMPT in self.process.out(), 0.2, PROMPT)
        self.wait(PROMPT, 0, 0)

    def press(self, keys):
        self.process.popen.stdin.write(keys.encode())
        self.process.popen.stdin.flush()

    def type(self, line, start):
        for at in range(0, len(line), KEYS):
            self.press(line[at:at + KEYS])
            self.wait(line[:at + KEYS], start, COMMAND_SECONDS)
        self.press("\r")

    def wait(self, text, start, seconds):
        if not self.process.alive() and "romfile" in self.process.err():
            raise Skip("QEMU has no iPXE ROM (package ipxe-qemu)")
        try:
            wait_for(lambda: text in self.process.out()[start:], seconds,
                     "'%s' on the console" % text)
        except Failure as failure:
            raise Failure("%s; its end: %r" % (failure, self.process.out()[-TAIL:]))

    def do(self, command):
        """What the console says up to the next prompt."""
        start = len(self.process.out())
        self.type(command, start)
        self.wait(PROMPT, start, COMMAND_SECONDS)
        return self.process.out()[start:].split(PROMPT)[0]


@contextlib.contextmanager
def rom():
    if is_passt():
        raise Skip("the addresses are lwrelay's")
    lan = shared_lan()
    resolver = dns.DnsServer(lan.s, lan.SERVER[4], dns.address_records({NAME: lan.SERVER[4]}))
    relay = Relay(lan.r, "--dns", resolver.endpoint(), "--mtu", "1500")
    machine = None
    try:
        machine = Rom(lan.r, relay.path)
        yield machine
        machine.process.kill()
        relay.stop_process()
    finally:
        if machine:
            machine.process.kill()
        relay.kill()
        resolver.close()


@case(seconds=150)
def rom_comes_up_and_boots_a_script_by_name():
    lan = shared_lan()
    web = server.Service(lan.s, lan.SERVER[4], serve_script)
    with rom() as guest:
        for command in ("ifconf -c ipv6 net0", "dhcp"):
            said = guest.do(command)
            check_that("ok" in said, "%s said %s" % (command, said))
        said = guest.do("route")
        check_that("10.0.2.15/255.255.255.0 gw 10.0.2.2" in said, "IPv4: %s" % said)
        check_that("fd00::15/64 gw fe80::2" in said, "IPv6: %s" % said)
        said = guest.do("show net0/dns")
        check_that("10.0.2.3" in said, "DNS: %s" % said)
        said = guest.do("chain http://%s:%d/boot.ipxe" % (NAME, web.port))
        check_that("it-runs by 52:54:00:12:34:56 at 10.0.2.15" in said, "the script: %s" % said)
    web.close()


if __name__ == "__main__":
    world.need_namespaces()
    program()
    main()
