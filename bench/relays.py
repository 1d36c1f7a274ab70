# SPDX-License-Identifier: BSD-3-Clause
"""One relay between namespaces of its own: S (server), R (relay), G (guest).

    G --tap-- relay in R --veth-- S     and without a relay     G --veth-- S

Everyone gets the same addresses, routes, congestion control and processors.
Only pasta and passt get a larger tcp_wmem in R: pasta collapses without it
(see "untuned"); lwrelay and slirp4netns run with the system's.

Names are asked of a server in S; through lwrelay at its DNS address, with its
cache and all, through the others as any datagram. Published ports lead from R's
address to a server in G; without a relay its address is the same one.
"""
import itertools
import json
import os
import socket
import subprocess
import time

import dnsperf
from net import PREFIX, Child, cpu_seconds, ip, sysctl

SERVER, UPLINK, GUEST, GATEWAY = "10.9.0.2", "10.9.0.1", "10.0.2.15", "10.0.2.2"
DNS = "10.0.2.3"  # lwrelay's
PORT, PORTS = 5000, 16
PUBLISHED = 6000  # and as many
PUBLISHED_RANGE = f"{PUBLISHED}-{PUBLISHED + PORTS - 1}"
READY_S = 10
WARM_BULK_S = 0.3  # before names are asked beside it
# A machine that stands still for 8 ms once a second would decide the p99 of
# each longer sample; of these the median is of those without.
PACED_S = 0.3
PASTA_WMEM = "4096 4194304 33554432"
NUMBER = itertools.count()


class Tools:
    """Programs, processors and a place for logs."""

    def __init__(self, build, peers, cpus, tmp):
        self.lwrelay = f"{build}/lwrelay"
        self.load = f"{build}/bench/load"
        self.loadd = f"{build}/bench/loadd"
        self.dns = f"{build}/bench/dns"
        self.pump = f"{build}/bench/pump"
        self.udp = f"{build}/bench/udp"
        self.peers = peers
        self.load_cpus = {cpus[0]}
        self.relay_cpus = {cpus[-1]}
        self.tmp = tmp
        self.open_s = 20  # for opening idle connections

    def path(self, base):
        return self.lwrelay if base == "lwrelay" else self.peers.get(base)


