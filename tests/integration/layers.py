#!/usr/bin/env python3
"""Layers for the tests of src/image and src/ext4, and what is in a folder of the host.

    layers.py image CASE DIR     an OCI layout in DIR (tag "latest"), and DIR/layers: the arguments of layers_tool
    layers.py cases              their names
    layers.py layout DIR         DIR/layers from an OCI layout that somebody else made
    layers.py walk FOLDER        a line for each thing in it, as ext4_walk prints them
    layers.py stacks FIRST LAST DIR    random stacks of layers, by seed: DIR/SEED/0.tar and so on, and DIR/SEED/wanted, what
                                 a model of the specification makes of them
"""
import collections
import gzip
import hashlib
import io
import json
import os
import random
import stat
import subprocess
import sys
import tarfile
import tempfile

TIME = 1500000000


# --- tars ---------------------------------------------------------------------------------------------------------

class Layer:
    """One layer's tar in the making."""

    def __init__(self, form=tarfile.PAX_FORMAT):
        self.bytes = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.bytes, mode="w", format=form, encoding="utf-8", errors="surrogateescape")

    def put(self, name, kind=tarfile.REGTYPE, content=b"", mode=0o644, **more):
        info = tarfile.TarInfo(name)
        info.type = kind
        info.mode = mode
        info.mtime = TIME
        info.size = len(content)
        xattrs = more.pop("xattrs", {})
        for key, value in more.items():
            setattr(info, key, value)
        for key, value in xattrs.items():
            info.pax_headers["SCHILY.xattr." + key] = value.decode("utf-8", "surrogateescape")
        self.tar.addfile(info, io.BytesIO(content))
        return self

    def file(self, name, content=b"", **more):
        return self.put(name, content=content if isinstance(content, bytes) else content.encode(), **more)

    def folder(self, name, mode=0o755, **more):
        return self.put(name, tarfile.DIRTYPE, mode=mode, **more)

    def symlink(self, name, target, **more):
        return self.put(name, tarfile.SYMTYPE, mode=0o777, linkname=target, **more)

    def link(self, name, target, **more):
        return self.put(name, tarfile.LNKTYPE, linkname=target, **more)

    def device(self, name, kind, major, minor, **more):
        return self.put(name, kind, devmajor=major, devminor=minor, **more)

    def hide(self, name):
        folder, _, last = name.rpartition("/")
        return self.file((folder + "/" if folder else "") + ".wh." + last)

    def opaque(self, folder):
        return self.file(folder + "/.wh..wh..opq")

    def end(self):
        self.tar.close()
        return self.bytes.getvalue()


# --- images -------------------------------------------------------------------------------------------------------

def case_plain():
    yield Layer().folder("etc").file("etc/hostname", "plain\n").folder("bin").file("bin/sh", b"#!" * 3000, mode=0o755)


def case_whiteouts():
    base = Layer()
    for folder in ("a", "a/b", "a/b/c", "keep", "both"):
        base.folder(folder)
    for name in ("a/1", "a/b/2", "a/b/c/3", "keep/4", "keep/5", "both/6", "7", "8"):
        base.file(name, name)
    yield base
    yield (Layer().hide("a/b").hide("keep/4").hide("7").hide("nothing").hide("keep/nothing")
           .hide("both").folder("both", mode=0o700).file("both/new", "new"))
    yield Layer().folder("a/b", mode=0o711).file("a/b/again", "2").file("7", "seven").hide("8").file("8", "eight")


def case_opaque():
    base = Layer()
    for folder in ("o", "o/deep", "o/deep/er", "p", "q"):
        base.folder(folder, mode=0o750)
    for name in ("o/1", "o/deep/2", "o/deep/er/3", "p/4", "q/5"):
        base.file(name, name)
    yield base
    yield Layer().folder("o", mode=0o755).opaque("o").file("o/new", "n").folder("p").file("p/new", "n").opaque("p")
    yield Layer().folder("q").file("q/5", "mine").opaque("q").file("q/6", "6")


def case_links():
    yield (Layer().folder("d").file("d/one", "content", mode=0o640, uid=5).link("d/two", "d/one").link("three", "./d/one")
           .file("alone", "alone").symlink("soft", "d/one").link("soft2", "soft"))
    yield Layer().hide("d/one").link("d/four", "three").file("d/two", "other now")
    yield Layer().folder("e").link("e/five", "/d/four").hide("alone").link("e/six", "e/five").hide("three")


