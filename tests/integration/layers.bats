#!/usr/bin/env bats
# Images from layers: against umoci, which unpacks the same ones to a folder; against a model, with random layers; with layers
# that are damaged, hostile or endless; and with workers that die, hang or are cancelled.
# shellcheck disable=SC2030,SC2031,SC2153,SC2154 # bats sets status, output and stderr, for each test in a subshell of its own; layers.bash the rest

load helper
load layers

@test "images of all kinds are what umoci makes of them" {
	mapfile -t cases < <("$LAYERS" cases)
	[ "${#cases[@]}" -ge 10 ]
	for case in "${cases[@]}"; do
		"$LAYERS" image "$case" "$case"
		same_as_umoci "$case"
		rm -rf "$case"
	done
}

@test "an image that buildah made, with gzip and with zstd" {
	[ "$(id -u)" -eq 0 ] || skip "only root can use buildah without further ado"
	store="--storage-driver vfs --root $PWD/storage --runroot $PWD/run"
	mkdir -p tree/etc/deep tree/bin
	cp -r /usr/lib/python3.11/json tree/lib
	echo one >tree/etc/one
	echo two >tree/etc/deep/two
	ln tree/etc/one tree/bin/hard
	chmod 4755 tree/bin/hard
	# shellcheck disable=SC2086
	{
		container=$(buildah $store from scratch)
		buildah $store copy "$container" tree /
		buildah $store commit --format oci "$container" first
		container=$(buildah $store from first)
		folder=$(buildah $store mount "$container")
		rm -r "${folder:?}/lib" "$folder/etc/deep" "$folder/bin/hard"
		mkdir -m 700 "$folder/lib" "$folder/etc/deep"
		echo three >"$folder/etc/deep/three"
		ln -s /etc/one "$folder/bin/soft"
		buildah $store commit --format oci "$container" second
		buildah $store push second "oci:$PWD/layout:latest"
	} >log 2>&1 || { cat log; false; }
	"$LAYERS" layout layout
	[ "$(wc -l <layout/layers)" -eq 2 ]
	same_as_umoci layout
	mv ours with-gzip
	skopeo copy -q --dest-compress-format zstd oci:layout:latest oci:packed:latest
	"$LAYERS" layout packed
	[ "$(grep -c '^zstd,' packed/layers)" -eq 2 ]
	same_as_umoci packed layout
	cmp ours with-gzip
}

@test "an image that umoci made in three steps" {
	[ "$(id -u)" -eq 0 ] || skip "only root can unpack owners and devices"
	umoci init --layout layout
	umoci new --image layout:latest
	umoci unpack --image layout:latest work
	"$LAYERS" image odd odd
	umoci unpack --image odd:latest odd-work
	cp -a odd-work/rootfs/. work/rootfs/
	umoci repack --refresh-bundle --image layout:latest work
	rm -r work/rootfs/xattrs work/rootfs/d
	mkdir work/rootfs/d work/rootfs/e
	mknod work/rootfs/d/zero c 1 5
	umoci repack --refresh-bundle --image layout:latest work
	rm work/rootfs/d/zero
	chown 70000:80000 work/rootfs/e
	umoci repack --image layout:latest work
	"$LAYERS" layout layout
	[ "$(wc -l <layout/layers)" -eq 3 ]
	same_as_umoci layout
}

