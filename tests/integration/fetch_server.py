#!/usr/bin/env python3
"""An HTTP server on loopback that lies, stalls and breaks off, for fetch.bats.

    fetch_server.py LOG PORT_FILE [CERTIFICATE KEY]

Every request becomes a line of JSON in LOG: path, range, authorization, all headers. PORT_FILE gets the port once
it listens: on the address in the environment's LISTEN, or on loopback. The content of /data and its like is the
300000 bytes of content().
"""

import hashlib
import json
import os
import socket
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

SIZE = 300000


def content():
    """Bytes that are the same nowhere, so that a shifted resume is noticed."""
    blocks = (hashlib.sha256(b"%d" % i).digest() for i in range(SIZE // 32 + 1))
    return b"".join(blocks)[:SIZE]


DATA = content()


class Handler(BaseHTTPRequestHandler):
    """One path, one way to misbehave."""

    protocol_version = "HTTP/1.1"
    counts = {}
    lock = threading.Lock()

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass

    def note(self, body=b""):
        with self.lock, open(sys.argv[1], "a", encoding="utf-8") as log:
            self.counts[self.path] = self.counts.get(self.path, 0) + 1
            log.write(json.dumps({
                "path": self.path, "method": self.command, "range": self.headers.get("Range"),
                "authorization": self.headers.get("Authorization"), "body": body.decode(),
                "time": time.monotonic(), "headers": dict(self.headers.items())}) + "\n")
            return self.counts[self.path]

    def start(self, status, length, **headers):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def wanted(self):
        """Where the asked range begins."""
        value = self.headers.get("Range")
        return int(value[len("bytes="):-1]) if value else 0

    def part(self, first, promised=SIZE, **headers):
        """The headers of DATA from `first` on."""
        if first:
            headers["Content_Range"] = f"bytes {first}-{promised - 1}/{promised}"
        self.start(206 if first else 200, promised - first, **headers)

    def hang_up(self):
        """After what was sent has arrived: a reset would take it back."""
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)
        self.close_connection = True

    def do_POST(self):
        self.note(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if self.path == "/moved":
            self.start(307, 0, Location="/data")
        else:
            self.start(200, 5)
            self.wfile.write(b"posted"[:5])

    def do_GET(self):
        count = self.note()
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        action = getattr(self, "on_" + url.path.strip("/").replace("-", "_"), None)
        if not action:
            body = b"no such \x1b[31mpath\n" * 40
            self.start(404, len(body))
            self.wfile.write(body)
            return
        try:
            action(query, count)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    def on_data(self, _query, _count):
        self.part(self.wanted(), Content_Type="text/Plain", ETag='"e1"')
        self.wfile.write(DATA[self.wanted():])

    def on_no_range(self, _query, _count):
        """Knows no ranges, and breaks off in the first answer."""
        self.start(200, SIZE)
        if _count == 1:
            self.wfile.write(DATA[:SIZE // 2])
            self.hang_up()
        else:
            self.wfile.write(DATA)

    def on_cut(self, query, _count):
        """Each connection brings a piece, then breaks."""
        first = self.wanted()
        self.part(first)
        end = first + int(query["piece"])
        self.wfile.write(DATA[first:end])
        if end < SIZE:
            self.hang_up()

    def on_cut_at_start(self, _query, _count):
        self.start(200, SIZE)
        self.hang_up()

    def on_wrong_range(self, _query, count):
        if count == 1:
            self.part(0)
            self.wfile.write(DATA[:1000])
            self.hang_up()
        else:
            self.start(206, SIZE, Content_Range=f"bytes 0-{SIZE - 1}/{SIZE}")
            self.wfile.write(DATA)

    def on_grown(self, _query, count):
        """Another size the second time."""
        if count == 1:
            self.part(0)
            self.wfile.write(DATA[:1000])
            self.hang_up()
        else:
            self.part(self.wanted(), promised=SIZE + 1)
            self.wfile.write(DATA[self.wanted():] + b"x")

    def on_not_satisfiable(self, _query, count):
        if count == 1:
            self.part(0)
            self.wfile.write(DATA[:1000])
            self.hang_up()
        else:
            self.start(416, 0)

    def on_uninvited_206(self, _query, _count):
        self.start(206, 10, Content_Range=f"bytes 5-14/{SIZE}")
        self.wfile.write(DATA[5:15])

    def on_long_length(self, _query, _count):
        """Promises more than it sends."""
        self.start(200, SIZE + 10, Connection="close")
        self.wfile.write(DATA)
        self.close_connection = True

    def on_short_length(self, _query, _count):
        self.start(200, SIZE - 10)
        self.wfile.write(DATA)
        self.close_connection = True

    def on_two_lengths(self, _query, _count):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nfivefive")
        self.close_connection = True

    def on_until_close(self, query, _count):
        self.start(200, None, Connection="close")
        self.wfile.write(DATA[:int(query.get("size", SIZE))])
        self.close_connection = True

    def on_chunked(self, query, _count):
        self.start(200, None, Transfer_Encoding="chunked")
        for at in range(0, SIZE, 7000):
            piece = DATA[at:at + 7000]
            self.wfile.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
        if query.get("end") == "no":
            self.hang_up()
        else:
            self.wfile.write(b"0\r\n\r\n")

    def on_endless(self, _query, _count):
        self.start(200, None, Connection="close")
        while True:
            self.wfile.write(DATA)

    def on_endless_error(self, _query, _count):
        self.start(404, None, Connection="close")
        while True:
            self.wfile.write(DATA)

    def on_drip(self, _query, _count):
        self.part(self.wanted())
        for byte in DATA[self.wanted():]:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(0.05)

    def on_drip_headers(self, _query, _count):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            self.wfile.write(b"X-A: b\r\n")
            self.wfile.flush()
            time.sleep(0.05)

    def on_stall_once(self, _query, count):
        first = self.wanted()
        self.part(first)
        if count == 1:
            self.wfile.write(DATA[:SIZE // 2])
            self.wfile.flush()
            time.sleep(30)
        else:
            self.wfile.write(DATA[first:])

    def on_silent(self, _query, _count):
        time.sleep(30)

    def on_redirect(self, query, _count):
        self.start(int(query.get("code", 302)), 3, Location=query["to"])
        self.wfile.write(b"see")

    def on_redirect_nowhere(self, _query, _count):
        self.start(302, 0)

    def on_loop(self, _query, _count):
        self.start(302, 0, Location="/loop")

    def on_status(self, query, count):
        """A status so many times, then the content."""
        if count > int(query.get("times", 1000)):
            return self.on_data(query, count)
        headers = {"Retry_After": query["after"]} if "after" in query else {}
        self.start(int(query["code"]), 4, **headers)
        self.wfile.write(b"busy")
        return None

    def on_challenge(self, _query, _count):
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Bearer realm="https://r/t",service="s"')
        self.send_header("WWW-Authenticate", "Basic realm=x")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def on_big_header(self, _query, _count):
        self.start(200, 0, X_Big="a" * 70000)

    def on_many_headers(self, _query, _count):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            self.wfile.write(b"X-Many: " + b"a" * 1000 + b"\r\n")

    def on_many_interim(self, _query, _count):
        while True:
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")

    def on_interim(self, query, count):
        self.wfile.write(b'HTTP/1.1 103 Early Hints\r\nETag: "wrong"\r\n\r\n')
        self.on_data(query, count)

    def on_garbage(self, _query, _count):
        self.wfile.write(b"\x00\x01SSH-2.0-nonsense\r\n\r\n")
        self.hang_up()

    def on_half_status(self, _query, _count):
        self.wfile.write(b"HTTP/1.1 20")
        self.hang_up()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """Clients of these tests hang up in every way there is."""


def main():
    server = Server((os.environ.get("LISTEN", "127.0.0.1"), 0), Handler)
    if len(sys.argv) > 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[3], sys.argv[4])
        # The handshake is the thread's work, so that one that never ends holds up nobody.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with open(sys.argv[2] + ".new", "w", encoding="utf-8") as port_file:
        port_file.write(str(server.server_port))
    os.rename(sys.argv[2] + ".new", sys.argv[2])
    server.serve_forever()


if __name__ == "__main__":
    main()
