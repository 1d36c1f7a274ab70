# SPDX-License-Identifier: BSD-3-Clause
"""From samples to medians, ratios, targets, a table and JSON."""
import json
import os
import platform
import statistics
import time

import peers

COLUMNS = {
    "tap": [("lwrelay", "lwrelay"), ("lwrelay+idle", "+idle"),
            ("lwrelay+poll", "+poll"), ("pasta", "pasta"),
            ("pasta+idle", "+idle"), ("pasta-untuned", "untuned"),
            ("slirp4netns", "slirp4n"), ("slirp4netns+idle", "+idle"),
            ("veth", "veth")],
    "stream": [("lwrelay-stream", "lwrelay"), ("passt", "passt")],
}
STREAMS = ("g2h-1", "h2g-1", "g2h-8", "h2g-8")
UDP = ("udp-rr",) + tuple(f"udp-{way}-{size}{free}" for free in ("", "-free")
                          for way in ("g2h", "h2g") for size in (64, 1472))
PUBLISHED = ("pub-g2h-1", "pub-h2g-1", "pub-g2h-8", "pub-h2g-8")
NAMES = ("dns-one", "dns-many", "dns-cached")
BESIDE = ("dns-paced", "dns-g2h", "dns-h2g")
# (cell, of, to, floor, aim): the median of `of` over that of `to`
RATIOS = [
    ("tap/1500/h2g-1", "lwrelay", "pasta", 12, 20),
    ("tap/1500/g2h-1", "lwrelay", "pasta", 20, None),
    ("tap/65520/g2h-1", "lwrelay", "pasta", 1.15, 1.5),
    ("tap/65520/h2g-1", "lwrelay", "pasta", 1.15, 1.5),
    ("tap/65520/g2h-8", "lwrelay", "pasta", 0.95, 1.3),
    ("tap/65520/h2g-8", "lwrelay", "pasta", 0.95, 1.3),
] + [
    (f"tap/{mtu}/{cell}", of, "pasta", floor, aim)
    for mtu in (1500, 65520)
    for cell, of, floor, aim in (("rr", "lwrelay", 1.15, 1.3),
                                 ("rr", "lwrelay+poll", 2.2, None),
                                 ("crr-1", "lwrelay", 1.15, 1.5),
                                 ("crr-32", "lwrelay", 1.15, 1.5))
] + [
    (f"tap/1500/{cell}", "lwrelay", "pasta", 1.5, 2) for cell in UDP
] + [
    (f"tap/1500/{cell}", "lwrelay", "pasta", 1, None) for cell in NAMES
] + [
    (f"stream/{mtu}/{cell}", "lwrelay-stream", "passt", 1, None)
    for mtu in (1500, 65520) for cell in ("g2h-1", "h2g-1")
]
IDLE_KEPT = 0.9
ADDED_US = 1000  # to the p99 of names, by bulk beside it
RSS_MIB = 10


def median(samples, key):
    values = [s[key] for s in samples if key in s]
    return statistics.median(values) if values else None


def summary(samples):
    out = {k: median(samples, k)
           for k in ("value", "cpu_per_gib", "p50_us", "p99_us", "idle",
                     "beside_gbit", "stolen")}
    out["failed"] = sum(s.get("failed", 0) for s in samples)
    out["bad"] = sum(s.get("bad", 0) for s in samples)
    out["samples"] = [round(s["value"], 4) for s in samples]
    return {k: v for k, v in out.items() if v is not None}


def inproc_summary(samples):
    return {k: round(statistics.median(s[k] for s in samples), 4)
            for k in samples[0]}


def machine():
    cpu = "?"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    mem = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": cpu, "cpus": len(os.sched_getaffinity(0)),
            "memory_gib": round(mem), "kernel": platform.release(),
            "arch": platform.machine()}


def result(bench, took):
    cells = {}
    for (link, mtu, cell, kind), samples in bench.cells.items():
        cells.setdefault(f"{link}/{mtu}/{cell}", {})[kind] = summary(samples)
    r = {"date": time.strftime("%Y-%m-%d"), "took_s": round(took),
         "machine": machine(),
         "versions": {b: peers.version(bench.tools.path(b))
                      for b in bench.bases() if b != "veth"},
         "settings": {"rounds": bench.args.rounds,
                      "repeat": bench.args.repeat,
                      "seconds": bench.args.seconds,
                      "idle": bench.args.idle, "congestion": "cubic",
                      "cpus_relay": sorted(bench.tools.relay_cpus),
                      "cpus_load": sorted(bench.tools.load_cpus)},
         "others_busy_cpus": round(statistics.mean(bench.others or [0]), 2),
         "cells": cells,
         "inproc": {"/".join(map(str, cell)): inproc_summary(samples)
                    for cell, samples in bench.inproc.items()},
         "memory": bench.memory,
         "verified": {f"{k} {mtu}": wrong or "ok"
                      for (k, mtu), wrong in bench.verified.items()}}
    r["targets"] = targets(r)
    return r


