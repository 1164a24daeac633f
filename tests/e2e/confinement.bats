#!/usr/bin/env bats
# What VMs are confined by (docs/security.md): cgroups of either version, and QEMU's user, namespaces and descriptors.
# shellcheck disable=SC2154,SC2016 # bats sets status and output; expressions for other shells

load helper

ID=0123456789abcdef0123456789abcdef

# --- cgroups ---

# Prints the VM's cgroups, one a line.
cgroups_of() {
	find /sys/fs/cgroup -type d -path "*/$(cgroup_of_home)/$(vm_get "$1" .id)"
}

# Every process of the VM is in all of its cgroups, and nobody else.
assert_in_cgroups() {
	local folder pid
	pid=$(vm_get "$1" .pid)
	for folder in $(cgroups_of "$1"); do
		equal "$folder: $(sort -n "$folder/cgroup.procs" | xargs)" "$folder: $( (echo "$pid"; pgrep -P "$pid") | sort -n | xargs)"
	done
}

# A limit's value from whichever hierarchy has it: limit VM V2-NAME V1-NAME
limit() {
	local folder
	for folder in $(cgroups_of "$1"); do
		cat "$folder/$2" 2>/dev/null || cat "$folder/$3" 2>/dev/null || true
	done
}

@test "a VM is in cgroups of its own with its limits, and they go with it" {
	local parent report
	[ "$EUID" -eq 0 ] || skip "making cgroups needs root"
	report=$(banger --json doctor | jq -r '.checks[] | select(.name == "cgroups") | .message')
	[[ $report != "VMs run without cgroups"* ]] || skip "$report"
	banger --quiet vm run -d --name box --vcpu 2
	[ -n "$(cgroups_of box)" ]
	assert_in_cgroups box
	[[ $report == *"cpu is not limited"* ]] || matches "$(limit box cpu.max cpu.cfs_quota_us)" '^300000( 100000)?$'
	[[ $report == *"pids is not limited"* ]] || equal "$(limit box pids.max pids.max)" 258
	[[ $report == *"memory is not limited"* ]] ||
		equal "$(limit box memory.max memory.limit_in_bytes)" $(((512 + 8 + 192 + 1024) << 20))
	# A successor of the daemon finds them, and what it does not know stays.
	parent=$(cgroups_of box | head -n 1 | xargs dirname)
	mkdir "$parent/foreign"
	kill -KILL "$(daemon_pid)"
	assert_in_cgroups box
	in_vm box true
	banger --quiet vm stop box
	equal "$(find "$parent" -mindepth 1 -type d)" "$parent/foreign"
	rmdir "$parent/foreign"
	# One that belongs to no VM is removed when a daemon starts.
	mkdir "$parent/$ID"
	kill -KILL "$(daemon_pid)"
	banger --quiet vm list
	[ ! -d "$parent/$ID" ]
}

# Runs priv_tool's cases in the guest; what is left must be nothing.
guest_cgroups() {
	in_vm box sh -euc '
		tool=/root/priv_tool state=/guest
		[ -p /tmp/wait ] || mkfifo /tmp/wait
		'"$1"'
		$tool report $state
		$tool report $state | grep -q "cpu=1 memory=1 processes=1"
		$tool run $state '$ID' 64 /bin/cat /proc/self/cgroup
		$tool run $state '$ID' 64 /bin/sh -c "dd if=/dev/zero of=/dev/null bs=300M count=1; true"
		$tool run $state '$ID' 64 /bin/sh -c "sleep 1000 </dev/null >/dev/null 2>&1 & true"
		$tool make $state '$ID' 64
		$tool sweep $state
		$tool run $state '$ID' 64 /bin/sh -c "i=0; while [ \$i -lt 300 ]; do read -r x </tmp/wait & i=\$((i + 1)); done" 2>&1
		find / -xdev -type d -name "banger-*" 2>/dev/null
		for place in $mounts; do find $place -name "banger-*"; umount $place; done
	' 2>&1
}

