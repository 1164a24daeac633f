#!/usr/bin/env bats
# Bundles as people make them, with tar, sha256sum and zstd, from a server on loopback that is honest or is not; kernels
# from folders; registered images of mke2fs's making.

load helper

setup_file() {
	export TOOL=$BANGER_BUILD/tests/integration/artifact_tool
	export SERVED=$BATS_FILE_TMPDIR/served
	mkdir -p "$SERVED" "$BATS_FILE_TMPDIR/kernel/modules/kernel" "$BATS_FILE_TMPDIR/image"
	python3 "${BATS_TEST_DIRNAME}/bundle_server.py" "$SERVED" "$BATS_FILE_TMPDIR/port" 3>&- &
	echo $! >"$BATS_FILE_TMPDIR/server.pid"
	wait_for test -s "$BATS_FILE_TMPDIR/port"
	export URL
	URL=http://127.0.0.1:$(cat "$BATS_FILE_TMPDIR/port")
	make_kernel
	make_image
}

teardown_file() {
	kill "$(cat "$BATS_FILE_TMPDIR/server.pid")"
}

# What docs/formats.md says, step by step.
make_kernel() {
	cd "$BATS_FILE_TMPDIR/kernel" || return
	python3 "${BATS_TEST_DIRNAME}/small_kernel.py" >vmlinux
	echo '{"version":"6.1-9"}' >metadata.json
	echo kernel/drivers/virtio/virtio.ko >modules/modules.builtin
	# Enough that it takes several answers of a server that hangs up.
	head -c 300000 /dev/urandom >initrd
	pack ../served/kernel.tar.zst metadata.json vmlinux initrd modules/modules.builtin
}

make_image() {
	cd "$BATS_FILE_TMPDIR/image" || return
	mkdir -p tree/etc
	echo hello >tree/etc/motd
	mke2fs -q -t ext4 -d tree root.ext4 64M
	mke2fs -q -t ext4 work-seed.ext4 32M
	echo '{"kernel":"mine"}' >image.json
	pack ../served/image.tar.zst image.json root.ext4 work-seed.ext4
}

pack() {
	local out=$1
	shift
	sha256sum "$@" >SHA256SUMS
	tar --format=ustar --owner=0 --group=0 -cf - SHA256SUMS "$@" | zstd -q -f -T1 -o "$out"
}

setup() {
	export OWN=$BATS_TEST_TMPDIR/own
	export CONFIG=$BATS_TEST_TMPDIR/config
	mkdir -p "$OWN" "$CONFIG"
}

# A catalog with the entry "mine" of this kind ("kernels", "images") for FILE, served in this way.
catalog() {
	jq -n --arg url "$URL/$2/$3" --arg sha "$(sha256sum <"$SERVED/$3" | cut -d' ' -f1)" \
		--argjson size "$(stat -c %s "$SERVED/$3")" \
		"{$1: [{name: \"mine\", kind: \"bundle\", url: \$url, sha256: \$sha, size_bytes: \$size}]}" \
		>"$CONFIG/catalog.json"
}

assert_empty() {
	run ls -A "$OWN"
	[ -z "$output" ] || { echo "left in $OWN: $output"; return 1; }
}

