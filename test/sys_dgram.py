#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Links by datagram and by message, and profiles: a Linux guest behind a VMM that
behaves like libkrun, guests that vanish, and peers that misbehave."""

import hashlib
import os
import signal
import socket
import sys

from lib import server, world
from lib.case import Failure, case, check, check_that, main, program, wait_for
from lib.guest import Guest, Messages, dgram_socket, seqpacket_socket
from lib.relay import Relay, shared_lan, unix_connect
from lib.vmm import Vmm
from lib.world import Process

MIB = 1 << 20
BULK = 100 * MIB

# kind, profile, the guest's MTU, offload
BULKS = {
    "dgram_libkrun": ("dgram", ",profile=libkrun", 65520, True),
    "dgram_libkrun_1500": ("dgram", ",profile=libkrun,mtu=1500", 1500, True),
    "dgram_plain": ("dgram", "", 1500, False),
    "seqpacket_plain": ("seqpacket", "", 1500, False),
    "seqpacket_libkrun": ("seqpacket", ",profile=libkrun", 65520, True),
    "stream_libkrun": ("stream", ",profile=libkrun", 65520, True),
    "stream_libkrun_1500": ("stream", ",profile=libkrun,mtu=1500", 1500, True),
}


def connected(relay, kind, nr=0):
    """A VMM's socket."""
    if kind == "dgram":
        return dgram_socket(relay.path, "%s/vm%d.sock" % (relay.dir, nr))
    return unix_connect(relay.path) if kind == "stream" else seqpacket_socket(relay.path)


def messages_guest(relay, kind, nr=0, **options):
    return Guest(link=Messages(sock=connected(relay, kind, nr)), **options)


class Started:
    """A relay on one link, ended and checked at the end of the block."""

    def __init__(self, kind, *options, profile=""):
        self.relay = Relay(shared_lan().r, *options, kind=kind, profile=profile)

    def __enter__(self):
        return self.relay

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                check_that(self.relay.stopped or self.relay.process.alive(),
                           "the relay ended: " + self.relay.process.err())
                self.relay.stop_process()
        finally:
            self.relay.kill()


# --- bulk ----------------------------------------------------------------------


def swap_hashes(sock, count):
    """Sends `count` bytes and reads to the end; (hash sent, hash read)."""
    data = server.pattern(count)
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    return hashlib.sha256(data).hexdigest(), server.read_all(sock)[1]


@case(seconds=60, variants=BULKS)
def hundred_mebibytes_each_way_arrive_equal(given):
    kind, profile, mtu, offload = given
    lan = shared_lan()
    sent = {}

    def serve(sock):
        data = server.pattern(BULK, 2)
        sent["up"] = server.read_all(sock)[1]
        sent["down"] = hashlib.sha256(data).hexdigest()
        sock.sendall(data)

    service = server.Service(lan.s, lan.SERVER[4], serve)
    with Started(kind, profile=profile) as relay:
        vmm = Vmm(connected(relay, kind), mtu, offload, b"VFKT" if kind == "dgram" else b"")
        try:
            with vmm.netns.entered():
                sock = socket.create_connection((lan.SERVER[4], service.port), 10)
            sock.settimeout(50)
            up, down = swap_hashes(sock, BULK)
            check(sent.get("up"), up, "hash of what the server read")
            check(down, sent.get("down"), "hash of what the guest read")
            check_large(vmm, mtu, offload)
            if kind == "dgram":
                check(vmm.dropped, 0, "frames that the VMM lost at a full queue")
        finally:
            vmm.close()
        stats = relay.stop()
        for name in ("drop_size", "drop_checksum", "drop_framing", "drop_link_refused"):
            check(stats[name], 0, name)
    service.close()


def check_large(vmm, mtu, offload):
    """The guest's segments are larger than its MTU, ours are not."""
    check_that(vmm.largest["h2g"] <= mtu + 14, "frame of %d bytes at an MTU of %d" % (
        vmm.largest["h2g"], mtu))
    check_that(vmm.largest["h2g"] > mtu / 2, "largest frame to the guest: %d" %
               vmm.largest["h2g"])
    if offload:
        check_that(vmm.largest["g2h"] > 30000, "largest frame of the guest: %d" %
                   vmm.largest["g2h"])