@test "cgroups of either version hold on a real kernel: limits, counts, out of memory, kill, sweep" {
	[ -x "$BANGER_BUILD/tests/integration/priv_tool" ]
	banger --quiet vm run -d --name box
	banger --quiet vm exec box -- sh -c 'cat >/root/priv_tool; chmod +x /root/priv_tool' <"$BANGER_BUILD/tests/integration/priv_tool"
	in_vm box sh -c 'umount /sys/fs/cgroup 2>/dev/null; mount -t tmpfs tmpfs /sys/fs/cgroup'
	run guest_cgroups 'mounts=
		for one in cpu,cpuacct memory pids; do
			mkdir -p /sys/fs/cgroup/$one
			mount -t cgroup -o $one none /sys/fs/cgroup/$one
			mounts="$mounts /sys/fs/cgroup/$one"
		done'
	echo "v1: $output"
	[ "$status" -eq 0 ]
	[[ "$output" == *":memory:/banger-"*"/$ID"* ]]
	[[ "$output" == *"memory_max $((257 << 20))"* ]]
	[[ "$output" =~ oom_kills\ [1-9] ]]
	[[ "$output" == *"removed 1 busy 0"* ]]
	[[ "$output" == *"an't fork"* || "$output" == *"annot fork"* ]]
	# Controllers that have been used in one version are not free for the other.
	banger --quiet vm restart box
	run guest_cgroups 'mountpoint -q /sys/fs/cgroup && umount /sys/fs/cgroup
		mounts=/sys/fs/cgroup; mount -t cgroup2 none $mounts'
	echo "v2: $output"
	[ "$status" -eq 0 ]
	[[ "$output" == *"0::/banger-"*"/$ID"* ]]
	[[ "$output" == *"memory_max $((257 << 20))"* ]]
	[[ "$output" =~ oom_kills\ [1-9] ]]
	[[ "$output" == *"signal 9"* ]] # the whole group at once
	[[ "$output" == *"removed 1 busy 0"* ]]
	[[ "$output" == *"an't fork"* || "$output" == *"annot fork"* ]]
}

# --- VMs that are ended (FAULTS K3) ---

# In error at once, and its cgroups gone with it; $1: what the reason has.
assert_ended_at_once() {
	local pid=$2 began=${EPOCHREALTIME/./}
	wait_until 20 vm_is box error
	# A second on an idle host; a pass of reconcile would be a minute away.
	[ "$((${EPOCHREALTIME/./} - began))" -lt 15000000 ]
	contains "$(vm_get box .last_error)" "$1"
	contains "$(vm_get box .last_error)" "; console: "
	wait_until 20 has_no_cgroups box
	wait_until 20 test ! -e "/proc/$pid"
}

has_no_cgroups() {
	[ -z "$(cgroups_of "$1")" ]
}

@test "a VM whose cgroup is killed: seen at once, with the reason" {
	local folder pid
	[ "$EUID" -eq 0 ] || skip "cgroups need root"
	banger --quiet vm run -d --name box
	pid=$(vm_get box .pid)
	folder=$(cgroups_of box | head -n 1)
	if [ -z "$folder" ]; then
		kill -KILL "$pid"
	elif [ -e "$folder/cgroup.kill" ]; then
		echo 1 >"$folder/cgroup.kill"
	else
		xargs kill -KILL <"$folder/cgroup.procs"
	fi
	assert_ended_at_once "was killed by signal 9" "$pid"
	banger --quiet vm start box
	equal "$(in_vm box echo again)" again
}

# Runs a command where version 1's memory hierarchy is all its own: at the root of a cgroup namespace, which is a cgroup
# that it makes, $OWN_MEMORY.
with_own_memory() {
	OWN_MEMORY=/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)/banger-e2e-$$
	mkdir "$OWN_MEMORY"
	sh -euc 'echo $$ >"$1/cgroup.procs"
		shift
		exec unshare --cgroup --mount sh -euc "umount /sys/fs/cgroup/memory
			mount -t cgroup -o memory none /sys/fs/cgroup/memory
			exec \"\$@\"" sh "$@"' sh "$OWN_MEMORY" "$@"
}

teardown() {
	local status=0
	end_home "$BATS_TEST_TMPDIR" || status=1
	[ -z "${OWN_MEMORY:-}" ] || rmdir "$OWN_MEMORY" || status=1
	return "$status"
}

@test "a VM that exceeds its memory: ended by the kernel and seen at once, with the reason" {
	local report limit used pid run=(env)
	[ "$EUID" -eq 0 ] || skip "cgroups need root"
	report=$(banger --json doctor | jq -r '.checks[] | select(.name == "cgroups") | .message')
	if [[ $report == "VMs run without cgroups"* || $report == *"memory is not limited"* ]]; then
		[ -e /sys/fs/cgroup/memory/memory.limit_in_bytes ] ||
			skip "no memory limits here ($report); 'cgroups of either version hold' has the kernel's part in a guest"
		banger --quiet daemon stop
		run=(with_own_memory)
	fi
	"${run[@]}" "$BANGER" --quiet vm run -d --name box
	pid=$(vm_get box .pid)
	assert_in_cgroups box
	limit=$(cgroups_of box | xargs -I{} find {} -name memory.max -o -name memory.limit_in_bytes)
	equal "$(cat "$limit")" $(((512 + 8 + 192 + 1024) << 20))
	# A little more than it has already, which is little of what the guest may have.
	used=$(cat "${limit%/*}"/memory.{current,usage_in_bytes} 2>/dev/null || true)
	[ "$used" -lt $((500 << 20)) ]
	echo $((((used >> 20) + 64) << 20)) >"$limit"
	in_vm box dd if=/dev/zero of=/dev/null bs=300M count=1 || true
	assert_ended_at_once "the kernel ended it at its memory limit of $(((used >> 20) + 64)) MiB" "$pid"
}