@test "a kernel's bundle is pulled, verified and put into its place" {
	catalog kernels good kernel.tar.zst
	run "$TOOL" kernels "$CONFIG"
	[ "$output" = $'debian-cloud package default\nmine bundle users' ]
	"$TOOL" pull-kernel "$OWN" "$CONFIG" mine >"$BATS_TEST_TMPDIR/pulled.json" 2>"$BATS_TEST_TMPDIR/log"
	grep -q "^download:.* of $(stat -c %s "$SERVED/kernel.tar.zst")$" "$BATS_TEST_TMPDIR/log"
	grep -q '^kernel: unpacking' "$BATS_TEST_TMPDIR/log"
	[ "$(ls -A "$OWN")" = mine ]
	cd "$OWN/mine"
	[ "$(find . -type f | LC_ALL=C sort | tr '\n' ' ')" = \
		"./initrd ./kernel.json ./modules.dep ./modules/modules.builtin ./vmlinux " ]
	cmp vmlinux "$BATS_FILE_TMPDIR/kernel/vmlinux"
	cmp initrd "$BATS_FILE_TMPDIR/kernel/initrd"
	[ "$(jq -r '[.kind, .version, .release] | join(" ")' kernel.json)" = "bundle 6.1-9 6.1.0-small" ]
	[ "$(jq -r .vmlinux_sha256 kernel.json)" = "$(sha256sum <vmlinux | cut -d' ' -f1)" ]
	[ "$(jq -r .initrd_sha256 kernel.json)" = "$(sha256sum <initrd | cut -d' ' -f1)" ]
	# Pulled again, it takes the place of itself.
	"$TOOL" pull-kernel "$OWN" "$CONFIG" mine
	[ "$(ls -A "$OWN")" = mine ]
}

@test "a server that hangs up all the time is asked for the rest" {
	catalog kernels cut kernel.tar.zst
	"$TOOL" pull-kernel "$OWN" "$CONFIG" mine
	cmp "$OWN/mine/initrd" "$BATS_FILE_TMPDIR/kernel/initrd"
}

@test "what is not the bundle of the catalog is not unpacked, and leaves nothing" {
	local way
	for way in flip long short; do
		catalog kernels "$way" kernel.tar.zst
		run "$TOOL" pull-kernel "$OWN" "$CONFIG" mine
		echo "$way: $output"
		[ "$status" -eq 1 ]
		[[ ${lines[-1]} == "protocol: "* ]]
		[[ $output != *unpacking* ]]
		assert_empty
	done
	catalog images flip image.tar.zst
	run "$TOOL" pull-image "$OWN" "$CONFIG" mine
	[ "$status" -eq 1 ]
	[[ ${lines[-1]} == "protocol: "* ]]
	assert_empty
}

@test "a missing bundle and a server that is not there are said to be so" {
	catalog kernels good kernel.tar.zst
	sed -i "s,/good/,/nowhere/," "$CONFIG/catalog.json"
	run "$TOOL" pull-kernel "$OWN" "$CONFIG" mine
	echo "$output"
	[ "$status" -eq 1 ]
	[[ ${lines[-1]} == "not_found: "* ]]
	sed -i 's,http://127.0.0.1:[0-9]*,http://127.0.0.1:1,' "$CONFIG/catalog.json"
	run "$TOOL" pull-kernel "$OWN" "$CONFIG" mine
	echo "$output"
	[ "$status" -eq 1 ]
	[[ ${lines[-1]} == "not_found: "* ]]
	assert_empty
}

@test "a cancelled download leaves nothing" {
	catalog kernels hang kernel.tar.zst
	"$TOOL" pull-kernel "$OWN" "$CONFIG" mine >/dev/null 2>"$BATS_TEST_TMPDIR/log" 3>&- &
	local tool=$!
	wait_for grep -q '^download' "$BATS_TEST_TMPDIR/log"
	kill "$tool"
	status=0
	wait "$tool" || status=$? # not by run: it would wait in another shell, for nobody
	[ "$status" -eq 1 ]
	tail -1 "$BATS_TEST_TMPDIR/log"
	grep -q '^cancelled: ' "$BATS_TEST_TMPDIR/log"
	assert_empty
}

@test "an image's bundle becomes a managed image" {
	catalog images good image.tar.zst
	run "$TOOL" pull-image "$OWN" "$CONFIG" mine
	echo "$output"
	[ "$status" -eq 0 ]
	[ "${lines[-1]}" = "mine kind=managed kernel=mine source=$URL/good/image.tar.zst digest=- size=$((64 << 20)) init=0" ]
	cmp "$OWN/mine/root.ext4" "$BATS_FILE_TMPDIR/image/root.ext4"
	cmp "$OWN/mine/work-seed.ext4" "$BATS_FILE_TMPDIR/image/work-seed.ext4"
	[ "$(stat -c %b "$OWN/mine/root.ext4")" -le "$(stat -c %b "$BATS_FILE_TMPDIR/image/root.ext4")" ]
	e2fsck -fn "$OWN/mine/root.ext4"
	run "$TOOL" locate "$OWN" mine
	[ "$output" = "$OWN/mine/root.ext4"$'\n'"$OWN/mine/work-seed.ext4" ]
}

