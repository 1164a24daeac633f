#!/usr/bin/env bats
# The ext4 writer against e2fsprogs, which judges and reads what it made, and against a host that fails at each write.
# shellcheck disable=SC2030,SC2031,SC2154 # bats sets status, output and stderr, for each test in a subshell of its own

bats_require_minimum_version 1.5.0

setup() {
	TOOL=$BANGER_BUILD/tests/integration/ext4_tool
	WORKER=$BANGER_BUILD/tests/integration/image_tool
	TARS=$BATS_TEST_DIRNAME/ext4_tars.py
	cd "$BATS_TEST_TMPDIR" || exit
}

teardown() {
	rm -rf "$BATS_TEST_TMPDIR"
}

# Makes i.ext4 from the tar of that name and has e2fsck look at it.
make_image() {
	"$TARS" "$@" >in.tar
	"$TOOL" i.ext4 <in.tar
	clean i.ext4
}

clean() {
	run e2fsck -fn "$1"
	[ "$status" -eq 0 ] || { echo "$output"; return 1; }
}

ask() {
	debugfs -R "$1" "${2:-i.ext4}" 2>/dev/null
}

refuses() {
	run --separate-stderr "$TOOL" "$@"
	[ "$status" -eq 1 ] || { echo "status $status: $output $stderr"; return 1; }
	output=$stderr
}

says() {
	[[ $output == *"$1"* ]] || { echo "does not say '$1': $output"; return 1; }
}

@test "each kind of entry comes out as it went in" {
	make_image kinds
	ask "stat /dir" | grep -q "Type: directory    Mode:  02775"
	ask "stat /dir" | grep -q "User:  1000   Group: -294967296"
	ask "stat /dir/file" | grep -q "Mode:  04755"
	ask "stat /dir/file" | grep -q "Links: 2"
	[ "$(ask "cat /other/hard")" = "some content" ]
	ask "stat /link59" | grep -q "Fast link dest: \"$(printf 't%.0s' {1..59})\""
	[ "$(ask "cat /link60" | wc -c)" -eq 60 ]
	[ "$(ask "cat /link4095" | wc -c)" -eq 4095 ]
	ask "stat /null" | grep -q "Device major/minor number: 01:03"
	ask "stat /disk" | grep -q "Device major/minor number: 259:70000"
	ask "stat /fifo" | grep -q "Type: FIFO"
	[ "$(ask "ea_get /small user.one")" = "user.one (1) = \"1\"" ]
	ask "ea_get /large user.large" | grep -q '^user.large (3000) = "vvvv'
	ask "ea_list /acl" | grep -q "system.posix_acl_access (28) = 01 00 00 00 01 00 06 00 02 00 04 00 e8 03 00 00"
	ask "stat /small" | grep -q "File ACL: 0"
	ask "stat /large" | grep -q "File ACL: [1-9]"
}

@test "features, journal and room for growing are those of mke2fs" {
	make_image kinds
	truncate -s 1G peer.ext4
	mke2fs -q -t ext4 peer.ext4
	ours=$(dumpe2fs -h i.ext4 2>/dev/null | sed -n 's/^Filesystem features: *//p' | tr ' ' '\n' | sort)
	theirs=$(dumpe2fs -h peer.ext4 2>/dev/null | sed -n 's/^Filesystem features: *//p' | tr ' ' '\n' | sort)
	[ "$ours" = "$theirs" ] || { diff <(echo "$ours") <(echo "$theirs"); false; }
	dumpe2fs -h i.ext4 2>/dev/null | grep -q '^Reserved GDT blocks: *1023$'
	dumpe2fs -h i.ext4 2>/dev/null | grep -q '^Total journal size: *32M$'
}

@test "a folder can have more subfolders than links can count" {
	make_image subfolders 64998
	ask "stat /many" | grep -q "Links: 65000"
	make_image subfolders 66000
	ask "stat /many" | grep -q "Links: 1 "
	[ "$(ask "ls -p /many" | grep -c '^/')" -ge 66002 ]
}

@test "a folder with 150000 names has an index of two levels, and each name is found" {
	make_image names 150000
	ask "htree_dump /names" | grep -q "Indirect levels: 1"
	for n in 0000000 0000001 0123456 0149999; do
		ask "stat /names/file-$n" | grep -q "Type: regular"
	done
	[ "$(ask "ls -p /names" | grep -c '/file-')" -eq 150000 ]
}

@test "names of 255 bytes, in blocks that hold few of them" {
	make_image long_names 20000
	name=$(printf '%.0s19999' {1..51})
	ask "stat /long/$name" | grep -q "Type: regular"
}

