"""An HTTP server on loopback for the tests' own registries."""

import os
from http.server import ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """Clients of these tests hang up in every way there is."""


def run(handler, port_file):
    """Serves at any free port, whose number is in the file once it listens."""
    server = Server(("127.0.0.1", 0), handler)
    with open(port_file + ".new", "w", encoding="utf-8") as file:
        file.write(str(server.server_port))
    os.rename(port_file + ".new", port_file)
    server.serve_forever()
