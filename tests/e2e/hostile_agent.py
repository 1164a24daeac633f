#!/usr/bin/python3
"""Stands where a VM's agent answers, and misbehaves: hostile_agent.py SOCKET MODE_FILE

The file has the name of what to do with each connection from now on; "ready" on standard output says that it listens.
"""

import itertools
import json
import os
import socket
import struct
import sys
import threading
import time

ESCAPES = "\x1b]52;c;eA==\x07\x1b]8;;http://x\x1b\\\r\u202e\u009b2J</script>"
QUIET = itertools.cycle(["no-newline", "silent", "half", "trickle"])


def http(body):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def health(hostname, **more):
    return {"status": "ok", "protocol": 1, "version": ESCAPES, "hostname": hostname, "uptime_ms": 1, "stages": [ESCAPES], **more}


def port(number, name):
    name = name.encode()[:250].decode(errors="ignore")  # more than 256 bytes are none of the agent's
    return {"protocol": "tcp", "address": "0.0.0.0", "port": number, "pid": 1, "process": name, "command": name}


def frame(kind, payload=b"", length=None):
    return struct.pack("!B3xI", kind, len(payload) if length is None else length) + payload


def exit_frame(kind, code):
    return frame(18, struct.pack("!B3xI", kind, code))


def line(value):
    return json.dumps(value).encode() + b"\n"


def texts(request):
    if request.startswith(b"GET /healthz"):
        return http(json.dumps(health(ESCAPES + "x" * 300)).encode())
    if request.startswith(b"GET"):
        return http(json.dumps({"ports": [port(1, ESCAPES + "x" * 256)]}).encode())
    return line({"ok": False, "error": {"kind": "not_found", "message": ESCAPES}})


def either(of_http, of_line):
    return lambda request: http(of_http) if request.startswith(b"GET") else of_line + b"\n"


def after_ok(answer):
    return lambda request: b'{"ok":true,"pid":1}\n' + answer


# What is answered to the first line; whoever asks may hang up.
ANSWERS = {
    "silent": lambda request: None,
    "half": lambda request: b"HTTP/1.1 200 OK\r\nContent-Le" if request.startswith(b"GET") else b'{"ok":tr',
    "close": lambda request: b"",
    "binary": lambda request: bytes(range(256)) * 16,
    "texts": texts,
    "deep": either(b"[" * 100000, b"[" * 100000),
    "nan": either(b'{"status":"ok","protocol":NaN}', b'{"ok":true,"uptime_ms":NaN,"entries":-1,"type":1e999}'),
    "negative": either(json.dumps(health("x", uptime_ms=-1)).encode(), b'{"ok":true,"uptime_ms":-1,"pid":-1,"size":-1}'),
    "not-utf8": either(b'{"status":"\xff\xfe"}', b'{"ok":false,"error":{"kind":"x","message":"\xff\x1b[2J"}}'),
    "two": either(b"{}{}", b'{"ok":true}\n{"ok":false}'),
    "error-frame": after_ok(frame(34, ESCAPES.encode() + b"\xff")),
    "long-frame": after_ok(frame(16, b"x" * 100, 0xFFFFFFFF)),
    "wrong-frame": after_ok(frame(1, b"x") + frame(200)),
    "exit-256": after_ok(exit_frame(1, 256)),
    "signal-99": after_ok(exit_frame(2, 99)),
    "after-exit": after_ok(exit_frame(1, 3) + frame(16, b"late")),
}


class Connection:
    def __init__(self, stream, mode):
        self.stream, self.mode = stream, mode
        self.input = stream.makefile("rb")

    def stay(self):
        """Until the host hangs up."""
        while self.stream.recv(65536):
            pass

    def flood(self, piece):
        while True:
            self.stream.sendall(piece)

    def trickle(self, data):
        for byte in data:
            self.stream.sendall(bytes([byte]))
            time.sleep(0.5)

    def serve(self):
        mode = next(QUIET) if self.mode == "quiet" else self.mode
        self.input.readline(100)
        connects = {"no-newline": b"OK 1", "minus": b"OK -1\n", "nothing": b"OK \n", "zeros": bytes(4096)}
        if mode in connects:
            self.stream.sendall(connects[mode])
            return self.stay()
        if mode == "connect-flood":
            return self.flood(b"9" * 65536)
        self.stream.sendall(b"OK 1\n")
        if mode == "early":
            self.stream.sendall(b'{"ok":true}\nHTTP/1.1 200 OK\r\n\r\n{}\n')
        request = self.input.readline(65536)
        if mode == "endless":
            self.stream.sendall(b"HTTP/1.1 200 OK\r\nX: " if request.startswith(b"GET") else b'{"ok":true,"x":"')
            return self.flood(b"x" * 65536)
        if mode == "trickle":
            return self.trickle(http(b"{" + b" " * 1000) if request.startswith(b"GET") else b'{"ok":true,' + b" " * 1000)
        if mode == "output":
            self.stream.sendall(b'{"ok":true,"pid":1}\n')
            return self.flood(frame(16, b"y\n" * 16384))
        answer = ANSWERS.get(mode, ANSWERS["close"])(request)
        if answer:
            self.stream.sendall(answer)
        if answer is None or mode == "half":
            self.stay()
        return None

    def run(self):
        try:
            self.serve()
            self.stream.shutdown(socket.SHUT_WR)
            self.stay()
        except OSError:
            pass  # the host hung up
        finally:
            self.input.close()
            self.stream.close()


def main():
    path, mode_file = sys.argv[1:]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        print("ready", flush=True)
        while True:
            stream, _ = listener.accept()
            with open(mode_file, encoding="ascii") as file:
                mode = file.read().strip()
            threading.Thread(target=Connection(stream, mode).run, daemon=True).start()


if __name__ == "__main__":
    os.umask(0o077)
    main()