@case()
def guest_with_unfinished_checksums_needs_the_profile():
    """That the profile is what lets libkrun's frames in."""
    with Started("dgram") as relay:
        vmm = Vmm(connected(relay, "dgram"), 1500, True)
        try:
            with vmm.netns.entered():
                sock = socket.socket()
            sock.settimeout(0.3)
            try:
                sock.connect((shared_lan().SERVER[4], 9))
                raise Failure("connected with wrong checksums")
            except socket.timeout:
                pass
        finally:
            vmm.close()
        check_that(relay.stop()["drop_checksum"] > 0, "drop_checksum is 0")


# --- guests that come and go ------------------------------------------------------


PEER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from lib.guest import Guest, Messages, dgram_socket
guest = Guest(link=Messages(sock=dgram_socket(sys.argv[2], sys.argv[3])))
print("resolved", flush=True)
time.sleep(60)
"""


def start_peer(relay, nr):
    """A guest in a process of its own, that then says nothing."""
    peer = Process([sys.executable, "-c", PEER, os.path.dirname(os.path.abspath(__file__)),
                    relay.path, "%s/vm%d.sock" % (relay.dir, nr)])
    wait_for(lambda: "resolved" in peer.out() or not peer.alive(), 10, "the guest's start")
    check_that(peer.alive(), "the guest ended: " + peer.err())
    return peer


@case()
def dgram_guest_that_is_killed_makes_room_for_the_next():
    with Started("dgram", "--log-level", "info") as relay:
        for nr in range(4):
            peer = start_peer(relay, nr)
            peer.send_signal(signal.SIGKILL)
            peer.wait()
            wait_for(lambda: relay.process.err().count("guest left") == nr + 1, 2,
                     "the relay's notice")
        guest = messages_guest(relay, "dgram", 9)
        check_that(guest.gateway_mac, "no answer")
        guest.close()


@case()
def dgram_guest_that_closes_its_socket_silently_makes_room():
    """Its process lives on, and its file stays: only time tells."""
    with Started("dgram", "--log-level", "info") as relay:
        first = messages_guest(relay, "dgram", 1)
        first.close()
        wait_for(lambda: "guest left" in relay.process.err(), 6, "the relay's notice")
        messages_guest(relay, "dgram", 2).close()


@case()
def dgram_others_are_refused_while_a_guest_is_there():
    with Started("dgram") as relay:
        guest = messages_guest(relay, "dgram", 1)
        try:
            connected(relay, "dgram", 2)
            raise Failure("a second guest could connect")
        except PermissionError:
            pass
        guest.resolve()
        guest.close()


@case(variants={"dgram": "dgram", "seqpacket": "seqpacket"})
def one_off_ends_with_the_guest(kind):
    relay = Relay(shared_lan().r, "--one-off", kind=kind)
    try:
        if kind == "dgram":
            start_peer(relay, 1).kill()
        else:
            messages_guest(relay, kind).close()
        check(relay.process.wait(5), 0, "exit status")
    finally:
        relay.kill()


@case(variants={"dgram": "dgram", "seqpacket": "seqpacket"})
def guest_comes_again_and_again(kind):
    with Started(kind) as relay:
        for nr in range(20):
            guest = messages_guest(relay, kind, nr)
            if kind == "seqpacket":
                guest.close()
                continue
            # a frame towards it finds it gone
            sink = server.datagram(shared_lan().s, shared_lan().SERVER[4])
            guest.send_udp(shared_lan().SERVER[4], 5000 + nr, server.port_of(sink), b"x")
            peer = sink.recvfrom(10)[1]
            guest.close()
            sink.sendto(b"y", peer)
            sink.close()
            wait_for(lambda: can_connect(relay, nr), 5, "room for the next")


def can_connect(relay, nr):
    own = "%s/probe%d.sock" % (relay.dir, nr)
    try:
        dgram_socket(relay.path, own).close()
        return True
    except PermissionError:
        return False
    finally:
        os.unlink(own)


# --- peers that misbehave -----------------------------------------------------------


@case(variants={"dgram": "dgram", "seqpacket": "seqpacket"})
def messages_of_impossible_size_are_dropped_and_counted(kind):
    with Started(kind) as relay:
        guest = messages_guest(relay, kind)
        guest.link.sock.setblocking(True)
        for size in (0, 1, 4, 13, 65536, 65549, 65550, 100000):
            guest.link.sock.send(b"\1" * size)
        guest.link.sock.setblocking(False)
        guest.resolve()
        check(relay.stop()["drop_size"], 8, "drop_size")


@case(variants={"plain": "", "libkrun": ",profile=libkrun"})
def stream_frame_beyond_a_pbuf_ends_the_link_only_where_it_must(profile):
    with Started("stream", profile=profile) as relay:
        guest = relay.guest()
        guest.link.sock.setblocking(True)
        guest.link.sock.sendall((65549).to_bytes(4, "big") + bytes(65549))
        guest.link.sock.setblocking(False)
        if profile:
            guest.resolve()
        else:
            wait_for(lambda: guest.pump(0.01) or guest.link.closed, 3, "the link's end")
        stats = relay.stop()
        check((stats["drop_size"], stats["drop_framing"]), (1, 0) if profile else (0, 1),
              "drop_size, drop_framing")


@case()
def dgram_peer_without_a_name_is_told_of_in_the_log():
    with Started("dgram") as relay:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.connect(relay.path)
        sock.send(bytes(60))
        wait_for(lambda: "bound to a path" in relay.process.err(), 3, "the log's line")
        messages_guest(relay, "dgram").close()


@case(variants={"dgram": "dgram", "seqpacket": "seqpacket"})
def stale_socket_is_replaced_and_a_live_one_is_not(kind):
    first = Relay(shared_lan().r, kind=kind)
    try:
        second = Process([program(), "serve", "--link", first.link])
        check(second.wait(5), 1, "exit status")
        check_that("another process serves" in second.err(), second.err())
        messages_guest(first, kind).close()
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        again = Process([program(), "serve", "--link", first.link, "--ready-fd", "1"])
        wait_for(lambda: "1" in again.out() or not again.alive(), 5, "ready")
        check(again.stop(), 0, "exit status")
        check_that(not os.path.exists(first.path), "the socket's file is left")
    finally:
        first.kill()


@case(variants={"dgram": socket.SOCK_DGRAM, "seqpacket": socket.SOCK_SEQPACKET,
                "stream": socket.SOCK_STREAM})
def inherited_socket_serves_its_guest_and_ends_with_it(kind):
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    name = {socket.SOCK_DGRAM: "dgram", socket.SOCK_SEQPACKET: "seqpacket",
            socket.SOCK_STREAM: "stream"}[kind]
    relay = Process([program(), "serve", "--link", "%s-fd:%d" % (name, theirs.fileno())],
                    pass_fds=[theirs.fileno()])
    theirs.close()
    try:
        guest = (Guest(sock=ours) if kind == socket.SOCK_STREAM
                 else Guest(link=Messages(sock=ours)))
        guest.close()
        if kind == socket.SOCK_DGRAM:  # our process lives: a send must tell
            check_that(relay.alive(), "ended early")
            check(relay.stop(), 0, "exit status")
        else:
            check(relay.wait(5), 0, "exit status")
    finally:
        relay.kill()


@case()
def udp_socket_serves_a_guest_that_is_not_always_there():
    """QEMU -netdev dgram over UDP: a refused datagram is no end."""
    pair = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for sock in pair:
        sock.bind(("127.0.0.1", 0))
    ours, theirs = pair
    far = ours.getsockname()
    theirs.connect(far)
    ours.connect(theirs.getsockname())
    relay = Process([program(), "serve", "--link", "dgram-fd:%d" % theirs.fileno(),
                     "--ready-fd", "1"], pass_fds=[theirs.fileno()])
    try:
        wait_for(lambda: "1" in relay.out() or not relay.alive(), 5, "ready")
        for _ in range(3):
            guest = Guest(link=Messages(sock=ours))
            for nr in range(20):  # answers meet a closed port
                guest.link.send(guest.arp_request("10.0.2.2"))
            guest.close()
            ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            ours.bind(far)
            ours.connect(theirs.getsockname())
        check(relay.stop(), 0, "exit status")
    finally:
        relay.kill()


@case()
def abstract_names_work():
    name = "@lwrelay-test-%d" % os.getpid()
    relay = Process([program(), "serve", "--link", "dgram:" + name, "--ready-fd", "1"])
    try:
        wait_for(lambda: "1" in relay.out() or not relay.alive(), 5, "ready")
        sock = dgram_socket("\0" + name[1:], "\0%s-guest" % name[1:])
        Guest(link=Messages(sock=sock)).close()
        check(relay.stop(), 0, "exit status")
    finally:
        relay.kill()


if __name__ == "__main__":
    world.need_namespaces()
    program()
    main()
