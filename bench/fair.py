#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""How much of its fair share a guest keeps beside one that floods.

Three guests on taps of one relay. The victims run one kind of traffic each.
Their fair share is what they reach when the third guest does the same; then it
floods instead, and the table shows the victims' median as a share of that.
Interleaved; the flood and its server run at the lowest priority of the load's
processor, so that what is shared is the relay.

usage: fair.py BUILD [ROUNDS [SECONDS]]
"""
import os
import statistics
import sys

from net import Child, folder, ip, remove_stale, sysctl
from relays import PORT, PORTS, SERVER, Instance, Tools

FLOOD = r"""
import os, socket, sys, time
kind, seconds = sys.argv[1], float(sys.argv[2])
end = time.monotonic() + seconds
os.nice(19)
print("{}", flush=True)
if kind == "udp":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect(("10.9.0.2", 9))
    while time.monotonic() < end:
        for _ in range(256):
            try:
                s.send(b"x" * 22)
            except OSError:
                pass
else:
    def csum(b):
        n = sum(int.from_bytes(b[i:i+2], "big") for i in range(0, len(b), 2))
        while n >> 16:
            n = (n & 0xffff) + (n >> 16)
        return ~n & 0xffff
    mac = bytes.fromhex(open("/sys/class/net/eth0/address").read()
                        .strip().replace(":", ""))
    src, dst = bytes((10, 0, 2, 15)), bytes((10, 9, 0, 2))
    eth = bytes.fromhex("52550a000202") + mac + b"\x08\0"
    ip = bytearray(b"\x45\0\0\x28\0\0\x40\0\x40\x06\0\0" + src + dst)
    ip[10:12] = csum(ip).to_bytes(2, "big")
    frames = []
    for port in range(1024, 65536, 8):
        tcp = bytearray(port.to_bytes(2, "big") + (6000).to_bytes(2, "big") +
                        b"\0\0\0\1\0\0\0\0\x50\x02\xff\xff\0\0\0\0")
        pseudo = src + dst + b"\0\x06\0\x14"
        tcp[16:18] = csum(pseudo + tcp).to_bytes(2, "big")
        frames.append(eth + bytes(ip) + bytes(tcp))
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.bind(("eth0", 0))
    while time.monotonic() < end:
        for f in frames:
            try:
                s.send(f)
            except OSError:
                pass
"""
FLOOD_PORT = 6000
VICTIMS = os.environ.get('V', 'put get rr').split()
FLOODS = ("put-32", "get-32", "crr-64", "udp", "syn")


class Kind:
    base, link, poll, tuned = "lwrelay", "tap", False, False


class Crowd(Instance):
    """One relay with several guests, all of the same addresses."""

    def __init__(self, tools, guests):
        super().__init__(tools, Kind, 1500)
        self.guests = [f"{self.prefix}-g{i}" for i in range(guests)]

    def begin(self):
        self.namespaces()
        ip("netns", "del", self.g)
        for ns in self.guests:
            ip("netns", "add", ns)
            ip("-n", ns, "link", "set", "lo", "up")
            sysctl(ns, "net/ipv6/conf/all/disable_ipv6", "1")
        self.uplink(self.r, 1500)
        links = [w for ns in self.guests
                 for w in ("--link", f"tap:eth0@/run/netns/{ns}")]
        self.spawn([self.tools.lwrelay, "serve", *links, "--mtu", "1500",
                    "--ready-fd", "READY"], ready=True)
        for self.g in self.guests:
            self.guest_up()
        self.server = Child([self.tools.loadd, SERVER, PORT, PORTS], self.s,
                            self.tools.load_cpus)
        self.server.line(10)
        self.flooded = Child(["nice", "-n", "19", self.tools.loadd, SERVER,
                              FLOOD_PORT, PORTS], self.s,
                             self.tools.load_cpus)
        self.flooded.line(10)
        for self.g in self.guests:
            self.wait_through()

    def close(self):
        self.flooded.close()
        super().close()
        for ns in self.guests:
            ip("netns", "del", ns, check=False)

    def client(self, guest, words, seconds):
        mode, _, streams = words.partition("-")
        if mode in ("udp", "syn"):
            argv = [sys.executable, "-c", FLOOD, mode, seconds + 0.6]
        else:
            argv = self.load_argv(mode, seconds, warm=0.3,
                                  streams=streams or 1)
            if streams:
                argv[argv.index("-p") + 1] = FLOOD_PORT
                argv = ["nice", "-n", "19", *argv, "-z"]
        return Child(argv, guest, self.tools.load_cpus)

    def together(self, victims, third, seconds):
        """Returns the victims' mean rate."""
        flood = self.client(self.guests[0], third, seconds)
        rest = [self.client(ns, victims, seconds) for ns in self.guests[1:]]
        try:
            got = [c.line(seconds + 20) for c in rest]
            return sum(r["counted"] / r["seconds"] for r in got if r) / 2
        finally:
            for c in (flood, *rest):
                c.close()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    build = os.path.abspath(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 0.6
    remove_stale()
    tools = Tools(build, {}, sorted(os.sched_getaffinity(0)), folder())
    crowd = Crowd(tools, 3)
    rates = {}
    try:
        crowd.begin()
        for _ in range(rounds):
            for victims in VICTIMS:
                for third in (victims, *FLOODS):
                    rates.setdefault((victims, third), []).append(
                        crowd.together(victims, third, seconds))
    finally:
        crowd.close()
        os.rmdir(tools.tmp) if not os.listdir(tools.tmp) else None
    print("share of its fair share that a guest keeps beside a flood\n")
    print("victim".ljust(8), *(f.rjust(8) for f in FLOODS))
    for victims in VICTIMS:
        fair = statistics.median(rates[victims, victims])
        print(victims.ljust(8), *(
            f"{statistics.median(rates[victims, f]) / fair:8.2f}"
            for f in FLOODS), f" fair: {fair:.4g}/s")


if __name__ == "__main__":
    main()
