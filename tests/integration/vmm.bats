#!/usr/bin/env bats
# banger-vmm as a process: with a fake QEMU for what a real one does not do on demand, and with a real one.

# Each test is a subshell of its own, with its own PID.
# shellcheck disable=SC2030,SC2031
bats_require_minimum_version 1.5.0

setup() {
	TOP=$BATS_TEST_DIRNAME/../..
	VMM=$BANGER_BUILD/src/bin/banger-vmm
	CLIENT=$BATS_TEST_DIRNAME/vmm_client.py
	# Short: a socket's path has 107 bytes.
	DIR=$(mktemp -d /tmp/banger-vmm-test-XXXXXX)
	PID=
}

teardown() {
	[ -z "$PID" ] || kill -9 "$PID" 2>/dev/null || true
	rm -rf "$DIR"
}

# Starts banger-vmm with a QEMU that behaves so; waits for its API.
start_vmm() {
	local behaviour=$1
	shift
	ln -sf "$BANGER_BUILD/tests/integration/fake_qemu" "$DIR/fake-qemu.$behaviour"
	start_with --qemu "$DIR/fake-qemu.$behaviour" "$@"
}

start_with() {
	"$VMM" --api-sock "$DIR/api" --id test --log-path "$DIR/log" --level Debug "$@" >"$DIR/out" 2>&1 3>&- &
	PID=$!
	wait_for test -S "$DIR/api"
	wait_for api GET /version
}

wait_for() {
	local tries
	for tries in {1..2400}; do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.025
	done
	echo "still not, after $tries tries: $*"
	return 1
}

api() {
	"$CLIENT" "$DIR/api" "$@"
}

# An answer that begins with the status and has the text.
expect() {
	local wanted=$1 text=$2
	shift 2
	run api "$@"
	if [ "$status" -ne 0 ] || [[ "$output" != "$wanted "*"$text"* ]]; then
		echo "$*: wanted $wanted $text, got $output"
		cat "$DIR/log"
		return 1
	fi
}

configure() {
	expect 204 "" PUT /boot-source "{\"kernel_image_path\": \"${1:-/proc/self/exe}\"${2:+, \"initrd_path\": \"$2\"}${3:+, \"boot_args\": \"$3\"}}"
	expect 204 "" PUT /vsock "{\"guest_cid\": 3, \"uds_path\": \"$DIR/v\"}"
	expect 204 "" PUT /serial "{\"serial_out_path\": \"$DIR/console\"}"
}

start_guest() {
	expect 204 "" PUT /actions '{"action_type": "InstanceStart"}'
}

# Waits for the end; then nothing may be left but what was written.
ended() {
	local wanted=$1 status=0
	wait "$PID" || status=$?
	PID=
	[ "$status" -eq "$wanted" ] || { echo "exit status $status, wanted $wanted"; cat "$DIR/log"; return 1; }
	run find "$DIR" -name 'api*' -o -name 'v' -o -name 'v.lock'
	[ -z "$output" ] || { echo "left: $output"; return 1; }
	run pgrep -f "$DIR/fake-qemu"
	[ "$status" -ne 0 ] || { echo "QEMU still runs: $output"; return 1; }
}

child() {
	pgrep -P "$PID"
}

@test "cases.json is what gen-conformance makes" {
	local swagger=${BANGER_FIRECRACKER_API:-$TOP/../shared/firecracker/firecracker-api.yaml}
	[ -r "$swagger" ] || skip "there is no '$swagger': set BANGER_FIRECRACKER_API to Firecracker's API description"
	"$TOP/tools/gen-conformance" "$swagger" | diff - "$TOP/tests/conformance/cases.json"
}

@test "a start, pause, resume and an end in order" {
	start_vmm well
	configure
	start_guest
	expect 200 '"state":"Running"' GET /
	expect 204 "" PATCH /vm '{"state": "Paused"}'
	expect 200 '"state":"Paused"' GET /
	expect 204 "" PATCH /vm '{"state": "Resumed"}'
	wait_for grep -q "the fake guest's console" "$DIR/console"
	kill "$PID"
	ended 0
	grep -q 'host-qmp-quit' "$DIR/log"
}

@test "QEMU gets no environment, no privileges, no descriptor but its own, and a group of its own" {
	SECRET_OF_THE_TEST=1 start_vmm well
	configure
	start_guest
	local qemu
	qemu=$(child)
	[ "$(wc -c <"/proc/$qemu/environ")" -eq 0 ]
	grep -q 'NoNewPrivs:.1' "/proc/$qemu/status"
	[ "$(ps -o pgid= -p "$qemu" | tr -d ' ')" = "$qemu" ]
	grep -q 'Max core file size *0 *0' "/proc/$qemu/limits"
	run bash -c "ls -l /proc/$qemu/fd | grep -c -e '$DIR' -e anon_inode"
	[ "$output" -eq 0 ]
	kill "$PID"
	ended 0
}