@test "tars of other kinds of tools and options are taken or refused as documented" {
	mkdir "$BATS_TEST_TMPDIR/b" && cd "$BATS_TEST_TMPDIR/b"
	cp "$BATS_FILE_TMPDIR/kernel/vmlinux" .
	local row
	# Options of tar, members, and how the message begins; "": it is taken.
	for row in "--format=gnu|SHA256SUMS vmlinux|" "--format=ustar|SHA256SUMS vmlinux|" \
		"--format=posix|SHA256SUMS vmlinux|'*' is a pax header" \
		"--format=gnu|./SHA256SUMS ./vmlinux|the first member is not SHA256SUMS" \
		"--format=gnu|.|'./' is a folder" \
		"--format=gnu|vmlinux SHA256SUMS|the first member is not SHA256SUMS" \
		"--format=gnu|SHA256SUMS vmlinux vmlinux|'vmlinux' is *"; do
		local format members message
		IFS='|' read -r format members message <<<"$row"
		sha256sum vmlinux >SHA256SUMS
		# shellcheck disable=SC2086 # several members
		tar "$format" -cf - $members | zstd -q -f -o "$SERVED/odd.tar.zst"
		catalog kernels good odd.tar.zst
		run "$TOOL" pull-kernel "$OWN" "$CONFIG" mine
		echo "$row: $output"
		if [ -z "$message" ]; then
			[ "$status" -eq 0 ]
			rm -r "$OWN/mine"
			continue
		fi
		[ "$status" -eq 1 ]
		# shellcheck disable=SC2053 # a pattern
		[[ ${lines[-1]} == "invalid: the bundle of kernel 'mine': "$message* ]]
		assert_empty
	done
}

@test "gigabytes of zeros in a small file cost neither space nor an image" {
	cd "$BATS_TEST_TMPDIR"
	truncate -s 1G root.ext4
	pack "$SERVED/zeros.tar.zst" root.ext4
	catalog images good zeros.tar.zst
	run "$TOOL" pull-image "$OWN" "$CONFIG" mine
	echo "${lines[-1]}"
	[ "$status" -eq 1 ]
	[[ ${lines[-1]} == "invalid: the bundle of image 'mine': 'root.ext4': this is no ext4 file system" ]]
	assert_empty
	# As a kernel it is refused by its header.
	truncate -s 20G vmlinux
	printf '%064d  vmlinux\n' 0 >SHA256SUMS
	tar --format=gnu -cf - SHA256SUMS vmlinux | head -c 100M | zstd -q -f -o "$SERVED/zeros.tar.zst"
	catalog kernels good zeros.tar.zst
	run "$TOOL" pull-kernel "$OWN" "$CONFIG" mine
	echo "${lines[-1]}"
	[ "$status" -eq 1 ]
	[[ ${lines[-1]} == "limit: the bundle of kernel 'mine': 'vmlinux' has 21474836480 bytes; at most 1073741824" ]]
	assert_empty
}

@test "a window of more than 128 MiB is refused" {
	cd "$BATS_FILE_TMPDIR/kernel"
	tar --format=ustar -cf - SHA256SUMS metadata.json vmlinux initrd modules/modules.builtin |
		zstd -q -f --ultra --long=28 -o "$SERVED/wide.tar.zst"
	catalog kernels good wide.tar.zst
	run "$TOOL" pull-kernel "$OWN" "$CONFIG" mine
	echo "${lines[-1]}"
	[ "$status" -eq 1 ]
	[ "${lines[-1]}" = "limit: the bundle of kernel 'mine': the bundle is compressed with a window of more than 128 MiB" ]
	assert_empty
}