# ---- targets ----

def value(r, cell, kind, key="value"):
    return r["cells"].get(cell, {}).get(kind, {}).get(key)


def ratio(a, b):
    return a / b if a is not None and b else None


def target(what, got, floor=None, limit=None, aim=None):
    if got is None:
        return None
    met = got >= floor if floor is not None else got <= limit
    return {"what": what, "got": round(got, 3), "floor": floor,
            "limit": limit, "aim": aim, "met": met,
            "aim_met": None if aim is None else got >= aim}


def rivals(cell):
    """Who is compared with whom in a cell."""
    if cell.startswith("stream"):
        return [("lwrelay-stream", "passt")]
    return [("lwrelay", "pasta"), ("lwrelay+idle", "pasta+idle")]


def ratio_target(r, cell, of, to, key="value", **bound):
    word = " CPU" if key == "cpu_per_gib" else ""
    return target(f"{cell}{word} {of}/{to}",
                  ratio(value(r, cell, of, key), value(r, cell, to, key)),
                  **bound)


def published_targets(r, mtu):
    """The same payload through the same relay, connected from either end."""
    return [target(f"tap/{mtu}/pub-{cell} lwrelay/outbound",
                   ratio(value(r, f"tap/{mtu}/pub-{cell}", "lwrelay"),
                         value(r, f"tap/{mtu}/{cell}", "lwrelay")), floor=1)
            for cell in STREAMS]


def added(r, cell, kind):
    """What bulk adds to the p99 of names, in microseconds."""
    alone = value(r, cell.rsplit("/", 1)[0] + "/dns-paced", kind, "p99_us")
    beside = value(r, cell, kind, "p99_us")
    return None if alone is None or beside is None else beside - alone


def names_targets(r, mtu):
    return [target(f"tap/{mtu}/{cell} added to p99, µs",
                   added(r, f"tap/{mtu}/{cell}", "lwrelay"), limit=ADDED_US)
            for cell in BESIDE[1:]]


def memory_targets(m):
    return [target(f"MiB at {m['open']} connections",
                   max(m["rss_kib"].values()) / 1024, limit=RSS_MIB),
            target(f"wake-ups in {m['watch_s']} s, idle", m["wakeups"]["0"],
                   limit=0)]


def targets(r):
    rows = [ratio_target(r, cell, of, to, floor=floor, aim=aim)
            for cell, of, to, floor, aim in RATIOS]
    for cell in r["cells"]:
        rows += [ratio_target(r, cell, of, to, "cpu_per_gib", limit=1)
                 for of, to in rivals(cell)]
    for cell in r["cells"]:
        rows.append(ratio_target(r, cell, "lwrelay+idle", "lwrelay",
                                 floor=IDLE_KEPT))
    for mtu in (1500, 65520):
        rows += published_targets(r, mtu) + names_targets(r, mtu)
    if "lwrelay" in r["memory"]:
        rows += memory_targets(r["memory"]["lwrelay"])
    return [t for t in rows if t]


def verdict(t):
    bound = f"≥ {t['floor']}" if t["floor"] is not None else f"≤ {t['limit']}"
    if t["aim"]:
        bound += f" [{t['aim']}]"
    word = "met" if t["met"] else "MISSED"
    if t["aim_met"]:
        word = "met, aim too"
    return f"{bound:<12} {word}"


# ---- text ----

def number(x):
    if x is None:
        return "-"
    digits = 0 if x >= 1000 else 1 if x >= 100 else 2 if x >= 0.1 else 3
    return f"{x:.{digits}f}"


def grid(heads, rows):
    lines = [heads] + rows
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    return "\n".join("  ".join(
        (c.ljust if i in (0, len(heads) - 1) else c.rjust)(w)
        for i, (c, w) in enumerate(zip(line, widths))).rstrip()
        for line in lines)


def cell_table(r, link, key, cells):
    """One line a cell, one column a kind, then lwrelay over its rival."""
    ids = [c for c in r["cells"] if c.startswith(link) and
           c.rsplit("/", 1)[1] in cells]
    columns = [(k, head) for k, head in COLUMNS[link]
               if any(value(r, c, k, key) is not None for c in ids)]
    if not columns:
        return ""
    own, rival = rivals(link)[0]
    aims = {t["what"]: t for t in r["targets"]}
    rows = []
    for c in sorted(ids, key=lambda c: (int(c.split("/")[1]), ids.index(c))):
        x = ratio(value(r, c, own, key), value(r, c, rival, key))
        word = " CPU" if key == "cpu_per_gib" else ""
        t = aims.get(f"{c}{word} {own}/{rival}") \
            if key in ("value", "cpu_per_gib") else None
        rows.append([c] + [number(value(r, c, k, key)) for k, _ in columns] +
                    [number(x), verdict(t) if t else ""])
    return grid(["cell"] + [h for _, h in columns] + ["ratio", ""], rows)


