#!/usr/bin/env bats
# Pulls that are interrupted, while they download and while they write: by Ctrl-C, by the end of the command, and by that of
# bangerd. Nothing is left over, what was downloaded is not downloaded again, and the same command works.
# shellcheck disable=SC2154 # bats sets status, output, stderr, lines

load helper
load crash_helper
load registry

setup_file() {
	cd "$BATS_FILE_TMPDIR" || return
	export LAYOUTS=$PWD/layouts HOLD=$PWD/hold
	{
		make_layouts "$LAYOUTS"
		head -c 12M /dev/urandom >large
		umoci insert --image "$LAYOUTS/tiny:2" large /large
	} >umoci.log 2>&1
	start_registry "$PWD/registry"
	export REGISTRY_LOG=$PWD/registry/log
	push tiny:2 large:1
	/usr/bin/python3 "$BATS_TEST_DIRNAME/relay.py" port "$REGISTRY" "$HOLD" >relay.log 2>&1 3>&- &
	echo "$registry_pid $!" >pids
	wait_until 20 test -s port
	REFERENCE=127.0.0.1:$(<port)/large:1
	export REFERENCE
	share_home
	rm "$BANGER_STATE_DIR/images"
	mkdir -m 700 "$BANGER_STATE_DIR/images"
}

teardown_file() {
	end_shared_home
	# shellcheck disable=SC2046 # two of them
	kill $(<"$BATS_FILE_TMPDIR/pids")
}

setup() {
	cd "$BATS_FILE_TMPDIR" || return
	watch_census
	banger --quiet vm list >/dev/null
	: >"$REGISTRY_LOG"
	hold
}

# In the end the image is there, and nothing else of all the pulls.
teardown() {
	rm -f "$HOLD"
	equal "$(ls -A "$BANGER_STATE_DIR/images")" large-1
	equal "$(find "$BANGER_CACHE_DIR/partial" -type f)" ""
	banger --quiet image delete large-1 >/dev/null
	banger --quiet image cache prune >/dev/null
	banger --quiet daemon stop --force
	wait_until 20 no_process_of_ours
	compare_census
}

# Connections stop after 4 MiB: all but the large layer come through.
hold() {
	rm -f "$HOLD.held"
	echo $((4 << 20)) >"$HOLD"
}

# Starts a pull in a terminal's place, and waits until it waits for the large layer.
start_pull() {
	start "$1" "$BANGER" image pull "$REFERENCE"
	wait_until 20 test -e "$HOLD.held"
	wait_until 20 image_worker_is_there
}

# The same, and on until all is downloaded and the worker that writes the image has been stopped.
start_writing() {
	start_pull "$1"
	kill -STOP "$(image_worker)"
	rm "$HOLD"
	wait_until 20 all_is_downloaded
}

image_worker() {
	pgrep -f -- '--worker image$'
}

image_worker_is_there() {
	image_worker >/dev/null
}

all_is_downloaded() {
	[ -z "$(find "$BANGER_CACHE_DIR/partial" -type f)" ] && [ -n "$(find "$BANGER_CACHE_DIR/blobs" -size +11M)" ]
}

# No operation, no worker, no image, no staging folder.
nothing_is_left() {
	[ "$(banger --json daemon status | jq .operations)" -eq 0 ] && ! pgrep -f -- '--worker (image|unpack)$' >/dev/null &&
		[ -z "$(ls -A "$BANGER_STATE_DIR/images")" ]
}

# What is missing is downloaded, and the image is whole. $1 is how often the large layer was asked for, $2 how often for its rest.
pull_works() {
	local large
	rm -f "$HOLD"
	run_for 0 banger --quiet image pull "$REFERENCE"
	image_is_right
	large=$(sha256_of_large)
	equal "whole $(grep -c "blobs/sha256:$large.* 200 " "$REGISTRY_LOG") rest $(grep -c "blobs/sha256:$large.* 206 " "$REGISTRY_LOG")" \
		"whole $1 rest $2"
}

sha256_of_large() {
	local blob
	blob=$(find "$BANGER_CACHE_DIR/blobs" -size +11M)
	equal "$(sha256sum <"$blob" | cut -d ' ' -f 1)" "${blob##*/}"
	echo "${blob##*/}"
}

image_is_right() {
	local file=$BANGER_STATE_DIR/images/large-1/root.ext4
	e2fsck -fn "$file" >e2fsck.log 2>&1
	debugfs -R "dump /large got" "$file" 2>/dev/null
	cmp got large
}

@test "Ctrl-C while it downloads" {
	start_pull pull
	kill -INT "-$started"
	wait_for_status "$started" 130
	wait_until 20 nothing_is_left
	pull_works 1 1
}

@test "Ctrl-C while it writes" {
	start_writing pull
	kill -INT "-$started"
	wait_for_status "$started" 130
	wait_until 20 nothing_is_left
	pull_works 1 0
}

@test "the command is killed while it downloads" {
	start_pull pull
	kill -KILL "$started"
	wait_for_status "$started" 137
	wait_until 20 nothing_is_left
	pull_works 1 1
}

@test "the command is killed while it writes" {
	start_writing pull
	kill -KILL "$started"
	wait_for_status "$started" 137
	wait_until 20 nothing_is_left
	pull_works 1 0
}

@test "bangerd is killed while it downloads" {
	start_pull pull
	restart_daemon "kill -9 while it downloads"
	wait_for_status "$started" 1
	contains "$(<"$BATS_TEST_TMPDIR/pull.err")" "the daemon went away before it answered"
	wait_until 20 nothing_is_left
	pull_works 1 1
}

@test "bangerd is killed while it writes" {
	start_writing pull
	restart_daemon "kill -9 while it writes"
	wait_for_status "$started" 1
	wait_until 20 nothing_is_left
	pull_works 1 0
}

@test "bangerd is told to end while it downloads" {
	start_pull pull
	run_for 1 banger daemon stop
	contains "$stderr" "cannot stop bangerd: 1 operation is in flight"
	run_for 0 banger daemon stop --force
	wait_for_status "$started" 1
	recover "daemon stop --force"
	wait_until 20 nothing_is_left
	pull_works 1 1
}

@test "of two commands for one image one is interrupted: the other goes on" {
	local first
	start_pull first
	first=$started
	start second "$BANGER" image pull "$REFERENCE"
	two_pulls() { [ "$(banger --json daemon status | jq .operations)" -eq 2 ]; }
	wait_until 20 two_pulls
	kill -INT "-$first"
	wait_for_status "$first" 130
	rm "$HOLD"
	wait_for_status "$started" 0
	image_is_right
}

@test "vm run: interrupted while it pulls, no VM and no image" {
	start run "$BANGER" vm run --image "$REFERENCE" --rm -- cat /version
	wait_until 20 test -e "$HOLD.held"
	wait_until 20 image_worker_is_there
	kill -INT "-$started"
	wait_for_status "$started" 130
	wait_until 20 nothing_is_left
	assert_no_vms
	pull_works 1 1
}

