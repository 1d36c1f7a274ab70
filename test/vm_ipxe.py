#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""An iPXE ROM in QEMU, with no kernel at all: it configures itself, resolves a
name and boots a script over HTTP. Its prompt is driven over the serial line."""

import contextlib
import subprocess

from lib import dns, server, vm, world
from lib.case import Skip, case, check_that, main, program, wait_for
from lib.relay import Relay, is_passt, shared_lan
from lib.world import Process

BOOT_SECONDS = 60
PROMPT = "iPXE>"
NAME = "boot.example.test"


def serve_script(sock):
    """One request, one answer: a script that says what it sees."""
    while b"\r\n\r\n" not in sock.recv(4096):
        pass
    body = b"#!ipxe\necho it-runs by ${net0/mac} at ${net0/ip}\n"
    sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


class Rom:
    def __init__(self, netns, path):
        vm.need("qemu-system-x86_64")
        self.process = Process(
            ["qemu-system-x86_64", "-M", "pc,accel=tcg", "-m", "128", "-nographic", "-nodefaults",
             "-serial", "stdio", "-boot", "n", "-netdev",
             "stream,id=n,server=off,addr.type=unix,addr.path=" + path,
             "-device", "virtio-net-pci,netdev=n"], netns, stdin=subprocess.PIPE)
        self.wait("Ctrl-B for the iPXE command line", 0, BOOT_SECONDS)
        self.type("\x02")
        self.wait(PROMPT, 0, BOOT_SECONDS)

    def type(self, text):
        self.process.popen.stdin.write(text.encode())
        self.process.popen.stdin.flush()

    def wait(self, text, start, seconds):
        if not self.process.alive() and "romfile" in self.process.err():
            raise Skip("QEMU has no iPXE ROM (package ipxe-qemu)")
        return wait_for(lambda: text in self.process.out()[start:], seconds,
                        "'%s' on the console" % text)

    def do(self, command, seconds=40):
        """What the console says up to the next prompt."""
        start = len(self.process.out())
        self.type(command + "\r")
        self.wait(PROMPT, start, seconds)
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
