#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`serve --attach`: links that are handed over while the relay runs, many of them,
and clients that hand over something else."""

import contextlib
import fcntl
import json
import os
import socket
import struct
import sys
import time

from lib import server, world
from lib.case import Failure, Skip, case, check, check_that, main, program, wait_for
from lib.guest import Background, Guest, Link, Messages
from lib.relay import shared_lan, wait_ready
from lib.vmm import CSUM, IFF_NO_PI, IFF_TAP, IFF_VNET_HDR, TSO4, TUNSETIFF, TUNSETOFFLOAD
from lib.world import Netns, Process, scratch

TYPES = {"stream": socket.SOCK_STREAM, "dgram": socket.SOCK_DGRAM,
         "seqpacket": socket.SOCK_SEQPACKET}


class Attach:
    """A relay with nothing but --attach."""

    def __init__(self, *options, path=None):
        self.dir = scratch()
        self.path = path or os.path.join(self.dir, "attach")
        self.stats_path = os.path.join(self.dir, "stats")
        read_end, write_end = os.pipe()
        self.process = Process(
            [program(), "serve", "--attach", self.path, "--ready-fd", str(write_end),
             "--stats", self.stats_path] + list(options), shared_lan().r,
            pass_fds=[write_end])
        os.close(write_end)
        wait_ready(self.process, read_end)

    def connect(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.path.replace("@", "\0", 1))
        sock.settimeout(10)
        return sock

    def send(self, line, fds):
        """The connection, and the answer on it."""
        sock = self.connect()
        socket.send_fds(sock, [line], [x if isinstance(x, int) else x.fileno() for x in fds])
        return sock, answer(sock)

    def request(self, fd, **keys):
        return self.send(json.dumps(keys).encode() + b"\n", [fd])

    def guest(self, kind="stream", resolve=True, **keys):
        """A guest on a link of its own; (guest, connection, answer)."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, TYPES[kind])
        sock, said = self.request(theirs, kind=kind, **keys)
        theirs.close()
        check(said.get("ok"), True, "answer %s" % said)
        link = Link(sock=ours) if kind == "stream" else Messages(sock=ours)
        return Guest(link=link, resolve=resolve), sock, said

    def stop(self):
        check(self.process.stop(), 0, "exit status")
        with open(self.stats_path) as file:
            return json.load(file)

    def descriptors(self):
        """After a connection, so that what is told to be closed is."""
        with self.connect() as sock:
            sock.send(b"\n")
            answer(sock)
            ended(sock)
        return self.process.descriptors()


def answer(sock):
    line = b""
    while not line.endswith(b"\n"):
        data = sock.recv(4096)
        if not data:
            raise Failure("no answer, but: %r" % line)
        line += data
    return json.loads(line)


@contextlib.contextmanager
def attach(*options, path=None):
    """Afterwards the relay must live, end well and have removed its socket."""
    relay = Attach(*options, path=path)
    try:
        yield relay
        if relay.process.alive():
            relay.stop()
        check_that(not os.path.exists(relay.path), "the socket's file is left")
    finally:
        relay.process.kill()


def ended(sock):
    """The relay has closed the connection."""
    sock.settimeout(5)
    return sock.recv(1) == b""


def closed_links(guest):
    wait_for(lambda: guest.pump(0.01) or guest.link.closed, 5, "the link's end")


def echo(guest, service, data):
    conn = guest.connect(shared_lan().SERVER[4], service.port)
    conn.send_all(data)
    conn.wait_data(len(data), 20)
    check(bytes(conn.received) == data, True, "echo is equal")
    return conn


@contextlib.contextmanager
def echo_service():
    service = server.EchoServer(shared_lan().s, shared_lan().SERVER[4])
    try:
        yield service
    finally:
        service.close()


# --- each kind ---------------------------------------------------------------


@case(variants={kind: kind for kind in TYPES})
def link_of_each_kind_carries_tcp(kind):
    with attach() as relay, echo_service() as service:
        guest, sock, said = relay.guest(kind, name="vm-7")
        check((said["mtu"], said["guest"], said["gateway"]), (1500, "10.0.2.15", "10.0.2.2"),
              "answer")
        check(ended(sock), True, "the connection ends after the answer")
        echo(guest, service, server.pattern(1 << 20))


def open_tap(netns):
    """eth0 there, of a guest 10.77.0.9."""
    with netns.entered():
        tap = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"eth0", IFF_TAP | IFF_NO_PI
                                                | IFF_VNET_HDR))
    netns.ip("link", "set", "eth0", "up")
    netns.ip("addr", "add", "10.77.0.9/24", "dev", "eth0")
    netns.ip("route", "add", "default", "via", "10.77.0.2")
    return tap