def case_replaced():
    yield (Layer().folder("folder").file("folder/in", "x").file("file", "y").symlink("link", "folder")
           .folder("target").file("target/in", "t").symlink("to-target", "target").device("dev", tarfile.CHRTYPE, 1, 3))
    yield (Layer().file("folder", "now a file").folder("file").file("file/in", "now a folder").folder("link")
           .file("link/own", "1").file("to-target/through", "2").symlink("dev", "/nowhere/at/all"))
    yield Layer().symlink("folder", "file").put("file/fifo", tarfile.FIFOTYPE).file("dev", "dev").folder("target", 0o700)


def case_implied():
    """Nobody describes folders, and names begin as they like."""
    yield Layer().file("./usr/lib/a/1", "1").file("/usr/lib/b/2", "2").file("usr//lib/./c/3", "3")
    yield Layer().file("usr/lib/a/4", "4").hide("usr/lib/b").hide("usr/lib/c/3")


def case_many():
    first = Layer().folder("many")
    for n in range(9000):
        first.file(f"many/file-{n:06}", str(n) if n % 7 else "")
    yield first
    second = Layer()
    for n in range(0, 9000, 3):
        second.hide(f"many/file-{n:06}")
    for n in range(9000, 9500):
        second.file(f"many/file-{n:06}", str(n))
    yield second


def case_contents():
    """Sizes around blocks and megabytes, zeros, and files that grow and shrink from layer to layer."""
    source = random.Random(5)
    first = Layer()
    for size in (0, 1, 4095, 4096, 4097, 65536, 1048575, 3 << 20):
        first.file(f"size-{size}", source.randbytes(size))
    first.file("zeros", bytes(1 << 20)).file("holes", b"a" + bytes(200000) + b"b" + bytes(100000))
    yield first
    yield Layer().file("size-4096", b"short").file("size-1", source.randbytes(500000)).hide("size-65536")
    yield Layer().file("size-4096", bytes(5000000)).link("size-65536", "size-1")


def capability():
    """cap_net_raw=ep, version 2, as in security.capability."""
    return (0x02000001).to_bytes(4, "little") + (1 << 13).to_bytes(4, "little") + bytes(12)


def odd_first():
    acl = bytes.fromhex("0200000001000700ffffffff02000500e803000004000500ffffffff10000700ffffffff20000000ffffffff")
    layer = Layer().folder("d", mode=0o1777, uid=1000, gid=2 ** 31)
    layer.file("d/setuid", "s", mode=0o6755, uid=2 ** 32 - 2, gid=65534)
    layer.file("d/all-bits", "s", mode=0o7777).file("d/none", "s", mode=0)
    layer.file("xattrs", "x", xattrs={"user.mime_type": b"text/plain", "user.long": b"v" * 3000,
                                      "security.capability": capability(), "trusted.mine": b"t"})
    layer.file("xattrs-gone", "x", xattrs={"user.gone": b"1"})
    layer.folder("xattr-folder", xattrs={"user.f": b"1"}).folder("xattr-folder-2", xattrs={"user.g": b"1"})
    layer.file("acl", "a", mode=0o770, xattrs={"system.posix_acl_access": acl}).file("hidden")
    layer.device("null", tarfile.CHRTYPE, 1, 3, mode=0o666).device("disk", tarfile.BLKTYPE, 259, 70000, mode=0o660)
    layer.put("fifo", tarfile.FIFOTYPE, mode=0o600)
    layer.symlink("dangling", "../../../../etc/passwd").symlink("loop", "loop").symlink("l" * 59, "t" * 59)
    layer.symlink("link60", "t" * 60).symlink("link4000", "t" * 4000, uid=7, gid=8)
    layer.file("n" * 255, "long").file("/".join(["deep" * 20] * 30), "deep")
    layer.file("back\\slash", "b").file("new\nline", "n").file("utf-8-\u00e4\u20ac", "u").file(" spaces ", "s").file("-rf", "r")
    layer.file("...", "three dots").file(".whiteout", "nearly").file("wh.file", "nearly")
    layer.file("trailing", "1").folder("trailing-folder/.").folder("./")
    layer.file("named", "ids count, not names", uid=5, gid=6, uname="daemon", gname="nogroup")
    layer.link("hard-fifo", "fifo").link("hard-link", "dangling").symlink("link-xattr", "x", xattrs={"trusted.link": b"l"})
    layer.device("dev-xattr", tarfile.CHRTYPE, 1, 5, xattrs={"trusted.device": b"d"})
    layer.file("old", "1960", mtime=-315619200).file("fraction", "f", mtime=TIME + 0.25).file("far", "2200", mtime=7258118400)
    return layer


