#!/usr/bin/env python3
"""Generated worlds that bangerd has to put right: python3 worlds.py SEED FIRST COUNT.

A world is a random combination of rows, VMMs (the real banger-vmm over a fake QEMU, without a guest), handles.json,
folders, sockets, staging names, cgroups, TAP devices and rules, right and wrong ones, and of foreign objects whose names
are like ours. bangerd is started in it. Then

  - `bangerd --plan` before had changed nothing;
  - rows, processes, files and devices agree, as an oracle has it that knows how the world was made;
  - `doctor --plan` has nothing to do, and a second bangerd, after kill -9 of the first, changes nothing;
  - what is foreign is as it was, to the byte.

World N of a seed is always the same: SEED N 1 makes it alone. BANGER_BUILD and HOME_DIR are the environment's, as helper.bash
has it.
"""

import contextlib
import hashlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time

BUILD = os.environ["BANGER_BUILD"]
BANGER = os.path.join(BUILD, "src/bin/banger")
BANGERD = os.path.join(BUILD, "src/bin/bangerd")
VMM = os.path.join(BUILD, "src/bin/banger-vmm")
FAKE_QEMU = os.path.join(BUILD, "tests/integration/fake_qemu")
TOP = os.path.join(os.environ["HOME_DIR"], "worlds")
HOST_BOOT = open("/proc/sys/kernel/random/boot_id", encoding="ascii").read().strip()
OTHER_BOOT = "01234567-89ab-4cde-8f01-23456789abcd"
DEADLINE = 15
ALIVE = ("running", "paused")
CONFIG = 'default_image_name = "img"\ntap_pool_size = 0\ndns_listen = "127.0.0.1:42953"\n'


