#!/usr/bin/env bats
# vm fork: what the new VMs have of the old one, who they are, and what is left when something fails.
# shellcheck disable=SC2154,SC2016,SC2030,SC2031 # bats sets status, output, stderr, lines; expressions for a guest; each test is a
# subshell

load helper
load crash_helper

# All tests but that of crashes fork one VM. A process in it counts in memory; on a slow machine more slowly.
setup_file() {
	share_home
	banger --quiet vm create --name box -p 0:8080 >/dev/null
	in_vm box sh -c 'echo before >/root/file
		setsid sh -c "i=0; while :; do i=\$((i + 1)); echo \$i >/dev/shm/new; mv /dev/shm/new /dev/shm/n; sleep 0.'"$PATIENCE"'; done" </dev/null >/dev/null 2>&1 &'
}

teardown_file() {
	end_shared_home
}

setup() {
	watch_census
}

teardown() {
	local status=0
	delete_vms_but box || status=1
	compare_census || status=1
	return "$status"
}

# It counts: not only a file that was copied.
counts() {
	local from
	from=$(in_vm "$1" cat /dev/shm/n)
	wait_until 10 counts_from "$1" "$from"
}

counts_from() {
	[ "$(in_vm "$1" cat /dev/shm/n)" -gt "$2" ]
}

# Name, machine-id, boot_id, MAC, host key, randomness: a line each.
identity_of() {
	in_vm "$1" sh -c 'hostname; cat /etc/machine-id /proc/sys/kernel/random/boot_id
		cat /sys/class/net/eth0/address 2>/dev/null || echo "no MAC of $(hostname)"
		cut -d " " -f 2 /etc/ssh/ssh_host_ed25519_key.pub; head -c 16 /dev/urandom | od -An -tx1'
}

# In a file of that name; its own name and id are in it.
note_identity() {
	identity_of "$1" >"$BATS_TEST_TMPDIR/$1"
	equal "$(head -n 1 "$BATS_TEST_TMPDIR/$1")" "$1"
	equal "$(sed -n 2p "$BATS_TEST_TMPDIR/$1")" "$(vm_get "$1" .id)"
}

file_is_longer() {
	[ "$(stat -c %s "$1")" -gt "$2" ]
}

nothing_is_staged() {
	equal "$(staged)" ''
}

staged() {
	ls -A "$BANGER_STATE_DIR/templates" 2>/dev/null || true
}

is_staged() {
	[ -n "$(staged)" ]
}

all_is_unstaged() {
	! is_staged
}

@test "a fork runs on from where the VM is, which goes on itself with its sessions" {
	local bytes
	start session "$BANGER" --quiet vm exec box -- sh -c 'while echo on; do sleep 0.1; done'
	wait_until 10 file_has "$BATS_TEST_TMPDIR/session.out" on
	run_for 0 banger vm fork box --name copy
	contains "$stderr" "snapshot: begun"
	contains "$stderr" "the ports that 'box' publishes stay its own"
	matches "${lines[0]}" '^ID +NAME'
	matches "${lines[1]}" '^[0-9a-f]{12}  copy +running'
	equal "${#lines[@]}" 2
	bytes=$(stat -c %s "$BATS_TEST_TMPDIR/session.out")
	wait_until 10 file_is_longer "$BATS_TEST_TMPDIR/session.out" "$bytes"
	clock_is_right box
	clock_is_right copy
	equal "$(in_vm copy cat /root/file)" before
	counts copy
	counts box
	# From here on each has its own.
	in_vm box sh -c 'echo box >/root/file; echo box >/etc/mine; sync'
	in_vm copy sh -c 'echo copy >/root/file; sync; [ ! -e /etc/mine ]'
	equal "$(in_vm box cat /root/file) $(in_vm copy cat /root/file)" 'box copy'
	equal "$(vm_get copy '.ports | length')" 0
	equal "$(vm_get copy '| [.vcpu, .memory_bytes, .disk_bytes, .image] | @csv')" \
		"$(vm_get box '| [.vcpu, .memory_bytes, .disk_bytes, .image] | @csv')"
	nothing_is_staged
	kill -TERM "$started"
	wait_for_status "$started" 143
	in_vm box sh -c 'echo before >/root/file; rm /etc/mine'
	# Like any other VM it stops, boots, and has what it had.
	banger --quiet vm restart copy >/dev/null
	equal "$(in_vm copy cat /root/file)" copy
}

