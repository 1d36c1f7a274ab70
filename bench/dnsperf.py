# SPDX-License-Identifier: BSD-3-Clause
"""Runs dnsperf in an instance's guest, and reads what it says.

Questions of a run have names of their own, so that no cache knows the answer,
or are for the same hundred names, again and again. Beside bulk dnsperf asks at a
fixed rate; it and its server then run at the highest nice level, for all relays
alike: what is measured is the way there and back, and not the queue for the
processor that they share with the ends of the bulk. (Not at real-time
priority: dnsperf spins at times, and would starve the server.)
"""
import itertools
import os
import re

from net import Child, run_ahead

RATE = 2000  # questions a second where the latency is asked for
FASTEST = 250000
CACHED = 100  # names
RUNS = itertools.count()
# how: dnsperf's clients and questions under way; its rate, if not the most
HOW = {"many": (4, 100, None), "cached": (4, 100, None),
       "paced": (1, 100, RATE)}


def names(path, how, seconds):
    """With fewer than it asks for some would be joined, or cached."""
    tag, count = next(RUNS), int(seconds * FASTEST)
    if how == "cached":
        tag, count = "c", CACHED
    with open(path, "w") as f:
        f.writelines(f"h{i}.r{tag}.test A\n" for i in range(count))


def parse(text, seconds):
    """-v prints a line for each answer: > NOERROR name type latency"""
    us = sorted(float(x) * 1e6 for x in
                re.findall(r"^> NOERROR \S+ \S+ (\S+)$", text, re.MULTILINE))
    took = re.search(r"Run time \(s\):\s+([\d.]+)", text)
    lost = re.search(r"Queries lost:\s+(\d+)", text)
    if not us or not took or not lost:
        return None
    return {"counted": len(us), "seconds": float(took[1]) or seconds,
            "failed": int(lost[1]), "p50_us": us[len(us) // 2],
            "p99_us": us[len(us) - 1 - len(us) // 100]}


def run(inst, how, seconds):
    """One run. Returns its result, or None."""
    clients, under_way, rate = HOW[how]
    asked = f"{inst.tools.tmp}/{inst.prefix}.names"
    said = f"{inst.tools.tmp}/{inst.prefix}.dnsperf"
    names(asked, how, seconds)
    argv = ["dnsperf", "-s", inst.dns, "-d", asked, "-l", f"{seconds:.3f}",
            "-c", clients, "-q", under_way, "-T", 1, "-v", "-W"]
    if rate:
        argv += ["-Q", rate]
    if os.path.exists(said):
        os.unlink(said)
    run_ahead(inst.names.pid, bool(rate))
    child = Child(argv, inst.g, inst.tools.load_cpus, log=said, ahead=rate)
    try:
        child.proc.wait(seconds + 20)
    finally:
        child.close()
        run_ahead(inst.names.pid, False)
    with open(said, errors="replace") as f:
        return parse(f.read(), seconds)
