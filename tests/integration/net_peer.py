#!/usr/bin/python3
"""Whom one can reach.

    net_peer.py serve ADDRESS PORT     answers each datagram and connection with the asker's address; prints "ready"
    net_peer.py udp|tcp ADDRESS PORT   prints that answer; status 1 when none comes within a second (three datagrams)
    net_peer.py udp ADDRESS PORT SIZE  the same with datagrams of so many bytes; the address may be a broadcast one
    net_peer.py flood ADDRESS PORT     sends 6000 datagrams, each from a port of its own
    net_peer.py hold ADDRESS PORT      as tcp, then a line from standard input for each answer to it
"""

import selectors
import socket
import sys

WAIT = 0.7


def serve(address, port):
    selector = selectors.DefaultSelector()
    listener = socket.create_server((address, int(port)))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((address, int(port)))
    for each in (listener, datagrams):
        selector.register(each, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            if key.fileobj is datagrams:
                _, peer = datagrams.recvfrom(65536)
                datagrams.sendto(peer[0].encode(), peer)
            elif key.fileobj is listener:
                connection, peer = listener.accept()
                connection.sendall(peer[0].encode() + b"\n")
                selector.register(connection, selectors.EVENT_READ)
            else:
                data = key.fileobj.recv(100)
                if data:
                    key.fileobj.sendall(data)
                else:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()


def udp(address, port, size=1):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.settimeout(WAIT)
        for _ in range(3):
            try:
                sock.sendto(b"?" * int(size), (address, int(port)))
                print(sock.recvfrom(100)[0].decode())
                return
            except OSError:
                continue
    sys.exit(1)


def tcp(address, port):
    try:
        with socket.create_connection((address, int(port)), WAIT) as sock:
            print(sock.recv(100).decode().strip())
    except OSError:
        sys.exit(1)


def hold(address, port):
    with socket.create_connection((address, int(port)), WAIT) as sock:
        print(sock.recv(100).decode().strip(), flush=True)
        for line in sys.stdin:
            try:
                sock.sendall(line.encode())
                print(sock.recv(100).decode().strip(), flush=True)
            except OSError:
                print("no answer", flush=True)


def flood(address, port):
    for source in range(10000, 16000):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("", source))
            try:
                sock.sendto(b"?", (address, int(port)))
            except OSError:
                continue


if __name__ == "__main__":
    {"serve": serve, "flood": flood, "udp": udp, "tcp": tcp, "hold": hold}[sys.argv[1]](*sys.argv[2:])
