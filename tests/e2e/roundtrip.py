#!/usr/bin/env python3
"""Random work in a checkout, the same for a seed: roundtrip.py make|work SEED FOLDER.

make: a repository with commits, and work in it that is not committed. work: edits, renames, modes, links, binary files,
commits, staged and loose work, as somebody in the guest would leave it.
"""
import os
import random
import subprocess
import sys

NAMES = ["a", "b c", "-x", "d'q", 'e"q', "f\\g", "\u00fcml", "t\tab", "n\nl", "caf\udce9", "[z]*", "#h", "~", "x" * 200]


def git(folder, *words):
    subprocess.run(["git", "-C", folder, *words], check=True, stdout=subprocess.DEVNULL)


def content(rng):
    kind = rng.randrange(6)
    if kind == 0:
        return b""
    if kind == 1:
        return rng.randbytes(rng.randrange(1, 3000))
    lines = [b"line %d" % rng.randrange(30) for _ in range(rng.randrange(1, 60))]
    if kind == 2:
        lines += [b"-- a/../x", b"diff --git a/.git b/.git", b"@@ -1 +1 @@", b"\\ No newline at end of file"]
    end = b"\r\n" if kind == 3 else b"\n"
    return end.join(lines) + (b"" if kind == 4 else end)


def files(folder):
    found = []
    for top, folders, names in os.walk(folder):
        if ".git" in folders:
            folders.remove(".git")
        links = [name for name in folders if os.path.islink(os.path.join(top, name))]
        found += [os.path.join(top, name) for name in names + links]
    return sorted(found)


def new_path(rng, folder):
    parts = [rng.choice(NAMES) for _ in range(rng.randrange(1, 4))]
    return os.path.join(folder, *parts)


def write(rng, path):
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.isdir(path) and not os.path.islink(path):
            return
        if os.path.lexists(path):
            os.unlink(path)
        if rng.randrange(8) == 0:
            os.symlink(rng.choice(["a", "../b", "/etc/hostname", "no where"]), path)
            return
        with open(path, "wb") as file:
            file.write(content(rng))
        os.chmod(path, rng.choice([0o644, 0o755]))
    except (NotADirectoryError, FileExistsError):
        pass


def edit(rng, path):
    if os.path.islink(path) or os.path.isdir(path):
        return
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    for _ in range(rng.randrange(1, 4)):
        lines.insert(rng.randrange(len(lines) + 1), b"edit %d" % rng.randrange(1000))
    with open(path, "wb") as file:
        file.write(b"\n".join(lines))


def change(rng, folder, count):
    for _ in range(count):
        there = files(folder)
        what = rng.randrange(6)
        if what < 2 or not there:
            write(rng, new_path(rng, folder))
        elif what == 2:
            edit(rng, rng.choice(there))
        elif what == 3:
            os.unlink(rng.choice(there))
        elif what == 4:
            to = new_path(rng, folder)
            try:
                os.makedirs(os.path.dirname(to), exist_ok=True)
                if not os.path.lexists(to):
                    os.rename(rng.choice(there), to)
            except (NotADirectoryError, FileExistsError):
                pass
        else:
            path = rng.choice(there)
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode ^ 0o111)


def main():
    what, seed, folder = sys.argv[1:]
    rng = random.Random(f"{what} {seed}")
    if what == "make":
        git(".", "init", "-q", *(["--object-format=sha256"] if int(seed) % 3 == 2 else []), folder)
        if int(seed) % 2:
            with open(f"{folder}/.gitattributes", "w") as file:
                file.write("* text=auto eol=crlf\n")
        for number in range(3):
            change(rng, folder, 20)
            git(folder, "add", "-A")
            git(folder, "commit", "-q", "--allow-empty", "-m", f"commit {number}")
        change(rng, folder, 4)
        git(folder, "add", "-A")
        for path in files(folder)[:6]:
            edit(rng, path)
        return
    for number in range(2):
        change(rng, folder, 12)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "--allow-empty", "-m", f"guest {number}")
    change(rng, folder, 6)
    git(folder, "add", "-A")
    change(rng, folder, 6)


main()