class Instance:
    def __init__(self, tools, kind, mtu):
        self.tools, self.kind, self.mtu = tools, kind, mtu
        self.prefix = f"{PREFIX}{os.getpid()}-{next(NUMBER)}"
        self.s, self.r, self.g = (self.prefix + "-" + x for x in "srg")
        self.socket = f"{tools.tmp}/{self.prefix}.sock"
        self.log = f"{tools.tmp}/{self.prefix}.log"
        self.relay = self.server = self.pool = self.pump = None
        self.datagrams = self.names = self.inner = None
        self.dns = DNS if kind.base == "lwrelay" else SERVER
        self.idle_open = 0
        self.error = None

    # ---- namespaces ----

    def namespaces(self):
        for ns in (self.s, self.r, self.g):
            ip("netns", "add", ns)
            ip("-n", ns, "link", "set", "lo", "up")
            sysctl(ns, "net/ipv4/ip_local_port_range", "1024 65535")
            sysctl(ns, "net/ipv4/tcp_tw_reuse", "1")
            for conf in ("all", "default"):
                sysctl(ns, f"net/ipv6/conf/{conf}/disable_ipv6", "1")

    def uplink(self, ns, mtu):
        ip("-n", ns, "link", "add", "up0", "type", "veth", "peer", "name",
           "up0", "netns", self.s)
        for at, own in ((ns, UPLINK), (self.s, SERVER)):
            ip("-n", at, "addr", "add", own + "/24", "dev", "up0")
            ip("-n", at, "link", "set", "up0", "mtu", mtu, "up")
            ip("-n", at, "route", "change", "10.9.0.0/24", "dev", "up0",
               "proto", "kernel", "scope", "link", "src", own,
               "congctl", "cubic")
        ip("-n", ns, "route", "add", "default", "via", SERVER,
           "congctl", "cubic")

    def guest_up(self):
        end = time.monotonic() + READY_S
        while "eth0" not in ip("-n", self.g, "link"):
            if time.monotonic() > end or not self.relay.alive():
                raise RuntimeError("no eth0 in the guest")
            time.sleep(0.02)
        if self.pump:
            ip("-n", self.g, "link", "set", "eth0", "txqueuelen", 10000)
        ip("-n", self.g, "addr", "replace", GUEST + "/24", "dev", "eth0")
        ip("-n", self.g, "link", "set", "eth0", "mtu", self.mtu, "up")
        ip("-n", self.g, "route", "replace", "default", "via", GATEWAY,
           "congctl", "cubic")

    # ---- the relays ----

    def spawn(self, argv, ready=False):
        """Starts the relay in R; waits for its ready-fd if it has one."""
        if not ready:
            self.relay = Child(argv, self.r, self.tools.relay_cpus,
                               log=self.log)
            return
        rd, wr = os.pipe()
        try:
            argv = [str(wr) if a == "READY" else a for a in argv]
            self.relay = Child(argv, self.r, self.tools.relay_cpus,
                               pass_fds=(wr,), log=self.log)
            os.close(wr)
            wr = -1
            if not os.read(rd, 1):
                raise RuntimeError("ended before it was ready")
        finally:
            os.close(rd)
            if wr >= 0:
                os.close(wr)

    def start_lwrelay(self):
        link = f"tap:eth0@/run/netns/{self.g}"
        if self.kind.link == "stream":
            link = f"stream:{self.socket}"
        poll = ["--busy-poll", "100"] if self.kind.poll else []
        self.spawn([self.tools.lwrelay, "serve", "--link", link, "--mtu",
                    self.mtu, *poll, "--dns", SERVER, "--publish",
                    PUBLISHED_RANGE, "--ready-fd", "READY"], ready=True)

    def start_pasta(self):
        if self.kind.tuned:
            sysctl(self.r, "net/ipv4/tcp_wmem", PASTA_WMEM)
        self.spawn([self.tools.peers["pasta"], "-f", "-q", "-4", "--runas",
                    "0", "--netns-only", "-I", "eth0", *self.passt_common(),
                    "--netns", f"/run/netns/{self.g}"])

    def start_passt(self):
        sysctl(self.r, "net/ipv4/tcp_wmem", PASTA_WMEM)
        self.spawn([self.tools.peers["passt"], "-f", "-q", "-4", "--runas",
                    "0", "--socket", self.socket, *self.passt_common()])

    def passt_common(self):
        ports = ["-t", "none", "-u", "none"]
        if self.kind.base == "pasta":
            ports = ["-t", PUBLISHED_RANGE, "-u", "none", "-T", "none", "-U",
                     "none"]
        return ["-i", "up0", "-a", GUEST, "-n", "24", "-g", GATEWAY, "-m",
                self.mtu, *ports]

    def start_slirp4netns(self):
        self.spawn([self.tools.peers["slirp4netns"], "--netns-type=path",
                    f"--mtu={self.mtu}", "--disable-host-loopback",
                    "--ready-fd", "READY", "--api-socket", self.socket,
                    f"/run/netns/{self.g}", "eth0"], ready=True)
        for i in range(PORTS):
            self.slirp_publish(PUBLISHED + i)

    def slirp_publish(self, port):
        ask = {"execute": "add_hostfwd", "arguments": {
            "proto": "tcp", "host_addr": "0.0.0.0", "host_port": port,
            "guest_addr": GUEST, "guest_port": port}}
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(READY_S)
            s.connect(self.socket)
            s.sendall(json.dumps(ask).encode())
            s.shutdown(socket.SHUT_WR)
            said = json.loads(s.recv(4096))
        if "error" in said:
            raise RuntimeError(f"add_hostfwd: {said['error']}")

    def start_pump(self):
        end = time.monotonic() + READY_S
        while not os.path.exists(self.socket):
            if time.monotonic() > end or not self.relay.alive():
                raise RuntimeError("no socket")
            time.sleep(0.02)
        self.pump = Child([self.tools.pump, "eth0", self.socket], self.g,
                          self.tools.load_cpus)
        if not self.pump.line(READY_S):
            raise RuntimeError("the pump does not run")

    def start(self):
        self.namespaces()
        if self.kind.base == "veth":
            self.uplink(self.g, self.mtu)
        else:
            self.uplink(self.r, 1500)
            getattr(self, "start_" + self.kind.base)()
            if self.kind.link == "stream":
                self.start_pump()
            self.guest_up()
        self.start_servers()
        self.wait_through()

    def serve(self, ns, *argv, **more):
        child = Child(argv, ns, self.tools.load_cpus, **more)
        if not child.line(READY_S):
            child.close()
            raise RuntimeError(f"{argv[0]} does not run")
        return child

    def start_servers(self):
        tools = self.tools
        self.server = self.serve(self.s, tools.loadd, SERVER, PORT, PORTS)
        self.datagrams = self.serve(self.s, tools.udp, "serve", SERVER, PORT)
        self.names = self.serve(self.s, tools.dns, "serve", SERVER)
        self.inner = self.serve(self.g, tools.loadd, "0.0.0.0", PUBLISHED,
                                PORTS)

    def wait_through(self):
        for _ in range(20):
            r = self.load("rr", 0.02, timeout=5)
            if r and not r["failed"]:
                return
            time.sleep(0.1)
        raise RuntimeError("no answer through it")

    # ---- traffic ----

    def load_argv(self, mode, seconds, warm=0, streams=1, length=0,
                  published=False):
        addr, port = (UPLINK, PUBLISHED) if published else (SERVER, PORT)
        return [self.tools.load, mode, "-a", addr, "-p", port, "-P", PORTS,
                "-n", streams, "-w", int(warm * 1000), "-t",
                int(seconds * 1000), "-l", length]

    def start_load(self, mode, seconds, published=False, **more):
        """One client in G, or in S for a published port."""
        return Child(self.load_argv(mode, seconds, published=published,
                                    **more),
                     self.s if published else self.g, self.tools.load_cpus)

    def load(self, mode, seconds, timeout=25, **more):
        """Runs one client. Returns its result, or None."""
        child = self.start_load(mode, seconds, **more)
        try:
            return child.line(timeout)
        finally:
            child.close()

    def measured(self, mode, seconds, **more):
        """The same with the relay's processor time beside it."""
        before = self.cpu()
        r = self.load(mode, seconds, timeout=seconds + 20, **more)
        if r:
            r["cpu"] = self.cpu() - before
        return r

    def udp(self, mode, seconds, size):
        """The same for datagrams; a search of rates takes longer."""
        if mode.endswith("-free"):
            seconds = max(seconds, 0.9) * 2
        before = self.cpu()
        child = Child([self.tools.udp, mode, "-a", SERVER, "-p", PORT, "-s",
                       size, "-t", int(seconds * 1000)], self.g,
                      self.tools.load_cpus)
        try:
            r = child.line(seconds * 2 + 20)
        finally:
            child.close()
        if r:
            r["cpu"] = self.cpu() - before
        return r

    def ask_one(self, seconds):
        child = Child([self.tools.dns, "one", self.dns, int(seconds * 1000)],
                      self.g, self.tools.load_cpus)
        try:
            return child.line(seconds + 20)
        finally:
            child.close()

    def ask(self, how, seconds):
        """Names, one by one or by dnsperf; `put`, `get`: paced beside that."""
        if how == "one":
            return self.ask_one(seconds)
        if how != "many" and how != "cached":
            seconds = min(seconds, PACED_S)
        if how not in ("put", "get"):
            return dnsperf.run(self, how, seconds)
        bulk = self.start_load(how, seconds + 0.3, warm=WARM_BULK_S)
        try:
            time.sleep(WARM_BULK_S)
            r = dnsperf.run(self, "paced", seconds)
            moved = bulk.line(seconds + 20)
        finally:
            bulk.close()
        if not r or not moved:
            return None
        r["failed"] += moved["failed"]
        r["beside_gbit"] = moved["counted"] / moved["seconds"] * 8e-9
        return r

    def cpu(self):
        return cpu_seconds(self.relay.pid) if self.relay else 0

    def open_idle(self, count):
        """Has count connections stand through the relay."""
        open_s = self.tools.open_s
        if not self.pool:
            self.pool = Child(self.load_argv("idle", open_s), self.g,
                              self.tools.load_cpus, stdin=subprocess.PIPE)
        self.pool.say(f"{count}\n")
        r = self.pool.line(open_s + 15)
        self.idle_open = r["open"] if r else 0
        return self.idle_open

    def idle_alive(self):
        """Ends the pool. Returns the share of it that still answered."""
        self.pool.proc.stdin.close()
        self.pool.proc.stdin = None
        r = self.pool.line(60)
        return r["alive"] / max(r["pinged"], 1) if r else 0

    # ---- the end ----

    def ended(self):
        """Which of its processes is gone, or None."""
        for name in ("server", "relay", "pump"):
            child = getattr(self, name)
            if child and not child.alive():
                return name
        return None

    def log_tail(self):
        try:
            with open(self.log, errors="replace") as f:
                return " | ".join(f.read().strip().split("\n")[-3:])
        except OSError:
            return ""

    def close(self):
        for child in (self.pool, self.pump, self.server, self.datagrams,
                      self.names, self.inner, self.relay):
            if child:
                child.close()
        for ns in (self.s, self.r, self.g):
            ip("netns", "del", ns, check=False)
