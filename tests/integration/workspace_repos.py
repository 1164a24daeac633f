#!/usr/bin/env python3
"""Generated checkouts through workspace_tool and an agent of this machine: workspace_repos.py TOOL SOCKET DIR SEED COUNT

Each is made from its seed, of a kind and with features as FAULTS GIT1 to GIT5 have them (below, by their rows); what arrives
must be what is here, byte for byte, git must say the same of both, and no program that the repository names may have run. Then
both sides go on: the host's changes arrive, the guest's stay, and where they meet nothing is written unless that is forced. At
the end it says how many had what, and fails when one of the features did not come up.
"""
import collections
import os
import random
import shutil
import socket
import stat
import subprocess
import sys

TOOL, SOCKET, TOP = sys.argv[1:4]
ENV = dict(PATH=os.environ["PATH"], HOME="/dev/null", GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null", LC_ALL="C",
           GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@b", GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@b",
           GIT_CONFIG_COUNT="2", GIT_CONFIG_KEY_0="protocol.file.allow", GIT_CONFIG_VALUE_0="always",
           GIT_CONFIG_KEY_1="core.protectNTFS", GIT_CONFIG_VALUE_1="false")
NAMES = [b"a", b"b.c", b"-rf", b"--help", b"new\nline", b"tab\there", b"esc\x1b[31m", b"\xff\xfe", b"git~1", b"a\\b", b" lead",
         b"trail ", b"x" * 255, b"A", b"Makefile", b"makefile", "ünï".encode(), b"$(touch x)", b"`id`", b"*", b":(top)x", b"con",
         b"'\"", b"...", b".gitfoo", b"HEAD", b"a b", b"~", b"0 -", b"="]


# GIT1: kinds of repositories, most of them cut from another one; "unborn" is what has no commit.
KINDS = ["plain", "plain", "clone", "shallow", "worktree", "alternates", "detached", "partial", "sparse", "sub"]
# What a world may have besides: GIT1 names by SHA-256, submodules, LFS; GIT2 a repository as files, one inside; GIT3 names that
# git never takes (those that it does are NAMES); GIT4 what is no file, hard links, holes; GIT5 many references and many files.
FEATURES = ["sha256", "submodule", "lfs", "bare inside", "nested", "git name", "fifo", "socket", "hard link", "hole", "refs", "files"]
# What git cannot read ends it on both sides; after other attributes only one side might look at files that it knows.
SETTINGS = [b".gitmodules", b".gitattributes"]
UNSHIPPED = [b".GIT", b"nested"]  # git lists them as untracked, and cannot take them

# GIT2: in the configuration whenever the tool runs, and never run.
CANARY = """
[core]
	fsmonitor = touch RAN; false
	sshCommand = touch RAN
	askPass = touch RAN
	pager = touch RAN
	editor = touch RAN
	hooksPath = HOOKS
	alternateRefsCommand = touch RAN
[filter "lfs"]
	clean = touch RAN; cat
	smudge = touch RAN; cat
	process = touch RAN
	required = true
[diff]
	external = touch RAN
[diff "lfs"]
	textconv = touch RAN
	command = touch RAN
[credential]
	helper = !touch RAN
[gpg]
	program = touch RAN
[alias]
	ls-files = !touch RAN
	rev-parse = !touch RAN
[include]
	path = MORE
"""
HOOKS = ["pre-commit", "post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc", "fsmonitor-watchman"]