# --- QEMU ---

# A line's values from /proc/PID/status, without its name.
status_of() {
	sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status" | tr '\t' ' '
}

@test "QEMU owns nothing: its user, groups, capabilities, seccomp, descriptors, namespaces and core dumps" {
	local vmm qemu uid other each
	[ "$EUID" -eq 0 ] || skip "another user needs root"
	banger --quiet vm run -d --name box
	vmm=$(vm_get box .pid)
	qemu=$(pgrep -P "$vmm" -x qemu-system-x86)
	uid=$(stat -c %u "/proc/$qemu")
	[ "$uid" -ge 1879048192 ] && [ "$uid" -le 2013265919 ]
	equal "$(status_of "$qemu" Uid)" "$uid $uid $uid $uid"
	equal "$(status_of "$qemu" Gid)" "$uid $uid $uid $uid"
	equal "$(status_of "$qemu" Groups)" ""
	equal "$(status_of "$qemu" NoNewPrivs)" 1
	equal "$(status_of "$qemu" Seccomp)" 2
	for set in CapInh CapPrm CapEff CapAmb; do
		equal "$set $(status_of "$qemu" $set)" "$set 0000000000000000"
	done
	for each in "$qemu" "$vmm"; do
		equal "$(awk '/Max core file size/ { print $5, $6 }' "/proc/$each/limits")" "0 0"
	done
	contains "$(tr '\0' ' ' <"/proc/$qemu/cmdline")" "dump-guest-core=off"
	equal "$(tr -d '\0' <"/proc/$qemu/environ")" ""
	for one in mnt net ipc uts; do
		lacks "$(readlink "/proc/$qemu/ns/$one")" "$(readlink "/proc/$vmm/ns/$one")"
	done
	# Nothing of its own descriptors leads to the API, the daemon, the database or the log.
	find "/proc/$qemu/fd" -type l -printf '%l\n' | sort >"$BATS_TEST_TMPDIR/fds"
	cat "$BATS_TEST_TMPDIR/fds"
	run ! grep -E 'api.sock|bangerd|state.db|vmm.log|console.log|host_key' "$BATS_TEST_TMPDIR/fds"
	grep -q 'vms/.*/work' "$BATS_TEST_TMPDIR/fds"
	equal "$(find "/proc/$vmm/fd" -lname '*state.db*' -o -lname '*bangerd*' -printf '%l\n')" ''
	# Its network is one descriptor of its own TAP, which is on no network that it sees.
	equal "$(grep -c tun "$BATS_TEST_TMPDIR/fds")" 1
	equal "$(sed -n 's/^iff:[[:space:]]*//p' "/proc/$qemu/fdinfo"/*)" bgr-2
	# The guest's memory is in no dump ("dd"), should anybody raise the limit.
	equal "$(awk '/^Size:/ { size = $2 } /^VmFlags:/ && size == 512 * 1024 { print / dd( |$)/ ? "left out" : "dumped" }' "/proc/$qemu/smaps")" 'left out'
	# What it sees: no network, nobody's files, no other process.
	equal "$(nsenter -t "$qemu" -n ip -o link | wc -l)" 1
	equal "$(nsenter -t "$qemu" -m sh -c 'ls -A /tmp /run /var /root /home /dev/shm' | grep -v ':$' | xargs)" ""
	equal "$(nsenter -t "$qemu" -m setpriv --reuid "$uid" --regid "$uid" --clear-groups sh -c 'ls -d /proc/[0-9]*' |
		grep -cv -e "/$qemu\$")" 1 # the one that looks
	# banger-vmm keeps what the API needs, and is not to be looked into.
	equal "$(status_of "$vmm" NoNewPrivs)" 1
	run ! setpriv --reuid "$uid" --clear-groups cat "/proc/$vmm/environ"
	banger --quiet vm run -d --name other
	other=$(pgrep -P "$(vm_get other .pid)" -x qemu-system-x86)
	lacks "$(stat -c %u "/proc/$other")" "$uid"
	# All goes on as ever: after a daemon that was killed, through pause, and over a restart.
	kill -KILL "$(daemon_pid)"
	equal "$(in_vm box sh -c 'echo kept >/root/file; cat /root/file')" kept
	banger --quiet vm pause box
	banger --quiet vm resume box
	banger --quiet vm restart box
	equal "$(in_vm box cat /root/file)" kept
	banger vm logs --console box | grep -q .
	banger --quiet vm stop box
	equal "$(state_of box)" stopped
}
