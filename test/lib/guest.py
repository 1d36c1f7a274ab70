# SPDX-License-Identifier: BSD-3-Clause
"""A scripted guest on the far end of a stream link: frames by hand.

One thread: Guest.pump() reads what has arrived and hands it to the connections;
Guest.wait() pumps until a condition holds. Work at the server's side that needs
the guest to go on answering runs in a Background.
"""

import collections
import hashlib
import select
import socket
import struct
import threading
import time

from . import packet as p
from .case import PATIENCE, Failure


class Link:
    """u32 big-endian length + frame on a Unix stream socket."""

    def __init__(self, path=None, sock=None):
        if sock is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.connect(path)
        sock.setblocking(False)
        self.sock = sock
        self.closed = False  # the relay ended the link
        self.unsent = collections.deque()
        self.unsent_bytes = 0
        self.partial = bytearray()
        self.frames = {"g2h": 0, "h2g": 0}
        self.bytes = {"g2h": 0, "h2g": 0}

    def send(self, frame):
        self.frames["g2h"] += 1
        self.bytes["g2h"] += len(frame)
        self.send_bytes(struct.pack("!I", len(frame)) + frame)

    def send_bytes(self, data):
        self.unsent.append(data)
        self.unsent_bytes += len(data)
        self.flush()

    def flush(self):
        """Writes what the socket takes; the rest goes with later pumps."""
        while self.unsent and not self.closed:
            batch = [self.unsent[i] for i in range(min(64, len(self.unsent)))]
            try:
                done = self.sock.sendmsg(batch)
            except BlockingIOError:
                return
            except OSError:
                self.closed = True
                return
            self.unsent_bytes -= done
            while self.unsent and done >= len(self.unsent[0]):
                done -= len(self.unsent.popleft())
            if done:
                self.unsent[0] = self.unsent[0][done:]

    def receive(self, timeout):
        """The frames that have arrived, after waiting for at least a byte."""
        events = select.POLLIN | (select.POLLOUT if self.unsent else 0)
        poll = select.poll()
        poll.register(self.sock, events)
        if self.closed or not poll.poll(max(0, int(timeout * 1000 + 0.999))):
            return []
        self.flush()
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return []
        self.partial += data
        return self._cut()

    def _cut(self):
        frames, at, have = [], 0, self.partial
        while len(have) - at >= 4:
            size = int.from_bytes(have[at:at + 4], "big")
            if len(have) - at - 4 < size:
                break
            frames.append(bytes(have[at + 4:at + 4 + size]))
            at += 4 + size
        del have[:at]
        self.frames["h2g"] += len(frames)
        self.bytes["h2g"] += sum(map(len, frames))
        return frames

    def close(self):
        self.closed = True
        self.sock.close()


class Messages(Link):
    """A message or datagram is a frame; on a connected socket."""

    def send(self, frame):
        self.frames["g2h"] += 1
        self.bytes["g2h"] += len(frame)
        self.send_bytes(frame)

    def flush(self):
        while self.unsent and not self.closed:
            try:
                self.sock.send(self.unsent[0])
            except BlockingIOError:
                return
            except OSError:
                self.closed = True
                return
            self.unsent_bytes -= len(self.unsent.popleft())

    def receive(self, timeout):
        events = select.POLLIN | (select.POLLOUT if self.unsent else 0)
        poll = select.poll()
        poll.register(self.sock, events)
        if self.closed or not poll.poll(max(0, int(timeout * 1000 + 0.999))):
            return []
        self.flush()
        frames = []
        while len(frames) < 256:
            try:
                frame = self.sock.recv(1 << 17)
            except OSError as problem:
                self.closed = not isinstance(problem, BlockingIOError)
                break
            if not frame:
                self.closed = True
                break
            frames.append(frame)
        self.frames["h2g"] += len(frames)
        self.bytes["h2g"] += sum(map(len, frames))
        return frames


