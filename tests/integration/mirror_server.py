#!/usr/bin/env python3
"""A mirror of a registry that lies, stalls and dawdles: mirror_server.py LOG PORT_FILE LAYOUT

It has what the OCI layout LAYOUT has, whatever the repository is called. The first part of a path says what is wrong
with its blobs: /flip/v2/... and so on, the methods below; /true/ is good. PORT_FILE gets the port once it listens on
loopback, LOG a line for each request: its path and its range.
"""

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler

import loopback_server

SLOW_FROM = 4 << 20
SLOW_PIECE = 1 << 17
SLOW_S = 0.0625  # two MiB a second


class Handler(BaseHTTPRequestHandler):
    """One way to misbehave for each first part of a path."""

    protocol_version = "HTTP/1.1"
    lock = threading.Lock()

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass

    def find(self, kind, wanted):
        """The bytes of a manifest or blob; None when the layout has it not."""
        if kind == "manifests" and ":" not in wanted:
            with open(os.path.join(sys.argv[3], "index.json"), encoding="utf-8") as file:
                entries = json.load(file)["manifests"]
            wanted = next((entry["digest"] for entry in entries if
                           entry["annotations"]["org.opencontainers.image.ref.name"] == wanted), "none:")
        try:
            with open(os.path.join(sys.argv[3], "blobs", *wanted.split(":")), "rb") as file:
                return file.read()
        except OSError:
            return None

    def start(self, status, length, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is None:
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def do_GET(self):
        lie, _, *_, kind, wanted = self.path.strip("/").split("/")
        with self.lock, open(sys.argv[1], "a", encoding="utf-8") as log:
            log.write(f"{self.path} {self.headers.get('Range')}\n")
        data = self.find(kind, wanted)
        if data is None:
            self.start(404, 0)
            return
        first = int((self.headers.get("Range") or "bytes=0-")[len("bytes="):-1])
        try:
            if kind == "manifests":
                data += b"\n" if lie == "manifest" else b""
                self.start(200, len(data), Content_Type="application/vnd.oci.image.manifest.v1+json")
                self.wfile.write(data)
            else:
                getattr(self, "blob_" + lie.replace("-", "_"))(data, first)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def part(self, data, first):
        if first:
            self.start(206, len(data) - first, Content_Range=f"bytes {first}-{len(data) - 1}/{len(data)}")
        else:
            self.start(200, len(data))

    def blob_true(self, data, first):
        self.part(data, first)
        self.wfile.write(data[first:])

    blob_manifest = blob_true

    def blob_flip(self, data, first):
        """The last byte is another."""
        self.blob_true(data[:-1] + bytes([data[-1] ^ 1]), first)

    def blob_short(self, data, _first):
        self.start(200, len(data) - 1)
        self.wfile.write(data[:-1])

    def blob_long(self, data, _first):
        self.start(200, len(data) + 1)
        self.wfile.write(data + b"x")

    def blob_endless(self, data, _first):
        """Longer, without having said so."""
        self.start(200, None)
        while True:
            self.wfile.write(data)

    def blob_half(self, data, first):
        """Half of it, damaged, and no more."""
        if first:
            self.start(404, 0)
            return
        self.start(200, len(data))
        self.wfile.write(bytes([data[0] ^ 1]) + data[1:len(data) // 2])
        self.close_connection = True

    def blob_slow(self, data, first):
        """Large ones take their time."""
        self.part(data, first)
        for at in range(first, len(data), SLOW_PIECE):
            self.wfile.write(data[at:at + SLOW_PIECE])
            if len(data) >= SLOW_FROM:
                time.sleep(SLOW_S)


if __name__ == "__main__":
    loopback_server.run(Handler, sys.argv[2])
