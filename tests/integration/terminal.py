#!/usr/bin/env python3
"""Runs a command on a terminal of its own and plays steps on it, for tests of what needs one.

usage: terminal.py [--size ROWSxCOLS] [--show] STEP... -- COMMAND...

Steps: expect:TEXT (wait until the output has it, after what was expected before)   send:TEXT (\\n, \\x03 and so on)
       signal:NAME (to the command)   resize:ROWSxCOLS   raw / cooked (wait until the terminal is in that mode)
       stopped (wait until the command was stopped)   until:COMMAND (wait until this shell command succeeds)
Prints the output with --show, then "exit STATUS MODE": 128 + n for a signal, MODE is what the terminal was left in.
Fails with status 99 when something does not come within the deadline.
"""
import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

DEADLINE_S = 30


class Terminal:
    """One command on one pseudo-terminal."""

    def __init__(self, command, size):
        self.output = b""
        self.seen = 0
        # Our own end of the slave stays open, so that the mode can be looked at when the command is gone.
        self.fd, slave = pty.openpty()
        self.set_size(size)
        pid_pipe = os.pipe()
        self.leader = os.fork()
        if self.leader == 0:
            self.lead(command, slave, pid_pipe)
        os.close(pid_pipe[1])
        self.pid = int(os.read(pid_pipe[0], 32))
        os.close(pid_pipe[0])

    def lead(self, command, slave, pid_pipe):
        """What a shell is to its job: without it the job's group is orphaned, and cannot be stopped."""
        os.close(self.fd)
        os.login_tty(slave)
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(0, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            os.write(pid_pipe[1], str(os.getpid()).encode())
            os.close(pid_pipe[0])
            os.close(pid_pipe[1])
            os.execvp(command[0], command)
        os.close(pid_pipe[1])
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os._exit(status if status >= 0 else 128 - status)

    def set_size(self, size):
        rows, columns = (int(x) for x in size.split("x"))
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def mode(self):
        return "cooked" if termios.tcgetattr(self.fd)[3] & termios.ICANON else "raw"

    def read(self, seconds):
        """Takes what came; False at the end."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            piece = os.read(self.fd, 65536)
        except OSError:
            return False
        self.output += piece
        return bool(piece)

    def wait_until(self, what, is_so):
        deadline = time.monotonic() + DEADLINE_S
        while not is_so():
            if time.monotonic() > deadline:
                self.give_up(f"did not see: {what}")
            self.read(0.02)

    def give_up(self, why):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        sys.stderr.write(f"terminal.py: {why}\nthe output was: {self.output!r}\n")
        sys.exit(99)

    def find(self, text):
        at = self.output.find(text, self.seen)
        if at < 0:
            return False
        self.seen = at + len(text)
        return True

    def is_stopped(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "T"

    def play(self, step):
        name, _, value = step.partition(":")
        value = value.encode().decode("unicode_escape").encode("latin-1") if name in ("send", "expect") else value
        if name == "expect":
            self.wait_until(step, lambda: self.find(value))
        elif name == "send":
            os.write(self.fd, value)
        elif name == "signal":
            os.kill(self.pid, getattr(signal, "SIG" + value))
        elif name == "resize":
            self.set_size(value)
        elif name in ("raw", "cooked"):
            self.wait_until(step, lambda: self.mode() == name)
        elif name == "stopped":
            self.wait_until(step, self.is_stopped)
        elif name == "until":
            self.wait_until(step, lambda: subprocess.run(["bash", "-c", value], check=False).returncode == 0)
        else:
            sys.exit(f"terminal.py: no step '{step}'")

    def finish(self):
        """Waits for the end, reading on: a full terminal would hold the command."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            pid, status = os.waitpid(self.leader, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                self.give_up("the command did not end")
            self.read(0.02)
        while self.read(0) and select.select([self.fd], [], [], 0)[0]:
            pass
        return os.waitstatus_to_exitcode(status)


def main():
    arguments = sys.argv[1:]
    at = arguments.index("--")
    steps, command = arguments[:at], arguments[at + 1:]
    size, shows = "24x80", False
    while steps and steps[0].startswith("--"):
        option = steps.pop(0)
        if option == "--size":
            size = steps.pop(0)
        else:
            shows = True
    terminal = Terminal(command, size)
    for step in steps:
        terminal.play(step)
    status = terminal.finish()
    mode = terminal.mode()
    if shows:
        sys.stdout.write(terminal.output.decode(errors="replace"))
    print(f"exit {status} {mode}")


main()
