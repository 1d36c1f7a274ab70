# SPDX-License-Identifier: BSD-3-Clause
"""A server for very many connections, in a process of its own:
python3 served.py MODE ADDR prints its port and then serves until it is ended.

echo    returns what comes
greet   sends one byte and closes first
drain   reads to the end of file, then closes
mute    accepts and does nothing at all
"""

import select
import socket
import sys


class Served:
    def __init__(self, mode, addr):
        family = socket.AF_INET6 if ":" in addr else socket.AF_INET
        self.mode = mode
        self.listener = socket.socket(family)
        self.listener.bind((addr, 0))
        self.listener.listen(65535)
        self.listener.setblocking(False)
        self.epoll = select.epoll()
        self.epoll.register(self.listener, select.EPOLLIN)
        self.socks = {}

    def serve(self):
        print(self.listener.getsockname()[1], flush=True)
        while True:
            for fd, _ in self.epoll.poll():
                if fd == self.listener.fileno():
                    self.accept()
                else:
                    self.readable(fd)

    def accept(self):
        while True:
            try:
                sock = self.listener.accept()[0]
            except OSError:
                return
            if self.mode == "greet":
                sock.sendall(b"!")
                sock.close()
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socks[sock.fileno()] = sock
            if self.mode != "mute":
                self.epoll.register(sock, select.EPOLLIN)

    def readable(self, fd):
        sock = self.socks[fd]
        try:
            data = sock.recv(1 << 16)
            if data and self.mode == "echo":
                sock.sendall(data)
        except OSError:
            data = b""
        if not data:
            self.epoll.unregister(fd)
            self.socks.pop(fd).close()


if __name__ == "__main__":
    Served(sys.argv[1], sys.argv[2]).serve()
