"""Runs `banger vm exec VM -- sh -c ...` with many arguments: exec_many.py BANGER VM COUNT SIZE.

The guest's shell hashes them. Prints "equal" when it saw the same bytes, and exits with banger's status.
"""

import hashlib
import resource
import subprocess
import sys


def main():
    banger, name, count, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    # Linux allows a quarter of the stack's limit for arguments, 6 MiB at most; the usual 8 MiB make just 2 MiB.
    resource.setrlimit(resource.RLIMIT_STACK, (64 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]))
    args = [(b"%06d" % n).ljust(size, b"\xe9") for n in range(count)]
    script = 'printf "%s\\0" "$@" | sha256sum'
    done = subprocess.run([banger, "vm", "exec", name, "--", "sh", "-c", script, "sh", *args],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    if done.returncode == 0:
        wanted = hashlib.sha256(b"".join(arg + b"\0" for arg in args)).hexdigest()
        print("equal" if done.stdout.split()[0].decode() == wanted else "different")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
