#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Many: connections in a row, connections at once, SYNs, and too few of what
the process needs; and that it all comes back."""

import os
import resource
import signal
import sys
import time

from lib import packet as p
from lib import served, server, world
from lib.case import (Failure, Skip, case, check, check_that, main, program,
                      wait_for)
from lib.relay import bench, is_passt, shared_lan
from lib.world import Process

MIB = 1 << 20


class Served:
    """served.py in namespace S."""

    def __init__(self, mode, addr):
        self.process = Process([sys.executable, served.__file__, mode, addr],
                               shared_lan().s, before=raise_limit)
        self.addr = addr
        wait_for(lambda: self.process.out().endswith("\n"), 5, "the server's port")
        self.port = int(self.process.out())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()


def raise_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_connections(wanted):
    """As many as descriptors allow."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return min(wanted, hard - 200)


def has_asan():
    with open(program(), "rb") as file:
        return b"__asan_init" in file.read()


def back_to(t, before, seconds=5):
    process = t.relay.process
    try:
        t.guest.wait(lambda: process.descriptors() <= before, seconds, "descriptors")
    except Failure:
        raise Failure("descriptors: expected %d again, saw %d" % (
            before, process.descriptors()))


# --- in a row ------------------------------------------------------------------


@case(seconds=120)
def ten_thousand_connections_in_a_row_closed_by_the_server():
    with bench() as t, Served("greet", t.lan.SERVER[4]) as target:
        before = t.relay.process.descriptors()
        for number in range(10000):
            conn = t.guest.connect(target.addr, target.port, seconds=10)
            conn.wait_fin()
            check(bytes(conn.received), b"!", "what connection %d read" % number)
            conn.send_fin()
            conn.drop()
        back_to(t, before)
        check_grown(t)


@case(seconds=120)
def ten_thousand_connections_in_a_row_closed_by_the_guest():
    with bench() as t, Served("drain", t.lan.SERVER[4]) as target:
        before = t.relay.process.descriptors()
        for _ in range(10000):
            conn = t.guest.connect(target.addr, target.port, seconds=10)
            conn.send_fin(b"bye")
            conn.wait_fin()
            conn.drop()
        back_to(t, before)
        check_grown(t)


@case(seconds=120)
def ten_thousand_connections_in_a_row_reset_by_the_guest():
    with bench() as t, Served("drain", t.lan.SERVER[4]) as target:
        before = t.relay.process.descriptors()
        for _ in range(10000):
            conn = t.guest.connect(target.addr, target.port, seconds=10)
            conn.send(b"never mind")
            conn.send_rst()
            conn.drop()
        back_to(t, before)
        check_grown(t)


def check_grown(t, limit_mib=32):
    resident = t.relay.process.resident_kib() >> 10
    if not has_asan():
        check_that(resident < limit_mib, "%d MiB resident afterwards" % resident)


# --- at once -------------------------------------------------------------------


@case(seconds=150)
def ten_thousand_idle_connections_cost_little_and_still_echo():
    count = most_connections(10000)
    with bench(before=raise_limit) as t, Served("echo", t.lan.SERVER[4]) as target:
        before = t.relay.process.descriptors()
        conns = open_many(t, target, count)
        resident = t.relay.process.resident_kib() / 1024
        if not has_asan() and not is_passt():
            check_that(resident < 16, "%.1f MiB resident with %d idle connections" % (
                resident, count))
        check_idle(t)
        echo_all(t, conns, 1)
        for conn in conns:
            conn.send_rst()
        back_to(t, before, 10)


def open_many(t, target, count, window=200):
    """Connections, many of them in progress at a time."""
    conns, waiting = [], []
    for number in range(count):
        conn = t.guest.tcp(target.addr, target.port, sport=1024 + number)
        conn.send_syn()
        waiting.append(conn)
        if len(waiting) >= window:
            finish(t, waiting)
            conns += waiting
            waiting = []
    finish(t, waiting)
    return conns + waiting


def finish(t, waiting):
    try:
        t.guest.wait(lambda: all(c.syn_ack or c.reset for c in waiting), 10, "SYN-ACKs")
    except Failure as failure:
        raise Failure("%s; %d of %d answered" % (
            failure, sum(1 for c in waiting if c.syn_ack), len(waiting)))
    for conn in waiting:
        check(conn.reset, False, "a connection was refused")
        conn.send_ack()


