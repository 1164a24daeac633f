#!/usr/bin/env bats
# Many at once, and many one after another: nothing is lost, and nothing grows. VMs without boot.

load helper

export BATS_TEST_TIMEOUT=600

load_with() {
	/usr/bin/python3 "$BATS_TEST_DIRNAME/load.py" "$@"
}

descriptors() {
	find "/proc/$(daemon_pid)/fd" -mindepth 1 | wc -l
}

# What is its own of the daemon's memory, in KiB.
memory_kib() {
	awk '/^Anonymous:/ { print $2 }' "/proc/$(daemon_pid)/smaps_rollup"
}

# Connections that have ended are closed when their thread is next.
descriptors_are() {
	[ "$(descriptors)" -le "$1" ]
}

threads_are() {
	[ "$(find "/proc/$(daemon_pid)/task" -mindepth 1 -maxdepth 1 | wc -l)" -le "$1" ]
}

@test "200 clients for a minute: nothing but 'busy' is refused, nothing is lost" {
	banger vm list
	load_with crowd 20 2
	before=$(descriptors) threads=$(find "/proc/$(daemon_pid)/task" -mindepth 1 -maxdepth 1 | wc -l)
	run load_with crowd 200 60
	echo "$output"
	equal "$status" 0
	wait_until 20 threads_are "$threads"
	wait_until 20 descriptors_are "$before"
	assert_no_vms
	banger --json daemon status | jq -e '.operations == 0'
}

# The address sanitizer keeps what was freed, so that memory is compared only where there is none.
@test "1 000 VMs made and deleted: memory, descriptors and folders are where they were" {
	banger vm list
	load_with cycles 50
	descriptors=$(descriptors) memory=$(memory_kib) database=$(stat -c %s "$BANGER_STATE_DIR/state.db")
	load_with cycles 1000
	wait_until 20 descriptors_are "$descriptors"
	assert_no_vms
	[ "$(stat -c %s "$BANGER_STATE_DIR/state.db")" -le $((database + 262144)) ]
	[ "$(stat -c %s "$BANGER_STATE_DIR/state.db-wal")" -le 8388608 ]
	if ! grep -q libasan "/proc/$(daemon_pid)/maps"; then
		[ "$(memory_kib)" -le $((memory + 1024)) ] || { echo "memory: $memory, then $(memory_kib) KiB"; return 1; }
	fi
}