@test "a kernel is imported from a folder, twice" {
	local from=$BATS_FILE_TMPDIR/kernel
	run "$TOOL" import "$OWN" own "$from"
	echo "$output"
	[ "$status" -eq 0 ]
	[ "$(jq -r '[.kind, .version, .release] | join(" ")' "$OWN/own/kernel.json")" = "imported 6.1-9 6.1.0-small" ]
	exec {held}<"$OWN/own/vmlinux"
	"$TOOL" import "$OWN" own "$from"
	[ "$(ls -A "$OWN")" = own ]
	# Who had the old one open still has it.
	cmp "/proc/self/fd/$held" "$from/vmlinux"
	exec {held}<&-
}

@test "a registered image is used in place until its file changes; promoted, it stays" {
	local root=$BATS_TEST_TMPDIR/my.img
	cp --sparse=always "$BATS_FILE_TMPDIR/image/root.ext4" "$root"
	run "$TOOL" register "$OWN" own "$root" -
	echo "$output"
	[ "$status" -eq 0 ]
	run "$TOOL" locate "$OWN" own
	[ "$output" = "$root"$'\n'"$OWN/own/work-seed.ext4" ]
	e2fsck -fn "$OWN/own/work-seed.ext4"
	"$TOOL" promote "$OWN" own
	cmp "$root" "$OWN/own/root.ext4"
	rm "$root"
	run "$TOOL" locate "$OWN" own
	[ "$output" = "$OWN/own/root.ext4"$'\n'"$OWN/own/work-seed.ext4" ]
	[ "$(ls -A "$OWN")" = own ]

	cp "$BATS_FILE_TMPDIR/image/root.ext4" "$root"
	"$TOOL" register "$OWN" other "$root" "$BATS_FILE_TMPDIR/image/work-seed.ext4"
	debugfs -w -R 'rm /etc/motd' "$root" 2>/dev/null
	run "$TOOL" locate "$OWN" other
	echo "$output"
	[ "${lines[0]}" = "state: image 'other': the registered file '$root' has changed since it was registered" ]
}

@test "a mounted or damaged file system is not registered" {
	local root=$BATS_TEST_TMPDIR/my.img
	cp "$BATS_FILE_TMPDIR/image/root.ext4" "$root"
	debugfs -w -R 'set_super_value state 2' "$root" 2>/dev/null
	run "$TOOL" register "$OWN" own "$root" -
	[ "${lines[0]}" = "invalid: register image 'own': '$root': the file system is marked as damaged" ]
	debugfs -w -R 'set_super_value state 0' "$root" 2>/dev/null
	run "$TOOL" register "$OWN" own "$root" -
	[ "${lines[0]}" = "invalid: register image 'own': '$root': the file system was not unmounted, or still is in use" ]
	[ "${lines[1]}" = "hint: unmount it, then: e2fsck -f FILE" ]
	truncate -s 60M "$root"
	debugfs -w -R 'set_super_value state 1' "$root" 2>/dev/null
	run "$TOOL" register "$OWN" own "$root" -
	[[ ${lines[0]} == *"the file system has 67108864 bytes, but the file only 62914560: it is cut short" ]]
	assert_empty
}

# As mke2fs makes it of $BATS_TEST_TMPDIR/tree: whether it is said to have an init.
init_of_tree() {
	local root=$BATS_TEST_TMPDIR/my.img
	rm -f "$root"
	truncate -s 16M "$root"
	mke2fs -q -t "${1:-ext4}" -d "$BATS_TEST_TMPDIR/tree" "${@:2}" "$root"
	"$TOOL" register "$OWN" own "$root" - | grep -o 'init=.*'
	rm -r "$OWN/own"
}

