#!/usr/bin/env bats
# src/kernel against the real things: Debian's package through mmdebstrap, file and readelf, and a guest that boots
# what was made. Once pulled, the package is served again by a stand-in for mmdebstrap, which also fails, hangs and lies.

load helper

setup_file() {
	export TOOL=$BANGER_BUILD/tests/integration/kernel_tool
	export KERNELS=$BATS_FILE_TMPDIR/kernels
	export FAKE=$BATS_FILE_TMPDIR/fake
	host_state >"$BATS_FILE_TMPDIR/host-before"
	"$TOOL" pull "$KERNELS" debian-cloud >"$BATS_FILE_TMPDIR/pulled.json" 2>"$BATS_FILE_TMPDIR/pulled.log"
	host_state >"$BATS_FILE_TMPDIR/host-after"
	export RELEASE
	RELEASE=$(jq -r .release "$BATS_FILE_TMPDIR/pulled.json")
	make_package_tar
}

# The host's own package state.
host_state() {
	find /var/lib/apt /var/lib/dpkg /var/cache/apt -type f -printf '%p %s %T@\n' 2>/dev/null | sort
}

# The package's files again, as mmdebstrap would send them.
make_package_tar() {
	local kernel=$KERNELS/debian-cloud
	tar -C "$kernel" -cf "$BATS_FILE_TMPDIR/package.tar" \
		--transform "s,^vmlinuz\$,./boot/vmlinuz-$RELEASE," \
		--transform "s,^modules,./lib/modules/$RELEASE," vmlinuz modules
}

# Puts a program called mmdebstrap with this body in front of the real one.
fake_mmdebstrap() {
	mkdir -p "$FAKE"
	printf '#!/bin/bash\n%s\n' "$1" >"$FAKE/mmdebstrap"
	chmod +x "$FAKE/mmdebstrap"
	export PATH=$FAKE:$PATH
}

setup() {
	export OWN=$BATS_TEST_TMPDIR/kernels
	mkdir -p "$OWN"
}

# Nothing of an unfinished pull is left: no file in the folder, no process that works below it.
assert_clean() {
	run ls -A "$OWN"
	[ -z "$output" ] || { echo "left in $OWN: $output"; return 1; }
	run grep -lsF "$OWN" /proc/[0-9]*/environ
	[ -z "$output" ] || { echo "still works: $output"; return 1; }
}

# Gone, or waiting for init to take notice.
has_ended() {
	[[ $(ps -o stat= -p "$1") =~ ^(Z.*)?$ ]]
}

@test "a pull makes a kernel that file and readelf recognise" {
	cd "$KERNELS/debian-cloud"
	run file -b vmlinux
	[[ $output == "ELF 64-bit LSB executable, x86-64"* ]] || { echo "$output"; false; }
	run file -b vmlinuz
	[[ $output == *"bzImage, version $RELEASE "* ]] || { echo "$output"; false; }
	# The note with the PVH entry: owner Xen, type 18.
	readelf -nW vmlinux | grep -q '^ *Xen .*0x00000012'
	run "$TOOL" inspect vmlinux
	[ "$output" = "elf pvh=1 release= version=" ]
	run "$TOOL" inspect vmlinuz
	[[ $output == "bzimage pvh=0 release=$RELEASE version="[0-9]* ]]
}

@test "the record tells what is there" {
	cd "$KERNELS/debian-cloud"
	[ "$(jq -r .name kernel.json)" = debian-cloud ]
	[ "$(jq -r .package kernel.json)" = linux-image-cloud-amd64 ]
	[ "$(jq -c .formats kernel.json)" = '["elf","bzimage"]' ]
	[ "$(jq -r .modules kernel.json)" -eq "$(find modules -name '*.ko*' | wc -l)" ]
	[ "$(jq -r .vmlinux_sha256 kernel.json)" = "$(sha256sum <vmlinux | cut -d' ' -f1)" ]
	[ "$(jq -r .vmlinuz_sha256 kernel.json)" = "$(sha256sum <vmlinuz | cut -d' ' -f1)" ]
	[ "$(jq -r .size_bytes kernel.json)" -eq \
		"$(find . -type f ! -name kernel.json -printf '%s\n' | awk '{sum += $1} END {print sum}')" ]
	run "$TOOL" show "$KERNELS" debian-cloud
	[ "$output" = "$(cat kernel.json)" ]
	run "$TOOL" list "$KERNELS"
	[ "$output" = debian-cloud ]
}