def git(where, *args, check=True):
    done = subprocess.run(["git", "-C", where, *args], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if check and done.returncode:
        raise AssertionError(f"git {args}: {done.stderr}")
    return done.stdout


def tool(*args):
    done = subprocess.run([TOOL, "prepare", SOCKET, *args], env=ENV, stdout=subprocess.PIPE)
    return done.returncode, done.stdout


def tree(top):
    """path -> (kind, executable, bytes) of all files and links outside .git."""
    found = {}
    for folder, names, files in os.walk(top):
        if folder == top and b".git" in names:
            names.remove(b".git")
        for name in files + [n for n in names if os.path.islink(os.path.join(folder, n))]:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            key = os.path.relpath(path, top)
            if stat.S_ISLNK(mode):
                found[key] = ("link", False, os.readlink(path))
            elif stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    found[key] = ("file", bool(mode & 0o100), file.read())
    return found


def listed(top, *args):
    return set(filter(None, git(top, "ls-files", "-z", *args).split(b"\0")))


def expected(top, untracked):
    # what is forbidden is never listed below: a folder that is a repository ends with a slash
    wanted = listed(top) | (listed(top, "--others", "--exclude-standard") if untracked else set())
    wanted -= set(UNSHIPPED)
    return {path: entry for path, entry in tree(top).items() if path in wanted}


class World:
    counts = collections.Counter()

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.top = os.path.join(TOP.encode(), b"%d" % seed)
        self.repo = os.path.join(self.top, b"repo")
        self.guest = os.path.join(self.top, b"guest", b"repo")
        os.makedirs(self.top)

    def content(self):
        kind = self.random.randrange(8)
        if kind == 0:
            return b""
        if kind == 1:
            return self.random.randbytes(self.random.choice([1, 4095, 65536, 200000]))
        if kind == 2:
            return b"line\r\nline\r\n$Id$\r\n"
        return b"line %d\n" % self.random.randrange(1000) * self.random.randrange(1, 50)

    def path(self):
        depth = self.random.choice([1, 1, 1, 2, 2, 3])
        return b"/".join(self.random.choice(NAMES)[: 255 if depth == 1 else 60] for _ in range(depth))

    def write(self, top, path):
        """A file, or a link, wherever that is possible."""
        if path in SETTINGS:
            return
        full = os.path.join(top, path)
        above = os.path.dirname(full)
        try:
            os.makedirs(above, exist_ok=True)
        except OSError:
            return
        # never through a link, as git does not either
        if os.path.realpath(above) != above or (os.path.isdir(full) and not os.path.islink(full)):
            return
        if os.path.lexists(full):
            os.unlink(full)
        if self.random.randrange(8) == 0:
            os.symlink(self.random.choice([b"/etc/shadow", b"../../../x", b"a", b".", b"\xff", b"x" * 3000]), full)
            return
        with open(full, "wb") as file:
            file.write(self.content())
        if self.random.randrange(4) == 0:
            os.chmod(full, 0o755)

    def remove(self, top, path):
        if path in SETTINGS:
            return
        full = os.path.join(top, path)
        if os.path.lexists(full) and (os.path.islink(full) or not os.path.isdir(full)):
            os.unlink(full)

    def make(self):
        r = self.random
        self.has = {feature for feature in FEATURES if r.randrange(6) == 0}
        self.sha256 = "sha256" in self.has
        origin = os.path.join(self.top, b"origin")
        git(self.top, "init", "-q", "-b", r.choice(["main", "feature/x", "trunk"]),
            *(["--object-format=sha256"] if self.sha256 else []), origin)
        if "lfs" in self.has or r.randrange(3) == 0:
            with open(os.path.join(origin, b".gitattributes"), "wb") as file:
                file.write(b"* filter=lfs diff=lfs -text\n" if "lfs" in self.has else
                           r.choice([b"* text=auto eol=crlf\n", b"* ident\n", b"*a working-tree-encoding=UTF-16\n"]))
        self.fill(origin)
        with open(os.path.join(origin, b".gitignore"), "wb") as file:
            file.write(b"ignored*\n")
        for number in range(r.choice([0, 1, 1, 2, 3])):
            for _ in range(r.randrange(1, 12)):
                self.write(origin, self.path())
            git(origin, "add", "-A", check=False)
            git(origin, "commit", "-q", "--allow-empty", "-m", "%d" % number)
        kind = r.choice(KINDS) if git(origin, "rev-parse", "-q", "--verify", "HEAD", check=False) else "unborn"
        if "refs" in self.has and kind != "unborn":
            tip = git(origin, "rev-parse", "HEAD").strip().decode()
            lines = "".join(f"create refs/{r.choice(['heads', 'tags'])}/r/{number} {tip}\n" for number in range(1000))
            subprocess.run(["git", "-C", origin, "update-ref", "--stdin"], input=lines.encode(), env=ENV, check=True)
            git(origin, "pack-refs", "--all")
        self.cut(kind, origin)
        self.place(kind)
        World.counts.update(self.has | {kind})

    def fill(self, origin):
        """What is committed with the rest."""
        if "bare inside" in self.has:
            git(origin, "init", "-q", "--bare", os.path.join(origin, b"bare"))
            with open(os.path.join(origin, b"bare", b"config"), "a") as file:
                file.write(CANARY.replace("RAN", self.ran()))
        if "submodule" in self.has:
            inner = os.path.join(self.top, b"inner")
            git(self.top, "init", "-q", *(["--object-format=sha256"] if self.sha256 else []), inner)
            git(inner, "commit", "-q", "--allow-empty", "-m", "inner")
            git(origin, "submodule", "--quiet", "add", inner, b"submodule", check=False)
        if "files" in self.has:
            os.makedirs(os.path.join(origin, b"many"))
            for number in range(500):
                with open(os.path.join(origin, b"many", b"%d" % number), "wb") as file:
                    file.write(b"%d\n" % number)

    def cut(self, kind, origin):
        """The repository, from the one that was filled."""
        if kind == "worktree":
            git(origin, "worktree", "add", "-q", "-b", "linked", self.repo)
        elif kind == "sub":
            git(self.top, "init", "-q", *(["--object-format=sha256"] if self.sha256 else []), b"above")
            git(os.path.join(self.top, b"above"), "submodule", "--quiet", "add", "--name", "deep/x", origin, b"repo")
            self.repo = os.path.join(self.top, b"above", b"repo")
        elif kind in ("plain", "unborn", "detached", "sparse"):
            os.rename(origin, self.repo)
            if kind == "detached":
                git(self.repo, "checkout", "-q", "--detach")
            if kind == "sparse":
                git(self.repo, "sparse-checkout", "set", "--no-cone", "/*", "!/many/*1", "!/a", "!/Makefile")
        else:
            git(origin, "config", "uploadpack.allowFilter", "true")
            how = {"clone": [], "shallow": ["--depth=1", "--no-local"], "alternates": ["--shared"],
                   "partial": ["--filter=blob:none"]}[kind]
            far = kind in ("shallow", "partial")
            git(self.top, "clone", "-q", *how, b"file://" + origin if far else origin, self.repo)

    def place(self, kind):
        """What git does not know."""
        if "fifo" in self.has:
            os.mkfifo(os.path.join(self.repo, b"fifo"))
        if "socket" in self.has:
            with socket.socket(socket.AF_UNIX) as end:
                here = os.getcwd()
                os.chdir(self.repo)
                end.bind("socket")
                os.chdir(here)
        if "hole" in self.has:
            with open(os.path.join(self.repo, b"hole"), "wb") as file:
                file.truncate(3 << 20)
        if "hard link" in self.has:
            self.remove(self.repo, b"linked")
            with open(os.path.join(self.repo, b"link"), "wb") as file:
                file.write(b"two names\n")
            os.link(os.path.join(self.repo, b"link"), os.path.join(self.repo, b"link 2"))
        if "git name" in self.has:
            with open(os.path.join(self.repo, b".GIT"), "wb") as file:
                file.write(b"gitdir: /\n")
        if "nested" in self.has:
            git(self.top, "init", "-q", os.path.join(self.repo, b"nested"))

    def ran(self):
        return os.path.join(self.top, b"ran").decode()

    def change_host(self):
        r = self.random
        known = sorted(listed(self.repo))
        for _ in range(r.randrange(6)):
            if known and r.randrange(2):
                path = r.choice(known)
                if r.randrange(3) == 0:
                    self.remove(self.repo, path)
                else:
                    self.write(self.repo, path)
            else:
                self.write(self.repo, self.path())
        self.write(self.repo, b"ignored file")
        if r.randrange(3) == 0:
            git(self.repo, "add", "-A", check=False)
            if r.randrange(2):
                self.write(self.repo, b"Makefile")
        if r.randrange(4) == 0:
            git(self.repo, "commit", "-q", "--allow-empty", "-a", "-m", "again", check=False)
        # Attributes that are no longer tracked still count here, and are not shipped.
        if known and r.randrange(6) == 0:
            git(self.repo, "rm", "-q", "--cached", "--", r.choice([p for p in known if p != b".gitattributes"] or [b"-"]), check=False)

    def prepare(self, *words):
        """With canaries while it lasts: git here would run them as well."""
        common = os.path.join(self.repo, git(self.repo, "rev-parse", "--git-common-dir").strip())
        config = os.path.join(common, b"config")
        hooks = os.path.join(self.top, b"hooks")
        more = os.path.join(self.top, b"more")
        if not os.path.exists(hooks):
            os.mkdir(hooks)
            for name in HOOKS:
                path = os.path.join(hooks, name.encode())
                with open(path, "w") as file:
                    file.write(f"#!/bin/sh\ntouch {self.ran()}\n")
                os.chmod(path, 0o755)
            with open(more, "w") as file:
                file.write(f"[core]\n\tfsmonitor = touch {self.ran()}; false\n")
        shutil.copy2(config, config + b".kept")
        with open(config, "a") as file:
            file.write(CANARY.replace("RAN", self.ran()).replace("HOOKS", hooks.decode()).replace("MORE", more.decode()))
        done = tool(self.repo, self.guest, *words, *(["untracked"] if self.untracked else []))
        os.rename(config + b".kept", config)
        assert not os.path.exists(self.ran()), "a program of the repository has run"
        return done

    def status(self, top):
        said = git(top, "status", "--porcelain", "-z", "-unormal" if self.untracked else "-uno", "--no-renames")
        # Nor can it take a submodule that is none any more.
        left_out = [b"?? " + name for name in UNSHIPPED + [b"submodule"]]
        return [line for line in said.split(b"\0") if line.rstrip(b"/") not in left_out]

    def check(self, what):
        here, there = expected(self.repo, self.untracked), tree(self.guest)
        if here != there:
            names = [p for p in sorted(set(here) | set(there)) if here.get(p) != there.get(p)]
            raise AssertionError(f"{what}: not the same: {names[:5]} {here.get(names[0])!r:.200} {there.get(names[0])!r:.200}")
        for args in (["rev-parse", "-q", "--verify", "HEAD"], ["symbolic-ref", "-q", "HEAD"], ["ls-files", "-s", "-z"]):
            here, there = git(self.repo, *args, check=False), git(self.guest, *args, check=False)
            assert here == there, f"{what}: git {args}: {here!r:.300} {there!r:.300}"
        here, there = self.status(self.repo), self.status(self.guest)
        assert here == there, f"{what}: status: {here!r} {there!r}"
        self.check_repo(what)

    def check_repo(self, what):
        done = subprocess.run(["git", "-C", self.guest, "fsck"], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = [l for l in done.stdout.splitlines() if not l.startswith((b"dangling", b"warning in tree", b"notice:"))]
        assert done.returncode == 0 and not said, f"{what}: fsck: {done.stdout!r}"
        left = [n for n in os.listdir(os.path.dirname(self.guest)) if n != b"repo"]
        assert not left, f"{what}: left {left}"

    def meet(self):
        """Both sides change files; the index stays, so that only files can meet."""
        r = self.random
        before = tree(self.guest)
        base = expected(self.repo, self.untracked)
        for path in r.sample(sorted(before), min(len(before), r.randrange(3))):
            self.remove(self.guest, path) if r.randrange(3) == 0 else self.write(self.guest, path)
        self.write(self.guest, b"only in the guest")
        guest = tree(self.guest)
        for path in r.sample(sorted(base), min(len(base), r.randrange(3))):
            self.remove(self.repo, path) if r.randrange(3) == 0 else self.write(self.repo, path)
        host = expected(self.repo, self.untracked)
        ours = {p for p in set(base) | set(host) if base.get(p) != host.get(p)}
        theirs = {p for p in set(before) | set(guest) if before.get(p) != guest.get(p)}
        # What the guest has only removed comes back with the host's change, as git has it.
        clash = {p for p in ours & theirs if host.get(p) != guest.get(p) and p in guest}
        if os.environ.get("SHOW"):
            for p in sorted(ours | theirs):
                print(p, "base", repr(base.get(p))[:80], "HOST", repr(host.get(p))[:80], "GUEST", repr(guest.get(p))[:80])
        status, said = self.prepare()
        merged = {p: host.get(p) if p in ours else guest.get(p) for p in set(host) | set(guest) | set(base)}
        merged = {p: e for p, e in merged.items() if e}
        if clash:
            assert status == 1 and said.startswith(b"error state: the guest has changed"), f"clash {clash}: {said}"
            names = b"\n" + said.split(b"--force\n", 1)[1]
            assert all(b"\n" + p + b"\n" in names for p in clash), f"clash {clash}: {said}"
            assert tree(self.guest) == guest, "a clash has changed files"
            status, said = self.prepare("force")
        assert status == 0, f"meet: {said}"
        got = tree(self.guest)
        wrong = [p for p in set(got) | set(merged) if got.get(p) != merged.get(p)]
        assert not wrong, f"meet: {wrong[:3]} clash={clash} {[(got.get(p), merged.get(p)) for p in wrong[:1]]!r:.300}"
        self.check_repo("meet")

    def run(self):
        self.make()
        self.untracked = self.random.randrange(2) == 0
        self.change_host()
        status, said = self.prepare()
        assert status == 0 and said.startswith(b"first "), said
        self.check("first")
        assert self.prepare()[1].startswith(b"current "), "nothing to do"
        for _ in range(2):
            self.change_host()
            status, said = self.prepare()
            assert status == 0, said
            self.check("again")
        self.meet()
        shutil.rmtree(self.top)


def main():
    first, count = int(sys.argv[4]), int(sys.argv[5])
    for seed in range(first, first + count):
        try:
            World(seed).run()
        except Exception as failure:
            print(f"seed {seed}: {failure}", file=sys.stderr)
            raise
    print(f"{count} checkouts: " + ", ".join(f"{n} {what}" for what, n in sorted(World.counts.items())))
    missing = set(KINDS + ["unborn"] + FEATURES) - set(World.counts)
    assert not missing, f"none of them had {missing}"


main()