def inproc_table(r):
    keys = ("gbit", "frames_g2h", "frames_h2g", "calls_per_frame",
            "wakes_per_frame", "p50_us", "p99_us")
    rows = [[cell] + [number(s[k]) if s[k] else "-" for k in keys] + [""]
            for cell, s in r["inproc"].items()]
    heads = ["link/mode/links/frame/spin", "Gbit/s", "g2h/s", "h2g/s",
             "calls/frame", "wakes/frame", "p50", "p99", ""]
    return grid(heads, rows) if rows else ""


def memory_table(r):
    rows = []
    for base, m in r["memory"].items():
        counts = sorted(m["rss_kib"], key=int)
        rows.append([base] + [f"{m['rss_kib'][c] / 1024:.1f}" for c in counts]
                    + [str(m["open"])] +
                    [str(m["wakeups"][c]) for c in (counts[0], counts[-1])] +
                    [""])
        heads = ["relay"] + [f"MiB at {c}" for c in counts] + \
            ["opened", f"wake-ups in {m['watch_s']} s", "with connections",
             ""]
    return grid(heads, rows) if rows else ""


def failures(r):
    rows = []
    for c, kinds in r["cells"].items():
        for k, s in kinds.items():
            if s["failed"] or s["bad"]:
                rows.append(f"  {c} {k}: {s['failed']} failed, "
                            f"{s['bad']} reads with wrong bytes")
    rows += [f"  verify {k}: {v}" for k, v in r["verified"].items()
             if v != "ok"]
    return "\n".join(rows)


def target_list(r):
    met = sum(t["met"] for t in r["targets"])
    lines = [f"  {t['what']:<44} {t['got']:>9} {verdict(t)}"
             for t in r["targets"]]
    return f"{met} of {len(r['targets'])} met\n" + "\n".join(lines)


def text(r):
    m, s = r["machine"], r["settings"]
    head = (f"{m['cpu']}, {m['cpus']} CPUs, Linux {m['kernel']}; "
            f"{', '.join(v or '?' for v in r['versions'].values())}; medians "
            f"of {s['repeat']} samples of {s['seconds']} s in each of "
            f"{s['rounds']} rounds, interleaved, cubic, "
            f"relay on CPU {s['cpus_relay'][0]}, load on {s['cpus_load'][0]}; "
            f"+idle: beside {s['idle']} idle connections; {r['took_s']} s; "
            f"others kept {r['others_busy_cpus']} CPUs busy meanwhile")
    parts = [
        ("", head),
        ("TCP, Gbit/s", cell_table(r, "tap", "value", STREAMS)),
        ("relay CPU seconds per GiB",
         cell_table(r, "tap", "cpu_per_gib", STREAMS)),
        ("per second: rr one byte there and back, crr connect-request-close",
         cell_table(r, "tap", "value", ("rr", "crr-1", "crr-32"))),
        ("latency p50, µs",
         cell_table(r, "tap", "p50_us", ("rr", "crr-1", "crr-32", "udp-rr"))),
        ("latency p99, µs",
         cell_table(r, "tap", "p99_us", ("rr", "crr-1", "crr-32", "udp-rr"))),
        ("UDP at MTU 1500, datagrams per second that arrive",
         cell_table(r, "tap", "value", UDP)),
        ("published ports, Gbit/s",
         cell_table(r, "tap", "value", PUBLISHED)),
        ("published ports, relay CPU seconds per GiB",
         cell_table(r, "tap", "cpu_per_gib", PUBLISHED)),
        ("published ports, connect-request-close per second",
         cell_table(r, "tap", "value", ("pub-crr-1", "pub-crr-32"))),
        ("published ports, connect-request-close p99, µs",
         cell_table(r, "tap", "p99_us", ("pub-crr-1", "pub-crr-32"))),
        ("names per second: one after the other; dnsperf with 100 under way, "
         "with 100 that lwrelay has cached", cell_table(r, "tap", "value", NAMES)),
        ("names: latency p50, µs; paced: alone, g2h and h2g: beside bulk",
         cell_table(r, "tap", "p50_us", NAMES + BESIDE)),
        ("names: latency p99, µs",
         cell_table(r, "tap", "p99_us", NAMES + BESIDE)),
        ("names: the bulk beside them, Gbit/s",
         cell_table(r, "tap", "beside_gbit", BESIDE)),
        ("stream link, Gbit/s (rr: per second)",
         cell_table(r, "stream", "value", STREAMS + ("rr",))),
        ("stream link, relay CPU seconds per GiB",
         cell_table(r, "stream", "cpu_per_gib", STREAMS)),
        ("in-process link beside tap, one process: frames, system calls and "
         "wake-ups of the link, µs", inproc_table(r)),
        ("resident memory and wake-ups", memory_table(r)),
        ("not as it should be", failures(r)),
        ("targets", target_list(r) if r["targets"] else ""),
    ]
    return "\n\n".join((f"{title}\n" if title else "") + body
                       for title, body in parts if body)


def write_json(r, path):
    with open(path, "w") as f:
        json.dump(r, f, indent=1)
        f.write("\n")