@test "a late greeting is waited for, and requests wait their turn" {
	start_vmm late-greeting
	configure
	api PUT /actions '{"action_type": "InstanceStart"}' >"$DIR/first" &
	local first=$!
	wait_for child
	expect 200 '"state":"Running"' GET /
	wait "$first"
	grep -q '^204' "$DIR/first"
	kill "$PID"
	ended 0
}

@test "events before and during the handshake do no harm" {
	start_vmm early-events
	configure
	start_guest
	expect 204 "" PATCH /vm '{"state": "Paused"}'
	grep -q 'QEMU event RESUME' "$DIR/log"
	kill "$PID"
	ended 0
}

@test "QEMU dies in the middle of a reply: the request fails, banger-vmm ends with 1" {
	start_vmm dies-mid-reply
	configure
	start_guest
	expect 400 "Internal VMM error: QEMU" PATCH /vm '{"state": "Paused"}'
	ended 1
	grep -q 'QEMU ended with status 3' "$DIR/log"
}

@test "QEMU is killed: banger-vmm ends with 1 and says so" {
	start_vmm well
	configure
	start_guest
	kill -9 "$(child)"
	ended 1
	grep -q 'QEMU was killed by signal 9' "$DIR/log"
}

@test "a reply that nobody asked for ends the VM" {
	start_vmm wrong-id
	configure
	start_guest
	expect 400 "QEMU answered what nobody asked" PATCH /vm '{"state": "Paused"}'
	ended 1
}

@test "QEMU missing, too old, broken or silent: the start fails in words and can be tried again" {
	start_with --qemu /nonexistent/qemu
	configure
	expect 400 "Start microvm error: run '/nonexistent/qemu': No such file or directory" \
		PUT /actions '{"action_type": "InstanceStart"}'
	expect 200 '"state":"Not started"' GET /
	expect 400 "No such file or directory" PUT /actions '{"action_type": "InstanceStart"}'
	kill "$PID"
	ended 0

	start_vmm too-old
	configure
	expect 400 "Start microvm error: QEMU 6.2.0 is too old, 7.0 or newer is needed" \
		PUT /actions '{"action_type": "InstanceStart"}'
	expect 200 '"state":"Not started"' GET /
	kill "$PID"
	ended 0

	start_vmm exits-1
	configure
	expect 400 'QEMU ended with status 1: qemu: the accelerator is \\x1b[31mbroken\\x1b[0m' \
		PUT /actions '{"action_type": "InstanceStart"}'
	kill "$PID"
	ended 0

	start_vmm garbage
	configure
	expect 400 "QEMU sent a line that is no JSON" PUT /actions '{"action_type": "InstanceStart"}'
	kill "$PID"
	ended 0
}

@test "a QEMU that says nothing is given up after ten seconds" {
	start_vmm never-greets
	configure
	expect 400 "QEMU did not answer within 10000 ms" PUT /actions '{"action_type": "InstanceStart"}'
	expect 200 '"state":"Not started"' GET /
	kill "$PID"
	ended 0
}

@test "a QEMU that does not end is killed" {
	start_vmm stays
	configure
	start_guest
	kill "$PID"
	ended 0
	grep -q 'QEMU did not end within 2000 ms, killing it' "$DIR/log"
}

@test "SIGHUP has a status of its own; killing banger-vmm takes QEMU with it" {
	start_vmm well
	configure
	start_guest
	kill -HUP "$PID"
	ended 156

	start_vmm stays
	configure
	start_guest
	local qemu
	qemu=$(child)
	kill -9 "$PID"
	wait "$PID" || true
	wait_for test ! -d "/proc/$qemu"
	rm -f "$DIR"/api* "$DIR"/v*
	PID=
}

@test "QEMU's chatter is bounded and escaped in the log" {
	start_vmm chatters
	configure
	start_guest
	kill "$PID"
	ended 0
	[ "$(grep -c 'owned' "$DIR/log")" -eq 200 ]
	grep -q 'more lines, not shown' "$DIR/log"
	run grep -c $'\x1b' "$DIR/log"
	[ "$output" -eq 0 ]
}

@test "vsock: echo, half-close, early bytes, slow and bad lines, many streams, calls from the guest" {
	start_vmm well
	configure
	start_guest
	for check in echo early_bytes slow_line many guest_calls refused; do
		echo "$check"
		"$CLIENT" vsock "$check" "$DIR/v"
	done
	kill "$PID"
	ended 0
}

