# SPDX-License-Identifier: BSD-3-Clause
"""The README's picture: one SVG, drawn from the result, no library."""
from xml.sax.saxutils import escape

from report import value

COLOURS = {"lwrelay": "#0b6e4f", "lwrelay+poll": "#58a68b",
           "pasta": "#c8553d", "slirp4netns": "#8d8d99", "veth": "#d9d9de"}
NAMES = {"lwrelay+poll": "lwrelay, busy poll", "veth": "veth, no relay"}
ALL = ("lwrelay", "pasta", "slirp4netns")
PANELS = [
    ("TCP, Gbit/s: MTU 1500", [
        ("guest to host", "tap/1500/g2h-1", ALL + ("veth",)),
        ("host to guest", "tap/1500/h2g-1", ALL + ("veth",))]),
    ("TCP, Gbit/s: MTU 65520", [
        ("guest to host", "tap/65520/g2h-1", ALL + ("veth",)),
        ("host to guest", "tap/65520/h2g-1", ALL + ("veth",))]),
    ("thousands a second: MTU 1500", [
        ("one byte there and back", "tap/1500/rr",
         ("lwrelay", "lwrelay+poll", "pasta", "slirp4netns")),
        ("connect, request, close", "tap/1500/crr-1",
         ("lwrelay", "lwrelay+poll", "pasta", "slirp4netns"))]),
    ("what it costs", [
        ("CPU s per GiB, host to guest, MTU 1500", "cpu", ALL),
        ("MiB resident at 10,000 connections", "memory", ALL)]),
]
WIDTH, LEFT, BAR, ROW = 430, 118, 200, 17


def figure(r, cell, kind):
    if cell == "cpu":
        return value(r, "tap/1500/h2g-1", kind, "cpu_per_gib")
    if cell == "memory":
        m = r["memory"].get(kind)
        return m and list(m["rss_kib"].values())[-1] / 1024
    x = value(r, cell, kind)
    return x and (x / 1000 if "rr" in cell else x)


def label(x):
    return f"{x:.0f}" if x >= 100 else f"{x:.1f}" if x >= 1 else f"{x:.2f}"


def remark(r, cell, kind):
    """Says so where a relay did not get to as many connections."""
    opened = r["memory"].get(kind, {}).get("open")
    if cell != "memory" or opened == r["settings"]["idle"]:
        return ""
    return f" at {opened:,}"


def words(x, y, text, size=12, fill="#222", anchor="start", weight="normal"):
    return (f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{fill}" '
            f'text-anchor="{anchor}" font-weight="{weight}">'
            f'{escape(text)}</text>')


def bars(r, x, y, title, cell, kinds):
    """One group of bars on a scale of its own; returns (svg, height)."""
    found = [(k, figure(r, cell, k)) for k in kinds]
    found = [(k, v) for k, v in found if v is not None]
    top = max([v for _, v in found], default=0) or 1
    out = [words(x, y + 12, title, weight="bold")]
    for i, (kind, v) in enumerate(found):
        at = y + 20 + i * ROW
        width = max(v / top * BAR, 1)
        out += [words(x + LEFT - 6, at + 11, NAMES.get(kind, kind), 11,
                      anchor="end"),
                f'<rect x="{x + LEFT}" y="{at}" width="{width:.1f}" '
                f'height="{ROW - 4}" fill="{COLOURS[kind]}"/>',
                words(x + LEFT + width + 5, at + 11,
                      label(v) + remark(r, cell, kind), 11)]
    return out, 34 + len(found) * ROW


def panel(r, x, y, title, groups):
    out = [words(x, y + 14, title, 14, weight="bold", fill="#0b3d2e")]
    at = y + 24
    for group in groups:
        svg, height = bars(r, x, at, *group)
        out += svg
        at += height
    return out, at - y


def caption(r):
    m, s = r["machine"], r["settings"]
    return [f"{m['cpu']}, {m['cpus']} CPUs, Linux {m['kernel']}, {r['date']}. "
            f"Medians of {s['rounds']} interleaved rounds; one TCP stream; "
            "tap guest; server behind veth;",
            "cubic for everyone; relay alone on a CPU. "
            + ", ".join(v for v in r["versions"].values() if v)]


def draw(r):
    out, bottom = [], 0
    for column in (0, 1):
        y = 16
        for title, groups in PANELS[column::2]:
            svg, height = panel(r, 16 + column * WIDTH, y, title, groups)
            out += svg
            y += height + 8
        bottom = max(bottom, y)
    for i, line in enumerate(caption(r)):
        out.append(words(16, bottom + 12 + 15 * i, line, 10.5, "#666"))
    height = bottom + 40
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" '
            f'height="{height}" viewBox="0 0 {2 * WIDTH} {height}" '
            'font-family="Helvetica, Arial, sans-serif">'
            '<rect width="100%" height="100%" fill="#fff" rx="6"/>')
    return head + "\n" + "\n".join(out) + "\n</svg>\n"


def write(r, path):
    with open(path, "w") as f:
        f.write(draw(r))
