#!/usr/bin/env python3
"""A client of banger-vmm for the .bats files.

usage: vmm_client.py SOCKET METHOD PATH [BODY]     prints "STATUS BODY"
       vmm_client.py sent SOCKET METHOD PATH [BODY] the same, and "sent" on stderr when it waits for that
       vmm_client.py vsock CASE SOCKET             one of the checks below; prints nothing when all is well
"""
import http.client
import os
import socket
import sys
import threading
import time


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.path)


def request(path, method, url, body=None, says_sent=False):
    connection = Connection(path)
    connection.request(method, url, body.encode() if body is not None else None)
    if says_sent:
        print("sent", file=sys.stderr, flush=True)
    answer = connection.getresponse()
    print(answer.status, answer.read().decode())


def dial(path, line=b"CONNECT 7\n"):
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(path)  # waits for room in the backlog, which a time-out would forbid
    peer.settimeout(20)
    peer.sendall(line)
    return peer


def read_line(peer):
    line = b""
    while not line.endswith(b"\n"):
        byte = peer.recv(1)
        if not byte:
            break
        line += byte
    return line


def read_all(peer):
    text = b""
    while part := peer.recv(65536):
        text += part
    return text


def greeted(path, line=b"CONNECT 7\n"):
    """A stream that the guest has taken; the guest may need a moment to be there."""
    for _ in range(200):
        peer = dial(path, line)
        answer = read_line(peer)
        if answer:
            assert answer.startswith(b"OK ") and int(answer[3:]) >= 1 << 30, answer
            return peer
        time.sleep(0.05)
    raise AssertionError("nobody answers")


def check_echo(path):
    peer = greeted(path)
    data = os.urandom(3_000_000)

    def send():
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    assert read_all(peer) == data, "the echo differs"
    thread.join()


def check_early_bytes(path):
    """What follows the line in the same packet is the guest's."""
    greeted(path).close()
    peer = dial(path, b"CONNECT 7\nearly bytes")
    peer.shutdown(socket.SHUT_WR)
    assert read_line(peer).startswith(b"OK ")
    assert read_all(peer) == b"early bytes"


def check_slow_line(path):
    greeted(path).close()
    peer = dial(path, b"")
    for byte in b"CONNECT 7\n":
        peer.sendall(bytes([byte]))
        time.sleep(0.01)
    assert read_line(peer).startswith(b"OK ")


def check_refused(path):
    """Nobody listens, bad lines, no line: the connection is closed without a word."""
    greeted(path).close()
    for line in (b"CONNECT 99\n", b"CONNECT x\n", b"connect 7\n", b"CONNECT 4294967296\n", b"\n",
                 b"C" * 100):
        peer = dial(path, line)
        try:
            answer = read_all(peer)
        except ConnectionResetError:
            answer = b""
        assert answer == b"", (line, answer)
    began = time.monotonic()
    assert read_all(dial(path, b"CONNECT")) == b""
    assert 4 < time.monotonic() - began < 15, "the deadline for the line"


def check_many(path):
    greeted(path).close()
    peers = [dial(path) for _ in range(300)]
    for number, peer in enumerate(peers):
        assert read_line(peer).startswith(b"OK "), number
        peer.sendall(b"%d\n" % number)
    for number, peer in enumerate(peers):
        assert read_line(peer) == b"%d\n" % number
        peer.close()
    assert greeted(path)


def check_guest_calls(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + "_5")
    listener.listen(1)
    listener.settimeout(20)
    peer = greeted(path, b"CONNECT 8\n")
    guest, _ = listener.accept()
    guest.settimeout(20)
    assert read_all(guest) == b"the guest calls\n"
    peer.close()
    os.unlink(path + "_5")


def main():
    if sys.argv[1] == "vsock":
        globals()["check_" + sys.argv[2]](sys.argv[3])
    elif sys.argv[1] == "sent":
        request(*sys.argv[2:], says_sent=True)
    else:
        request(*sys.argv[1:])


if __name__ == "__main__":
    main()
