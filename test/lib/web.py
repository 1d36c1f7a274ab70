# SPDX-License-Identifier: BSD-3-Clause
"""An HTTP server in a namespace of the test: GET /bytes/N gives N bytes of
pattern(N), PUT anything gives the SHA-256 of what was sent."""

import contextlib
import hashlib
import http.server
import threading

from . import server
from .packet import family_of


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/bytes/"):
            self._reply(server.pattern(int(self.path[7:])))
        else:
            self._reply(b"hello from the server\n")

    def do_PUT(self):
        digest, left = hashlib.sha256(), int(self.headers["Content-Length"])
        while left:
            data = self.rfile.read(min(left, 1 << 20))
            if not data:
                return
            digest.update(data)
            left -= len(data)
        self._reply(digest.hexdigest().encode())

    do_POST = do_PUT

    def _reply(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *_args):
        pass


class HttpServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, netns, addr, port=0):
        super().__init__((addr, 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = server.listen(netns, addr, port, seconds=None)
        self.addr, self.port = addr, server.port_of(self.socket)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path="/", name=None):
        host = name or (self.addr if family_of(self.addr) == 2 else "[%s]" % self.addr)
        return "http://%s:%d%s" % (host, self.port, path)

    def handle_error(self, *_args):
        pass  # a client that left

    def close(self):
        self.shutdown()
        self.server_close()