@case()
def tap_is_attached_with_its_offloads():
    netns = Netns()
    with attach() as relay, echo_service() as service:
        tap = open_tap(netns)
        fcntl.ioctl(tap, TUNSETOFFLOAD, CSUM | TSO4)
        _, said = relay.request(tap, kind="tap", subnet="10.77.0.0/24", guest="10.77.0.9")
        check(said.get("ok"), True, "answer %s" % said)
        os.close(tap)
        with netns.entered():
            sock = socket.create_connection((shared_lan().SERVER[4], service.port), 5)
        sock.sendall(b"hello")
        check(server.read_exactly(sock, 5), b"hello", "echo")
        before = relay.descriptors()
        netns.ip("link", "del", "eth0")  # the link ends, the relay does not
        wait_for(lambda: relay.descriptors() < before, 5, "the tap's end")
        echo(relay.guest()[0], service, b"still there")


def make_it_block(fd):
    """The copy that a client kept shares the flags of the file."""
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NONBLOCK)


@case()
def tap_that_is_made_to_block_blocks_nobody():
    netns = Netns()
    with attach() as relay, echo_service() as service:
        tap = open_tap(netns)
        _, said = relay.request(tap, kind="tap", subnet="10.77.0.0/24", guest="10.77.0.9")
        check(said.get("ok"), True, "answer %s" % said)
        make_it_block(tap)
        fcntl.ioctl(tap, 0x400454D4, struct.pack("i", 2048))  # TUNSETSNDBUF: writes may block, too
        for _ in range(3):
            with netns.entered():
                sock = socket.create_connection((shared_lan().SERVER[4], service.port), 5)
            sock.sendall(b"hello")
            check(server.read_exactly(sock, 5), b"hello", "echo over the tap")
            echo(relay.guest()[0], service, b"another link")


@case(variants={kind: kind for kind in TYPES})
def socket_that_is_made_to_block_blocks_nobody(kind):
    with attach() as relay, echo_service() as service:
        ours, theirs = socket.socketpair(socket.AF_UNIX, TYPES[kind])
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        _, said = relay.request(theirs, kind=kind)
        check(said.get("ok"), True, "answer %s" % said)
        make_it_block(theirs)
        frame = b"\xff" * 6 + b"\2\0\0\0\0\1\x08\x06\0\1\x08\0\6\4\0\1\2\0\0\0\0\1" + \
            bytes([10, 0, 2, 15]) + bytes(6) + bytes([10, 0, 2, 2])
        ours.settimeout(0.01)
        with contextlib.suppress(socket.timeout):
            for _ in range(2000):  # nobody reads the answers
                ours.sendall(struct.pack("!I", len(frame)) * (kind == "stream") + frame)
        echo(relay.guest()[0], service, b"another link")


@case()
def socket_whose_close_can_wait_is_refused():
    with attach() as relay:
        listener = socket.create_server(("127.0.0.1", 0))
        _, said = relay.request(listener, kind="stream")
        check((said["ok"], said["error"]), (False, "is no Unix socket"), "answer")