@test "a pull leaves nothing else behind, and the host's packages alone" {
	run ls -A "$KERNELS"
	[ "$output" = debian-cloud ]
	[ -z "$(find "$KERNELS" ! -type f ! -type d)" ]
	diff "$BATS_FILE_TMPDIR/host-before" "$BATS_FILE_TMPDIR/host-after"
	grep -q '^kernel: downloading packages' "$BATS_FILE_TMPDIR/pulled.log"
}

@test "modules.dep names every module, and only what is there" {
	cd "$KERNELS/debian-cloud"
	diff <(cut -d: -f1 modules.dep) <(cd modules && find . -name '*.ko*' -printf '%P\n' | LC_ALL=C sort)
	[ -z "$(comm -13 <(cut -d: -f1 modules.dep | sort) <(cut -d: -f2 modules.dep | tr ' ' '\n' | grep . | sort -u))" ]
	# virtio_net needs, through others, what it does not name itself.
	run grep '/virtio_net.ko:' modules.dep
	[[ $output == *net_failover.ko*failover.ko* && $output == *virtio.ko*virtio_ring.ko* ]]
}

@test "a guest boots it, loads its modules in order and finds its identity" {
	cp -r --reflink=auto "$KERNELS/debian-cloud" "$OWN/"
	cd "$OWN/debian-cloud"
	run "$TOOL" initramfs "$OWN" debian-cloud "$BANGER_BUILD/tests/integration/kernel_init"
	[ "$status" -eq 0 ]
	[[ $output == "initramfs: packing"* ]]
	cp initramfs.img first.img
	run "$TOOL" initramfs "$OWN" debian-cloud "$BANGER_BUILD/tests/integration/kernel_init"
	[ "$status" -eq 0 ]
	[ -z "$output" ]
	rm initramfs.json
	"$TOOL" initramfs "$OWN" debian-cloud "$BANGER_BUILD/tests/integration/kernel_init"
	cmp initramfs.img first.img

	"$TOOL" write-vm initramfs.img initrd '{"hostname":"box-4711"}'
	truncate -s 16M disk
	timeout 120 qemu-system-x86_64 -M microvm,acpi=on,pit=on,pic=on,rtc=on,isa-serial=on,x-option-roms=off \
		-accel tcg,thread=multi -cpu max -smp 1 -m 512 -kernel vmlinux -initrd initrd \
		-append "console=ttyS0 reboot=k panic=1 tsc_early_khz=1000000 cryptomgr.notests" \
		-nodefaults -no-user-config -no-reboot -display none -serial stdio \
		-drive file=disk,format=raw,if=none,id=disk -device virtio-blk-device,drive=disk \
		</dev/null >console 2>&1 || { cat console; false; }
	run grep -a -o 'MARK.*[[:graph:]]' console
	echo "$output"
	[ "${lines[0]}" = "MARK init" ]
	[ "${lines[1]}" = "MARK loaded 16" ]
	[ "${lines[2]}" = 'MARK identity 600 {"hostname":"box-4711"}' ]
	[ "${lines[3]}" = "MARK vda there" ]
	[ "${#lines[@]}" -eq 4 ]
}

@test "files that are no kernels are refused with what they are" {
	cd "$BATS_TEST_TMPDIR"
	gzip -1 -c "$KERNELS/debian-cloud/vmlinuz" >vmlinuz.gz
	head -c 1000000 "$KERNELS/debian-cloud/vmlinuz" >short
	: >empty
	truncate -s 5G huge
	mkfifo fifo
	local rows=(
		"vmlinuz.gz|invalid: this is gzip data (a compressed vmlinux has to be unpacked first); a kernel is an x86-64 ELF file (vmlinux) or a bzImage"
		"short|invalid: this is a bzImage cut short; "
		"empty|invalid: this is an empty file; "
		"huge|limit: this file has 5368709120 bytes; a kernel has at most 1073741824"
		"fifo|invalid: this is not a regular file; "
		"/dev/null|invalid: this is not a regular file; "
		"/bin/true|invalid: this is an ELF program that runs on a kernel; "
		"$(find "$KERNELS" -name virtio.ko)|invalid: this is an ELF object file (a kernel module?); "
	)
	for row in "${rows[@]}"; do
		run timeout 10 "$TOOL" inspect "${row%%|*}"
		echo "${row%%|*}: $output"
		[ "$status" -eq 1 ]
		[[ $output == "${row#*|}"* ]]
	done
}