def case_odd():
    """Every odd thing the layer specification allows."""
    yield odd_first()
    second = Layer(tarfile.GNU_FORMAT)
    second.file("bytes-\udcff\udcfe", "no utf-8").file("g" * 200, "gnu long name").symlink("gnu-link", "t" * 300)
    second.folder("d", mode=0o755, uid=1).file("xattrs-gone", "without now").hide("hidden").folder("xattr-folder-2").link("d/hard", "null").hide("null")
    yield second
    yield Layer(tarfile.USTAR_FORMAT).file("p" * 90 + "/" + "u" * 90, "ustar prefix").put("empty")
    yield Layer()


class Tar:
    """A layer that GNU tar makes of one file with holes, which Python's tarfile cannot write."""

    def __init__(self, name, *options):
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/{name}", "wb") as file:
                for place in (0, 1000000, 2500000):
                    file.seek(place)
                    file.write(name.encode())
                file.truncate(3000003)
            self.bytes = subprocess.run(
                ["tar", "--sparse", *options, f"--mtime=@{TIME}", "--owner=daemon:5", "--group=games:6", "--mode=0640",
                 "-C", folder, "-cf", "-", name], stdout=subprocess.PIPE, check=True).stdout

    def end(self):
        return self.bytes


def case_sparse():
    """Holes in all ways to say so that umoci understands, too."""
    for version in ("0.0", "0.1", "1.0"):
        yield Tar("pax-" + version, "--format=pax", "--sparse-version=" + version)


def case_tree():
    """A real tree, and a layer that changes it."""
    top = "/usr/lib/python3.11/json"
    first = Layer()
    for folder, folders, files in os.walk(top):
        folders.sort()
        first.folder(folder[1:])
        for name in sorted(files):
            path = os.path.join(folder, name)
            first.file(path[1:], open(path, "rb").read())
    yield first
    yield Layer().hide(top[1:] + "/tool.py").opaque(top[1:] + "/__pycache__").file(top[1:] + "/scanner.py", "pass\n")


CASES = {name[5:]: value for name, value in list(globals().items()) if name.startswith("case_")}


def put_blob(folder, content):
    digest = hashlib.sha256(content).hexdigest()
    path = f"{folder}/blobs/sha256/{digest}"
    with open(path, "wb") as file:
        file.write(content)
    return "sha256:" + digest, path


def zstd(content):
    return subprocess.run(["zstd", "-q", "-c"], input=content, stdout=subprocess.PIPE, check=True).stdout


def make_image(case, folder):
    """The layout has gzip and plain layers, which umoci reads; the same as gzip, zstd or plain are for layers_tool."""
    os.makedirs(folder + "/blobs/sha256")
    arguments, layers, diff_ids = [], [], []
    for index, layer in enumerate(CASES[case]()):
        tar = layer.end()
        packed = [gzip.compress(tar, 6, mtime=0), zstd(tar), tar][index % 3]
        diff_id, plain = put_blob(folder, tar)
        _, path = put_blob(folder, packed)
        arguments.append(f"{['gzip', 'zstd', 'none'][index % 3]},{diff_id},{path}")
        digest, path = put_blob(folder, gzip.compress(tar, 1, mtime=0))
        layers.append({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest,
                       "size": os.path.getsize(path)})
        diff_ids.append(diff_id)
    config = {"architecture": "amd64", "os": "linux", "config": {},
              "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": [{"created_by": "x"} for _ in diff_ids]}
    digest, path = put_blob(folder, json.dumps(config).encode())
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": layers,
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest,
                           "size": os.path.getsize(path)}}
    digest, path = put_blob(folder, json.dumps(manifest).encode())
    index = {"schemaVersion": 2, "manifests": [{
        "mediaType": manifest["mediaType"], "digest": digest, "size": os.path.getsize(path),
        "annotations": {"org.opencontainers.image.ref.name": "latest"}}]}
    write(folder + "/index.json", json.dumps(index))
    write(folder + "/oci-layout", '{"imageLayoutVersion": "1.0.0"}')
    write(folder + "/layers", "\n".join(arguments) + "\n")