@test "a file of 3 GiB keeps every word in its place" {
	make_image big 3221225472
	ask "stat /big" | grep -q "Size: 3221225472"
	ask "cat /big" | python3 -c '
import sys
step, at = 1 << 20, 0
while piece := sys.stdin.buffer.read(step):
    assert piece == at.to_bytes(8, "little") + bytes(step - 8), at
    at += step
assert at == 3 << 30, at'
	[ "$(ask "cat /after")" = "in step" ]
	# All but a block of each MiB is a hole, in the file and on the host.
	[ "$(du -m i.ext4 | cut -f1)" -lt 64 ]
}

@test "a file in 5000 pieces has an extent tree that reads back" {
	make_image pieces 5000
	ask "extents /pieces" | grep -q "^ *2/ *2"
	ask "cat /pieces" >out
	tar -xOf in.tar pieces | cmp - out
}

@test "a sparse file of 1 TiB needs a block, and the tar of it is read by GNU tar's rules" {
	truncate -s 1T sparse
	printf end >>sparse
	for format in gnu pax; do
		tar --format=$format --sparse -cf in.tar sparse
		"$TOOL" i.ext4 <in.tar
		clean i.ext4
		ask "stat /sparse" | grep -q "Size: 1099511627779"
		ask "stat /sparse" | grep -q "Blockcount: 8$"
	done
}

@test "a real tree is the same when another program reads it back" {
	tar -C /usr/lib --sort=name -cf in.tar python3
	"$TOOL" i.ext4 <in.tar
	clean i.ext4
	mkdir out
	debugfs -R "rdump /python3 out" i.ext4 >/dev/null 2>&1
	diff -r --no-dereference /usr/lib/python3 out/python3
}

@test "the kernel reads it, changes it, and e2fsck is still content" {
	[ "$(id -u)" -eq 0 ] || skip "only root can mount"
	make_image mixed 3000
	mkdir m want
	tar -C want --xattrs -xpf in.tar
	# In a mount namespace of its own: mount and loop device go with it, however the test ends.
	unshare --mount bash -euo pipefail <<-'SCRIPT'
		mount -o loop i.ext4 m
		# Names, types, modes, links, sizes of files, owners, targets; then what is in the files.
		for side in want m; do
			(cd $side && find . -name lost+found -prune -o -type d -printf '%p %m %U %G\n' \
				-o -printf '%p %y %m %n %s %U %G %T@ %l\n' | sort) >$side.list
			(cd $side && find . -type f -print0 | sort -z | xargs -0 sha256sum) >>$side.list
		done
		umount m
		diff want.list m.list
		mount -o loop i.ext4 m
		touch m/f/0/new{1..3000}
		rm -r m/f/1
		umount m
	SCRIPT
	clean i.ext4
}

@test "the same input gives the same bytes, whatever the surroundings" {
	"$TARS" mixed 500 >in.tar
	sizes="size=134217728 seed-size=67108864"
	# shellcheck disable=SC2086
	"$TOOL" one.ext4 seed=one.seed $sizes <in.tar
	(
		umask 077
		export TZ=Asia/Kathmandu LC_ALL=C.UTF-8 E2FSPROGS_FAKE_TIME=12345 HOME=/nowhere
		# In pieces of another size, too.
		# shellcheck disable=SC2086
		dd if=in.tar bs=777 status=none | "$TOOL" two.ext4 seed=two.seed $sizes
	)
	cmp one.ext4 two.ext4
	cmp one.seed two.seed
	"$TOOL" three.ext4 size=134217728 epoch=1500000000 <in.tar
	run cmp -s one.ext4 three.ext4
	[ "$status" -eq 1 ]
	ask "stat /f/0/0" three.ext4 | grep -q "mtime: 0x59682f00"
	dumpe2fs -h three.ext4 2>/dev/null | grep -q 'Filesystem created: *Fri Jul 14'
	clean three.ext4
}

@test "the seed has what /root has" {
	"$TARS" kinds >in.tar
	"$TOOL" i.ext4 seed=s.ext4 <in.tar
	clean s.ext4
	[ "$(ask "cat /.bashrc" s.ext4)" = "alias ll='ls -l'" ]
	ask "stat <2>" s.ext4 | grep -q "Mode:  0700"
}

@test "empty file systems of many sizes" {
	for mib in 32 33 100 127 128 129 132 255 256 1000 1024 1025 1100 1152 4096 100000 2000000; do
		rm -f i.ext4
		"$TOOL" i.ext4 empty size=$((mib * 1048576)) >/dev/null
		clean i.ext4 || { echo "at $mib MiB"; false; }
	done
}