@test "random stacks of layers are what a model of the specification makes of them" {
	"$LAYERS" stacks 1 250 stacks
	for stack in stacks/*; do
		mapfile -t tars < <(printf 'layer=%s\n' "$stack"/*.tar)
		"$WRITER" i.ext4 size=33554432 "${tars[@]}" >/dev/null
		"$WALK" i.ext4 >got
		diff "$stack/wanted" got || { echo "differs: $stack"; false; }
	done
	clean i.ext4
}

@test "the same layers give the same bytes, whatever the surroundings and the compression" {
	"$LAYERS" image odd odd
	mapfile -t arguments <odd/layers
	"$TOOL" "$IMAGES" i size=134217728 "${arguments[@]}"
	mv "$IMAGES/i" one
	(
		umask 077
		export TZ=Asia/Kathmandu LC_ALL=C.UTF-8 E2FSPROGS_FAKE_TIME=12345 HOME=/nowhere
		"$TOOL" "$IMAGES" i size=134217728 "${arguments[@]}"
	)
	cmp one/root.ext4 "$ROOT"
	cmp -n $((200 << 20)) one/work-seed.ext4 "$IMAGES/i/work-seed.ext4"
	tars=()
	for argument in "${arguments[@]}"; do
		diff_id=${argument#*,sha256:}
		diff_id=${diff_id%%,*}
		tars+=("none,sha256:$diff_id,odd/blobs/sha256/$diff_id")
	done
	"$TOOL" "$IMAGES" i size=134217728 "${tars[@]}"
	cmp one/root.ext4 "$ROOT"
	# Without workers in between, too.
	"$WRITER" direct.ext4 size=134217728 seed=direct.seed "${tars[@]/#none,sha256:*,/layer=}"
	cmp one/root.ext4 direct.ext4
	SOURCE_DATE_EPOCH=1400000000 "$TOOL" "$IMAGES" i size=134217728 "${tars[@]}"
	clean "$ROOT"
	[ "$("$WALK" "$ROOT" | sed -n 's/.* mtime=\(-*[0-9]*\).*/\1/p' | sort -n | tail -1)" = 1400000000 ]
}

@test "what the image says of itself is in its record" {
	"$LAYERS" image plain plain
	mapfile -t arguments <plain/layers
	run --separate-stderr "$TOOL" "$IMAGES" i "${arguments[@]}"
	[ "$output" = "i kind=managed source=example.test/image:1 digest=sha256:01 kernel=debian-cloud size=1073741824 init=0" ]
	jq -e '.name == "i" and .source == "example.test/image:1" and .digest == "sha256:01" and .has_init == false
		and (has("recipe") | not) and .config.entrypoint == ["/bin/program"] and .config.cmd == []
		and .config.env == ["A=\"b\" \\ \u00e4"] and .config.user == "root:x y" and .config.working_dir == null' \
		"$IMAGES/i/image.json"
	[ "$(find "$IMAGES/i" -mindepth 1 -printf '%f\n' | sort | xargs)" = "image.json root.ext4 work-seed.ext4" ]
}

@test "a new image takes the old one's place; a failed one does not" {
	"$LAYERS" image plain plain
	make_image plain
	"$LAYERS" image links links
	make_image links
	"$WALK" "$ROOT" | grep -q '^/e/five'
	run --separate-stderr "$TOOL" "$IMAGES" i "none,sha256:0,$PWD/plain/layers"
	[ "$status" -eq 1 ]
	"$WALK" "$ROOT" | grep -q '^/e/five'
	[ "$(ls -A "$IMAGES")" = i ]
}

@test "large folders made of layers are indexed, and 65000 links are the most" {
	"$TARS" names 150000 >one.tar
	python3 - <<-'END'
		import tarfile
		with tarfile.open("two.tar", "w") as tar:
		    for n in range(0, 150000, 2):
		        tar.addfile(tarfile.TarInfo(f"names/.wh.file-{n:07}"))
		    for n in range(200000, 260000):
		        tar.addfile(tarfile.TarInfo(f"names/file-{n:07}"))
	END
	"$TOOL" "$IMAGES" i "$(layer one.tar gzip)" "$(layer two.tar zstd)" 2>/dev/null
	clean "$ROOT"
	debugfs -R "htree_dump /names" "$ROOT" 2>/dev/null | grep -q "Indirect levels: 1"
	[ "$(debugfs -R "ls -p /names" "$ROOT" 2>/dev/null | grep -c '/file-')" -eq 135000 ]
	rm -r "$IMAGES/i"
	"$TARS" links 40000 >one.tar
	python3 - <<-'END'
		import tarfile
		with tarfile.open("two.tar", "w") as tar:
		    for n in range(26000):
		        link = tarfile.TarInfo(f"more/{n}")
		        link.type, link.linkname = tarfile.LNKTYPE, "l/1"
		        tar.addfile(link)
	END
	refuses "$(layer one.tar none)" "$(layer two.tar none)"
	says "limit: layer 2: entry 'more/2"
	says "a file cannot have more than 65000 hard links"
}

