#!/usr/bin/env bats
# src/image with a stand-in for mmdebstrap, which serves, fails, hangs and lies; and killed at each step. The real one builds
# the images that the end-to-end tests boot (tests/prepare-cache).
# shellcheck disable=SC2154 # bats sets stderr

bats_require_minimum_version 1.5.0

load helper

setup() {
	TOOL=$BANGER_BUILD/tests/integration/image_tool
	TARS=$BATS_TEST_DIRNAME/ext4_tars.py
	IMAGES=$BATS_TEST_TMPDIR/images
	FAKE=$BATS_TEST_TMPDIR/fake
	cd "$BATS_TEST_TMPDIR" || exit
	"$TARS" rootfs 1 >rootfs.tar
	fake "cat '$BATS_TEST_TMPDIR/rootfs.tar'"
}

teardown() {
	rm -rf "$BATS_TEST_TMPDIR"
}

# Puts a program called mmdebstrap with this body in front of the real one.
fake() {
	mkdir -p "$FAKE"
	printf '#!/bin/bash\nprintf "%%s\\n" "$@" >"%s/arguments"\n%s\n' "$FAKE" "$1" >"$FAKE/mmdebstrap"
	chmod +x "$FAKE/mmdebstrap"
	export PATH=$FAKE:$PATH
}

build() {
	run --separate-stderr "$TOOL" build "$IMAGES" "${1:-debian-bookworm}"
}