@test "what does not fit says what is needed, and that is enough" {
	"$TARS" mixed 6000 >in.tar
	refuses i.ext4 size=33554432 <in.tar
	says "limit: the size of 32 MiB (33554432 bytes) is too small"
	needed=$(sed -n 's/.* needs .*(\([0-9]*\) bytes).*/\1/p' <<<"$output")
	"$TOOL" i.ext4 "size=$needed" <in.tar
	clean i.ext4
	refuses i.ext4 "size=$((needed / 2))" <in.tar
	says "limit: the size of"
}

@test "every size around the smallest that fits is either made clean or refused" {
	"$TARS" mixed 3500 >in.tar
	made=0 refused=0
	for ((size = 40 << 20; size < 56 << 20; size += 700000)); do
		rm -f i.ext4
		if "$TOOL" i.ext4 "size=$size" <in.tar >/dev/null 2>err; then
			made=$((made + 1))
			clean i.ext4 || { echo "at $size"; false; }
		else
			refused=$((refused + 1))
			grep -q '^limit: the size of' err || { cat err; false; }
		fi
	done
	echo "made $made, refused $refused"
	[ "$made" -gt 3 ]
	[ "$refused" -gt 3 ]
}

@test "limits are named" {
	"$TARS" mixed 100 >in.tar
	refuses i.ext4 entries=50 <in.tar
	says "limit: there are more than 50 entries (limits.entries)"
	refuses i.ext4 bytes=5000 <in.tar
	says "there are more than 5000 bytes of content (limits.image_bytes)"
	"$TARS" links 64999 | "$TOOL" i.ext4
	clean i.ext4
	refuses i.ext4 < <("$TARS" links 65000)
	says "limit: entry 'l/64999': a file cannot have more than 65000 hard links"
}

@test "entries that would leave the image are refused by name" {
	refuses i.ext4 < <("$TARS" escape)
	says "invalid: entry 'a/../../outside': '..' is not allowed"
}

@test "a full file system is said as such" {
	"$TARS" mixed 2000 >in.tar
	mkdir small
	run unshare -rm bash -c 'mount -t tmpfs -o size=8m none small && '"$TOOL"' small/i.ext4 <in.tar'
	[ "$status" -eq 1 ]
	says "system: write the image: No space left on device"
	# The same through a limit on the size of files.
	run bash -c "trap '' XFSZ; ulimit -f 4096; $TOOL i.ext4 <in.tar"
	[ "$status" -eq 1 ]
	says "system: write the image: File too large"
}

# Fails the n-th call of that name until there are no more of them; each failure must be an error, not a success.
fail_each() {
	local call=$1 n
	for ((n = 1; n < 200; n++)); do
		rm -f i.ext4 s.ext4
		run --separate-stderr strace -f -o trace -e trace="$call" -e inject="$call":error=EIO:when="$n" \
			env ASAN_OPTIONS=detect_leaks=0 "$TOOL" i.ext4 seed=s.ext4 size=67108864 seed-size=67108864 <in.tar
		grep -q INJECTED trace || break
		[ "$status" -eq 1 ] || { echo "$call $n: status $status $output $stderr"; return 1; }
		[[ $stderr == *"system: "*"Input/output error" ]] || { echo "$call $n: $stderr"; return 1; }
	done
	[ "$status" -eq 0 ] || { echo "without injection: $status $output $stderr"; return 1; }
	[ "$n" -gt "$2" ] || { echo "only $n calls of $call"; return 1; }
	clean i.ext4
}

@test "an I/O error at any write, sync or change of size is an error" {
	"$TARS" mixed 20 >in.tar
	fail_each pwrite64 10
	fail_each fsync 2
	fail_each ftruncate 2
}

@test "an I/O error while reading the tar, and a tar that ends too early" {
	"$TARS" mixed 20 >in.tar
	# From a folder: each read fails.
	refuses i.ext4 <.
	says "system: read the tar stream: Is a directory"
	head -c 5000 in.tar >cut.tar
	refuses i.ext4 <cut.tar
	says "protocol: "
	refuses i.ext4 </dev/null
	says "protocol: "
	refuses i.ext4 <"$TARS"
	says "protocol: "
}

@test "the sandboxed worker makes the same, and passes errors on" {
	"$TARS" mixed 500 >in.tar
	"$TOOL" one.ext4 seed=one.seed <in.tar
	"$WORKER" tar two.ext4 two.seed <in.tar
	cmp -n $((200 << 20)) one.ext4 two.ext4
	cmp -n $((200 << 20)) one.seed two.seed
	run --separate-stderr "$WORKER" tar two.ext4 two.seed < <("$TARS" escape)
	[ "$status" -eq 1 ]
	[ "$stderr" = "invalid: entry 'a/../../outside': '..' is not allowed" ]
}