def check_idle(t, seconds=5):
    t.guest.quiet(0.5)
    before, cpu = t.relay.process.switches(), t.relay.process.cpu_seconds()
    time.sleep(seconds)  # the time observed
    woken = t.relay.process.switches() - before
    used = t.relay.process.cpu_seconds() - cpu
    check_that(woken <= seconds, "%d wake-ups in %d idle seconds" % (woken, seconds))
    check_that(used < 0.05, "%.2f s of CPU in %d idle seconds" % (used, seconds))


def echo_all(t, conns, turn):
    for number, conn in enumerate(conns):
        conn.send(b"%08d" % number)
        if number % 100 == 0:
            t.guest.pump(0.001)
    t.guest.wait(lambda: all(c.total >= 8 * turn for c in conns), 30, "all the echoes")
    for number, conn in enumerate(conns):
        check(bytes(conn.received[-8:]), b"%08d" % number, "echo of connection %d" % number)


# --- floods --------------------------------------------------------------------


def syn_flood(t, dst, port, count):
    """SYNs from changing ports that nobody answers for."""
    opts = p.tcp_options(1460, 7, True)
    for number in range(count):
        raw = p.tcp(t.guest.IP[4], dst, 1024 + number % 60000, port, number * 7919, 0,
                    p.SYN, 65535, b"", opts)
        t.guest.send_ip(p.ip4(t.guest.IP[4], dst, p.TCP, raw))
        if number % 100 == 0:
            t.guest.inbox.clear()
            t.guest.pump(0)
        if t.guest.link.unsent_bytes > MIB:
            t.guest.wait(lambda: t.guest.link.unsent_bytes < MIB // 4, 10, "the relay reads")
    t.guest.wait(lambda: not t.guest.link.unsent, 10, "the relay reads all")


def flooded(dst, port_of_target):
    """An old flow must live through a flood; a new one must come up after."""
    with bench("--connect-timeout", "1") as t, Served("echo", t.lan.SERVER[4]) as target:
        old = t.guest.connect(target.addr, target.port, sport=1023)
        before = t.relay.process.resident_kib()
        syn_flood(t, dst, port_of_target(target), 100000)
        old.send(b"alive")
        old.wait_data(5, 3)
        grown = (t.relay.process.resident_kib() - before) >> 10
        if not has_asan():
            check_that(grown < 64, "resident memory grew by %d MiB" % grown)
        deadline = time.monotonic() + 30
        while True:
            new = t.guest.tcp(target.addr, target.port, sport=62000)
            if new.attempt(1) == "connected":
                break
            new.drop()
            check_that(time.monotonic() < deadline, "no connect for 30 s after the flood")
        new.send_ack()
        new.send(b"new")
        new.wait_data(3, 3)


@case(seconds=90)
def syn_flood_to_a_silent_address_leaves_old_and_new_flows_alone():
    flooded(shared_lan().SILENT[4], lambda target: 80)


@case(seconds=90)
def syn_flood_to_a_server_leaves_old_and_new_flows_alone():
    flooded(shared_lan().SERVER[4], lambda target: target.port)


# --- limits --------------------------------------------------------------------


@case()
def out_of_descriptors_refuses_the_new_and_keeps_the_old():
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with bench(before=few) as t, Served("echo", t.lan.SERVER[4]) as target:
        conns = limited_connects(t, target, 200)
        check_that(20 <= len(conns) < 64, "%d of 200 connected with 64 descriptors" %
                   len(conns))
        echo_all(t, conns, 1)
        for conn in conns[:10]:
            conn.send_rst()
            conn.drop()
        t.guest.settle()
        again = limited_connects(t, target, 10, sport=5000)
        check(len(again), 10, "connects after ten descriptors returned")
        echo_all(t, again, 1)
        check_that(t.relay.stop()["tcp_limited"] >= 100, "tcp_limited counted")


def limited_connects(t, target, count, sport=2000):
    """The connections that came up; the others must be refused with RST."""
    conns = []
    for number in range(count):
        conn = t.guest.tcp(target.addr, target.port, sport=sport + number)
        answer = conn.attempt(3)
        if answer == "connected":
            conn.send_ack()
            conns.append(conn)
        else:
            check(answer, "refused", "a connect beyond the limit")
            conn.drop()
    return conns


@case()
def max_flows_refuses_the_new_and_keeps_the_old():
    if is_passt():
        raise Skip("passt has no --max-flows")
    with bench("--max-flows", "10") as t, Served("echo", t.lan.SERVER[4]) as target:
        conns = limited_connects(t, target, 30)
        check(len(conns), 10, "connections at --max-flows 10")
        echo_all(t, conns, 1)
        conns.pop().send_rst()
        t.guest.settle()
        check(len(limited_connects(t, target, 1, sport=5000)), 1,
              "connects after one flow ended")
        stats = t.relay.stop()
        check(stats["tcp_limited"], 20, "tcp_limited")


@case()
def max_pending_refuses_the_new_and_keeps_the_old():
    if is_passt():
        raise Skip("passt has no --max-pending")
    with bench("--max-pending", "5", "--connect-timeout", "1") as t, \
            Served("echo", t.lan.SERVER[4]) as target:
        old = t.guest.connect(target.addr, target.port)
        stuck = [t.guest.tcp(t.lan.SILENT[4], 80) for _ in range(5)]
        for conn in stuck:
            conn.send_syn()
        t.guest.settle()
        check(t.guest.tcp(target.addr, target.port).attempt(), "refused",
              "a sixth connect")
        echo_all(t, [old], 1)
        t.guest.wait(lambda: all(x.icmp or x.reset for x in stuck), 3, "the ends of the stuck")
        t.guest.connect(target.addr, target.port)


@case()
def fifty_stuck_uploads_hold_bounded_memory():
    with bench("--max-buffer", "16M") as t, Served("mute", t.lan.SERVER[4]) as target:
        conns = open_many(t, target, 50)
        block = bytes(64000)
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            moved = 0
            for conn in conns:
                if conn.reset:
                    continue
                room = conn.peer_window - ((conn.snd_nxt - conn.snd_una) & 0xFFFFFFFF)
                while room >= 1460 and t.guest.link.unsent_bytes < MIB:
                    conn.send(block[:1460])
                    room -= 1460
                    moved += 1
            t.guest.pump(0.01)
        if not has_asan():
            resident = t.relay.process.resident_kib() >> 10
            check_that(resident < 64, "%d MiB resident with 50 stuck uploads" % resident)


# --- the end ---------------------------------------------------------------------


@case()
def shutdown_with_100_stuck_peers_takes_less_than_a_second():
    with bench() as t, Served("mute", t.lan.SERVER[4]) as target:
        conns = open_many(t, target, 100)
        for conn in conns:
            conn.manual_read, conn.space = True, 1000
            for _ in range(20):
                conn.send(bytes(1400))
        for number in range(20):  # connects in progress, too
            t.guest.tcp(t.lan.SILENT[4], 80).send_syn()
        t.guest.quiet(0.5)
        t.relay.stop_process()


@case()
def shutdown_resets_the_peers():
    with bench() as t:
        conn, sock = t.pair(4)
        t.relay.stop_process()
        check_that(server.ending(sock, 2) in ("reset", "eof"), "the server heard nothing")


@case()
def frozen_process_catches_up():
    """SIGSTOP for a second in the middle of a transfer, then SIGCONT."""
    with bench() as t:
        conn, sock = t.pair(4)
        data = server.pattern(4 * MIB)
        for at in range(0, 64000, 1000):
            conn.send(data[at:at + 1000])
        os.kill(t.relay.process.pid, signal.SIGSTOP)
        sock.sendall(data[:50000])
        t.guest.quiet(1)
        os.kill(t.relay.process.pid, signal.SIGCONT)
        check_that(server.read_exactly(sock, 64000) == data[:64000], "upload")
        conn.wait_data(50000)
        check_that(bytes(conn.received) == data[:50000], "download")


# --- counters ----------------------------------------------------------------------


@case()
def counters_equal_the_traffic():
    with bench() as t, Served("echo", t.lan.SERVER[4]) as target:
        conns = open_many(t, target, 50)
        echo_all(t, conns, 1)
        for conn in conns[:20]:
            conn.send_fin()
            conn.wait_fin()
        for conn in conns[20:30]:
            conn.send_rst()
        for number in range(100):
            t.guest.send_ip(p.echo(t.guest.IP[4], t.guest.GATEWAY[4], 1, number, b"x"))
        t.guest.settle()
        link = t.guest.link
        stats = t.relay.stop()
        t.guest.wait(lambda: link.closed, 5, "the end of the link")  # after resets
        for way in ("g2h", "h2g"):
            check(stats["frames_" + way], link.frames[way], "frames_" + way)
            check(stats["bytes_" + way], link.bytes[way], "bytes_" + way)
        check(stats["tcp_opened"], 50, "tcp_opened")
        check(stats["tcp_reset_guest"], 10, "tcp_reset_guest")


if __name__ == "__main__":
    world.need_namespaces()
    program()
    main()
