"""Asks bangerd one thing without the CLI in between: rpc.py METHOD [PARAMS_AS_JSON]. Prints its reply."""

import json
import os
import socket
import sys


def main():
    request = {"jsonrpc": "2.0", "id": 1, "method": sys.argv[1]}
    if len(sys.argv) > 2:
        request["params"] = json.loads(sys.argv[2])
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(60)
        stream.connect(os.path.join(os.environ["BANGER_RUNTIME_DIR"], "bangerd.sock"))
        stream.sendall(json.dumps(request).encode() + b"\n")
        for line in stream.makefile("rb"):
            if "id" in json.loads(line):
                sys.stdout.buffer.write(line)
                return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