@test "a second pull replaces the kernel as a whole" {
	fake_mmdebstrap "cat '$BATS_FILE_TMPDIR/package.tar'"
	"$TOOL" pull "$OWN" debian-cloud
	touch "$OWN/debian-cloud/from-the-first"
	exec {held}<"$OWN/debian-cloud/vmlinux"
	"$TOOL" pull "$OWN" debian-cloud
	[ "$(ls -A "$OWN")" = debian-cloud ]
	[ ! -e "$OWN/debian-cloud/from-the-first" ]
	cmp "$OWN/debian-cloud/vmlinux" "$KERNELS/debian-cloud/vmlinux"
	diff -r "$OWN/debian-cloud/modules" "$KERNELS/debian-cloud/modules"
	# Who had the old one open still has it, also after a removal.
	"$TOOL" remove "$OWN" debian-cloud
	cmp "/proc/self/fd/$held" "$KERNELS/debian-cloud/vmlinux"
	exec {held}<&-
	assert_clean
	run "$TOOL" show "$OWN" debian-cloud
	[ "${lines[0]}" = "not_found: there is no kernel 'debian-cloud'" ]
	[ "${lines[1]}" = "hint: banger kernel pull debian-cloud" ]
}

@test "a plain user can pull" {
	[ "$(id -u)" -eq 0 ] || skip "needs root, to become somebody else"
	local own
	own=$(mktemp -d)
	chown daemon "$own"
	# What the other user runs has to be where that user gets to.
	cp "$TOOL" "$own/kernel_tool"
	run setpriv --reuid=daemon --regid=daemon --clear-groups env HOME=/nonexistent \
		"$own/kernel_tool" pull "$own/kernels" debian-cloud
	echo "$output"
	[ "$status" -eq 0 ]
	cmp "$own/kernels/debian-cloud/vmlinux" "$KERNELS/debian-cloud/vmlinux"
	[ "$(stat -c %U "$own/kernels/debian-cloud")" = daemon ]
	rm -r "$own"
}

@test "a cancelled pull leaves nothing" {
	run timeout 60 "$TOOL" pull-cancelled "$OWN" debian-cloud
	echo "$output"
	[ "$status" -eq 1 ]
	[[ ${lines[-1]} == "cancelled: pull kernel 'debian-cloud': "* ]]
	assert_clean
}

@test "what mmdebstrap says when it fails is passed on, escaped" {
	fake_mmdebstrap "printf 'I: running\nE: no such \e[31mpackage\nE: mmdebstrap failed to run\n' >&2; exit 25"
	run "$TOOL" pull "$OWN" debian-cloud
	[ "$status" -eq 1 ]
	[[ $output == *"system: pull kernel 'debian-cloud': 'mmdebstrap' failed: no such \\x1b[31mpackage"* ]] || { echo "$output"; false; }
	[[ $output == *"hint: it needs a Debian mirror; set BANGER_DEBIAN_MIRROR"* ]]
	assert_clean
}

@test "mmdebstrap missing comes with the cure" {
	PATH=$BATS_TEST_TMPDIR/nowhere run "$TOOL" pull "$OWN" debian-cloud
	[ "$status" -eq 1 ]
	[ "${lines[0]}" = "system: pull kernel 'debian-cloud': run 'mmdebstrap': No such file or directory" ]
	[ "${lines[1]}" = "hint: install Debian's package of that name: apt-get install mmdebstrap" ]
	assert_clean
}

