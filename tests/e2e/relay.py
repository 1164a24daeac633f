#!/usr/bin/env python3
"""Passes TCP connections on to a server, and stops in the middle when it is told to.

    relay.py PORT_FILE SERVER HOLD

While the file HOLD exists, no connection gets more from the server than the bytes whose number is in it. The first that has
to wait makes the file HOLD.held; all go on when HOLD is gone.
"""
import os
import socket
import sys
import threading
import time


def copy(source, sink, pass_on):
    try:
        while piece := source.recv(65536):
            pass_on(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass   # either end hung up


class Gate:
    """One connection's way to the client."""

    def __init__(self, client, hold):
        self.client, self.hold, self.sent = client, hold, 0

    def limit(self):
        try:
            with open(self.hold, encoding="ascii") as file:
                return int(file.read() or 0)
        except FileNotFoundError:
            return None

    def send(self, piece):
        while piece:
            limit = self.limit()
            free = len(piece) if limit is None else max(0, limit - self.sent)
            if free == 0:
                with open(self.hold + ".held", "w", encoding="ascii"):
                    time.sleep(0.02)
                continue
            self.client.sendall(piece[:free])
            self.sent += len(piece[:free])
            piece = piece[free:]


def serve(client, server, hold):
    host, port = server.split(":")
    with client, socket.create_connection((host, int(port))) as upstream:
        back = threading.Thread(target=copy, args=(upstream, client, Gate(client, hold).send), daemon=True)
        back.start()
        copy(client, upstream, upstream.sendall)
        back.join()


def main():
    port_file, server, hold = sys.argv[1:]
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        with open(port_file + ".new", "w", encoding="ascii") as file:
            file.write(str(listener.getsockname()[1]))
        os.rename(port_file + ".new", port_file)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client, server, hold), daemon=True).start()


main()
