# SPDX-License-Identifier: BSD-3-Clause
"""A VMM without a VM: the kernel of a namespace is the guest, its tap the virtio-net
device, and this pumps frames between the tap and the relay's socket as libkrun does:
the virtio-net header of a guest's frame is thrown away, a header of zeros put before
the relay's, and a frame that the socket does not take at once is dropped."""

import fcntl
import os
import select
import socket
import struct
import threading

from .world import Netns

TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x2, 0x1000, 0x4000
CSUM, TSO4 = 1, 2
HEADER = bytes(10)


class Vmm:
    """A guest with addresses; `offload` as libkrun's COMPAT_NET_FEATURES."""

    IP = "10.0.2.15"

    def __init__(self, sock, mtu, offload, hello=b""):
        self.netns = Netns()
        self.sock = sock
        self.framed = sock.type == socket.SOCK_STREAM
        self.dropped = 0  # EAGAIN, ENOBUFS
        self.largest = {"g2h": 0, "h2g": 0}
        with self.netns.entered():
            self.tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self.tap, TUNSETIFF, struct.pack(
                "16sH22x", b"eth0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
            fcntl.ioctl(self.tap, TUNSETOFFLOAD, CSUM | TSO4 if offload else 0)
        for words in (["link", "set", "eth0", "mtu", str(mtu), "up"],
                      ["addr", "add", self.IP + "/24", "dev", "eth0"],
                      ["route", "add", "default", "via", "10.0.2.2"]):
            self.netns.ip(*words)
        if hello:
            sock.send(hello)
        self.ended = False
        sock.setblocking(False)
        pump = self._stream if self.framed else self._messages
        self.thread = threading.Thread(target=pump, daemon=True)
        self.thread.start()

    def _poll(self):
        poll = select.poll()
        poll.register(self.tap, select.POLLIN)
        poll.register(self.sock, select.POLLIN)
        while not self.ended:
            yield {fd for fd, _ in poll.poll(100)}

    def _from_guest(self):
        """Frames that wait at the tap, without their headers."""
        for _ in range(64):
            try:
                frame = os.read(self.tap, 1 << 17)[len(HEADER):]
            except OSError:
                return
            self.largest["g2h"] = max(self.largest["g2h"], len(frame))
            yield frame

    def _to_guest(self, frame):
        self.largest["h2g"] = max(self.largest["h2g"], len(frame))
        os.write(self.tap, HEADER + frame)

    def _messages(self):
        for ready in self._poll():
            if self.tap in ready:
                for frame in self._from_guest():
                    try:
                        self.sock.send(frame)
                    except OSError:
                        self.dropped += 1
            if self.sock.fileno() in ready:
                for _ in range(64):
                    try:
                        self._to_guest(self.sock.recv(1 << 17))
                    except OSError:
                        break

    def _stream(self):
        have = bytearray()
        for ready in self._poll():
            if self.tap in ready:
                for frame in self._from_guest():
                    self._send_all(struct.pack("!I", len(frame)) + frame)
            if self.sock.fileno() in ready:
                have += self.sock.recv(1 << 18)
                have = self._cut(have)

    def _send_all(self, data):
        while data and not self.ended:
            try:
                data = data[self.sock.send(data):]
            except BlockingIOError:
                select.select([], [self.sock], [], 0.1)

    def _cut(self, have):
        at = 0
        while len(have) - at >= 4:
            size = int.from_bytes(have[at:at + 4], "big")
            if len(have) - at - 4 < size:
                break
            self._to_guest(bytes(have[at + 4:at + 4 + size]))
            at += 4 + size
        return have[at:]

    def close(self):
        self.ended = True
        self.thread.join()
        self.sock.close()
        os.close(self.tap)
        self.netns.close()