@test "--count makes several, no two of them the same machine, and forks can be forked" {
	local name n
	run_for 0 banger --json vm fork box --name try --count 3
	jq -e '.vms | map(.name) == ["try-1", "try-2", "try-3"]' <<<"$output"
	jq -e '.pause_us > 0 and .pause_us < 60000000' <<<"$output"
	for name in box try-1 try-2 try-3; do
		note_identity "$name"
	done
	banger --quiet vm pause try-1 try-3 # a slow machine has not the time for all of them
	run_for 0 banger --quiet vm fork try-2 --name again
	note_identity again
	for n in 1 2 3 4 5 6; do
		equal "$n: $(for name in box try-1 try-2 try-3 again; do sed -n "${n}p" "$BATS_TEST_TMPDIR/$name"; done | sort | uniq -d)" "$n: "
	done
	counts again
	equal "$(in_vm again cat /root/file)" before
	# Without the one that it came from.
	banger --quiet vm delete try-2
	equal "$(in_vm again sh -c 'find /usr/bin -type f -exec cat {} + >/dev/null; echo fine')" fine
	run_for 0 banger vm fork again
	matches "${lines[1]}" '^[0-9a-f]{12}  [a-z]+-[a-z]+ +running'
}

@test "a paused VM stays paused, its fork runs" {
	banger --quiet vm pause box >/dev/null
	run_for 0 banger --json vm fork box --name copy
	jq -e '.pause_us == 0 and .vms[0].state == "running"' <<<"$output"
	equal "$(state_of box)" paused
	counts copy
	banger --quiet vm resume box >/dev/null
	counts box
}

@test "what cannot be forked, and how it is said" {
	run_for 1 banger vm fork nothing
	contains "$stderr" "'nothing'"
	run_for 1 banger vm fork box --name box
	contains "$stderr" "a VM named 'box' exists already"
	run_for 1 banger vm fork box --name "$(printf 'a%.0s' {1..62})" --count 12
	contains "$stderr" "name"
	run_for 2 banger vm fork box --name Box_1
	run_for 2 banger vm fork box --count 0
	run_for 2 banger vm fork box --count 101
	run_for 2 banger vm fork
	run_for 2 banger vm fork box box
	banger --quiet vm create --no-start --name still >/dev/null
	run_for 1 banger vm fork still
	contains "$stderr" "cannot fork 'still': it was never started"
	contains "$stderr" "banger vm start still"
	equal "$(banger --json vm list | jq -c '[.vms[].name] | sort')" '["box","still"]'
	nothing_is_staged
}

# Both are awaited: the daemon ends what it has begun after the user has gone. There are more of them than it makes at a time.
@test "Ctrl-C: none stays, and the VM goes on" {
	start fork env --default-signal=INT "$BANGER" vm fork box --count $((5 + 15 / PATIENCE))
	wait_until 60 file_has "$BATS_TEST_TMPDIR/fork.err" 'fork'
	kill -INT "$started"
	wait_for_status "$started" 130
	wait_until 20 all_is_unstaged
	wait_until 20 only_box_is_left
	counts box
}

only_box_is_left() {
	[ "$(banger --json vm list | jq -c '[.vms[].name]')" = '["box"]' ]
}

@test "a name that is taken meanwhile: none stays, the other VM does, and both go on" {
	local count=$((12 / PATIENCE))
	start fork "$BANGER" vm fork box --name copy --count "$count"
	wait_until 60 is_staged
	banger --quiet vm create --no-start --name "copy-$count" >/dev/null
	wait_for_status "$started" 1
	contains "$(<"$BATS_TEST_TMPDIR/fork.err")" "cannot fork 'box': a VM named 'copy-$count' exists already"
	equal "$(banger --json vm list | jq -c '[.vms[].name] | sort')" "[\"box\",\"copy-$count\"]"
	nothing_is_staged
	counts box
}

@test "killed at vm.capture.intent, .paused, .memory, .disks, .resumed and vm.fork.captured: the VM goes on, nothing is left" {
	local point
	for point in vm.capture.intent vm.capture.paused vm.capture.memory vm.capture.disks vm.capture.resumed vm.fork.captured; do
		crash_at "$point" banger vm fork box --name copy
		recover "$point"
		equal "$(banger --json vm list | jq -c '[.vms[] | {name, state}]')" '[{"name":"box","state":"running"}]'
		counts box
		# Its file systems are not frozen.
		timeout $((20 * PATIENCE)) "$BANGER" --quiet vm exec box -- sh -c 'echo on >/root/again && sync'
		nothing_is_staged
		equal "$(banger --json doctor --plan | jq -c '[.actions[] | select(.vm)]')" '[]'
	done
	run_for 0 banger --quiet vm fork box --name copy
	counts copy
}
