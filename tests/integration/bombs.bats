#!/usr/bin/env bats
# Layers that are small and become large: they stop where a limit says, soon, and in little memory.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2153,SC2154 # scripts for other shells; bats sets status, output and stderr, for each test in a subshell of its own; layers.bash the rest

load helper
load layers

# The least that limits.worker_memory may be: all processes together stay far below it.
MEMORY_MAX_KIB=$((256 << 10))
CAP=150000000

# layer.KIND, which is CAP bytes large, and bomb.KIND, which is 1000 times as large: both a file of zeros.
make_bomb() {
	python3 - "$1" "$CAP" <<-'END'
		import gzip, subprocess, sys, tarfile
		kind, cap = sys.argv[1], int(sys.argv[2])
		def pack(data):
		    return gzip.compress(data) if kind == "gzip" else subprocess.run(
		        [kind, "-qc"], input=data, stdout=subprocess.PIPE, check=True).stdout
		def make(name, size):
		    head = tarfile.TarInfo("zeros")
		    head.size = size - 512
		    piece = 16 << 20
		    with open(name, "wb") as out:
		        out.write(pack(head.tobuf(tarfile.GNU_FORMAT)))
		        left = head.size
		        packed = pack(bytes(piece))
		        for _ in range(left // piece):
		            out.write(packed)
		        if left % piece:
		            out.write(pack(bytes(left % piece)))
		make("layer." + kind, cap // 512 * 512)
		make("bomb." + kind, cap * 1000 // 512 * 512)
	END
}

# Runs the tool: its status; $seconds and $memory_kib (the largest of its processes) say what that took.
measure() {
	python3 - "$TOOL" "$IMAGES" i "$@" <<-'END' >measured 2>err
		import resource, subprocess, sys, time
		began = time.monotonic()
		status = subprocess.run(sys.argv[1:]).returncode
		print(round(time.monotonic() - began, 2), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, status)
	END
	read -r seconds memory_kib status < <(tail -n 1 measured)
	stderr=$(<err)
	echo "$1: $seconds s, $memory_kib KiB, status $status"
}

in_time() {
	python3 -c 'import sys; sys.exit(float(sys.argv[1]) > float(sys.argv[2]) + 2)' "$1" "$2" || { echo "$1 s, but $2 s for the cap"; return 1; }
}

@test "bombs of 1000:1 stop within 2 s of the cap, in the memory of an ordinary layer" {
	for kind in gzip zstd; do
		make_bomb $kind
		# As long as a layer takes that is just as large as may be; its digest is found wrong at its end.
		measure "$kind,sha256:0,layer.$kind" layer-bytes=$CAP
		says "protocol: layer 1: its content has the digest sha256:"
		ordinary=$seconds
		measure "$kind,sha256:0,bomb.$kind" layer-bytes=$CAP
		[ "$status" -eq 1 ]
		says "limit: layer 1: there are more than $CAP bytes in the tar stream (limits.layer_bytes)"
		in_time "$seconds" "$ordinary"
		[ "$memory_kib" -lt "$MEMORY_MAX_KIB" ]
		measure "$kind,sha256:0,bomb.$kind" bytes=$CAP
		says "there are more than $CAP bytes of content (limits.image_bytes)"
		in_time "$seconds" "$ordinary"
		[ "$memory_kib" -lt "$MEMORY_MAX_KIB" ]
		nothing_left
	done
}

@test "xz is no layer, whatever it calls itself" {
	make_bomb xz
	for kind in none gzip zstd; do
		measure "$kind,sha256:0,bomb.xz"
		[ "$status" -eq 1 ]
		says "protocol: layer 1: "
		in_time "$seconds" 2
		[ "$memory_kib" -lt "$MEMORY_MAX_KIB" ]
		nothing_left
	done
}

@test "zstd windows of 2 GiB and more are refused before there is memory for them" {
	python3 - <<-'END'
		import struct
		# Exponents of the window descriptor: 31 and 41 (the most), with the mantissa at its most, too.
		for name, descriptor in ("31", 21 << 3), ("41", 31 << 3 | 7):
		    with open("window." + name, "wb") as out:
		        out.write(struct.pack("<IBB", 0xfd2fb528, 0, descriptor) + struct.pack("<I", 512 << 3 | 1)[:3] + bytes(512))
		# One segment of 2 GiB: the window is the content.
		with open("window.segment", "wb") as out:
		    out.write(struct.pack("<IBQ", 0xfd2fb528, 3 << 6 | 1 << 5, 2 << 30) + struct.pack("<I", 512 << 3 | 1)[:3] + bytes(512))
	END
	for name in 31 41 segment; do
		measure "zstd,sha256:0,window.$name"
		[ "$status" -eq 1 ]
		says "protocol: layer 1: zstd: Frame requires too much memory"
		[ "$memory_kib" -lt "$MEMORY_MAX_KIB" ]
	done
}

@test "ten million files stop at the limit of entries, and the stream with them" {
	run --separate-stderr bash -c '"$1" flat 10000000 2>taken | "$2" i.ext4 entries=500000' - "$TARS" "$WRITER"
	[ "$status" -eq 1 ]
	says "limit: there are more than 500000 entries (limits.entries)"
	# What was in pipes and buffers, and no more, was made in vain.
	echo "taken: $(<taken)"
	[ "$(<taken)" -ge 500000 ]
	[ "$(<taken)" -lt 510000 ]
	run --separate-stderr bash -c '"$1" flat 10000000 2>taken | "$2" i.ext4 name-bytes=1000000' - "$TARS" "$WRITER"
	says "entry 'flat/"
	says "there are more than 1000000 bytes of names and symbolic links (limits.name_bytes)"
	[ "$(<taken)" -lt 110000 ]
}

@test "two million names in one folder: e2fsck is content, and the last is found" {
	bash -o pipefail -c '"$1" flat 2000000 | "$2" i.ext4' - "$TARS" "$WRITER"
	clean i.ext4
	debugfs -R "htree_dump /flat" i.ext4 2>/dev/null | grep -q "Indirect levels: 1"
	for n in 0000000000 0000999999 0001999999; do
		debugfs -R "stat /flat/$n" i.ext4 2>/dev/null | grep -q "Type: regular"
	done
}

@test "folders in folders: 5000 deep and away again; a path is as long as Linux takes" {
	python3 - <<-'END'
		import tarfile
		def tar(name, *entries):
		    with tarfile.open(name, "w", format=tarfile.PAX_FORMAT) as out:
		        for path, target in entries:
		            info = tarfile.TarInfo(path)
		            info.type, info.linkname, info.mode = tarfile.SYMTYPE if target else tarfile.DIRTYPE, target, 0o755
		            out.addfile(info)
		def deep(letter, depth):
		    return "/".join(letter * depth)
		# A path cannot lead so deep, but links can.
		tar("deep.tar", (deep("d", 2047), ""), ("one", deep("d", 2047)), ("one/" + deep("e", 1900), ""),
		    ("two", "one/" + deep("e", 1900)), ("two/" + deep("f", 1053), ""))
		tar("away.tar", (".wh.d", ""))
		tar("deeper.tar", (deep("d", 2048), ""))
		tar("deepest.tar", (deep("d", 5000), ""))
	END
	"$TOOL" "$IMAGES" i "$(layer deep.tar gzip)" 2>/dev/null
	clean "$ROOT"
	[[ $output == *": 501"[0-9]"/"* ]]
	"$TOOL" "$IMAGES" i "$(layer deep.tar gzip)" "$(layer away.tar none)" 2>/dev/null
	clean "$ROOT"
	[[ $output == *": 1"[0-9]"/"* ]]
	rm -r "$IMAGES/i"
	for name in deeper deepest; do
		refuses "$(layer $name.tar gzip)"
		says "invalid: layer 1: entry 'd/d/"
		says " bytes, more than 4095"
	done
}

@test "attributes without end stop at their limit" {
	python3 - <<-'END'
		import tarfile
		with tarfile.open("x.tar", "w", format=tarfile.PAX_FORMAT) as out:
		    for n in range(2000):
		        info = tarfile.TarInfo("f%d" % n)
		        info.pax_headers = {"SCHILY.xattr.user.a": "%03000d" % n}
		        out.addfile(info)
	END
	refuses "$(layer x.tar gzip)" xattr-bytes=1048576
	says "limit: layer 1: entry 'f"
	says "there are more than 1048576 bytes of extended attributes (limits.xattr_bytes)"
}