def dgram_socket(path, own):
    """As libkrun makes it: bound to `own`, connected to the relay's path."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 7 << 20)
    sock.bind(own)
    sock.connect(path)
    return sock


def seqpacket_socket(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(path)
    return sock


class Guest:
    """Addresses, ARP and neighbour discovery around a Link."""

    IP = {4: "10.0.2.15", 6: "fd00::15"}
    GATEWAY = {4: "10.0.2.2", 6: "fd00::2"}
    DNS = {4: "10.0.2.3", 6: "fd00::3"}
    MAC = bytes.fromhex("525400123456")

    def __init__(self, path=None, sock=None, mac=MAC, resolve=True, link=None):
        self.link = link or Link(path, sock)
        self.mac = mac
        self.gateway_mac = None
        self.conns = {}
        self.touched = set()  # connections that got a segment in this batch
        self.inbox = collections.deque(maxlen=100000)  # all but TCP of a conn
        self.seen = 0  # packets received
        self.unsound = []  # with a wrong checksum
        self.answer_arp = True
        self.settled = 0  # pings of settle()
        if resolve:
            self.resolve()

    def resolve(self, seconds=3):
        """Learns the gateway's MAC; the first packet must be answered."""
        reply = self.ask(self.arp_request(self.GATEWAY[4]),
                         lambda x: x.ethertype == p.ETH_ARP and x.op == 2
                         and x.src == self.GATEWAY[4], seconds,
                         "an ARP reply for the gateway")
        self.gateway_mac = reply.sha
        return reply

    def arp_request(self, target, sender=None):
        body = p.arp(1, self.mac, sender or self.IP[4], bytes(6), target)
        return p.ethernet(p.BROADCAST, self.mac, p.ETH_ARP, body)

    # --- sending

    def send_ip(self, raw):
        kind = p.ETH_IP6 if raw[0] >> 4 == 6 else p.ETH_IP4
        self.link.send(p.ethernet(self.gateway_mac, self.mac, kind, raw))

    def send_udp(self, dst, sport, dport, data):
        src = self.IP[6 if ":" in dst else 4]
        self.send_ip(p.ip(src, dst, p.UDP, p.udp(src, dst, sport, dport, data)))

    def ask(self, frame, wanted, seconds, what):
        """Sends a frame and waits for the first packet that is wanted."""
        self.inbox.clear()
        self.link.send(frame)
        return self.expect(wanted, seconds, what)

    def ask_ip(self, raw, wanted, seconds, what):
        self.inbox.clear()
        self.send_ip(raw)
        return self.expect(wanted, seconds, what)

    def expect(self, wanted, seconds, what):
        packet = self.find(wanted, seconds * PATIENCE)
        if packet is None:
            raise Failure("%s: not within %g s" % (what, seconds * PATIENCE))
        return packet

    def find(self, wanted, seconds):
        """The first packet that is wanted, or None."""
        found = []

        def look():
            while self.inbox and not found:
                packet = self.inbox.popleft()
                if wanted(packet):
                    found.append(packet)
            return found

        self.watch(look, seconds)
        return found[0] if found else None

    # --- receiving

    def pump(self, timeout=0.05):
        for frame in self.link.receive(timeout):
            self._input(p.Packet(frame))
        for conn in self.touched:
            conn.after_batch()
        self.touched.clear()
        self.link.flush()

    def wait(self, condition, seconds, what):
        """Pumps until condition() holds and returns its value."""
        value = self.watch(condition, seconds * PATIENCE)
        if value:
            return value
        if self.link.closed:
            raise Failure("%s: the relay closed the link" % what)
        raise Failure("%s: not within %g s" % (what, seconds * PATIENCE))

    def watch(self, condition, seconds):
        """The value of condition() when it holds, or when the time is over or
        the relay has closed the link."""
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            left = deadline - time.monotonic()
            if value or left < 0 or self.link.closed:
                return value
            self.pump(min(left, 0.05))

    def settle(self):
        """The relay has taken all that was sent before: it answers a ping."""
        src, dst = self.IP[4], self.GATEWAY[4]
        self.settled += 1
        number = self.settled & 0xFFFF
        self.send_ip(p.echo(src, dst, 0x5E77, number, b"settle"))
        head = struct.pack("!HH", 0x5E77, number)
        self.wait(lambda: any(x.proto == p.ICMP and x.kind == 0 and x.payload[4:8] == head
                              for x in self.inbox), 5, "an answer to a ping")

    def quiet(self, seconds):
        """Pumps for a while: to see that something does not happen."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.link.closed:
            self.pump(min(0.05, max(0, deadline - time.monotonic())))

    def _input(self, packet):
        self.seen += 1
        if not packet.sound:
            self.unsound.append(packet)
            return
        if packet.seg:
            key = (packet.src, packet.seg.sport, packet.seg.dport)
            conn = self.conns.get(key)
            if conn:
                conn.input(packet.seg)
                self.touched.add(conn)
                return
        elif packet.ethertype == p.ETH_ARP:
            self._arp(packet)
        elif packet.proto in (p.ICMP, p.ICMP6) and packet.fragment is None:
            self._icmp(packet)
        self.inbox.append(packet)

    def _arp(self, packet):
        if packet.op == 1 and packet.dst == self.IP[4] and self.answer_arp:
            body = p.arp(2, self.mac, self.IP[4], packet.sha, packet.src)
            self.link.send(p.ethernet(packet.sha, self.mac, p.ETH_ARP, body))

    def _icmp(self, packet):
        if packet.proto == p.ICMP6 and packet.kind == 135:
            target = p.text(packet.payload[8:24])
            if target.startswith("fe80") or target == self.IP[6]:
                self.link.send(p.neighbour_advert(
                    target, self.mac, packet.src, packet.src_mac, target))
            return
        errors = (3, 11, 12) if packet.proto == p.ICMP else (1, 2, 3, 4)
        if packet.kind in errors:
            self._icmp_error(packet)

    def _icmp_error(self, packet):
        quoted = packet.data
        if packet.proto == p.ICMP:
            proto, dst, rest = quoted[9], quoted[16:20], quoted[20:]
        else:
            proto, dst, rest = quoted[6], quoted[24:40], quoted[40:]
        if proto == p.TCP and len(rest) >= 4:
            sport, dport = struct.unpack_from("!HH", rest)
            conn = self.conns.get((p.text(dst), dport, sport))
            if conn:
                conn.icmp.append((packet.kind, packet.code))

    def tcp(self, dst, dport, **options):
        return Tcp(self, dst, dport, **options)

    def connect(self, dst, dport, seconds=5, **options):
        """A connection that must come up."""
        conn = Tcp(self, dst, dport, **options)
        conn.connect(seconds)
        return conn

    def close(self):
        self.link.close()


def _after(a, b):
    """Sequence number a is after b."""
    return 0 < ((a - b) & 0xFFFFFFFF) < 1 << 31


class Tcp:
    """One TCP connection of the guest; every segment can be scripted.

    By itself it acknowledges what comes in order, keeps what comes out of
    order, and retransmits in send_all(). Set auto_ack to False to stop that,
    or use segment() for anything at all.
    """

    _last_port = 20000

    def __init__(self, guest, dst, dport, sport=None, isn=None, space=1 << 20,
                 wscale=7, mss=1460, sack=True, src=None):
        self.guest, self.dst, self.dport = guest, dst, dport
        self.src = src or guest.IP[6 if ":" in dst else 4]
        self.sport = sport or self._free_port()
        # RFC 9293 3.4.1, at Linux's rate: 64 ns
        self.isn = time.monotonic_ns() >> 6 & 0xFFFFFFFF if isn is None else isn
        self.mss, self.wscale, self.sack = mss, wscale, sack
        self.space = space  # receive buffer in bytes
        self.snd_una = self.snd_nxt = self.isn
        self.rcv_nxt = self.rcv_edge = None
        self.peer_window, self.peer_wscale, self.peer_mss = 0, 0, 536
        self.log = []  # segments received
        self.icmp = []  # (type, code) of ICMP errors that quote us
        self.received = bytearray()
        self.total = 0  # bytes received in order
        self.hash = hashlib.sha256()
        self.keep = True  # put what arrives in `received`
        self.manual_read = False  # the window opens only with read()
        self.auto_ack = True
        self.ack_due = False
        self.early = {}  # out-of-order data by sequence number
        self.syn_ack = None
        self.reset = False
        self.fin = False  # received in order
        self.fin_seq = None
        self.dup_acks = 0
        guest.conns[(dst, dport, self.sport)] = self

    def _free_port(self):
        while True:
            Tcp._last_port = 20000 + (Tcp._last_port - 19999) % 40000
            if (self.dst, self.dport, Tcp._last_port) not in self.guest.conns:
                return Tcp._last_port

    # --- sending

    def segment(self, flags=p.ACK, data=b"", seq=None, ack=None, window=None,
                opts=b"", urgent=0):
        """Sends exactly this segment; state does not move."""
        self.guest.send_ip(self.build(flags, data, seq, ack, window, opts, urgent))

    def build(self, flags=p.ACK, data=b"", seq=None, ack=None, window=None,
              opts=b"", urgent=0):
        seq = self.snd_nxt if seq is None else seq
        ack = (self.rcv_nxt or 0) if ack is None else ack
        if window is None:
            window = self.window() >> (0 if flags & p.SYN else self._shift())
        raw = p.tcp(self.src, self.dst, self.sport, self.dport, seq,
                    ack if flags & p.ACK else 0, flags, min(window, 0xFFFF),
                    data, opts, urgent)
        return p.ip(self.src, self.dst, p.TCP, raw)

    def _shift(self):
        both = self.syn_ack and "wscale" in self.syn_ack.options
        return self.wscale if both and self.wscale is not None else 0

    def window(self):
        held = len(self.received) if self.manual_read else 0
        return max(0, self.space - held)

    def send_syn(self, **changes):
        opts = p.tcp_options(self.mss, self.wscale, self.sack)
        self.segment(p.SYN, seq=self.isn, opts=opts, **changes)
        self.snd_nxt = (self.isn + 1) & 0xFFFFFFFF

    def send_ack(self, **changes):
        """Acknowledges now and remembers the window that was offered."""
        window = self.window() >> self._shift()
        self.segment(p.ACK, **changes)
        if self.rcv_nxt is not None:
            edge = (self.rcv_nxt + (min(window, 0xFFFF) << self._shift())) & 0xFFFFFFFF
            if self.rcv_edge is None or _after(edge, self.rcv_edge):
                self.rcv_edge = edge
        self.ack_due = False

    def send(self, data, flags=p.ACK | p.PSH, **changes):
        """Sends one segment and counts it as sent."""
        self.segment(flags, data, **changes)
        self.snd_nxt = (self.snd_nxt + len(data) + bool(flags & p.FIN)) & 0xFFFFFFFF

    def send_fin(self, data=b""):
        self.send(data, p.ACK | p.FIN)

    def send_rst(self):
        self.segment(p.RST | p.ACK)

    # --- connecting

    def attempt(self, seconds=5, retry=1.0):
        """Sends SYNs until there is an answer: 'connected', 'refused',
        'icmp TYPE/CODE' or 'silence'. The handshake is not finished."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.send_syn()
            answer = self.guest.watch(self._answer,
                                      min(retry, max(0, deadline - time.monotonic())))
            if answer:
                return answer
            if self.guest.link.closed:
                raise Failure("an answer to the SYN: the relay closed the link")
        return "silence"

    def _answer(self):
        if self.syn_ack:
            return "connected"
        if self.reset:
            return "refused"
        if self.icmp:
            return "icmp %d/%d" % self.icmp[0]
        return None

    def connect(self, seconds=5):
        answer = self.attempt(seconds * PATIENCE)
        if answer != "connected":
            raise Failure("connect to %s port %d: expected connected, saw %s" % (
                self.dst, self.dport, answer))
        self.send_ack()

    # --- receiving

    def input(self, seg):
        self.log.append(seg)
        if seg.flags & p.RST:
            # before the SYN-ACK only one that acknowledges the SYN counts
            ours = seg.flags & p.ACK and seg.ack == (self.isn + 1) & 0xFFFFFFFF
            self.reset |= self.rcv_nxt is not None or bool(ours)
            return
        if seg.flags & p.SYN:
            self._input_syn(seg)
            return
        if self.rcv_nxt is None:  # RFC 9293 3.10.7.3: of an older connection
            self.segment(p.RST, seq=seg.ack)
            return
        self._input_ack(seg)
        if seg.data:
            self._input_data(seg.seq, seg.data)
        if seg.flags & p.FIN:
            self.fin_seq = (seg.seq + len(seg.data)) & 0xFFFFFFFF
        self._input_fin()
        probe = _after(self.rcv_nxt, seg.seq)  # keep-alive: an old number
        if seg.data or seg.flags & p.FIN or probe:
            self.ack_due = True

    def _input_syn(self, seg):
        if self.syn_ack is None:
            self.syn_ack = seg
            self.rcv_nxt = (seg.seq + 1) & 0xFFFFFFFF
            self.snd_una = seg.ack
            self.peer_window = seg.window
            self.peer_mss = seg.options.get("mss", 536)
            if self.wscale is not None:
                self.peer_wscale = seg.options.get("wscale", 0)
        else:
            self.ack_due = True

    def _input_ack(self, seg):
        if _after(seg.ack, self.snd_una):
            self.snd_una = seg.ack
            self.dup_acks = 0
        elif seg.ack == self.snd_una and not seg.data:
            self.dup_acks += 1
        self.peer_window = seg.window << self.peer_wscale

    def _input_data(self, seq, data):
        if self.rcv_edge is not None:  # never take more than was offered
            room = (self.rcv_edge - seq) & 0xFFFFFFFF
            if room > 1 << 31:
                return
            data = data[:room]
        if _after(seq, self.rcv_nxt):
            if len(data) > len(self.early.get(seq, b"")):
                self.early[seq] = data
            return
        self._take(seq, data)
        for seq in sorted(self.early, key=lambda s: (s - self.rcv_nxt) & 0xFFFFFFFF
                          if not _after(self.rcv_nxt, s) else -1):
            if not _after(seq, self.rcv_nxt):
                self._take(seq, self.early.pop(seq))

    def _take(self, seq, data):
        fresh = data[(self.rcv_nxt - seq) & 0xFFFFFFFF:]
        self.rcv_nxt = (self.rcv_nxt + len(fresh)) & 0xFFFFFFFF
        self.total += len(fresh)
        self.hash.update(fresh)
        if self.keep:
            self.received += fresh

    def _input_fin(self):
        if not self.fin and self.fin_seq is not None and self.fin_seq == self.rcv_nxt:
            self.fin = True
            self.rcv_nxt = (self.rcv_nxt + 1) & 0xFFFFFFFF

    def after_batch(self):
        if self.ack_due and self.auto_ack and not self.reset:
            self.send_ack()

    def read(self, count):
        """Takes bytes out of the receive buffer and tells the new window."""
        data = bytes(self.received[:count])
        del self.received[:count]
        self.send_ack()
        return data

    # --- waiting

    def wait_data(self, count, seconds=10):
        self.guest.wait(lambda: self.total >= count or self.reset, seconds,
                        "%d bytes from the server (%d so far)" % (count, self.total))
        self.must_live()

    def wait_fin(self, seconds=5):
        self.guest.wait(lambda: self.fin or self.reset, seconds, "FIN from the server")
        self.must_live()

    def wait_reset(self, seconds=5):
        self.guest.wait(lambda: self.reset, seconds, "RST from the relay")

    def wait_acked(self, seconds=5):
        self.guest.wait(lambda: self.snd_una == self.snd_nxt or self.reset,
                        seconds, "ACK of everything sent")
        self.must_live()

    def must_live(self):
        if self.reset:
            raise Failure("the relay reset the connection; last: %s" % self.log[-3:])

    # --- a simple sender

    def send_all(self, data, seconds=30, channel=None, size=None, fin=False):
        """Sends the data as windows allow, with retransmission. channel takes
        a list of IP packets and gives the list that is sent instead."""
        sender = _Sender(self, data, channel, size or min(self.mss, self.peer_mss))
        deadline = time.monotonic() + seconds * PATIENCE
        while not sender.done():
            sender.step()
            self.must_live()
            if time.monotonic() > deadline:
                raise Failure("upload: %d of %d bytes acknowledged within %g s" % (
                    sender.acked(), len(data), seconds * PATIENCE))
        self.snd_nxt = self.snd_una
        if fin:
            self.send_fin()

    def drop(self):
        """Forgets the connection without telling anyone."""
        self.guest.conns.pop((self.dst, self.dport, self.sport), None)


