#!/usr/bin/env python3
"""Speaks the agent protocol (docs/agent-protocol.md) for tests, independently of src/wire.

usage: agent_client.py SOCKET exec [--tty] [--mise] [--rows N] [--cols N] [--cwd DIR] [--user NAME] [--env K=V]
                       [--signal-after TEXT NUMBER] [--close-after TEXT] [--resize-after TEXT ROWS COLS]
                       [--no-eof] -- ARGV...
       agent_client.py SOCKET put|put-staged PATH < tar        get PATH > tar
       agent_client.py SOCKET http TARGET           request JSON        raw < bytes
       agent_client.py SOCKET forward tcp|unix WHERE

SOCKET may begin with "vsock:" for a VMM's socket that wants CONNECT first.
"""
import json
import os
import select
import socket
import struct
import sys

PART, ARG, ENV, START, STDIN, STDIN_EOF, SIGNAL, WINSIZE = range(1, 9)
STDOUT, STDERR, EXIT, STDIN_TAKEN = 16, 17, 18, 19
DATA, END, ERROR = 32, 33, 34
PAYLOAD_MAX = 65536
STDIN_WINDOW = 128 * 1024


def connect(where):
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if not where.startswith("vsock:"):
        stream.connect(where)
        return stream
    stream.connect(where[len("vsock:"):])
    stream.sendall(b"CONNECT 1024\n")
    line = read_line(stream)
    if not line.startswith(b"OK "):
        sys.exit(f"CONNECT: {line!r}")
    return stream


def read_line(stream):
    line = b""
    while not line.endswith(b"\n"):
        byte = stream.recv(1)
        if not byte:
            sys.exit(f"the stream ended after {line!r}")
        line += byte
    return line


def read_exact(stream, size):
    data = b""
    while len(data) < size:
        more = stream.recv(size - len(data))
        if not more:
            return None
        data += more
    return data


def frame(kind, payload=b""):
    return struct.pack(">BxxxI", kind, len(payload)) + payload


def string_frames(kind, text):
    out = b""
    while len(text) > PAYLOAD_MAX:
        out += frame(PART, text[:PAYLOAD_MAX])
        text = text[PAYLOAD_MAX:]
    return out + frame(kind, text)


def read_frame(stream):
    header = read_exact(stream, 8)
    if header is None:
        sys.exit("the stream ended without EXIT, END or ERROR")
    kind, size = struct.unpack(">BxxxI", header)
    return kind, read_exact(stream, size)


def request(stream, **members):
    stream.sendall(json.dumps(members).encode() + b"\n")


def reply(stream):
    answer = json.loads(read_line(stream))
    if not answer["ok"]:
        print(f"{answer['error']['kind']}: {answer['error']['message']}", file=sys.stderr)
        sys.exit(125)
    return answer


def take_options(words):
    options = {"env": [], "members": {}, "argv": []}
    while words:
        word = words.pop(0)
        if word == "--":
            options["argv"] = words
            break
        if word == "--tty":
            options["members"]["tty"] = True
        elif word == "--mise":
            options["members"]["mise"] = True
        elif word in ("--rows", "--cols"):
            options["members"][word[2:]] = int(words.pop(0))
        elif word in ("--cwd", "--user"):
            options["members"][word[2:]] = words.pop(0)
        elif word == "--env":
            options["env"].append(os.fsencode(words.pop(0)))
        elif word == "--signal-after":
            options["signal"] = (words.pop(0).encode(), int(words.pop(0)))
        elif word == "--close-after":
            options["close"] = words.pop(0).encode()
        elif word == "--resize-after":
            options["resize"] = (words.pop(0).encode(), int(words.pop(0)), int(words.pop(0)))
        elif word == "--no-eof":
            options["no_eof"] = True
        else:
            sys.exit(f"unknown option {word}")
    return options


def act_on(stream, options, seen):
    if "signal" in options and options["signal"][0] in seen:
        stream.sendall(frame(SIGNAL, bytes([options.pop("signal")[1]])))
    if "close" in options and options["close"] in seen:
        stream.close()
        sys.exit(0)
    if "resize" in options and options["resize"][0] in seen:
        _, rows, cols = options.pop("resize")
        stream.sendall(frame(WINSIZE, struct.pack(">HHHH", rows, cols, 0, 0)))


def run_exec(stream, options):
    request(stream, op="exec", **options["members"])
    for word in options["argv"]:
        stream.sendall(string_frames(ARG, os.fsencode(word)))
    for word in options["env"]:
        stream.sendall(string_frames(ENV, word))
    stream.sendall(frame(START))
    reply(stream)
    seen = b""
    window = STDIN_WINDOW
    feeds = "no_eof" not in options
    while True:
        ready, _, _ = select.select([stream, 0] if feeds and window > 0 else [stream], [], [])
        if stream not in ready:
            data = os.read(0, min(window, 32768))
            stream.sendall(frame(STDIN, data) if data else frame(STDIN_EOF))
            window -= len(data)
            feeds = bool(data)
            continue
        kind, payload = read_frame(stream)
        if kind == EXIT:
            how, code = struct.unpack(">BxxxI", payload)
            sys.exit(code if how == 1 else 128 + code)
        if kind == ERROR:
            print(f"ERROR: {payload.decode()}", file=sys.stderr)
            sys.exit(125)
        if kind == STDIN_TAKEN:
            window += struct.unpack(">I", payload)[0]
            continue
        if kind not in (STDOUT, STDERR):
            sys.exit(f"a frame of type {kind}")
        os.write(1 if kind == STDOUT else 2, payload)
        seen = (seen + payload)[-4096:]
        act_on(stream, options, seen)


def run_put(stream, path, **members):
    request(stream, op="put", path=path, **members)
    reply(stream)
    try:
        while data := os.read(0, PAYLOAD_MAX):
            stream.sendall(frame(DATA, data))
        stream.sendall(frame(END))
    except BrokenPipeError:
        pass
    kind, payload = read_frame(stream)
    print(payload.decode(), file=sys.stderr)
    sys.exit(0 if kind == END else 125)


def run_get(stream, path):
    request(stream, op="get", path=path)
    reply(stream)
    while True:
        kind, payload = read_frame(stream)
        if kind == DATA:
            sys.stdout.buffer.write(payload)
            continue
        print(payload.decode(), file=sys.stderr)
        sys.exit(0 if kind == END else 125)


def copy_all(stream):
    while data := stream.recv(65536):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def run_forward(stream, kind, where):
    members = {"tcp": int(where)} if kind == "tcp" else {"unix": where}
    request(stream, op="forward", **members)
    reply(stream)
    while data := os.read(0, 65536):
        stream.sendall(data)
    stream.shutdown(socket.SHUT_WR)
    copy_all(stream)


def main():
    where, what, *words = sys.argv[1:]
    stream = connect(where)
    if what == "exec":
        run_exec(stream, take_options(words))
    elif what == "put":
        run_put(stream, words[0])
    elif what == "put-staged":
        run_put(stream, words[0], staged=True)
    elif what == "get":
        run_get(stream, words[0])
    elif what == "http":
        stream.sendall(f"GET {words[0]} HTTP/1.1\r\nHost: agent\r\n\r\n".encode())
        copy_all(stream)
    elif what == "request":
        stream.sendall(words[0].encode() + b"\n")
        copy_all(stream)
    elif what == "raw":
        stream.sendall(sys.stdin.buffer.read())
        stream.shutdown(socket.SHUT_WR)
        copy_all(stream)
    elif what == "forward":
        run_forward(stream, *words)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
