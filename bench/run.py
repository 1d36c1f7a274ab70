#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Measures lwrelay beside pasta, passt, slirp4netns and a plain veth.

In each round every relay runs each cell a few times, in turns, so that what
changes on the machine meanwhile meets all of them; figures are medians over
all samples. A sample during which the hypervisor gave our processors to
others is taken again. The relay has one processor to itself, both ends of the traffic
(and the pump of the stream link) share another: the same plan for everyone.
Throughput is the receiver's, without slow start; each read is spot-checked,
and a separate transfer compares each byte. See load.c, relays.py, report.py.
"""
import argparse
import collections
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

import net  # noqa: E402
import peers  # noqa: E402
import picture  # noqa: E402
import report  # noqa: E402
from relays import Instance, Tools  # noqa: E402

# name: what a table calls it; base: the program; link: what the guest has;
# idle: with 10,000 connections that only stand there; cells: a pattern.
Kind = collections.namedtuple(
    "Kind", "name base link idle poll tuned cells first_round",
    defaults=("tap", False, False, True, "", False))
# mtu: 0, or the only one; size: of a datagram
Cell = collections.namedtuple("Cell", "name mode streams size mtu",
                              defaults=(1, 0, 0))

CELLS = [Cell("g2h-1", "put", 1), Cell("h2g-1", "get", 1),
         Cell("g2h-8", "put", 8), Cell("h2g-8", "get", 8),
         Cell("rr", "rr", 1), Cell("crr-1", "crr", 1),
         Cell("crr-32", "crr", 32),
         Cell("pub-g2h-1", "pub/get"), Cell("pub-h2g-1", "pub/put"),
         Cell("pub-g2h-8", "pub/get", 8), Cell("pub-h2g-8", "pub/put", 8),
         Cell("pub-crr-1", "pub/crr"), Cell("pub-crr-32", "pub/crr", 32),
         Cell("dns-one", "dns/one", mtu=1500),
         Cell("dns-many", "dns/many", mtu=1500),
         Cell("dns-cached", "dns/cached", mtu=1500),
         Cell("dns-paced", "dns/paced"), Cell("dns-g2h", "dns/put"),
         Cell("dns-h2g", "dns/get"),
         Cell("udp-rr", "udp/rr", 1, 64, 1500)] + \
        [Cell(f"udp-{way}-{size}{free}", f"udp/{mode}{free}", 1, size, 1500)
         for free in ("", "-free") for way, mode in (("g2h", "put"),
                                                     ("h2g", "get"))
         for size in (64, 1472)]
KINDS = [
    Kind("lwrelay", "lwrelay"),
    Kind("lwrelay+idle", "lwrelay", idle=True),
    Kind("lwrelay+poll", "lwrelay", poll=True, cells="rr"),
    Kind("pasta", "pasta"),
    Kind("pasta+idle", "pasta", idle=True),
    Kind("pasta-untuned", "pasta", tuned=False, cells="^g2h-1"),
    Kind("slirp4netns", "slirp4netns"),
    Kind("slirp4netns+idle", "slirp4netns", idle=True, first_round=True,
         cells="h2g-1|^rr|crr-1"),  # it all but stands: once will do
    Kind("veth", "veth"),
    Kind("lwrelay-stream", "lwrelay", "stream", cells="g2h-1|h2g-1|^rr"),
    Kind("passt", "passt", "stream", cells="g2h-1|h2g-1|^rr"),
]
MTUS = (1500, 65520)
# of bench/inproc: link, mode, links, bytes of a frame, microseconds of looking
# on before the guest's thread sleeps
INPROC = [("inproc", m, n, f, 0) for f in (65536, 1500) for n in (1, 16, 256)
          for m in ("put", "get")] + \
         [(k, "rr", 1, 1500, 0) for k in ("inproc", "tap")] + \
         [("inproc", "rr", 1, 1500, 30), ("inproc", "idle", 256, 1500, 0),
          ("tap", "put", 1, 65536, 0), ("tap", "get", 1, 65536, 0)]
WARM_S, COOL_S = 0.2, 0.15
VERIFY_BYTES = 32 << 20
STOLEN_MAX, TRIES = 0.02, 3  # processors' time that a hypervisor took


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--build", default=f"{HERE}/../build/release",
                   help="folder with lwrelay and bench/load, loadd, pump")
    p.add_argument("--rounds", type=int, default=4)
    p.add_argument("--repeat", type=int, default=3,
                   help="samples of a cell in a round")
    p.add_argument("--seconds", type=float, default=0.6,
                   help="of a transfer; request cells take two thirds of it")
    p.add_argument("--quick", action="store_true",
                   help="one short round: to see that it works")
    p.add_argument("--only", default="", metavar="REGEX",
                   help="cells, as tap/1500/g2h-1 or stream/65520/rr; "
                   "'memory' for resident memory and wake-ups")
    p.add_argument("--relays", default="", metavar="LIST",
                   help="of lwrelay, pasta, passt, slirp4netns, veth")
    p.add_argument("--idle", type=int, default=10000, metavar="N",
                   help="how many idle connections")
    p.add_argument("--pasta", help="path of another pasta")
    p.add_argument("--passt", help="path of another passt")
    p.add_argument("--json", metavar="FILE")
    p.add_argument("--svg", metavar="FILE")
    a = p.parse_args()
    a.warm = WARM_S
    if a.quick:
        a.rounds, a.repeat, a.seconds, a.warm = 1, 1, 0.3, 0.1
    return a


def note(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Bench:
    def __init__(self, args, tools):
        self.args, self.tools = args, tools
        tools.open_s = 6 if args.quick else 20
        self.cells = {}     # (link, mtu, cell, kind) -> [sample]
        self.memory = {}    # base -> {...}
        self.verified = {}  # (kind, mtu) -> what went wrong, or ""
        self.open = []      # instances
        self.inproc = {}    # (link, mode, links, frame, spin) -> [sample]
        self.others = []    # share of the processors busy while we are not

    # ---- what is to be done ----

    def wanted(self, kind, mtu, cell):
        ident = f"{kind.link}/{mtu}/{cell.name}"
        if cell.mtu and mtu != cell.mtu:
            return False
        if "/" in cell.mode and (kind.idle or kind.link != "tap"):
            return False
        return re.search(kind.cells, cell.name) and \
            re.search(self.args.only, ident)

    def bases(self):
        chosen = [b for b in self.args.relays.split(",") if b]
        return [b for b in ("lwrelay", "pasta", "passt", "slirp4netns", "veth")
                if (not chosen or b in chosen) and
                (b == "veth" or os.path.exists(self.tools.path(b) or ""))]

    def kinds(self, link, mtu, round_no):
        return [k for k in KINDS
                if k.link == link and k.base in self.bases()
                and not (k.first_round and (round_no or self.args.quick))
                and not (k.idle and mtu == 1500 and self.args.quick)
                and any(self.wanted(k, mtu, c) for c in CELLS)]

    def idle_count(self, base):
        """pasta needs two descriptors a connection."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        each = 2 if base == "pasta" else 1
        return min(self.args.idle, (limit - 2000) // each)

    # ---- instances ----

    def begin(self, kind, mtu):
        """Returns a running instance, or None with its reason told."""
        inst = Instance(self.tools, kind, mtu)
        self.open.append(inst)
        try:
            inst.start()
            if kind.idle:
                inst.open_idle(self.idle_count(kind.base))
                time.sleep(COOL_S)
        except (RuntimeError, OSError, subprocess.SubprocessError) as e:
            note(f"{kind.name} at MTU {mtu}: {e}: {inst.log_tail()}")
            self.end(inst)
            return None
        return inst

    def end(self, inst):
        self.open.remove(inst)
        inst.close()

    def end_all(self):
        while self.open:
            self.end(self.open[-1])

    # ---- cells ----

    def sample(self, inst, cell):
        seconds = self.args.seconds
        what, _, mode = cell.mode.rpartition("/")
        if mode in ("rr", "crr"):
            seconds *= 2 / 3
        if what == "udp":
            r = inst.udp(mode, seconds, cell.size)
        elif what == "dns":
            r = inst.ask(mode, seconds)
        else:
            r = inst.measured(mode, seconds, warm=self.args.warm,
                              streams=cell.streams, published=what == "pub")
        self.others.append(net.busy_during(COOL_S))
        if not r:
            return {"value": 0, "failed": 1, "idle": inst.idle_open}
        s = {k: r[k] for k in ("failed", "bad", "p50_us", "p99_us",
                               "beside_gbit") if k in r}
        s["value"] = r["counted"] / r["seconds"]
        s["idle"] = inst.idle_open
        if what in ("", "pub") and mode in ("put", "get"):
            s["value"] *= 8e-9
            if inst.relay and r["total"] > 1 << 20:
                s["cpu_per_gib"] = r["cpu"] / (r["total"] / 2**30)
        return s

    def calm_sample(self, inst, cell):
        best = None
        for _ in range(TRIES):
            before, begin = net.stolen_seconds(), time.monotonic()
            sample = self.sample(inst, cell)
            stolen = (net.stolen_seconds() - before) / \
                (time.monotonic() - begin)
            if not best or stolen < best["stolen"]:
                best = dict(sample, stolen=stolen)
            if stolen <= STOLEN_MAX or inst.ended():
                break
        return best

    def one(self, instances, inst, cell):
        """Runs a cell; replaces the instance when a process of it ended."""
        key = (inst.kind.link, inst.mtu, cell.name, inst.kind.name)
        sample = self.calm_sample(inst, cell)
        ended = inst.ended()
        if ended != "server":  # which is nobody's fault that we measure
            self.cells.setdefault(key, []).append(sample)
        if ended:
            note(f"{key}: the {ended} ended: {inst.log_tail()}")
            self.end(inst)
            fresh = self.begin(inst.kind, inst.mtu)
            at = instances.index(inst)
            instances[at:at + 1] = [fresh] if fresh else []

    def round(self, link, mtu, number):
        kinds = self.kinds(link, mtu, number)
        instances = [self.begin(k, mtu) for k in kinds]
        instances = [i for i in instances if i]
        if number == 0:
            for inst in instances:
                self.verify(inst)
        # By lot: who always came after the same one would inherit its heat.
        lot = random.Random(number)
        for cell in [c for c in CELLS for _ in range(self.args.repeat)]:
            for inst in lot.sample(instances, len(instances)):
                if self.wanted(inst.kind, mtu, cell):
                    self.one(instances, inst, cell)
        for inst in instances:
            if inst.pool and inst.idle_alive() < 1:
                note(f"{inst.kind.name} at MTU {mtu}: idle connections died")
        self.end_all()

    def verify(self, inst):
        """Moves a fixed length each way, comparing each byte."""
        if inst.kind.idle or inst.kind.poll or not inst.kind.tuned:
            return
        wrong = []
        for mode in ("put", "get"):
            r = inst.load(mode, 1, streams=2, length=VERIFY_BYTES)
            if not r or r["bad"] or r["failed"]:
                wrong.append(f"{mode} {r}")
        self.verified[(inst.kind.name, inst.mtu)] = "; ".join(wrong)

    # ---- memory and wake-ups ----

    def memory_all(self):
        """Fresh relays side by side, none with any traffic but the opening."""
        # timers that the opening's connections left have gone by then
        settle, watch = (1, 3) if self.args.quick else (15, 10)
        chosen = [k for k in KINDS if k.base in self.bases() and
                  k.name == k.base and k.base not in ("veth", "passt")]
        instances = [self.begin(k, 65520) for k in chosen]
        instances = [i for i in instances if i]
        for inst in instances:
            self.memory[inst.kind.base] = {
                "rss_kib": {}, "wakeups": {}, "watch_s": watch}
        for count in (0, 1000, self.args.idle):
            for inst in instances:
                self.memory_at(inst, count)
            if count != 1000:
                time.sleep(settle)
                self.count_wakeups(instances, count, watch)
        self.end_all()

    def memory_at(self, inst, count):
        if count:
            inst.open_idle(min(count, self.idle_count(inst.kind.base)))
            time.sleep(0.5)
        m = self.memory[inst.kind.base]
        m["rss_kib"][str(count)] = net.rss_kib(inst.relay.pid)
        m["open"] = inst.idle_open
        if inst.ended():
            note(f"memory of {inst.kind.name} at {count}: the {inst.ended()} "
                 f"ended: {inst.log_tail()}")

    def count_wakeups(self, instances, count, watch):
        before = [net.wakeups(i.relay.pid) for i in instances]
        time.sleep(watch)
        for inst, b in zip(instances, before):
            self.memory[inst.kind.base]["wakeups"][str(count)] = \
                net.wakeups(inst.relay.pid) - b

    # ---- the in-process link ----

    def inproc_round(self):
        for cell in INPROC:
            link, mode, links, frame, spin = map(str, cell)
            if not re.search(self.args.only, f"inproc/{link}/{mode}/{links}"):
                continue
            r = subprocess.run(
                [f"{self.args.build}/bench/inproc", link, mode, links,
                 str(int(self.args.seconds * 1000)), frame, spin],
                capture_output=True, text=True, timeout=60)
            if r.returncode or not r.stdout:
                note(f"in-process {cell}: {r.stderr.strip()}")
                continue
            self.inproc.setdefault(cell, []).append(json.loads(r.stdout))

    # ---- all of it ----

    def run(self):
        if re.search(self.args.only, "memory"):
            note("resident memory and wake-ups")
            self.memory_all()
        for number in range(self.args.rounds):
            if "lwrelay" in self.bases() and \
                    (not self.args.only or "inproc" in self.args.only):
                note(f"round {number + 1}: in-process")
                self.inproc_round()
            for link in ("tap", "stream"):
                for mtu in MTUS:
                    if self.kinds(link, mtu, number):
                        note(f"round {number + 1} of {self.args.rounds}: "
                             f"{link}, MTU {mtu}")
                        self.round(link, mtu, number)


def on_signal(number, _frame):
    sys.exit(128 + number)


def main():
    args = arguments()
    if not os.path.exists(f"{args.build}/bench/load"):
        sys.exit(f"bench: no bench/load in {args.build} (build it first)")
    if os.geteuid() != 0:
        sys.exit("bench: network namespaces need root (use sudo)")
    for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(s, on_signal)
    found = peers.find(f"{args.build}/../cache/peers",
                       newest=not (args.pasta and args.passt))
    found.update({k: v for k, v in (("pasta", args.pasta),
                                    ("passt", args.passt)) if v})
    net.remove_stale()
    tmp = net.folder()
    bench = Bench(args, Tools(os.path.abspath(args.build), found,
                              sorted(os.sched_getaffinity(0)), tmp))
    if "lwrelay" not in bench.bases():
        note(f"no lwrelay in {args.build}: only the others are measured")
    begin = time.monotonic()
    try:
        bench.run()
    finally:
        for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(s, signal.SIG_IGN)
        bench.end_all()
        shutil.rmtree(tmp, ignore_errors=True)
    result = report.result(bench, time.monotonic() - begin)
    print(report.text(result))
    if args.json:
        report.write_json(result, args.json)
    if args.svg:
        picture.write(result, args.svg)


if __name__ == "__main__":
    main()
