#!/usr/bin/env python3
"""Writes the tar that a test of ext4.bats asks for to standard output: ext4_tars.py NAME [NUMBER]."""
import io
import os
import random
import sys
import tarfile

TIME = 1600000000


class Tar:
    def __init__(self):
        self.tar = tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT)

    def add(self, name, content=b"", kind=tarfile.REGTYPE, **fields):
        entry = tarfile.TarInfo(name)
        entry.type = kind
        entry.mtime = TIME
        entry.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
        for field, value in fields.items():
            setattr(entry, field, value)
        if not isinstance(content, bytes):
            self.tar.addfile(entry, content)
            return
        entry.size = len(content)
        self.tar.addfile(entry, io.BytesIO(content))

    def folder(self, name, **fields):
        self.add(name, kind=tarfile.DIRTYPE, **fields)

    def symlink(self, name, target):
        self.add(name, kind=tarfile.SYMTYPE, linkname=target)

    def link(self, name, target):
        self.add(name, kind=tarfile.LNKTYPE, linkname=target)


class Huge(io.RawIOBase):
    """A file of `size` bytes whose 8-byte words each say where they are, once every `step` bytes; zeros between."""

    def __init__(self, size, step):
        self.size, self.step, self.at = size, step, 0

    def read(self, count=-1):
        count = min(count, self.size - self.at)
        if self.at % self.step == 0 and count >= 8:
            piece = self.at.to_bytes(8, "little") + bytes(min(count, self.step) - 8)
        else:
            piece = bytes(min(count, self.step - self.at % self.step))
        self.at += len(piece)
        rest = count - len(piece)
        return piece + self.read(rest) if rest else piece


def subfolders(tar, count):
    tar.folder("many")
    for i in range(count):
        tar.folder(f"many/{i:06}")


def names(tar, count):
    tar.folder("names")
    for i in range(count):
        tar.add(f"names/file-{i:07}")


def long_names(tar, count):
    tar.folder("long")
    for i in range(count):
        tar.add("long/" + f"{i:05}" * 51)


def big(tar, size):
    entry = {"size": size}
    tar.add("big", Huge(size, 1 << 20), **entry)
    tar.add("after", b"in step\n")


def pieces(tar, count):
    """One file in `count` pieces between holes: an extent tree of some depth."""
    content = bytearray()
    for i in range(count):
        content += i.to_bytes(4, "little") * 1024 + bytes(16 * 4096)
    tar.add("pieces", bytes(content))


def kinds(tar, _):
    tar.folder("./", mode=0o755)
    tar.folder("./dir", mode=0o2775, uid=1000, gid=4000000000)
    tar.add("./dir/empty")
    tar.add("./dir/file", b"some content\n", mode=0o4755, uid=4294967294)
    for length in (59, 60, 4095):
        tar.symlink(f"./link{length}", "t" * length)
    tar.folder("./other")
    tar.link("./other/hard", "./dir/file")
    tar.add("./null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
    tar.add("./disk", kind=tarfile.BLKTYPE, devmajor=259, devminor=70000, mode=0o660)
    tar.add("./fifo", kind=tarfile.FIFOTYPE)
    tar.add("./small", pax_headers={"SCHILY.xattr.user.one": "1"})
    tar.add("./large", pax_headers={"SCHILY.xattr.user.large": "v" * 3000, "SCHILY.xattr.user.one": "1"})
    tar.add("./acl", mode=0o640, pax_headers={"SCHILY.acl.access": "user::rw-,user:1000:r--,group::r--,mask::r--,other::---"})
    tar.folder("./root", mode=0o700)
    tar.add("./root/.bashrc", b"alias ll='ls -l'\n")


def mixed(tar, count):
    """Something of everything, the same for the same number."""
    chance = random.Random(count)
    kinds(tar, 0)
    for i in range(count):
        tar.add(f"f/{i % 7}/{i}", chance.randbytes(chance.randrange(20000)))


def rootfs(tar, version):
    """What a recipe's packages could be: with an init behind two links, and a version."""
    tar.folder("./", mode=0o755)
    tar.symlink("./sbin", "usr/sbin")
    tar.folder("./usr/sbin")
    tar.symlink("./usr/sbin/init", "/lib/systemd/systemd")
    tar.symlink("./lib", "usr/lib")
    tar.folder("./usr/lib/systemd")
    tar.add("./usr/lib/systemd/systemd", b"\x7fELF", mode=0o755)
    tar.add("./version", str(version).encode())
    tar.folder("./root", mode=0o700)
    tar.add("./root/.profile", b"umask 022\n")


def escape(tar, _):
    tar.add("fine", b"x")
    tar.add("a/../../outside", b"x")


def links(tar, count):
    tar.add("one", b"1")
    for i in range(count):
        tar.link(f"l/{i}", "one")


def flat(count):
    """So many empty files in one folder, written as fast as can be; says how many were taken when the reader stops."""
    entry = tarfile.TarInfo("flat/0000000000")
    entry.mtime = TIME
    block = bytearray(entry.tobuf(tarfile.USTAR_FORMAT))
    rest = sum(block[:148]) + sum(block[156:]) + 8 * 32 - sum(block[5:15])
    at = 0
    try:
        for start in range(0, count, 1000):
            piece = bytearray()
            for at in range(start, min(start + 1000, count)):
                name = b"%010d" % at
                block[5:15] = name
                block[148:156] = b"%06o\0 " % (rest + sum(name))
                piece += block
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.write(bytes(1024))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        print(at, file=sys.stderr)
        sys.stderr.flush()
        os._exit(0)


def main():
    if sys.argv[1] == "flat":
        flat(int(sys.argv[2]))
        return
    tar = Tar()
    globals()[sys.argv[1]](tar, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    tar.tar.close()


main()