# The folder has these names and no others, and nothing works on them any more.
has_only() {
	[ "$(find "$IMAGES" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | xargs)" = "$*" ] || {
		ls -A "$IMAGES"
		return 1
	}
	run grep -lsF "$BATS_TEST_TMPDIR" /proc/[0-9]*/environ
	local pid
	for pid in $output; do
		pid=${pid#/proc/} pid=${pid%/environ}
		[[ $(tr '\0' ' ' <"/proc/$pid/cmdline") != *mmdebstrap* ]] || { echo "still runs: $pid"; return 1; }
	done
}

version() {
	debugfs -R "cat /version" "$IMAGES/debian-bookworm/root.ext4" 2>/dev/null
}

# Kills the tool at that failpoint.
killed_at() {
	local point=$1
	shift
	BANGER_FAILPOINT=$point run "$TOOL" "$@"
	[ "$status" -ne 0 ] || skip "built without failpoints"
	[ "$status" -eq 137 ] || { echo "status $status: $output"; return 1; }
}

sweep() {
	run "$TOOL" sweep "$IMAGES"
	succeeds
}

@test "an image is built, shown, listed and removed" {
	build
	succeeds
	has_only debian-bookworm
	[ "$(find "$IMAGES/debian-bookworm" -mindepth 1 -printf '%f\n' | sort | xargs)" = "image.json root.ext4 work-seed.ext4" ]
	[ "$(stat -c %a "$IMAGES/debian-bookworm")" = 700 ]
	run e2fsck -fn "$IMAGES/debian-bookworm/root.ext4"
	[ "$status" -eq 0 ]
	run e2fsck -fn "$IMAGES/debian-bookworm/work-seed.ext4"
	[ "$status" -eq 0 ]
	[ "$(debugfs -R "cat /.profile" "$IMAGES/debian-bookworm/work-seed.ext4" 2>/dev/null)" = "umask 022" ]
	jq -e '.name == "debian-bookworm" and .kind == "managed" and .recipe == .name and .kernel == "debian-cloud"
		and .has_init and .size_bytes == 1073741824 and .entries == 10
		and (.built_at | test("^20[0-9-]+T[0-9:]+Z$"))' "$IMAGES/debian-bookworm/image.json"
	run "$TOOL" show "$IMAGES" debian-bookworm
	[[ $output == "debian-bookworm kind=managed recipe=debian-bookworm kernel=debian-cloud size=1073741824 used="*" init=1" ]]
	build debian-bookworm-slim
	succeeds
	run "$TOOL" list "$IMAGES"
	[ "${#lines[@]}" -eq 2 ]
	run "$TOOL" remove "$IMAGES" debian-bookworm
	succeeds
	has_only debian-bookworm-slim
	run "$TOOL" remove "$IMAGES" debian-bookworm
	[ "$status" -eq 1 ]
	[ "$output" = "not_found: there is no image 'debian-bookworm'" ]
}

@test "mmdebstrap is asked for what the recipe says" {
	build
	succeeds
	grep -qx -- --variant=minbase "$FAKE/arguments"
	grep -qx -- --format=tar "$FAKE/arguments"
	for package in systemd-sysv openssh-server git jq tmux sudo ca-certificates; do
		grep -qx -- "--include=$package" "$FAKE/arguments"
	done
	grep -q -- '^--customize-hook=.*machine-id' "$FAKE/arguments"
	build debian-bookworm-slim
	succeeds
	run grep -c systemd "$FAKE/arguments"
	[ "$output" = 0 ]
}

@test "a name that is not in the catalog, and names that are none" {
	build debian-buzz
	fails_with "not_found: there is no image 'debian-buzz' in the catalog"
	for name in ../x .new-x '' a/b; do
		run --separate-stderr "$TOOL" show "$IMAGES" "$name"
		fails_with "invalid: "
		run --separate-stderr "$TOOL" remove "$IMAGES" "$name"
		fails_with "invalid: "
	done
}

@test "without mmdebstrap there is a hint" {
	run --separate-stderr env PATH=/nowhere "$TOOL" build "$IMAGES" debian-bookworm
	fails_with "mmdebstrap"
	[[ $stderr == *"hint: "*"apt-get install mmdebstrap"* ]]
	has_only
}

@test "what mmdebstrap says when it fails is passed on, and nothing is left" {
	fake "head -c 3000 '$BATS_TEST_TMPDIR/rootfs.tar'; echo 'E: no \$(touch x) such package' >&2; exit 7"
	build
	fails_with "no \$(touch x) such package"
	has_only
}

@test "it fails after a whole tar: no image" {
	fake "cat '$BATS_TEST_TMPDIR/rootfs.tar'; echo 'E: late' >&2; exit 1"
	build
	fails_with "late"
	has_only
}

@test "a tar that leaves the image, is cut short or is none" {
	"$TARS" escape >escape.tar
	fake "cat '$BATS_TEST_TMPDIR/escape.tar'; exec cat /dev/zero"
	build
	fails_with "invalid: entry 'a/../../outside': '..' is not allowed"
	has_only
	fake "head -c 4000 '$BATS_TEST_TMPDIR/rootfs.tar'"
	build
	fails_with "protocol: "
	has_only
	fake "echo this is no tar"
	build
	fails_with "protocol: "
	has_only
	fake "exit 0"
	build
	fails_with "protocol: "
	has_only
}

@test "packages without an init are no image with one" {
	"$TARS" mixed 3 >rootfs.tar
	build
	fails_with "protocol: the packages came without /sbin/init"
	has_only
}

@test "cancelling ends everything and leaves nothing" {
	fake "head -c 5000 '$BATS_TEST_TMPDIR/rootfs.tar'; touch '$BATS_TEST_TMPDIR/begun'; exec sleep 1000"
	"$TOOL" build "$IMAGES" debian-bookworm 2>err 3>&- &
	pid=$!
	wait_for test -e begun
	kill -TERM $pid
	status=0
	wait $pid || status=$?
	[ "$status" -eq 1 ]
	grep -qi cancel err || { cat err; false; }
	has_only
}

@test "killed while it builds: the next start ends what is left and removes it" {
	fake "head -c 5000 '$BATS_TEST_TMPDIR/rootfs.tar'; touch '$BATS_TEST_TMPDIR/begun'; exec sleep 1000"
	"$TOOL" build "$IMAGES" debian-bookworm 2>/dev/null 3>&- &
	pid=$!
	wait_for test -e begun
	worker=$(pgrep -P $pid -f -- '--worker image')
	kill -KILL $pid
	wait $pid || true
	wait_for bash -c "! [ -d /proc/$worker ]"
	sweep
	has_only
}

@test "a worker that is killed is one failed build" {
	fake "head -c 5000 '$BATS_TEST_TMPDIR/rootfs.tar'; touch '$BATS_TEST_TMPDIR/begun'; sleep 0.5; exec cat /dev/zero"
	"$TOOL" build "$IMAGES" debian-bookworm 2>err 3>&- &
	pid=$!
	wait_for test -e begun
	kill -KILL "$(pgrep -P $pid -f -- '--worker image')"
	status=0
	wait $pid || status=$?
	[ "$status" -eq 1 ]
	grep -q '^protocol: the image worker was ended by signal 9 (KILL)' err || { cat err; false; }
	has_only
}

@test "the worker can reach nothing: neither files, nor the network, nor other programs" {
	fake "head -c 5000 '$BATS_TEST_TMPDIR/rootfs.tar'; touch '$BATS_TEST_TMPDIR/begun'; exec sleep 1000"
	"$TOOL" build "$IMAGES" debian-bookworm 2>/dev/null 3>&- &
	pid=$!
	wait_for test -e begun
	worker=$(pgrep -P $pid -f -- '--worker image')
	wait_for grep -q '^Seccomp:[[:space:]]*2' "/proc/$worker/status"
	grep -q '^NoNewPrivs:[[:space:]]*1' "/proc/$worker/status"
	[ "$(id -u)" -ne 0 ] || grep -q '^Uid:[[:space:]]*65534' "/proc/$worker/status"
	[ "$(id -u)" -ne 0 ] || grep -q '^CapEff:[[:space:]]*0000000000000000' "/proc/$worker/status"
	[ "$(find "/proc/$worker/fd" -mindepth 1 -printf '%f\n' | sort -n | xargs)" = "0 1 2 3 4 5 6" ]
	[ "$(tr -d '\0' <"/proc/$worker/environ")" = "" ]
	kill -TERM $pid
	wait $pid || true
}

@test "killed at each step there is a whole image or none, and no leftover after the sweep" {
	for point in image.build.staged image.build.written; do
		killed_at $point build "$IMAGES" debian-bookworm
		run "$TOOL" list "$IMAGES"
		[ "$output" = "" ]
		sweep
		has_only
	done
	killed_at image.build.renamed build "$IMAGES" debian-bookworm
	sweep
	has_only debian-bookworm
	[ "$(version)" = 1 ]

	"$TARS" rootfs 2 >rootfs.tar
	for point in image.build.staged image.build.written; do
		killed_at $point build "$IMAGES" debian-bookworm
		sweep
		has_only debian-bookworm
		[ "$(version)" = 1 ]
	done
	killed_at image.build.renamed build "$IMAGES" debian-bookworm
	sweep
	has_only debian-bookworm
	[ "$(version)" = 2 ]

	killed_at image.delete.renamed remove "$IMAGES" debian-bookworm
	run "$TOOL" list "$IMAGES"
	[ "$output" = "" ]
	sweep
	has_only
}

@test "a new image takes the old one's place; a failed one does not" {
	build
	succeeds
	"$TARS" rootfs 2 >rootfs.tar
	build
	succeeds
	has_only debian-bookworm
	[ "$(version)" = 2 ]
	fake "exit 3"
	build
	[ "$status" -eq 1 ]
	has_only debian-bookworm
	[ "$(version)" = 2 ]
}

@test "a damaged image is named, and does not hide the others" {
	build
	build debian-bookworm-slim
	succeeds
	echo '{' >"$IMAGES/debian-bookworm/image.json"
	run --separate-stderr "$TOOL" show "$IMAGES" debian-bookworm
	fails_with "image 'debian-bookworm': 'image.json'"
	build
	succeeds
	truncate -s 1M "$IMAGES/debian-bookworm/root.ext4"
	run --separate-stderr "$TOOL" show "$IMAGES" debian-bookworm
	fails_with "invalid: image 'debian-bookworm': 'root.ext4' is damaged"
	run "$TOOL" list "$IMAGES"
	[[ $output == "debian-bookworm-slim "* ]]
	[ "${#lines[@]}" -eq 1 ]
}

@test "a full disk is said as such and leaves nothing" {
	mkdir small
	"$TARS" mixed 3000 >rootfs.tar
	run --separate-stderr unshare -rm bash -c "mount -t tmpfs -o size=12m none small &&
		'$TOOL' build '$PWD/small/images' debian-bookworm-slim; status=\$?; ls -A small/images; exit \$status"
	fails_with "system: write the image: No space left on device"
	[ "$output" = "" ]
}

@test "SOURCE_DATE_EPOCH repeats an image byte for byte" {
	export SOURCE_DATE_EPOCH=1500000000
	build
	succeeds
	cp --sparse=always "$IMAGES/debian-bookworm/root.ext4" one.ext4
	build
	succeeds
	cmp -n $((200 << 20)) one.ext4 "$IMAGES/debian-bookworm/root.ext4"
	SOURCE_DATE_EPOCH=soon build
	fails_with "invalid: SOURCE_DATE_EPOCH='soon' is no time"
}
