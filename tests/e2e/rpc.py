"""Asks bangerd without the CLI in between.

rpc.py METHOD [PARAMS_AS_JSON] asks one thing and prints the reply. rpc.py - asks for each line "METHOD [PARAMS_AS_JSON]" of
standard input, over one connection that it keeps; at a line "close" it closes that, and lives on.
"""

import json
import os
import socket
import sys


class Connection:
    """To the daemon of this environment."""

    def __init__(self):
        self.stream = socket.socket(socket.AF_UNIX)
        self.stream.settimeout(60)
        self.stream.connect(os.path.join(os.environ["BANGER_RUNTIME_DIR"], "bangerd.sock"))
        self.lines = self.stream.makefile("rb")

    def close(self):
        """The descriptor goes with the last that uses it."""
        self.lines.close()
        self.stream.close()

    def ask(self, method, params):
        """Prints the reply, without what is told before it. False when there is none."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method}
        if params:
            request["params"] = json.loads(params)
        self.stream.sendall(json.dumps(request).encode() + b"\n")
        for line in self.lines:
            if "id" in json.loads(line):
                sys.stdout.buffer.write(line)
                sys.stdout.flush()
                return True
        return False


def main():
    connection = Connection()
    if sys.argv[1] != "-":
        return 0 if connection.ask(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None) else 1
    for line in sys.stdin:
        method, _, params = line.strip().partition(" ")
        if method == "close":
            connection.close()
            print("closed", flush=True)
        elif not connection.ask(method, params):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