def write(path, text):
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def read_layout(folder):
    """The arguments for the newest image of a layout."""
    def blob(descriptor):
        return folder + "/blobs/" + descriptor["digest"].replace(":", "/")

    def load(path):
        with open(path, encoding="utf-8") as file:
            return json.load(file)

    manifest = load(blob(load(folder + "/index.json")["manifests"][-1]))
    diff_ids = load(blob(manifest["config"]))["rootfs"]["diff_ids"]
    lines = []
    for layer, diff_id in zip(manifest["layers"], diff_ids, strict=True):
        kind = layer["mediaType"].rpartition("tar")[2].strip("+.")
        lines.append(f"{kind or 'none'},{diff_id},{blob(layer)}")
    write(folder + "/layers", "\n".join(lines) + "\n")


# --- folders of the host ------------------------------------------------------------------------------------------

def escape(text):
    raw = os.fsencode(text)
    return "".join(chr(c) if 0x20 < c < 0x7f and chr(c) not in "\\=" else f"\\x{c:02x}" for c in raw)


def type_of(mode):
    for test, word in ((stat.S_ISREG, "file"), (stat.S_ISDIR, "folder"), (stat.S_ISLNK, "symlink"),
                       (stat.S_ISCHR, "char"), (stat.S_ISBLK, "block"), (stat.S_ISFIFO, "fifo")):
        if test(mode):
            return word
    return "unknown"


def describe(path):
    st = os.lstat(path)
    words = [type_of(st.st_mode), f"{stat.S_IMODE(st.st_mode):04o}", str(st.st_uid), str(st.st_gid)]
    if not stat.S_ISDIR(st.st_mode):
        words += [f"links={st.st_nlink}", f"mtime={st.st_mtime_ns // 10 ** 9}"]
    if stat.S_ISREG(st.st_mode):
        with open(path, "rb") as file:
            words += [f"size={st.st_size}", "sha256=" + hashlib.file_digest(file, "sha256").hexdigest()]
    elif stat.S_ISLNK(st.st_mode):
        words.append("target=" + escape(os.readlink(path)))
    elif words[0] in ("char", "block"):
        words.append(f"rdev={os.major(st.st_rdev)}:{os.minor(st.st_rdev)}")
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        words.append(f"xattr {escape(name)}={os.getxattr(path, name, follow_symlinks=False).hex()}")
    return " ".join(words)


def walk(top):
    lines = ["/ " + describe(top)]
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            path = os.path.join(folder, name)
            lines.append(escape("/" + os.path.relpath(path, top)) + " " + describe(path))
    for line in sorted(lines, key=str.encode):
        print(line)


# --- random stacks and a model of the specification ---------------------------------------------------------------

class Node:
    """A thing in an image. Names of the same file share a node."""

    def __init__(self, kind, mode, content=b""):
        self.kind, self.mode, self.content = kind, mode, content
        self.names = {} if kind == "folder" else None

    def is_folder(self):
        return self.kind == "folder"


class Model:
    """Layers one after another, first all whiteouts of a layer, then all else: order does not matter for those."""

    def __init__(self):
        self.root = Node("folder", 0o755)

    def find(self, parts):
        node = self.root
        for part in parts:
            if not node.is_folder() or part not in node.names:
                return None
            node = node.names[part]
        return node

    def hide(self, parts, is_opaque):
        folder = self.find(parts if is_opaque else parts[:-1])
        if not folder or not folder.is_folder():
            return
        if is_opaque:
            folder.names.clear()
        else:
            folder.names.pop(parts[-1], None)

    def make_parent(self, parts):
        node = self.root
        for part in parts[:-1]:
            node = node.names.setdefault(part, Node("folder", 0o755))
        return node

    def put(self, parts, node):
        folder = self.make_parent(parts)
        old = folder.names.get(parts[-1])
        if old and old.is_folder() and node.is_folder():
            old.mode = node.mode
        else:
            folder.names[parts[-1]] = node

    def all(self, path="", node=None):
        node = node or self.root
        yield path, node
        for name, below in (node.names or {}).items():
            yield from self.all(path + "/" + name, below)

    def kinds(self):
        return {node.kind for _, node in self.all()}

    def lines(self):
        found = list(self.all())
        counts = collections.Counter(id(node) for _, node in found)
        for path, node in found:
            line = f"{escape(path) or '/'} {node.kind} {node.mode:04o} 0 0"
            if not node.is_folder():
                line += f" links={counts[id(node)]} mtime={TIME}"
            if node.kind == "file":
                line += f" size={len(node.content)} sha256={hashlib.sha256(node.content).hexdigest()}"
            if node.kind == "symlink":
                line += " target=" + node.content.decode()
            yield line