@test "an archive cut short, foreign or failing at its end makes no kernel" {
	local rows=(
		"head -c 50000000 '$BATS_FILE_TMPDIR/package.tar'|the package's tar is damaged: "
		"head -c 5000 /dev/zero|the package has no boot/vmlinuz-RELEASE"
		"echo no tar at all|the package's tar is damaged: "
		"cat '$BATS_FILE_TMPDIR/package.tar'; echo E: in the end >&2; exit 1|'mmdebstrap' failed: in the end"
		"cat '$BATS_FILE_TMPDIR/package.tar'; kill -9 \$\$|'mmdebstrap' failed: it said nothing"
	)
	for row in "${rows[@]}"; do
		fake_mmdebstrap "${row%%|*}"
		run "$TOOL" pull "$OWN" debian-cloud
		echo "${row%%|*}: $output"
		[ "$status" -eq 1 ]
		[[ $output == *"pull kernel 'debian-cloud': ${row#*|}"* ]]
		assert_clean
	done
}

@test "the mirror of the environment is used, and checked" {
	# shellcheck disable=SC2016 # for the stand-in to expand
	fake_mmdebstrap 'echo "E: arguments: $*" >&2; exit 1'
	BANGER_DEBIAN_MIRROR=http://mirror.invalid/debian run "$TOOL" pull "$OWN" debian-cloud
	[[ $output == *"--variant=extract --mode=chrootless --format=tar --architectures=amd64 --include=linux-image-cloud-amd64 -- bookworm - http://mirror.invalid/debian"* ]] || { echo "$output"; false; }
	BANGER_DEBIAN_MIRROR=- run "$TOOL" pull "$OWN" debian-cloud
	[ "$output" = "invalid: pull kernel 'debian-cloud': BANGER_DEBIAN_MIRROR='-' is no mirror" ]
	assert_clean
}

@test "a killed pull and its processes are swept" {
	fake_mmdebstrap "echo \$\$ >'$BATS_TEST_TMPDIR/leader'; sleep 4711 & echo \$! >'$BATS_TEST_TMPDIR/child'; wait"
	"$TOOL" pull "$OWN" debian-cloud 3>&- &
	local pull=$!
	wait_for test -s "$BATS_TEST_TMPDIR/child"
	kill -9 "$pull"
	wait "$pull" || true
	kill -0 "$(cat "$BATS_TEST_TMPDIR/leader")"
	"$TOOL" sweep "$OWN"
	for process in leader child; do
		wait_for has_ended "$(cat "$BATS_TEST_TMPDIR/$process")"
	done
	assert_clean
}

@test "killed at each named step, a pull and a removal are done or undone" {
	grep -q BANGER_FAILPOINT "$TOOL" || skip "this build has no failpoints"
	fake_mmdebstrap "cat '$BATS_FILE_TMPDIR/package.tar'"
	local step
	for step in kernel.pull.staged kernel.pull.extracted; do
		BANGER_FAILPOINT=$step run "$TOOL" pull "$OWN" debian-cloud
		echo "$step: $status $output"
		[ "$status" -eq 137 ]
		[ -z "$("$TOOL" list "$OWN")" ]
		"$TOOL" sweep "$OWN"
		assert_clean
	done
	BANGER_FAILPOINT=kernel.pull.renamed run "$TOOL" pull "$OWN" debian-cloud
	[ "$status" -eq 137 ]
	[ "$("$TOOL" list "$OWN")" = debian-cloud ]
	# Over an older one: the old folder is what has to be swept.
	BANGER_FAILPOINT=kernel.pull.renamed run "$TOOL" pull "$OWN" debian-cloud
	[ "$status" -eq 137 ]
	[ "$(find "$OWN" -mindepth 1 -maxdepth 1 | wc -l)" -eq 2 ]
	"$TOOL" sweep "$OWN"
	[ "$(ls -A "$OWN")" = debian-cloud ]
	diff -r "$OWN/debian-cloud/modules" "$KERNELS/debian-cloud/modules"

	BANGER_FAILPOINT=kernel.rm.renamed run "$TOOL" remove "$OWN" debian-cloud
	[ "$status" -eq 137 ]
	[ -z "$("$TOOL" list "$OWN")" ]
	"$TOOL" sweep "$OWN"
	assert_clean
}
