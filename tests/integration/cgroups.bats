#!/usr/bin/env bats
# VMs' cgroups on the kernel of this host, whichever of v1 and v2 it has. tests/e2e/confinement.bats does the same in a guest,
# with either.
# shellcheck disable=SC2154 # bats sets status and output

ID=0123456789abcdef0123456789abcdef
OTHER=ffffffffffffffffffffffffffffffff

setup() {
	TOOL=$BANGER_BUILD/tests/integration/priv_tool
	STATE=$BATS_TEST_TMPDIR/state
	PARENT=banger-$(printf %s "$STATE" | sha256sum | cut -c 1-16)
	[ "$(id -u)" = 0 ] || skip "making cgroups needs root"
	[[ $("$TOOL" report "$STATE") == *processes=1* ]] || skip "no hierarchy that is ours to use: $("$TOOL" report "$STATE")"
}

teardown() {
	[ -z "$(made)" ] || "$TOOL" sweep "$STATE"
	[ -z "$(made)" ]
}

# Cgroups of ours, below each hierarchy.
made() {
	find /sys/fs/cgroup -type d -path "*/$PARENT*"
}

@test "a program is born in the VM's cgroups, and they go with it" {
	run "$TOOL" run "$STATE" $ID 64 /bin/cat /proc/self/cgroup
	echo "$output"
	[ "$status" -eq 0 ]
	[[ "$output" == *":/$PARENT/$ID"* || "$output" == *"/$PARENT/$ID"* ]]
	[[ "$output" == *"status 0"* ]]
	[[ "$output" == *"processes 0"* ]]
	[ -z "$(made)" ]
}

@test "what a VM leaves running is killed" {
	run "$TOOL" run "$STATE" $ID 64 /bin/sh -c 'setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo child $!'
	echo "$output"
	[ "$status" -eq 0 ]
	# A moment may pass before somebody has reaped it.
	run cut -d ' ' -f 3 "/proc/$(sed -n 's/child //p' <<<"$output")/stat"
	[[ "$status" -ne 0 || "$output" == Z ]]
	[ -z "$(made)" ]
}

@test "processes and processor time are limited and counted" {
	# shellcheck disable=SC2016
	run "$TOOL" run "$STATE" $ID 64 /bin/bash -c 'for ((i = 0; i < 300; i++)); do sleep 5 & done 2>/dev/null; echo made it'
	echo "$output"
	[[ "$output" != *"made it"* ]]
	# shellcheck disable=SC2016
	run "$TOOL" run "$STATE" $ID 64 /bin/bash -c 'end=$((SECONDS + 1)); while [ $SECONDS -le $end ]; do :; done'
	echo "$output"
	[ "$(sed -n 's/cpu_ms //p' <<<"$output")" -gt 100 ]
}

# Where the memory controller is not ours to use, the guest of tests/e2e/confinement.bats has to do.
@test "memory is limited where it can be" {
	run "$TOOL" run "$STATE" $ID 64 /bin/sh -c 'head -c 400M /dev/zero | tail'
	echo "$output"
	if [[ $("$TOOL" report "$STATE") == *memory=1* ]]; then
		[[ "$output" == *"memory_max $((257 << 20))"* ]]
		[[ "$output" != *"oom_kills 0"* ]]
	else
		[[ "$output" != *memory_max* ]]
	fi
}

@test "leftovers are swept, but not those of VMs, with processes, or of others" {
	local folder
	"$TOOL" make "$STATE" $ID 64
	"$TOOL" make "$STATE" $OTHER 64
	folder=$(made | grep "/$OTHER$" | head -n 1)
	mkdir "${folder%/*}/foreign"
	sleep 1000 3>&- &
	echo $! >"$folder/cgroup.procs"
	run "$TOOL" sweep "$STATE" $ID
	echo "$output"
	[[ "$output" == *"busy 1"* ]]
	[ -d "$folder" ]
	made | grep -q "/$ID$"
	kill %1
	run "$TOOL" end "$STATE" $OTHER
	[ "$status" -eq 0 ]
	[ -d "${folder%/*}/foreign" ]
	rmdir "${folder%/*}/foreign"
	"$TOOL" sweep "$STATE"
	[ -z "$(made)" ]
}

@test "a VM is made anew over what an earlier run left, and not over processes" {
	local folder
	"$TOOL" make "$STATE" $ID 64
	run "$TOOL" run "$STATE" $ID 64 /bin/true
	[ "$status" -eq 0 ]
	"$TOOL" make "$STATE" $ID 64
	folder=$(made | grep "/$ID$" | head -n 1)
	sleep 1000 3>&- &
	echo $! >"$folder/cgroup.procs"
	run "$TOOL" make "$STATE" $ID 64
	echo "$output"
	[ "$status" -eq 1 ]
	[[ "$output" == *"still has processes"* ]]
	# What failed has left nothing, and ended what was in the way.
	[ -z "$(made)" ]
}

@test "cgroups that somebody has made in a VM's stay, and do not keep the VM" {
	local folder
	"$TOOL" make "$STATE" $ID 64
	folder=$(made | grep "/$ID$" | head -n 1)
	mkdir "$folder/foreign"
	"$TOOL" end "$STATE" $ID
	[ "$(made | grep -c "/$ID$")" -eq 1 ]
	run "$TOOL" run "$STATE" $ID 64 /bin/cat /proc/self/cgroup
	[[ "$output" == *"/$PARENT/$ID"* ]]
	[ -d "$folder/foreign" ]
	rmdir "$folder/foreign"
	"$TOOL" sweep "$STATE"
}

@test "who may make none runs programs without, and is told why" {
	local place
	place=$(mktemp -d /tmp/banger-cgroups-XXXXXX)
	chmod 755 "$place"
	cp "$TOOL" "$place"
	run setpriv --reuid 65534 --regid 65534 --clear-groups "$place/priv_tool" run "$STATE" $ID 64 /bin/cat /proc/self/cgroup
	[ "$status" -eq 0 ]
	[[ "$output" != *"$PARENT"* ]]
	[[ "$output" == *"status 0"* ]]
	run setpriv --reuid 65534 --regid 65534 --clear-groups "$place/priv_tool" report "$STATE"
	rm -r "$place"
	[[ "$output" == "VMs run without cgroups; cpu is not limited: "* ]]
	[[ "$output" == *"cpu=0 memory=0 processes=0"* ]]
}

@test "a cgroup that is somebody else's is left alone" {
	"$TOOL" make "$STATE" $ID 64
	# Started in there, it is in cgroups that nobody gave to it.
	# shellcheck disable=SC2016
	run sh -c 'for folder in $3; do echo 0 >"$folder/cgroup.procs"; done; exec "$1" report "$2"' sh "$TOOL" "$STATE.other" \
		"$(made | grep "/$ID$")"
	echo "$output"
	[[ "$output" == "VMs run without cgroups; cpu is not limited: bangerd is in cgroup '/"*"$PARENT/$ID', which was not delegated to it"* ]]
	[[ "$output" == *"cpu=0 memory=0 processes=0"* ]]
	"$TOOL" sweep "$STATE"
}