@test "whether a file system has an init is what the kernel would find" {
	local tree=$BATS_TEST_TMPDIR/tree
	mkdir -p "$tree/usr/sbin" "$tree/usr/lib/systemd"
	[ "$(init_of_tree)" = init=0 ]
	ln -s usr/sbin "$tree/sbin"
	ln -s ../lib/systemd/systemd "$tree/usr/sbin/init"
	[ "$(init_of_tree)" = init=0 ] # a link to nothing
	echo >"$tree/usr/lib/systemd/systemd"
	[ "$(init_of_tree)" = init=0 ] # cannot be executed
	chmod 755 "$tree/usr/lib/systemd/systemd"
	[ "$(init_of_tree)" = init=1 ]
	[ "$(init_of_tree ext2)" = init=1 ]
	[ "$(init_of_tree ext4 -O inline_data,^metadata_csum -b 1024)" = init=1 ]
	# Absolute links lead into the file system, not to the host's.
	ln -sfn "/$(printf 'x%.0s' {1..80})/../usr/lib/systemd/systemd" "$tree/usr/sbin/init"
	[ "$(init_of_tree)" = init=0 ]
	ln -sfn /usr/lib/../lib/systemd/././././././././././././././././././././././././././systemd "$tree/usr/sbin/init"
	[ "$(init_of_tree)" = init=1 ]
	ln -sfn /bin/sh "$tree/usr/sbin/init"
	[ "$(init_of_tree)" = init=0 ]
	ln -sfn init "$tree/usr/sbin/init"
	[ "$(init_of_tree)" = init=0 ] # to itself
	rm "$tree/usr/sbin/init"
	mkdir "$tree/usr/sbin/init"
	[ "$(init_of_tree)" = init=0 ]
}

# What somebody hostile wrote reaches nothing but a worker, and ends in an answer or an error.
@test "a file system that is damaged at random is registered or refused, and nothing else happens" {
	local root=$BATS_TEST_TMPDIR/my.img tree=$BATS_TEST_TMPDIR/tree seed=0 refused=0
	mkdir -p "$tree/sbin"
	cp /bin/true "$tree/sbin/init"
	for ((seed = 1; seed <= 30; seed++)); do
		rm -f "$root"
		mke2fs -q -t ext4 -b 4096 -O '^metadata_csum' -d "$tree" "$root" 8M
		# Descriptors, the first inodes and folders; of the superblock little gets past the first look.
		python3 - "$root" "$seed" 1 "$(dumpe2fs "$root" 2>/dev/null | grep -oP -m1 'Inode table at \K\d+')" \
			"$(debugfs -R 'blocks /' "$root" 2>/dev/null)" "$(debugfs -R 'blocks /sbin' "$root" 2>/dev/null)" <<-'PYTHON'
			import random, sys
			random.seed(int(sys.argv[2]))
			with open(sys.argv[1], "r+b") as file:
			    for _ in range(random.choice((5, 20, 80))):
			        file.seek(int(random.choice(sys.argv[3:])) * 4096 + int(4096 * random.random() ** 3))
			        file.write(random.randbytes(random.choice((1, 2, 4))))
		PYTHON
		run "$TOOL" register "$OWN" own "$root" -
		case $status in
		0) rm -r "$OWN/own" ;;
		1)
			refused=$((refused + 1))
			# shellcheck disable=SC2154 # bats sets lines
			[[ ${lines[0]} =~ ^(invalid|protocol|timeout|system):\ register\ image\ \'own\':\ \'$root\': ]]
			;;
		*) echo "seed $seed: $status: $output"; return 1 ;;
		esac
		assert_empty
	done
	echo "# $refused of 30 refused" >&3
	[ "$refused" -gt 0 ]
}