@test "blobs that are damaged, or are not what they should be" {
	"$TARS" mixed 30 >t.tar
	good=$(layer t.tar gzip)
	diff_id=${good#gzip,} diff_id=${diff_id%,*}
	head -c 3000 t.tar.gz >cut.gz
	refuses "gzip,$diff_id,cut.gz"
	says "protocol: layer 1: gzip: it is cut short"
	cat t.tar.gz <(echo more) >more.gz
	refuses "gzip,$diff_id,more.gz"
	says "protocol: layer 1: gzip: "
	python3 -c '
b = bytearray(open("t.tar.gz", "rb").read()); b[-6] ^= 1; open("crc.gz", "wb").write(b)'
	refuses "gzip,$diff_id,crc.gz"
	says "protocol: layer 1: gzip: incorrect "
	: >empty
	for kind in gzip zstd none; do
		refuses "$good" "$kind,$diff_id,empty"
		says "protocol: layer 2: "
		says "it is empty"
	done
	layer t.tar zstd >/dev/null
	head -c 3000 t.tar.zst >cut.zst
	refuses "zstd,$diff_id,cut.zst"
	says "protocol: layer 1: zstd: it is cut short"
	cat t.tar.zst <(echo more) >more.zst
	refuses "zstd,$diff_id,more.zst"
	says "protocol: layer 1: zstd: "
	refuses "zstd,$diff_id,t.tar.gz"
	says "protocol: layer 1: zstd: "
	refuses "gzip,$diff_id,t.tar.zst"
	says "protocol: layer 1: gzip: incorrect header check"
	refuses "none,$diff_id,t.tar.zst"
	says "protocol: layer 1: "
	refuses "$good" "gzip,${diff_id%?}x,t.tar.gz"
	says "protocol: layer 2: its content has the digest $diff_id, but the image's configuration says ${diff_id%?}x"
	refuses "gzip,sha512:00,t.tar.gz"
	says "unsupported: layer 1: its digest 'sha512:00'"
	# A tar that ends too early, though its blob is whole.
	head -c 3000 t.tar >cut.tar
	refuses "$good" "$(layer cut.tar gzip)"
	says "protocol: layer 2: "
}

@test "members, frames and windows that are as they may be" {
	"$TARS" mixed 30 >t.tar
	good=$(layer t.tar none)
	diff_id=${good#none,} diff_id=${diff_id%,*}
	{ head -c 10000 t.tar | gzip -9; tail -c +10001 t.tar | gzip -1; gzip </dev/null; } >members.gz
	"$TOOL" "$IMAGES" i "gzip,$diff_id,members.gz"
	# A skippable frame, two frames, one that is empty; and the largest window.
	{ printf '\x50\x2a\x4d\x18\x03\0\0\0abc'; head -c 10000 t.tar | zstd -q; tail -c +10001 t.tar | zstd -q; zstd -q </dev/null; } >frames.zst
	"$TOOL" "$IMAGES" i "zstd,$diff_id,frames.zst"
	zstd -q --ultra -22 --zstd=wlog=27 -c <t.tar >large.zst
	"$TOOL" "$IMAGES" i "zstd,$diff_id,large.zst"
	rm -r "$IMAGES/i"
	# In a stream nobody knows that it is short: the window is what it says.
	zstd -q --long=28 -c <t.tar >over.zst
	refuses "zstd,$diff_id,over.zst"
	says "protocol: layer 1: zstd: Frame requires too much memory"
}

@test "what would never end stops at its limit, which is named with its key" {
	"$TARS" mixed 100 >t.tar
	good=$(layer t.tar gzip)
	refuses "$good" "$good" entries=150
	says "limit: layer 2: there are more than 150 entries (limits.entries)"
	says "hint: "
	refuses "$good" "$good" bytes=200000
	says "bytes of content (limits.image_bytes)"
	refuses "$good" layer-bytes=5000
	says "limit: layer 1: there are more than 5000 bytes in the tar stream (limits.layer_bytes)"
	# 100 GiB of zeros as a file, in gzip members that are 1000 times smaller; it stops long before.
	python3 - <<-'END'
		import gzip, tarfile
		head = tarfile.TarInfo("zeros")
		head.size = 100 << 30
		piece = gzip.compress(bytes(16 << 20))
		with open("bomb.gz", "wb") as out:
		    out.write(gzip.compress(head.tobuf(tarfile.GNU_FORMAT)))
		    for _ in range(6400):
		        out.write(piece)
	END
	refuses "gzip,sha256:0,bomb.gz" layer-bytes=200000000
	says "limit: layer 1: there are more than 200000000 bytes in the tar stream (limits.layer_bytes)"
	refuses "gzip,sha256:0,bomb.gz" bytes=200000000
	says "limit: layer 1: entry 'zeros': there are more than 200000000 bytes of content (limits.image_bytes)"
	refuses "gzip,sha256:0,bomb.gz" cpu=1000
	[[ $stderr == *"limit: layer 1: the "*" worker needs more than 1 s of processor time (limits.worker_cpu)"* ]]
	mapfile -t many < <(for _ in {1..129}; do echo "$good"; done)
	refuses "${many[@]}"
	says "limit: there are more than 128 layers in the image (limits.layers)"
	refuses "$good" "$good" layers=1
	says "limit: there are more than 1 layers in the image (limits.layers)"
	refuses
	says "invalid: the image has no layers"
}

@test "layers that would leave the image change nothing but the image" {
	mkdir canary
	echo safe >canary/file
	cp -a canary before
	python3 - "$PWD" <<-'END'
		import io, sys, tarfile
		def tar(name, *entries):
		    with tarfile.open(name, "w") as out:
		        for path, kind, more in entries:
		            info = tarfile.TarInfo(path)
		            info.type, info.mode = kind, 0o777
		            if kind == tarfile.REGTYPE:
		                info.size = len(more)
		                out.addfile(info, io.BytesIO(more))
		            else:
		                info.linkname = more or ""
		                out.addfile(info)
		F, D, S, L = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
		here = sys.argv[1]
		tar("one.tar", ("evil", S, here + "/canary"), ("up", D, ""), ("up/up", S, "../../../../../.." + here + "/canary"))
		tar("two.tar", ("evil/file", F, b"overwritten"), ("evil/new", F, b"x"), ("up/up/.wh.file", F, b""), ("up/up/.wh..wh..opq", F, b""))
		tar("link.tar", ("hard", L, here + "/canary/file"))
		tar("dots.tar", ("a/../../canary/file", F, b"x"))
		tar("dots2.tar", ("..", F, b"x"))
		tar("root.tar", (".", S, "canary"))
	END
	"$TOOL" "$IMAGES" i "$(layer one.tar none)" "$(layer two.tar none)" 2>/dev/null
	diff -r before canary
	"$WALK" "$ROOT" | grep -q "^$PWD/canary folder"
	rm -r "$IMAGES/i"
	for bad in link dots dots2 root; do
		refuses "$(layer one.tar gzip)" "$(layer $bad.tar gzip)"
		says "invalid: layer 2: entry '"
	done
	diff -r before canary
	refuses "$(layer one.tar gzip)" "gzip,sha256:0,/dev/null"
	says "protocol: layer 2: gzip: it is empty"
}

@test "types, headers and sizes that only few tars have" {
	python3 - <<-'END'
		import tarfile
		def tar(name, *parts):
		    with open(name, "wb") as out:
		        for part in parts:
		            out.write(part + bytes(-len(part) % 512))
		        out.write(bytes(1024))
		def head(name, kind=b"0", size=0, form=tarfile.USTAR_FORMAT, **more):
		    info = tarfile.TarInfo(name)
		    info.type, info.size = kind, size
		    for key, value in more.items():
		        setattr(info, key, value)
		    return info.tobuf(form)
		shared = tarfile.TarInfo.create_pax_global_header({"comment": "x", "path": "evil", "uid": "7"})
		sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "sparse",
		          "GNU.sparse.realsize": str(2 ** 63 - 1)}
		table = b"1\n9223372036854771712\n1\n"
		tar("good.tar", shared, head("contiguous", b"7", 5), b"seven", head("label", b"V"), head("plain"),
		    head("plain", b"1", linkname="plain"), head("./plain", b"1", linkname="/plain"))
		tar("type.tar", head("plain"), head("continued", b"M"))
		tar("unknown.tar", head("plain"), head("strange", b"Q", 3), b"odd")
		tar("binary.tar", head("plain"), head("strange", b"\xff"))
		# Behind headers that go on for three of the pieces that are read at a time.
		large = head("strange", b"Q", form=tarfile.PAX_FORMAT,
		             pax_headers={"SCHILY.xattr.user.a": "v" * 900000})
		tar("hidden.tar", b"".join([head("plain%d" % n) for n in range(1000)]), large)
		tar("volume.tar", head("label", b"V", 512), head("strange", b"Q"), head("after"))
		tar("empty.tar", head(""))
		def pax(records):
		    return head("x", b"x", len(records)) + records + bytes(-len(records) % 512)
		tar("zero.tar", pax(b"18 path=good\0evil\n"), head("plain"))
		tar("zeros.tar", pax(b"0021 path=good\0evil1\n"), head("plain"))
		tar("long.tar", head("././@LongLink", b"L", 11, tarfile.GNU_FORMAT), b"good\0evil\0\0", head("plain", form=tarfile.GNU_FORMAT))
		tar("link.tar", head("self", b"1", linkname="self"))
		tar("data.tar", head("plain", size=3), b"one", head("link", b"1", 5, linkname="plain"), b"other", head("after"))
		tar("sparse.tar", head("s", size=1024, form=tarfile.PAX_FORMAT, pax_headers=sparse), table, b"x")
		tar("ids.tar", head("ids", form=tarfile.PAX_FORMAT, uid=2 ** 32))
		tar("negative.tar", head("ids", form=tarfile.GNU_FORMAT, gid=-1))
		tar("overlay.tar", head("f", form=tarfile.PAX_FORMAT, pax_headers={
		    "SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.kept": "z"}))
		tar("large.tar", head("f", form=tarfile.PAX_FORMAT, pax_headers={"SCHILY.xattr.user.large": "v" * 65536}))
	END
	"$TOOL" "$IMAGES" i "$(layer good.tar gzip)" "$(layer overlay.tar zstd)" 2>/dev/null
	[ "$("$WALK" "$ROOT" | cut -d' ' -f1-4 | xargs)" = \
		"/ folder 0755 0 /contiguous file 0644 0 /f file 0644 0 /plain file 0644 0" ]
	"$WALK" "$ROOT" | grep -q '^/contiguous .* size=5 '
	"$WALK" "$ROOT" | grep -q '^/f .* xattr user.kept=7a$'
	rm -r "$IMAGES/i"
	while read -r name text; do
		refuses "$(layer good.tar none)" "$(layer "$name.tar" gzip)"
		says "$text"
	done <<-'END'
		type invalid: layer 2: entry 'continued': its type 'M' is unknown
		unknown invalid: layer 2: entry 'strange': its type 'Q' is unknown
		binary invalid: layer 2: entry 'strange': its type 0xff is unknown
		hidden invalid: layer 2: entry 'strange': its type 'Q' is unknown
		volume protocol: layer 2: 
		empty invalid: layer 2: entry '': its name is empty
		zero invalid: layer 2: entry 'good': its name or target has a zero byte
		zeros invalid: layer 2: entry 'good': its name or target has a zero byte
		long invalid: layer 2: entry 'good': its name or target has a zero byte
		link invalid: layer 2: entry 'self': its hard link target does not exist
		data protocol: layer 2: read the tar stream: Damaged tar archive
		sparse invalid: layer 2: entry 'sparse': its size of 9223372036854775807 bytes is more than ext4 can hold
		ids invalid: layer 2: entry 'ids': the user id 4294967296 does not fit into 32 bits
		negative invalid: layer 2: entry 'ids': the group id -1 does not fit into 32 bits
		large layer 2: entry 'f': 
	END
}

@test "the daemon's own program serves as both workers" {
	"$LAYERS" image links links
	mapfile -t arguments <links/layers
	"$TOOL" "$IMAGES" i "${arguments[@]}" size=134217728 2>/dev/null
	mv "$IMAGES/i/root.ext4" one.ext4
	"$TOOL" "$IMAGES" i "${arguments[@]}" size=134217728 "worker=$BANGER_BUILD/src/bin/bangerd" 2>/dev/null
	cmp one.ext4 "$ROOT"
	run "$BANGER_BUILD/src/bin/bangerd" --worker other
	[ "$status" -eq 2 ]
}

@test "a worker that is killed is one failed image" {
	"$TARS" mixed 10 >t.tar
	start_waiting "$(layer t.tar gzip)"
	kill -KILL "$image_worker"
	ends_with "the image worker was ended by signal 9 (KILL)"
	says "hint: when memory is short, the system ends processes so"

	# One that unpacks: it waits for a reader that has been stopped.
	head -c 100M /dev/urandom >big
	tar -cf big.tar big
	"$TOOL" "$IMAGES" i "$(layer big.tar none)" 2>err 3>&- &
	pid=$!
	wait_for pgrep -P $pid -f -- '--worker image$'
	kill -STOP "$(pgrep -P $pid -f -- '--worker image$')"
	wait_for pgrep -P $pid -f -- '--worker unpack$'
	kill -KILL "$(pgrep -P $pid -f -- '--worker unpack$')"
	ends_with "protocol: layer 1: the unpack worker was ended by signal 9 (KILL)"
}

# A program whose workers of that kind do that; the other kind is a real one.
fake_worker() {
	# shellcheck disable=SC2016 # for the program
	printf '#!/bin/bash\n[ "$2" = %s ] || exec %q --worker "$2"\nread -r orders <&6\n%s\n' "$1" "$TOOL" "$2" >fake
	chmod +x fake
}

@test "a worker that has been taken over is one failed image" {
	"$TARS" mixed 10 >t.tar
	good=$(layer t.tar gzip)
	while IFS='|' read -r kind does text; do
		fake_worker "$kind" "$does"
		refuses "$good" "$good" "worker=$PWD/fake" stall=500
		stderr=${stderr/layer 2:/layer 1:} # both lie; either may be caught first
		says "$text"
	done <<-'END'
		image|exit 3|protocol: the image worker ended with status 3 and no answer
		image|exit 112|limit: the image worker needs more than 4 GiB of memory (limits.worker_memory)
		image|exit 1|limit: the image worker needs more than 4 GiB of memory (limits.worker_memory)
		image|echo '{"ok":false,"kind":"system","message":"write","errnum":12}' >&6|limit: the image worker needs more than 4 GiB
		image|kill -XCPU $$|limit: the image worker needs more than 3600 s of processor time (limits.worker_cpu)
		image|echo '{"ok":true}' >&6|protocol:
		image|echo '{"ok":true,"size_bytes":4096}' >&6|protocol:
		image|echo nonsense >&6|protocol: the image worker's answer: 
		image|/usr/bin/yes >&6|protocol: the image worker's answer is none
		image|/usr/bin/yes '{"ok":false}' >&6|protocol: the image worker's answer is none
		image|printf %9000d 1 >&6; read x <&6|protocol: the image worker's answer is none
		image|exec 6>&- /bin/sleep 1000|timeout: the image worker has not gone on for 500 ms (limits.worker_stall)
		image|exec /bin/sleep 1000|timeout: the image worker has not gone on for 500 ms (limits.worker_stall)
		image|kill -SEGV $$|protocol: the image worker was ended by signal 11 (SEGV)
		unpack|exit 3|protocol: layer 1: the unpack worker ended with status 3 and no answer
		unpack|echo '{"ok":true}' >&6|protocol: layer 1: the unpack worker's answer has no digest
		unpack|echo '{"ok":true,"bytes":1,"digest":"sha256:00"}' >&6|protocol: layer 1: its content has the digest sha256:00
		unpack|exit 112|limit: layer 1: the unpack worker needs more than 4 GiB of memory (limits.worker_memory)
		unpack|kill -XCPU $$|limit: layer 1: the unpack worker needs more than 3600 s of processor time (limits.worker_cpu)
		unpack|exec 6>&- /bin/sleep 1000|timeout: layer 1: the unpack worker has not gone on for 500 ms (limits.worker_stall)
		unpack|exec /bin/sleep 1000|timeout: layer 1: the unpack worker has not gone on for 500 ms (limits.worker_stall)
		unpack|echo '{"ok":false,"kind":"invalid","message":"\u001b[31mred"}' >&6|invalid: layer 1: \x1b[31mred
	END
}

@test "a worker that hangs is ended after some time" {
	"$TARS" mixed 10 >t.tar
	good=$(layer t.tar gzip)
	: >err
	"$TOOL" "$IMAGES" i stall=700 "$good" "${good%,*},$PWD/late" 2>err 3>&- &
	pid=$!
	wait_for grep -q '^waiting' err
	kill -STOP "$(pgrep -P $pid -f -- '--worker image$')"
	mv t.tar.gz late
	ends_with "timeout: layer 2: the image worker has not gone on for 700 ms (limits.worker_stall)"

	# The one that unpacks, while the other waits for it: so each is blamed for its own.
	head -c 100M /dev/urandom >big
	tar -cf big.tar big
	big=$(layer big.tar none)
	good=$(layer t.tar gzip)
	sum=$(sha256sum <big.tar)
	: >err
	"$TOOL" "$IMAGES" i stall=3000 "$good" "${big%,*},$PWD/late.tar" 2>err 3>&- &
	pid=$!
	wait_for grep -q '^waiting' err
	image_worker=$(pgrep -P $pid -f -- '--worker image$')
	kill -STOP "$image_worker"
	mv big.tar late.tar
	wait_for pgrep -P $pid -f -- '--worker unpack$'
	kill -STOP "$(pgrep -P $pid -f -- '--worker unpack$')"
	kill -CONT "$image_worker"
	ends_with "timeout: layer 2: the unpack worker has not gone on for 3.0 s (limits.worker_stall)"
	[ "$sum" = "$(sha256sum <late.tar)" ]
	"$TOOL" "$IMAGES" i "$good" "${big%,*},$PWD/late.tar"
}

@test "cancelled while a layer is downloaded, and while one is written" {
	"$TARS" mixed 10 >t.tar
	start_waiting "$(layer t.tar gzip)"
	kill -TERM $pid
	ends_with "cancelled: cancelled"

	head -c 100M /dev/urandom >big
	tar -cf big.tar big
	"$TOOL" "$IMAGES" i "$(layer big.tar none)" 2>err 3>&- &
	pid=$!
	wait_for pgrep -P $pid -f -- '--worker image$'
	kill -STOP "$(pgrep -P $pid -f -- '--worker image$')"
	wait_for pgrep -P $pid -f -- '--worker unpack$'
	kill -TERM $pid
	ends_with "cancelled: cancelled"
}

@test "a bad layer is told while the next one is still on its way" {
	"$TARS" escape >escape.tar
	# start_waiting() would never come back if it were not.
	"$TOOL" "$IMAGES" i "$(layer escape.tar gzip)" "none,sha256:0,$PWD/never" 2>err 3>&- &
	pid=$!
	ends_with "invalid: layer 1: entry 'a/../../outside': '..' is not allowed"
}

@test "workers end with the one that started them" {
	"$TARS" mixed 10 >t.tar
	start_waiting "$(layer t.tar gzip)"
	kill -KILL $pid
	wait $pid || true
	wait_for no_workers
	[[ $(ls -A "$IMAGES") == .new-i-* ]]
	"$BANGER_BUILD/tests/integration/image_tool" sweep "$IMAGES"
	nothing_left
}

@test "both kinds of workers can reach nothing" {
	head -c 100M /dev/urandom >big
	tar -cf big.tar big
	big=$(layer big.tar none)
	: >err
	"$TOOL" "$IMAGES" i "${big%,*},$PWD/late.tar" 2>err 3>&- &
	pid=$!
	wait_for grep -q '^waiting' err
	image_worker=$(pgrep -P $pid -f -- '--worker image$')
	wait_for grep -q '^Seccomp:[[:space:]]*2' "/proc/$image_worker/status"
	kill -STOP "$image_worker"
	mv big.tar late.tar
	wait_for pgrep -P $pid -f -- '--worker unpack$'
	unpack_worker=$(pgrep -P $pid -f -- '--worker unpack$')
	wait_for grep -q '^Seccomp:[[:space:]]*2' "/proc/$unpack_worker/status"
	for worker in "$image_worker" "$unpack_worker"; do
		grep -q '^NoNewPrivs:[[:space:]]*1' "/proc/$worker/status"
		[ "$(id -u)" -ne 0 ] || grep -q '^Uid:[[:space:]]*65534' "/proc/$worker/status"
		[ "$(id -u)" -ne 0 ] || grep -q '^CapEff:[[:space:]]*0000000000000000' "/proc/$worker/status"
		[ "$(tr -d '\0' <"/proc/$worker/environ")" = "" ]
	done
	[ "$(find "/proc/$unpack_worker/fd" -mindepth 1 -printf '%f\n' | sort -n | xargs)" = "0 1 2 3 4 6" ]
	kill -TERM $pid
	ends_with "cancelled: cancelled"
}

@test "killed at each step there is a whole image or none, and no leftover after the sweep" {
	"$TARS" mixed 10 >t.tar
	good=$(layer t.tar gzip)
	for point in image.build.staged image.build.written image.build.renamed; do
		BANGER_FAILPOINT=$point run "$TOOL" "$IMAGES" i "$good"
		[ "$status" -ne 0 ] || skip "built without failpoints"
		[ "$status" -eq 137 ]
		wait_for no_workers
		"$BANGER_BUILD/tests/integration/image_tool" sweep "$IMAGES"
		[ "$point" = image.build.renamed ] || nothing_left
	done
	clean "$ROOT"
}

@test "a full disk is said as such and leaves nothing" {
	mkdir small
	"$TARS" mixed 3000 >t.tar
	good=$(layer t.tar gzip)
	run --separate-stderr unshare -rm bash -c "mount -t tmpfs -o size=8m none small &&
		'$TOOL' '$PWD/small/images' i '$good'; status=\$?; ls -A small/images; exit \$status"
	[ "$status" -eq 1 ]
	says "system: write the image: No space left on device"
	[ "$output" = "" ]
}

@test "an I/O error at any write is an error, also where what is hidden is given back" {
	"$LAYERS" image whiteouts w
	"$LAYERS" image contents c
	tars=()
	for name in c w; do
		while IFS=, read -r _ diff_id _; do
			tars+=("layer=$name/blobs/sha256/${diff_id#sha256:}")
		done <$name/layers
	done
	for ((n = 1; n < 300; n++)); do
		rm -f i.ext4
		run --separate-stderr strace -f -o trace -e trace=pwrite64 -e inject=pwrite64:error=EIO:when="$n" \
			env ASAN_OPTIONS=detect_leaks=0 "$WRITER" i.ext4 size=67108864 "${tars[@]}"
		grep -q INJECTED trace || break
		[ "$status" -eq 1 ] || { echo "write $n: status $status $output $stderr"; return 1; }
		says "system: "
		says "Input/output error"
	done
	[ "$status" -eq 0 ]
	[ "$n" -gt 15 ] || { echo "only $n writes"; return 1; }
	clean i.ext4
}