def sh(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def wait_until(what, condition, deadline=DEADLINE):
    end = time.monotonic() + deadline
    while not (answer := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"gave up waiting for {what}")
        time.sleep(0.01)
    return answer


def device_names():
    return [link["ifname"] for link in json.loads(sh("ip", "-j", "link"))]


def start_time(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return int(file.read().rpartition(")")[2].split()[19])


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Api(http.client.HTTPConnection):
    """One question to a VMM."""

    def __init__(self, path):
        super().__init__("localhost", timeout=DEADLINE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(self.path)


def ask_vmm(path, method, url, body=None):
    connection = Api(path)
    connection.request(method, url, json.dumps(body) if body else None)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    if answer.status >= 300:
        raise AssertionError(f"{method} {url}: {answer.status} {text}")
    return json.loads(text) if text else None


class Vm:
    """What a VM of the world is, and what must become of it."""

    def __init__(self, world, number):
        rng = world.rng
        self.id = f"{rng.getrandbits(128):032x}"
        self.name = f"vm{number}"
        self.state = rng.choice(["created", "running", "running", "running", "paused", "stopped", "error"])
        self.intent = rng.choice([None] * 12 + ["create", "start", "stop", "delete", "set"])
        self.index = number + 2 if rng.random() < 0.9 else 0
        self.tap_index = 0          # of its TAP, if it has one
        self.boot = rng.choice([HOST_BOOT] * 4 + [OTHER_BOOT, None])
        self.is_ephemeral = rng.random() < 0.12
        self.has_lease = False
        self.nat = rng.random() < 0.2
        self.started_at = 0 if self.state == "created" else 1700000000
        self.folder = os.path.join(world.state, "vms", self.id)
        self.runtime = os.path.join(world.run, "vm", self.id[:12])
        self.vmm = None             # its process
        self.vmm_state = None       # what it says: "Not started", "Running", "Paused"
        self.is_stuck = False
        self.is_bystander = False   # a VMM of no row

    def ip(self):
        return f"172.16.0.{self.index}" if self.index else None


class World:
    """One world: made, looked at, taken down."""

    def __init__(self, seed, number):
        self.rng = random.Random(f"{seed} {number}")
        self.home = os.path.join(TOP, str(number))
        self.state = os.path.join(self.home, "state")
        self.run = os.path.join(self.home, "run")
        self.env = dict(os.environ, BANGER_STATE_DIR=self.state, BANGER_RUNTIME_DIR=self.run,
                        BANGER_CONFIG_DIR=os.path.join(self.home, "config"),
                        BANGER_CACHE_DIR=os.path.join(self.home, "cache"))
        self.tag = hashlib.sha256(self.state.encode()).hexdigest()[:16]
        self.vms = []
        self.children = []
        self.links = []
        self.tables = []
        self.foreign_paths = []
        self.foreign_cgroups = []
        self.foreign_links = []
        self.foreign_processes = []
        self.kept_folders = []
        self.gone = []
        self.busy_cgroups = []

    # --- making ---

    def make_home(self, template):
        shutil.copytree(template, self.home, symlinks=True)
        os.makedirs(os.path.join(self.state, "vms"), 0o700, exist_ok=True)
        os.makedirs(os.path.join(self.run, "vm"), 0o700, exist_ok=True)
        os.chmod(self.run, 0o700)

    def write(self, path, data):
        with open(path, "wb") as file:
            file.write(data if isinstance(data, bytes) else data.encode())

    def spawn(self, *words, **rest):
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL, start_new_session=True, **rest)
        self.children.append(child)
        return child

    def make_folder(self, folder, with_disks=True):
        os.makedirs(folder, 0o700)
        if with_disks:
            for name in ("system.qcow2", "work.qcow2"):
                shutil.copy(os.path.join(TOP, "disk.qcow2"), os.path.join(folder, name))
            self.write(os.path.join(folder, "host_key.pub"), "ssh-ed25519 AAAA x\n")

    def start_vmm(self, vm):
        """A VMM where bangerd would have put it; its guest is the fake QEMU's."""
        os.makedirs(vm.runtime, 0o700)
        os.makedirs(vm.folder, 0o700, exist_ok=True)
        sock = os.path.join(vm.runtime, "api.sock")
        fake = os.path.join(self.home, "fake-qemu.well")
        if not os.path.islink(fake):
            os.symlink(FAKE_QEMU, fake)
        child = self.spawn(VMM, "--id", vm.id, "--api-sock", sock, "--log-path", os.path.join(vm.folder, "vmm.log"),
                           "--level", "Info", "--qemu", fake, "--accel", "tcg")
        vm.vmm = child
        if self.rng.random() < 0.7:
            self.join_cgroup(vm.id, child.pid)

    def say(self, vm):
        """Which state its VMM is to be in, once all of them have started."""
        sock = os.path.join(vm.runtime, "api.sock")
        wait_until(f"{sock}", lambda: os.path.exists(sock))
        wait_until("its answer", lambda: self.answers(sock))
        vm.vmm_state = self.rng.choice(["Not started", "Running", "Running", "Paused"])
        if vm.vmm_state != "Not started":
            ask_vmm(sock, "PUT", "/boot-source", {"kernel_image_path": "/proc/self/exe"})
            ask_vmm(sock, "PUT", "/actions", {"action_type": "InstanceStart"})
        if vm.vmm_state == "Paused":
            ask_vmm(sock, "PATCH", "/vm", {"state": "Paused"})
        if self.rng.random() < 0.02 and not vm.is_bystander:
            vm.is_stuck = True
            os.kill(vm.vmm.pid, signal.SIGSTOP)

    @staticmethod
    def answers(sock):
        try:
            return ask_vmm(sock, "GET", "/")
        except OSError:
            return None

    def handles(self, pid, boot=HOST_BOOT, start=None, **more):
        return json.dumps({"pid": pid, "start_time": start_time(pid) if start is None else start, "boot_id": boot,
                           "engine": "qemu", "accelerator": "tcg", **more}) + "\n"

    def write_handles(self, vm, others):
        """What handles.json says of it: the truth, nothing, or something else."""
        rng = self.rng
        path = os.path.join(vm.folder, "handles.json")
        if not os.path.isdir(vm.folder):
            return
        lease = {}
        if vm.is_ephemeral and rng.random() < 0.6:
            lease = {"lease_pid": os.getpid(), "lease_start_time": start_time(os.getpid())}
        pid = vm.vmm.pid if vm.vmm else rng.choice([os.getpid(), 1, 4000000])
        kind = rng.choice(["right"] * 6 + ["none", "none", "garbage", "empty", "large", "folder", "start", "boot", "other",
                                           "stranger"])
        known = os.path.exists(f"/proc/{pid}")
        if kind == "right" and (vm.vmm or rng.random() < 0.5):
            self.write(path, self.handles(pid, start=None if known else 5, network=vm.tap_index > 0, **lease))
            vm.has_lease = bool(lease) and vm.vmm is not None
        elif kind == "garbage":
            self.write(path, self.rng.randbytes(100))
        elif kind == "empty":
            self.write(path, b"")
        elif kind == "large":
            self.write(path, b"{" * 5000)
        elif kind == "folder":
            os.makedirs(os.path.join(path, "x"))
        elif kind == "start":
            self.write(path, self.handles(pid, start=17))
        elif kind == "boot":
            self.write(path, self.handles(pid, boot=OTHER_BOOT, start=None if known else 5, **lease))
        elif kind == "other" and others:
            self.write(path, self.handles(rng.choice(others).vmm.pid))
        elif kind == "stranger":
            self.write(path, self.handles(self.stranger()))

    def stranger(self):
        """A process that has nothing to do with any of this."""
        child = self.spawn("sleep", "1000")
        self.foreign_processes.append(child.pid)
        return child.pid

    def row(self, vm, ip, database):
        database.execute(
            "INSERT INTO vms (id, name, state, intent, image, kernel, vcpu, memory_bytes, disk_bytes, system_overlay_bytes,"
            " nat, ports, ephemeral, ip, boot_id, last_error, created_at, started_at, used_at_ms, net_index)"
            " VALUES (?, ?, ?, ?, 'img', 'kern', 1, 536870912, 1073741824, 2147483648, ?, '', ?, ?, ?, ?, 1700000000, ?, ?, ?)",
            (vm.id, vm.name, vm.state, vm.intent, int(vm.nat), int(vm.is_ephemeral), ip, vm.boot,
             "as before" if vm.state == "error" else None, vm.started_at, self.rng.choice([0, 12345]), vm.index or 0))

    def make_rows(self):
        """Rows, some with another VM's address."""
        rng = self.rng
        indexed = [vm for vm in self.vms if vm.index]
        if len(indexed) > 1 and rng.random() < 0.3:
            a, b = rng.sample(indexed, 2)
            a.index, b.index = b.index, a.index
        with contextlib.closing(sqlite3.connect(os.path.join(self.state, "state.db"))) as database, database:
            for vm in self.vms:
                ip = vm.ip()
                if rng.random() < 0.15:
                    ip = rng.choice([None, "172.16.0.250", "10.1.2.3"])
                self.row(vm, ip, database)

    def cgroup_of(self, base, vm_id):
        return os.path.join(base, f"banger-{self.tag}", vm_id)

    def join_cgroup(self, vm_id, pid=None):
        for base in BASES:
            path = self.cgroup_of(base, vm_id)
            os.makedirs(path, exist_ok=True)
            if pid:
                self.write(os.path.join(path, "cgroup.procs"), str(pid))

    def make_link(self, name, kind, alias=None):
        if name in device_names():
            return False
        if kind == "tap":
            sh("ip", "tuntap", "add", name, "mode", "tap")
        else:
            sh("ip", "link", "add", name, "type", "bridge")
        if alias:
            sh("ip", "link", "set", name, "alias", alias)
        self.links.append(name)
        return True

    def make_taps(self):
        """TAPs of VMs, in their places or in others'; then ones of nobody."""
        rng = self.rng
        if rng.random() < 0.6:
            self.make_link("br-fc", "bridge", f"banger {self.tag}")
        places = list(range(2, 12))
        for vm in self.vms:
            if not vm.index or rng.random() < (0.25 if vm.vmm else 0.8):
                continue
            index = vm.index if vm.index in places and rng.random() < 0.8 else rng.choice(places)
            if self.make_link(f"bgr-{index}", "tap", f"banger {self.tag} vm {vm.id}"):
                vm.tap_index = index
                places.remove(index)
                if "br-fc" in self.links and rng.random() < 0.7:
                    sh("ip", "link", "set", f"bgr-{index}", "master", "br-fc")
        if rng.random() < 0.3:
            self.make_link(f"bgr-{rng.randint(20, 30)}", "tap", f"banger {self.tag} idle")
        if rng.random() < 0.3:
            self.make_link(f"bgr-{rng.randint(31, 40)}", "tap", f"banger {self.tag} vm {rng.getrandbits(128):032x}")
        if rng.random() < 0.3:
            table = rng.choice(["inet", "bridge"])
            sh("nft", f'add table {table} banger {{ comment "banger {self.tag}"; }}')
            self.tables.append(f"{table} banger")

    def make_strays(self):
        """What belongs to no row, and is ours."""
        rng = self.rng
        if rng.random() < 0.4:
            folder = os.path.join(self.state, "vms", f"{rng.getrandbits(128):032x}")
            self.make_folder(folder, with_disks=False)
            self.write(os.path.join(folder, "console.log"), "boot\n")
            self.gone.append(folder)
        if rng.random() < 0.4:
            folder = os.path.join(self.state, "vms", f"{rng.getrandbits(128):032x}")
            self.make_folder(folder)
            self.kept_folders.append(folder)
        if rng.random() < 0.4:
            folder = os.path.join(self.run, "vm", f"{rng.getrandbits(48):012x}")
            self.make_folder(folder, with_disks=False)
            self.write(os.path.join(folder, "api.sock"), "")
            self.gone.append(folder)
        if rng.random() < 0.4:
            self.join_cgroup(f"{rng.getrandbits(128):032x}")
        if rng.random() < 0.3:
            vm_id = f"{rng.getrandbits(128):032x}"
            self.join_cgroup(vm_id, self.stranger())
            self.busy_cgroups.append(vm_id)
        if rng.random() < 0.3:
            vm = Vm(self, 90)
            vm.is_bystander = True
            self.start_vmm(vm)
            self.say(vm)
            self.gone += [vm.folder, vm.runtime]
            self.bystander = vm
        for kind in ("images", "kernels"):
            if rng.random() < 0.3:
                path = os.path.join(self.state, kind, rng.choice([".new-x-", ".old-x-"]) + f"{rng.getrandbits(32):08x}")
                self.make_folder(path, with_disks=False)
                self.write(os.path.join(path, "root.ext4"), "half")
                self.gone.append(path)

    def make_foreign(self):
        """What is not ours, and looks like it."""
        rng = self.rng
        for path in (os.path.join(self.state, "vms", "README"), os.path.join(self.state, "vms", "F" * 32),
                     os.path.join(self.run, "vm", "notes"), os.path.join(self.state, "images", "notes.txt"),
                     os.path.join(self.state, "mine")):
            if rng.random() < 0.5:
                self.write(path, rng.randbytes(50))
                self.foreign_paths.append(path)
        for name, kind, alias in ((f"bgr-{rng.randint(2, 12)}", "tap", None), ("br-fc-x", "bridge", None),
                                  ("bgr-77", "tap", "banger 0123456789abcdef vm " + "0" * 32),
                                  ("bgrnt", "tap", "mine")):
            if rng.random() < 0.4 and self.make_link(name, kind, alias):
                self.foreign_links.append(name)
        if rng.random() < 0.4:
            sh("nft", "add table inet banger-x; add chain inet banger-x c; add rule inet banger-x c counter")
            self.tables.append("inet banger-x")
        for base in BASES:
            for name in (f"banger-{rng.getrandbits(64):016x}", f"banger-{self.tag}/mine"):
                if rng.random() < 0.4:
                    path = os.path.join(base, name)
                    os.makedirs(path)
                    self.foreign_cgroups.append(path)
        if rng.random() < 0.4:
            self.foreign_processes.append(self.spawn(os.path.join(TOP, "banger-vmm"), "1000").pid)
        if rng.random() < 0.4 and self.vms:
            # Another daemon's VMM: of a VM with an id as ours, but its socket is elsewhere.
            sock = os.path.join(self.home, "elsewhere.sock")
            child = self.spawn(VMM, "--id", self.vms[0].id, "--api-sock", sock, "--log-path",
                               os.path.join(self.home, "elsewhere.log"), "--level", "Info", "--qemu", FAKE_QEMU, "--accel", "tcg")
            wait_until(sock, lambda: os.path.exists(sock))
            self.foreign_processes.append(child.pid)

    def make(self, template):
        self.make_home(template)
        self.bystander = None
        self.vms = [Vm(self, i) for i in range(self.rng.randint(1, 5))]
        for vm in self.vms:
            if vm.intent == "set" or self.rng.random() < 0.93:
                self.make_folder(vm.folder)
            if self.rng.random() < (0.7 if vm.state in ALIVE else 0.2):
                self.start_vmm(vm)
            elif self.rng.random() < 0.3:
                os.makedirs(vm.runtime, 0o700)
                self.write(os.path.join(vm.runtime, "api.sock"), "")
            elif self.rng.random() < 0.2:
                self.join_cgroup(vm.id)
        living = [vm for vm in self.vms if vm.vmm]
        for vm in living:
            self.say(vm)
        self.make_taps()
        for vm in self.vms:
            self.write_handles(vm, living)
        self.make_rows()
        self.make_strays()
        self.make_foreign()

    # --- looking ---

    def foreign(self):
        """What is foreign, to the byte."""
        found = {}
        for path in self.foreign_paths:
            with open(path, "rb") as file:
                found[path] = (file.read(), os.stat(path).st_mtime_ns, os.stat(path).st_mode)
        for name in self.foreign_links:
            link = json.loads(sh("ip", "-d", "-j", "link", "show", "dev", name))[0]
            found[name] = {key: link.get(key) for key in ("ifindex", "flags", "ifalias", "master", "address", "operstate")}
        for table in self.tables:
            if table.endswith("-x"):
                found[table] = sh("nft", "list", "table", *table.split())
        for path in self.foreign_cgroups:
            found[path] = os.path.isdir(path)
        for pid in self.foreign_processes:
            found[pid] = is_alive(pid)
        for folder in self.kept_folders:
            found[folder] = tree(folder)
        return found

    def everything(self):
        """All that reconcile may touch, for comparing before and after."""
        found = dict(self.foreign())
        with contextlib.closing(sqlite3.connect(os.path.join(self.state, "state.db"))) as database:
            for table in ("vms", "images", "kernels"):
                found[table] = database.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
        for folder in (os.path.join(self.state, "vms"), os.path.join(self.state, "images"),
                       os.path.join(self.state, "kernels"), os.path.join(self.run, "vm")):
            found[folder] = tree(folder)
        found["links"] = sorted((link["ifname"], link["ifindex"], link.get("ifalias"), link.get("master"), link["address"])
                                for link in json.loads(sh("ip", "-d", "-j", "link")))
        found["rules"] = sh("nft", "-s", "list", "ruleset")
        found["cgroups"] = self.cgroups()
        found["processes"] = sorted((child.pid, is_alive(child.pid)) for child in self.children)
        return found

    def cgroups(self):
        found = []
        for base in BASES:
            path = os.path.join(base, f"banger-{self.tag}")
            if os.path.isdir(path):
                found += sorted(os.path.join(path, entry.name) for entry in os.scandir(path) if entry.is_dir())
        return found

    # --- bangerd ---

    def banger(self, *words):
        done = subprocess.run([BANGER, *words], env=self.env, capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"banger {' '.join(words)}: {done.returncode} {done.stdout} {done.stderr}")
        return done.stdout

    def start_daemon(self):
        self.banger("--quiet", "vm", "list")
        self.daemon = json.loads(self.banger("--json", "daemon", "status"))["pid"]

    def kill_daemon(self):
        os.kill(self.daemon, signal.SIGKILL)
        wait_until("bangerd's end", lambda: not is_alive(self.daemon))

    def plan(self):
        return json.loads(self.banger("--json", "doctor", "--plan"))

    # --- the oracle ---

    def outcome(self, vm):
        """The state that a VM must have; None: it must be gone."""
        if vm.intent in ("create", "delete"):
            return None
        lives = vm.vmm is not None and vm.intent not in ("start", "stop") and vm.state in ALIVE
        if vm.is_ephemeral and not (vm.has_lease and lives):
            return None
        if vm.intent == "start":
            return "stopped" if vm.started_at else "created"
        if vm.intent == "stop":
            return "stopped"
        if vm.state not in ALIVE:
            return vm.state
        if not lives:
            return "stopped"
        if vm.is_stuck or vm.vmm_state == "Not started":
            return vm.state
        return vm.vmm_state.lower()

    def check(self, condition, what):
        if not condition:
            raise AssertionError(what)

    def check_running(self, vm, row):
        self.check(is_alive(vm.vmm.pid), f"{vm.name}: its VMM {vm.vmm.pid} was ended")
        with open(os.path.join(vm.folder, "handles.json"), encoding="utf-8") as file:
            handles = json.load(file)
        self.check((handles["pid"], handles["boot_id"]) == (vm.vmm.pid, HOST_BOOT),
                   f"{vm.name}: handles.json says {handles}, not {vm.vmm.pid}")
        self.check(handles["start_time"] == start_time(vm.vmm.pid), f"{vm.name}: a wrong start time: {handles}")
        self.check(handles["network"] == (vm.tap_index > 0), f"{vm.name}: handles.json says of its network: {handles}")
        self.check(row["boot_id"] == HOST_BOOT, f"{vm.name}: its row is of boot {row['boot_id']}")
        if vm.tap_index:
            self.check(row["net_index"] == vm.tap_index, f"{vm.name}: place {row['net_index']}, its TAP's is {vm.tap_index}")
            self.check(f"bgr-{vm.tap_index}" in device_names(), f"{vm.name}: its TAP was removed")

    def check_not_running(self, vm):
        self.check(vm.vmm is None or not is_alive(vm.vmm.pid), f"{vm.name}: its VMM still runs")
        self.check(not os.path.exists(vm.runtime), f"{vm.name}: {vm.runtime} was left")
        self.check(not os.path.lexists(os.path.join(vm.folder, "handles.json")), f"{vm.name}: handles.json was left")
        self.check(not any(path.endswith("/" + vm.id) for path in self.cgroups()), f"{vm.name}: a cgroup was left")
        if vm.tap_index:
            self.check(f"bgr-{vm.tap_index}" not in device_names(), f"{vm.name}: its TAP was left")

    def check_vm(self, vm, row, disks):
        wanted = self.outcome(vm)
        self.check((row["state"] if row else None) == wanted,
                   f"{vm.name}: {row['state'] if row else 'gone'}, not {wanted}")
        if not row:
            self.check(not os.path.exists(vm.folder), f"{vm.name}: {vm.folder} was left")
            self.check_not_running(vm)
            return
        self.check(row["intent"] is None, f"{vm.name}: '{row['intent']}' was left")
        ip = f"172.16.0.{row['net_index']}" if row["net_index"] else None
        self.check(row["ip"] == ip, f"{vm.name}: the address {row['ip']} in place {row['net_index']}")
        for name, content in disks.get(vm.id, {}).items():
            with open(os.path.join(vm.folder, name), "rb") as file:
                self.check(file.read() == content, f"{vm.name}: {name} was changed")
        if wanted in ALIVE:
            self.check_running(vm, row)
        else:
            self.check_not_running(vm)
            if vm.state in ALIVE and vm.intent is None:
                reason = "the host was rebooted" if vm.boot == OTHER_BOOT else "its VMM was gone when bangerd started"
                self.check(row["last_error"] == reason, f"{vm.name}: '{row['last_error']}', not '{reason}'")

    def check_all(self, disks):
        with contextlib.closing(sqlite3.connect(os.path.join(self.state, "state.db"))) as database:
            database.row_factory = sqlite3.Row
            rows = {row["id"]: row for row in database.execute("SELECT * FROM vms")}
        for vm in self.vms:
            self.check_vm(vm, rows.get(vm.id), disks)
        places = [row["net_index"] for row in rows.values() if row["net_index"]]
        self.check(len(places) == len(set(places)), f"places {places}")
        for path in self.gone:
            self.check(not os.path.lexists(path), f"{path} was left")
        if self.bystander:
            self.check(not is_alive(self.bystander.vmm.pid), "the VMM of no VM still runs")
        known = {vm.id for vm in self.vms} | set(self.busy_cgroups)
        for path in self.cgroups():
            self.check(os.path.basename(path) in known or path in self.foreign_cgroups, f"{path} was left")
        guests = [vm for vm in self.vms if vm.tap_index and self.outcome(vm) in ALIVE]
        ours = [link["ifname"] for link in json.loads(sh("ip", "-j", "link")) if self.tag in link.get("ifalias", "")]
        wanted = sorted([f"bgr-{vm.tap_index}" for vm in guests] + (["br-fc"] if guests else []))
        self.check(sorted(ours) == wanted, f"devices {sorted(ours)}, not {wanted}")
        tables = [line.split()[2] for line in sh("nft", "list", "tables").splitlines()]
        self.check(("banger" in tables) == bool(guests), f"tables {tables} with {len(guests)} guests")

    def disks(self):
        found = {}
        for vm in self.vms:
            for name in ("system.qcow2", "work.qcow2"):
                path = os.path.join(vm.folder, name)
                if os.path.exists(path):
                    with open(path, "rb") as file:
                        found.setdefault(vm.id, {})[name] = file.read()
        return found

    def compare(self, before, after, what):
        for key, value in before.items():
            if after.get(key) != value:
                raise AssertionError(f"{what}: {key} was\n  {value}\nand is\n  {after.get(key)}")

    def prove(self):
        disks, foreign, before = self.disks(), self.foreign(), self.everything()
        planned = self.plan()
        self.check(not planned["daemon_runs"], "a daemon was started for the plan")
        self.compare(before, self.everything(), "doctor --plan changed something")
        self.start_daemon()
        self.compare(foreign, self.foreign(), "something foreign")
        self.check_all(disks)
        again = self.plan()
        self.check(again["daemon_runs"] and again["actions"] == [], f"still to do: {again['actions']}")
        self.banger("--json", "doctor", "--census")
        first = self.everything()
        self.kill_daemon()
        again = self.plan()
        usual = [action for action in again["actions"] if action["action"] not in ("adopt", "restore")]
        self.check(usual == [], f"a second daemon would: {usual}")
        self.start_daemon()
        self.compare(first, self.everything(), "the second pass changed something")
        return planned

    # --- the end ---

    def end(self):
        with contextlib.suppress(OSError, AttributeError):
            os.kill(self.daemon, signal.SIGKILL)
        for child in self.children:
            with contextlib.suppress(OSError):
                os.kill(child.pid, signal.SIGKILL)
        for child in self.children:
            child.wait()
        for link in json.loads(sh("ip", "-j", "link")):
            if link["ifname"].startswith(("bgr", "br-fc")):
                sh("ip", "link", "delete", link["ifname"])
        for line in sh("nft", "list", "tables").splitlines():
            sh("nft", "delete", *line.split())
        for path in self.foreign_cgroups + self.cgroups() + [os.path.join(b, f"banger-{self.tag}") for b in BASES]:
            wait_until(f"the end of {path}", lambda at=path: remove_folder(at))
        shutil.rmtree(self.home)


def remove_folder(path):
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False    # killed processes take a moment to leave
    return True


def tree(folder):
    """Names, kinds, modes and contents; without logs that VMMs write by themselves."""
    found = []
    for at, folders, files in os.walk(folder):
        for name in sorted(folders + files):
            path = os.path.join(at, name)
            status = os.lstat(path)
            data = b""
            if name not in ("vmm.log", "console.log") and os.path.isfile(path) and not os.path.islink(path) \
                    and status.st_size < 65536:
                with open(path, "rb") as file:
                    data = file.read()
            found.append((path, status.st_mode, hashlib.sha256(data).hexdigest()))
    return sorted(found)


def make_template():
    """A home whose database knows an image and a kernel that are hardly anything."""
    path = os.path.join(TOP, "template")
    cache = os.path.join(os.environ["BANGER_CACHE"], "state")
    image = os.path.join(path, "state", "images", "img")
    kernel = os.path.join(path, "state", "kernels", "kern")
    for folder in (os.path.join(path, "config"), image, kernel):
        os.makedirs(folder, 0o700)
    with open(os.path.join(path, "config", "config.toml"), "w", encoding="utf-8") as file:
        file.write(CONFIG)
    with open(os.path.join(cache, "images", "debian-bookworm-slim", "image.json"), encoding="utf-8") as file:
        record = json.load(file)
    record.update(name="img", kernel="kern", size_bytes=4096, used_bytes=4096, seed_size_bytes=4096)
    with open(os.path.join(image, "image.json"), "w", encoding="utf-8") as file:
        json.dump(record, file)
    for name in ("root.ext4", "work-seed.ext4"):
        with open(os.path.join(image, name), "wb") as file:
            file.truncate(4096)
    with open(os.path.join(cache, "kernels", "debian-cloud", "kernel.json"), encoding="utf-8") as file:
        record = json.load(file)
    record.update(name="kern")
    with open(os.path.join(kernel, "kernel.json"), "w", encoding="utf-8") as file:
        json.dump(record, file)
    for name in ("vmlinux", "vmlinuz", "modules.dep"):
        with open(os.path.join(kernel, name), "wb") as file:
            file.truncate(4096)
    os.mkdir(os.path.join(kernel, "modules"))
    os.makedirs(os.path.join(path, "run"), 0o700)
    env = dict(os.environ, BANGER_STATE_DIR=os.path.join(path, "state"), BANGER_RUNTIME_DIR=os.path.join(path, "run"),
               BANGER_CONFIG_DIR=os.path.join(path, "config"), BANGER_CACHE_DIR=os.path.join(path, "cache"))
    # One start makes the database, its records and the verdict about KVM.
    doctor = subprocess.run([BANGER, "--json", "doctor"], env=env, capture_output=True, text=True)
    subprocess.run([BANGER, "daemon", "stop"], env=env, check=True, capture_output=True)
    with contextlib.closing(sqlite3.connect(os.path.join(path, "state", "state.db"))) as database:
        known = database.execute("SELECT name FROM images UNION SELECT name FROM kernels").fetchall()
    if sorted(known) != [("img",), ("kern",)]:
        raise AssertionError(f"the template's database has {known}")
    report = next(check["message"] for check in json.loads(doctor.stdout)["checks"] if check["name"] == "cgroups")
    return path, re.findall(r"(/\S*)/banger-[0-9a-f]{16}", report)


def main():
    global BASES
    seed, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    shutil.rmtree(TOP, ignore_errors=True)
    os.makedirs(TOP, 0o700)
    shutil.copy("/bin/sleep", os.path.join(TOP, "banger-vmm"))
    sh("qemu-img", "create", "-q", "-f", "qcow2", os.path.join(TOP, "disk.qcow2"), "1G")
    template, BASES = make_template()
    tally, began = {}, time.monotonic()
    for number in range(first, first + count):
        world = World(seed, number)
        try:
            world.make(template)
            planned = world.prove()
        except (AssertionError, OSError, subprocess.CalledProcessError) as problem:
            print(f"world {number} of seed {seed}: {problem} {getattr(problem, 'stderr', '') or ''}", file=sys.stderr)
            for vm in world.vms:
                print({key: str(value) for key, value in vars(vm).items()}, file=sys.stderr)
            with contextlib.suppress(OSError), open(os.path.join(world.state, "bangerd.log"), encoding="utf-8") as log:
                print(*log.readlines()[-40:], sep="", file=sys.stderr)
            world.end()
            sys.exit(1)
        world.end()
        for action in planned["actions"] + planned["left"]:
            tally[action["action"]] = tally.get(action["action"], 0) + 1
    print(f"# {count} worlds of seed {seed} from {first} in {time.monotonic() - began:.1f} s: "
          + ", ".join(f"{name} {number}" for name, number in sorted(tally.items())))


if __name__ == "__main__":
    main()