class Stack:
    """Random layers. Nothing is below a name that is no folder, and no layer has a name twice."""

    NAMES = "abcd"

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.model = Model()
        self.is_bound = False

    def path(self):
        return [self.random.choice(self.NAMES) for _ in range(self.random.choice((1, 1, 2, 2, 3, 4)))]

    def layer(self):
        hidden = [(self.path(), self.random.random() < 0.3) for _ in range(self.random.choice((0, 0, 1, 2, 4)))]
        if self.random.random() < 0.05:
            hidden.append(([], True))
        # Symlinks of lower layers are followed until they are hidden.
        self.is_bound = "symlink" in self.model.kinds()
        for parts, is_opaque in hidden:
            self.model.hide(parts, is_opaque)
        entries, taken = [], set()
        for _ in range(self.random.randrange(12)):
            entry = self.entry(taken)
            if entry:
                entries.append(entry)
        return self.write(hidden, entries)

    def entry(self, taken):
        parts = self.path()
        key = tuple(parts)
        # Parents must be folders by now, and what this layer has made must not go again.
        for depth in range(1, len(parts)):
            node = self.model.find(parts[:depth])
            if node and not node.is_folder():
                return None
        if key in taken:
            return None
        kind = self.random.choice(("file", "file", "folder", "folder", "symlink", "link"))
        if kind != "folder" and any(other[:len(key)] == key for other in taken):
            return None
        node, target = self.node(kind, parts)
        if not node:
            return None
        self.model.put(parts, node)
        taken.add(key)
        return parts, kind, node, target

    def node(self, kind, parts):
        if kind == "file":
            size = self.random.choice((0, 3, 5000))
            return Node(kind, self.random.choice((0o644, 0o755, 0o4711)), self.random.randbytes(size)), None
        if kind == "folder":
            return Node(kind, self.random.choice((0o755, 0o700, 0o1777))), None
        if kind == "symlink":
            return Node(kind, 0o777, b"../" * self.random.randrange(3) + b"x"), None
        target = self.path()
        node = self.model.find(target)
        if not node or node.is_folder() or target == parts or target[:len(parts)] == parts:
            return None, None
        return node, "/".join(target)

    def write(self, hidden, entries):
        """Whiteouts stand anywhere; before all else where it matters."""
        layer = Layer()
        steps = [("hide", *item) for item in hidden] + [("put", *item) for item in entries]
        if not self.is_bound and not any(item[1] == "link" for item in entries):
            puts = [step for step in steps if step[0] == "put"]
            for step in steps:
                if step[0] == "hide":
                    puts.insert(self.random.randrange(len(puts) + 1), step)
            steps = puts
        for step in steps:
            self.write_step(layer, step)
        return layer.end()

    @staticmethod
    def write_step(layer, step):
        name = "/".join(step[1])
        if step[0] == "hide":
            if step[2]:
                layer.opaque(name or ".")
            else:
                layer.hide(name)
            return
        _, _, kind, node, target = step
        if kind == "file":
            layer.file(name, node.content, mode=node.mode)
        elif kind == "folder":
            layer.folder(name, mode=node.mode)
        elif kind == "symlink":
            layer.symlink(name, node.content.decode())
        else:
            layer.link(name, target)


def make_stack(seed, folder):
    os.makedirs(folder)
    stack = Stack(seed)
    for index in range(stack.random.randrange(2, 7)):
        with open(f"{folder}/{index}.tar", "wb") as file:
            file.write(stack.layer())
    write(folder + "/wanted", "\n".join(sorted(stack.model.lines(), key=str.encode)) + "\n")


def main(arguments):
    match arguments:
        case ["image", case, folder]:
            make_image(case, folder)
        case ["cases"]:
            print("\n".join(sorted(CASES)))
        case ["layout", folder]:
            read_layout(folder)
        case ["walk", folder]:
            walk(folder)
        case ["stacks", first, last, folder]:
            for seed in range(int(first), int(last) + 1):
                make_stack(seed, f"{folder}/{seed}")
        case _:
            sys.exit(__doc__)


main(sys.argv[1:])