@test "killed at each named step, a bundle and an import are done or undone" {
	grep -q BANGER_FAILPOINT "$TOOL" || skip "this build has no failpoints"
	catalog kernels good kernel.tar.zst
	local step
	for step in kernel.pull.staged kernel.pull.extracted; do
		BANGER_FAILPOINT=$step run "$TOOL" pull-kernel "$OWN" "$CONFIG" mine
		[ "$status" -eq 137 ]
		BANGER_FAILPOINT=$step run "$TOOL" import "$OWN" own "$BATS_FILE_TMPDIR/kernel"
		[ "$status" -eq 137 ]
		[ -z "$(find "$OWN" -mindepth 1 -maxdepth 1 ! -name ".*")" ]
		"$TOOL" sweep "$OWN"
		assert_empty
	done
	BANGER_FAILPOINT=kernel.pull.renamed run "$TOOL" import "$OWN" own "$BATS_FILE_TMPDIR/kernel"
	[ "$status" -eq 137 ]
	BANGER_FAILPOINT=kernel.pull.renamed run "$TOOL" import "$OWN" own "$BATS_FILE_TMPDIR/kernel"
	[ "$status" -eq 137 ]
	[ "$(find "$OWN" -mindepth 1 -maxdepth 1 | wc -l)" -eq 2 ]
	"$TOOL" sweep "$OWN"
	[ "$(ls -A "$OWN")" = own ]
	cmp "$OWN/own/vmlinux" "$BATS_FILE_TMPDIR/kernel/vmlinux"
}

@test "killed at each named step, images are bundled, registered and promoted or not" {
	grep -q BANGER_FAILPOINT "$TOOL" || skip "this build has no failpoints"
	local root=$BATS_FILE_TMPDIR/image/root.ext4
	catalog images good image.tar.zst
	BANGER_FAILPOINT=image.build.staged run "$TOOL" pull-image "$OWN" "$CONFIG" mine
	[ "$status" -eq 137 ]
	BANGER_FAILPOINT=image.build.staged run "$TOOL" register "$OWN" own "$root" -
	[ "$status" -eq 137 ]
	[ -z "$(find "$OWN" -mindepth 1 -maxdepth 1 ! -name ".*")" ]
	"$TOOL" sweep "$OWN"
	assert_empty
	BANGER_FAILPOINT=image.build.renamed run "$TOOL" pull-image "$OWN" "$CONFIG" mine
	[ "$status" -eq 137 ]
	cmp "$OWN/mine/root.ext4" "$root"
	BANGER_FAILPOINT=image.build.renamed run "$TOOL" register "$OWN" own "$root" -
	[ "$status" -eq 137 ]
	[ "$("$TOOL" locate "$OWN" own | head -1)" = "$root" ]
	BANGER_FAILPOINT=image.build.staged run "$TOOL" promote "$OWN" own
	[ "$status" -eq 137 ]
	[ "$("$TOOL" locate "$OWN" own | head -1)" = "$root" ]
	BANGER_FAILPOINT=image.build.renamed run "$TOOL" promote "$OWN" own
	[ "$status" -eq 137 ]
	[ "$("$TOOL" locate "$OWN" own | head -1)" = "$OWN/own/root.ext4" ]
	cmp "$OWN/own/root.ext4" "$root"
	"$TOOL" sweep "$OWN"
	[ "$(find "$OWN" -mindepth 1 -maxdepth 1 | wc -l)" -eq 2 ]
}

@test "a promoted image shares its blocks with the file where the file system can" {
	[ "$(id -u)" -eq 0 ] || skip "needs root, to mount"
	grep -qw btrfs /proc/filesystems || skip "the kernel has no btrfs"
	local disk=$BATS_TEST_TMPDIR/disk place=$BATS_TEST_TMPDIR/place
	truncate -s 256M "$disk"
	mkfs.btrfs -q "$disk"
	mkdir "$place"
	# shellcheck disable=SC2016 # for the inner shell to expand. A mount of its own namespace goes when the shell goes.
	unshare --mount bash -eu -c '
		mount -o loop "$1" "$2"
		head -c 20M /dev/urandom >"$2/content"
		mkdir "$2/tree" && mv "$2/content" "$2/tree/"
		mke2fs -q -t ext4 -d "$2/tree" "$2/root.ext4" 64M
		rm -r "$2/tree"
		"$TOOL" register "$2/images" own "$2/root.ext4" -
		"$TOOL" promote "$2/images" own
		cmp "$2/root.ext4" "$2/images/own/root.ext4"
		sync -f "$2"
		filefrag -v "$2/images/own/root.ext4" >"$2/extents"
		cat "$2/extents"
		grep -q shared "$2/extents"
	' _ "$disk" "$place"
	[ -z "$(losetup -j "$disk")" ]
}