def unread_and_lingering():
    """A TCP socket whose close() waits for a minute, and what keeps it so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sock = socket.create_connection(listener.getsockname())
        peer = listener.accept()[0]
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(65536))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
    return sock, peer


@case(variants={"one": 1, "two": 2})
def refusing_a_socket_does_not_wait_for_it(count):
    with attach() as relay:
        socks, peers = zip(*[unread_and_lingering() for _ in range(count)])
        with relay.connect() as conn:
            socket.send_fds(conn, [b'{"kind":"stream"}\n'], [s.fileno() for s in socks])
            for sock in socks:  # the relay's descriptor is the last one
                sock.close()
            check(answer(conn)["ok"], False, "answer")
            ended(conn)
        _, said = relay.send(b"{}\n", [])  # within its 10 s
        check(said["ok"], False, "the next answer")
        for peer in peers:
            peer.close()


@case()
def socket_that_is_not_read_is_not_waited_for_either():
    with attach() as relay, relay.connect() as conn:
        sock, peer = unread_and_lingering()
        socket.send_fds(conn, [b"no request\n"], [peer.fileno()])
        try:
            socket.send_fds(conn, [b"more"], [sock.fileno()])
        except OSError:  # the relay was quicker: ours would be the last one
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes(8))
        sock.close()
        check(answer(conn)["ok"], False, "answer")
        _, said = relay.send(b"{}\n", [])  # within its 10 s
        check(said["ok"], False, "the next answer")
        peer.close()


@case()
def link_has_its_own_addresses_and_mtu():
    with attach("--mtu", "1400") as relay:
        guest, _, said = relay.guest("dgram", resolve=False, subnet="10.9.0.0/16",
                                     guest="10.9.7.7", mtu=9000, ipv6=False)
        check((said["mtu"], said["subnet"], said["guest"], "gateway6" in said),
              (9000, "10.9.0.0/16", "10.9.7.7", False), "answer")
        guest.GATEWAY = {4: "10.9.0.2"}
        guest.IP = {4: "10.9.7.7"}
        guest.resolve()
        check(relay.guest()[2]["mtu"], 1400, "MTU of a link that says none")


# --- the end of links ----------------------------------------------------------


@case()
def link_outlives_its_connection_and_ends_with_its_guest():
    with attach() as relay:
        before = relay.descriptors()
        guest, sock, _ = relay.guest()
        sock.close()
        guest.resolve()
        guest.close()
        wait_for(lambda: relay.descriptors() == before, 5, "the link's descriptor is closed")
        relay.guest()


@case()
def tied_link_ends_with_its_connection():
    with attach() as relay:
        before = relay.descriptors()
        guest, sock, _ = relay.guest(tied=True)
        guest.resolve()
        sock.send(b"words of no meaning")
        guest.resolve()
        sock.close()
        closed_links(guest)
        wait_for(lambda: relay.descriptors() == before, 5, "descriptors are closed")


@case()
def tied_connection_ends_with_its_link():
    with attach() as relay:
        guest, sock, _ = relay.guest(tied=True)
        guest.close()
        check(ended(sock), True, "the connection's end")


@case()
def listening_socket_serves_guests_in_turn_while_it_is_tied():
    with attach() as relay:
        path = os.path.join(relay.dir, "listening")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            tied, said = relay.request(listener, kind="stream", tied=True)
        check(said.get("ok"), True, "answer %s" % said)
        for _ in range(3):
            Guest(path).close()
        tied.close()
        wait_for(lambda: refused(path), 5, "the listener's end")


def refused(path):
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        return False
    except ConnectionRefusedError:
        return True


@case()
def one_off_ends_with_an_attached_guest():
    with attach("--one-off") as relay:
        relay.guest()[0].close()
        check(relay.process.wait(5), 0, "exit status")


# --- clients that are no good ----------------------------------------------------


BAD = [
    (b"", 1, None), (b"\n", 1, "not JSON"), (b"GET / HTTP/1.1\r\n\r\n", 1, "not JSON"),
    (b"\0\0\0\0\n", 1, "not JSON"), (b"\xff\xfe{}\n", 1, "not JSON"), (b"[]\n", 1, "object"),
    (b"[" * 4095 + b"\n", 1, "not JSON"), (b"x" * 4096, 1, "longer than 4096"),
    (b"{}\n", 1, "kind: is missing"), (b'{"kind":"fax"}\n', 1, "kind: not stream"),
    (b'{"kind":"stream"}\n', 0, "no descriptor"),
    (b'{"kind":"stream"}\n', 2, "2 descriptors"),
    (b'{"kind":"stream"}\n', 253, "253 descriptors"),
    (b'{"kind":"dgram"}\n', 1, "another type"), (b'{"kind":"tap"}\n', 1, "no tap"),
    (b'{"kind":"stream","profile":"vax"}\n', 1, "no profile"),
    (b'{"kind":"stream","mtu":7}\n', 1, "from 1280"),
    (b'{"kind":"stream","guest":"10.0.2.2"}\n', 1, "guest: not"),
    (b'{"kind":"stream","shoe":43}\n', 1, "'shoe' is no key"),
]


@case()
def bad_requests_are_refused_with_a_reason_and_leak_nothing():
    with attach() as relay:
        before = relay.descriptors()
        for line, count, reason in BAD * 2:
            pair = socket.socketpair()
            sock = relay.connect()
            if line:
                socket.send_fds(sock, [line], [pair[0].fileno()] * count)
            sock.shutdown(socket.SHUT_WR)
            said = answer(sock) if reason else {"ok": False, "error": ""}
            check(said["ok"], False, "answer to %r" % line[:50])
            check_that((reason or "") in said["error"], "%r: %s" % (line[:50], said))
            check(ended(sock), True, "the connection's end")
            pair[0].close()
            pair[1].settimeout(5)
            check(pair[1].recv(1), b"", "our descriptor is closed there")
        wait_for(lambda: relay.descriptors() == before, 5, "no descriptor is left")
        relay.guest()


@case()
def descriptors_in_many_messages_are_counted_together():
    with attach() as relay:
        before = relay.descriptors()
        sock = relay.connect()
        for piece in (b'{"kind"', b":", b'"stream"}\n'):
            with contextlib.suppress(BrokenPipeError):
                socket.send_fds(sock, [piece], [0, 0])
        check_that("descriptors came" in answer(sock)["error"], "answer")
        wait_for(lambda: relay.descriptors() == before, 5, "no descriptor is left")


@case()
def line_may_come_in_pieces_and_without_its_newline():
    with attach() as relay:
        ours, theirs = socket.socketpair()
        sock = relay.connect()
        socket.send_fds(sock, [b"{"], [theirs.fileno()])
        for byte in b'"kind": "stream"}':
            sock.send(bytes([byte]))
        sock.shutdown(socket.SHUT_WR)
        check(answer(sock)["ok"], True, "answer")
        Guest(sock=ours).close()


@case()
def clients_that_say_nothing_hold_up_nobody_for_long():
    with attach() as relay:
        before = relay.descriptors()
        silent = [relay.connect() for _ in range(100)]
        for sock in silent[:50]:
            sock.send(b"{")
        start = time.monotonic()
        relay.guest()
        check_that(time.monotonic() - start < 15, "waited too long")
        check_that("in time" in answer(silent[0])["error"], "answer to the first")
        for sock in silent:
            sock.close()
        wait_for(lambda: relay.descriptors() <= before + 1, 8, "descriptors are closed")


@case()
def links_beyond_the_limit_are_refused_and_room_is_made():
    with attach("--max-links", "3") as relay:
        guests = [relay.guest()[0] for _ in range(3)]
        ours, theirs = socket.socketpair()
        said = relay.request(theirs, kind="stream")[1]
        check_that("3 links already" in said.get("error", ""), "answer %s" % said)
        guests[0].close()
        wait_for(lambda: relay.request(theirs, kind="stream")[1]["ok"], 5, "room again")
        Guest(sock=ours).close()


@case()
def others_cannot_attach():
    if os.getuid() != 0:
        raise Skip("needs root to be somebody else")
    code = ("import os, socket, sys; os.setuid(65534); "
            "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1].replace('@', chr(0))); "
            "s.settimeout(5); sys.exit(7 if s.recv(1) == b'' else 8)")
    with attach() as relay:
        os.chmod(relay.dir, 0o755)
        other = Process([sys.executable, "-c", code, relay.path])
        check(other.wait(), 1, "status of connect()")
        check_that("PermissionError" in other.err(), other.err())
    with attach(path="@lwr-attach-%d" % os.getpid()) as relay:
        other = Process([sys.executable, "-c", code, relay.path], shared_lan().r)
        check(other.wait(), 7, "status of a client of an abstract name")


# --- many --------------------------------------------------------------------------


@case(seconds=60)
def sixty_four_links_come_and_half_of_them_go_under_load():
    """All have the same addresses; who stays sees nothing of who goes."""
    with attach() as relay, echo_service() as service:
        before = relay.descriptors()
        kinds = list(TYPES)
        guests = [relay.guest(kinds[i % 3])[0] for i in range(64)]
        data = server.pattern(64 << 10)
        conns = [g.connect(shared_lan().SERVER[4], service.port) for g in guests]
        for round_nr in range(3):
            for conn in conns:
                conn.send(data[:1400])
            for nr, guest in enumerate(guests):
                if round_nr == 1 and nr % 2:
                    guest.close()
                    continue
                guest.wait(lambda c=conns[nr], n=round_nr: len(c.received) >= 1400 * (n + 1),
                           10, "echo on link %d" % nr)
            if round_nr == 1:
                guests, conns = guests[::2], conns[::2]
        for guest, conn in zip(guests, conns):
            check(bytes(conn.received), data[:1400] * 3, "echo")
            check(len(guest.unsound), 0, "wrong checksums")
            guest.close()
        # a datagram socket's guest lives on in this process: no more than those
        wait_for(lambda: relay.descriptors() <= before + 2 * 64 // 3 + 2, 5,
                 "descriptors are closed")


@case(seconds=60)
def links_removed_while_bytes_flow_disturb_no_other():
    with attach() as relay, echo_service() as service:
        lasting = relay.guest()[0]
        data = server.pattern(8 << 20)
        conn = lasting.connect(shared_lan().SERVER[4], service.port)
        sink = server.listen(shared_lan().s, shared_lan().SERVER[4])

        def churn():
            for nr in range(60):
                ours, theirs = socket.socketpair()
                tied, said = relay.request(theirs, kind="stream", tied=True)
                theirs.close()
                check(said["ok"], True, "answer")
                guest = Guest(sock=ours)
                busy = guest.connect(shared_lan().SERVER[4], server.port_of(sink))
                busy.send(data[:1400])
                server.accept(sink).sendall(data[:1 << 17])
                (tied if nr % 2 else ours).close()
                tied.close()

        other = Background(churn)
        conn.send_all(data)
        conn.wait_data(len(data), 30)
        check(bytes(conn.received) == data, True, "echo is equal")
        other.result(lasting)


if __name__ == "__main__":
    world.need_namespaces()
    program()
    main()