@test "a guest that breaks the agent's channel loses only that" {
	start_vmm breaks-channel
	configure
	start_guest
	expect 200 '"state":"Running"' GET /
	expect 204 "" PATCH /vm '{"state": "Paused"}'
	kill "$PID"
	ended 0
}

@test "a configuration file starts at once, without an API too" {
	ln -sf "$BANGER_BUILD/tests/integration/fake_qemu" "$DIR/fake-qemu.well"
	echo '{"boot-source": {"kernel_image_path": "/proc/self/exe"}, "drives": []}' >"$DIR/config"
	"$VMM" --no-api --config-file "$DIR/config" --qemu "$DIR/fake-qemu.well" --log-path "$DIR/log" >"$DIR/out" 2>&1 3>&- &
	PID=$!
	wait_for grep -q "the fake guest's console" "$DIR/out"
	kill "$PID"
	ended 0

	start_vmm well --config-file "$DIR/config"
	wait_for child
	expect 200 '"state":"Running"' GET /
	kill "$PID"
	ended 0

	run -1 "$VMM" --no-api --config-file "$DIR/config" --qemu /nonexistent/qemu
	[[ "$output" == *"No such file or directory"* ]]
}

@test "metrics and the log go where they were told" {
	start_vmm well --metrics-path "$DIR/metrics" --show-level --show-log-origin --start-time-us 1
	configure
	start_guest
	expect 204 "" PUT /actions '{"action_type": "FlushMetrics"}'
	kill "$PID"
	ended 0
	[ "$(wc -l <"$DIR/metrics")" -eq 2 ]
	[ "$(head -1 "$DIR/metrics" | jq '.put_api_requests.count')" -ge 4 ]
	[ "$(head -1 "$DIR/metrics" | jq '.api_server.process_startup_time_us > 0')" = true ]
	grep -qE '\[test:main:INFO:vmm.c:[0-9]+\] running banger-vmm' "$DIR/log"
}

# --- with a real guest: the kernel alone, which has no root and panics ---

real_guest() {
	KERNEL=${BANGER_TEST_KERNEL:-${BANGER_CACHE:-}/state/kernels/debian-cloud/vmlinux}
	[ -r "$KERNEL" ] || skip "no kernel (BANGER_TEST_KERNEL, or tests/prepare-cache)"
	command -v qemu-system-x86_64 >/dev/null || skip "no qemu-system-x86_64"
}

LINE="console=ttyS0 reboot=k loglevel=6 cryptomgr.notests"

@test "a real guest: the clock's rate is told, a panic ends it with 0, the console is kept" {
	real_guest
	start_with
	configure "$KERNEL" "" "$LINE panic=1"
	expect 204 "" PUT /machine-config '{"vcpu_count": 1, "mem_size_mib": 192}'
	start_guest
	ended 0
	grep -q 'tsc_early_khz=[1-9][0-9]' "$DIR/console"
	grep -q 'Kernel panic' "$DIR/console"
	grep -q 'the guest ends: guest-reset' "$DIR/log"
}

@test "a real guest: qcow2 over raw, read-only drives, entropy, balloon, two vcpus" {
	real_guest
	truncate -s 8M "$DIR/base" "$DIR/second"
	qemu-img create -q -f qcow2 "$DIR/overlay" 16M
	start_with --drive-overlay "root=$DIR/base"
	configure "$KERNEL" "" "$LINE panic=0"
	expect 204 "" PUT /machine-config '{"vcpu_count": 2, "mem_size_mib": 192, "smt": true}'
	expect 204 "" PUT /drives/root "{\"drive_id\": \"root\", \"is_root_device\": true, \"is_read_only\": false, \"path_on_host\": \"$DIR/overlay\", \"cache_type\": \"Writeback\"}"
	expect 204 "" PUT /drives/more "{\"drive_id\": \"more\", \"is_root_device\": false, \"is_read_only\": true, \"path_on_host\": \"$DIR/second\", \"io_engine\": \"Async\"}"
	expect 204 "" PUT /entropy '{}'
	expect 204 "" PUT /balloon '{"amount_mib": 8, "deflate_on_oom": true, "stats_polling_interval_s": 1}'
	start_guest
	wait_for grep -q 'root=/dev/vda rw' "$DIR/console"
	wait_for grep -q 'Kernel panic' "$DIR/console"
	expect 200 '"target_mib":8,"actual_mib":0' GET /balloon/statistics
	expect 200 '"state":"Running"' GET /
	kill "$PID"
	ended 0
	[ "$(stat -c %s "$DIR/base")" -eq 8388608 ]
}