class _Sender:
    """Go-back-N with fast retransmission, enough for the lossy cases."""

    RTO = 0.25

    def __init__(self, conn, data, channel, size):
        self.conn, self.data, self.size = conn, memoryview(data), size
        self.channel = channel or (lambda packets: packets)
        self.base = conn.snd_nxt
        self.timer = time.monotonic()
        self.recover = 0

    def acked(self):
        return (self.conn.snd_una - self.base) & 0xFFFFFFFF

    def sent(self):
        return (self.conn.snd_nxt - self.base) & 0xFFFFFFFF

    def done(self):
        return self.acked() >= len(self.data)

    def step(self):
        before = self.acked()
        self._send_new()
        self.conn.guest.pump(0.02)
        now = time.monotonic()
        if self.acked() > before:
            self.timer = now
            if self.acked() < self.recover:  # partial ACK: the next hole
                self._send(self.acked(), 1)
        elif self.conn.dup_acks >= 3 and self.acked() >= self.recover:
            self.recover = self.sent()
            self.conn.dup_acks = 0
            self._send(self.acked(), 1)
        elif now - self.timer > self.RTO:
            self.timer = now
            self.recover = self.sent()
            self.conn.snd_nxt = self.conn.snd_una  # go back and send it again

    def _send_new(self):
        if self.acked() > self.sent() or self.sent() > len(self.data):
            self.conn.snd_nxt = self.conn.snd_una  # acknowledged after going back
        start = self.sent()
        end = min(len(self.data), self.acked() + self.conn.peer_window,
                  start + 64 * self.size)
        if end > start:
            self.conn.snd_nxt = (self.base + end) & 0xFFFFFFFF
            self._send(start, None)

    def _send(self, start, count):
        """Segments from offset `start`: `count` of them or up to the end."""
        packets, end = [], self.sent()
        while start < end and (count is None or len(packets) < count):
            size = min(self.size, end - start)
            packets.append(self.conn.build(
                p.ACK | p.PSH, bytes(self.data[start:start + size]),
                seq=(self.base + start) & 0xFFFFFFFF))
            start += size
        for raw in self.channel(packets):
            self.conn.guest.send_ip(raw)


class Background:
    """A function on a thread of its own, while the guest is pumped."""

    def __init__(self, func, *args):
        self.value = self.error = None

        def body():
            try:
                self.value = func(*args)
            except BaseException as error:  # handed to result()
                self.error = error

        self.thread = threading.Thread(target=body, daemon=True)
        self.thread.start()

    def done(self):
        return not self.thread.is_alive()

    def result(self, guest=None, seconds=30, what="the server's side"):
        if guest:
            guest.wait(self.done, seconds, what)
        self.thread.join(seconds * PATIENCE)
        if not self.done():
            raise Failure("%s: not finished within %g s" % (what, seconds * PATIENCE))
        if self.error:
            raise self.error
        return self.value
