#!/usr/bin/env bats
# What reconcile does with real guests, and what doctor tells of it before: bangerd, VMM and QEMU killed in every combination, a
# host that was rebooted, a clock that is wrong by ten years (FAULTS.md K3, K5, B1, B3, C1).
# shellcheck disable=SC2154,SC2016 # bats sets output and stderr; expressions for jq

load helper
load crash_helper

FAKETIME_LIBRARY=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1

# Overridden as it was by a test.
release_state() {
	! mountpoint -q /proc/sys/kernel/random/boot_id || umount /proc/sys/kernel/random/boot_id
}

# The plan's actions, or what it leaves: "ACTION VM OBJECT" a line.
plan() {
	banger --json doctor --plan | jq -r ".${1:-actions}[] | \"\\(.action) \\(.name) \\(.object)\""
}

has_no_plan() {
	[ -z "$(plan)" ]
}

daemon_runs() {
	banger --json doctor --plan | jq .daemon_runs
}

# The objects of the census that a condition of jq's is true of: "KIND OWNER NAME" a line.
objects() {
	banger --json doctor --census | jq -r ".objects[] | select($1) | \"\\(.kind) \\(.owner) \\(.name)\""
}

tap_of() {
	tap_of_id "$(vm_get "$1" .id)"
}

tap_of_id() {
	ip -j link | jq -r --arg vm "$1" '.[] | select((.ifalias // "") | endswith("vm " + $vm)) | .ifname'
}

# --- what doctor tells ---

@test "doctor --plan: nothing to do while all is well; what cannot be restored is said" {
	local id tap vmm
	run_for 0 banger doctor --plan
	contains "$stderr" "note: bangerd is not running; when it starts it does this:"
	contains "$output" "image '$IMAGE'"
	run ! pgrep -x bangerd
	[ ! -e "$BANGER_STATE_DIR/state.db" ]
	run_vm box
	id=$(vm_get box .id)
	vmm=$(vm_get box .pid)
	tap=$(tap_of box)
	run_for 0 banger doctor --plan
	equal "$output$stderr" "nothing to do"
	banger --json doctor --plan | jq -e '. == { actions: [], left: [], daemon_runs: true }'
	kill_daemon
	ip link delete "$tap"
	equal "$(daemon_runs)" false
	equal "$(plan)" "$(printf '%s\n' "adopt box VMM $vmm" "restore box $tap" 'restore null br-fc')"
	recover
	wait_until 20 has_no_plan
	equal "$(tap_of box)" "$tap"
	kill_daemon
	rm "$BANGER_STATE_DIR/vms/$id/handles.json"
	equal "$(plan)" "$(printf '%s\n' "adopt box VMM $vmm" 'restore null br-fc')"
	contains "$(banger doctor --plan)" "it runs, and handles.json does not name it"
	[ ! -e "$BANGER_STATE_DIR/vms/$id/handles.json" ] # nothing was done
	run ! pgrep -x bangerd
	recover
	equal "$(plan)$(plan left) $(vm_get box .pid)" " $vmm"
	equal "$(jq .network "$BANGER_STATE_DIR/vms/$id/handles.json")" true
	in_vm box true
}

@test "doctor --plan and --census: bad questions, and a database that cannot be read" {
	run_for 2 banger doctor --plan --census
	contains "$stderr" "only one can be had at a time"
	run_for 2 banger doctor --plan box
	banger --quiet vm list >/dev/null
	kill_daemon
	change_database 'INSERT INTO schema_migrations VALUES (1000, ?, ?)' later 2040-01-01
	for view in --plan --census; do
		run_for 1 banger doctor "$view"
		contains "$stderr" "is of schema 1000, this version reads"
	done
	run ! pgrep -x bangerd
	change_database 'DELETE FROM schema_migrations WHERE version = 1000'
	equal "$(plan)" ""
}

@test "doctor --census: more than fits in one reply comes in several, and all of it is shown" {
	local count=9000 reply=$BATS_TEST_TMPDIR/reply
	(cd "$BANGER_STATE_DIR" && seq -f 'somebody-elses-file-%.0f' $count | xargs touch)
	banger --quiet vm list >/dev/null
	/usr/bin/python3 "$BATS_TEST_DIRNAME/rpc.py" doctor.census >"$reply"
	[ "$(stat -c %s "$reply")" -gt 1000000 ]
	[ "$(stat -c %s "$reply")" -le 1048576 ]
	jq -e '.result.next == (.result.objects | length)' "$reply"
	equal "$(objects '.owner == "foreign" and (.name | contains("somebody-elses-file-"))' | sort -u | wc -l)" $count
	equal "$(banger --json doctor --census | jq -c keys)" '["daemon_runs","objects"]'
	run_for 0 banger doctor --census
	equal "$(grep -c somebody-elses-file- <<<"$output")" $count
	# Behind the end there is nothing, and there the last of them is said.
	/usr/bin/python3 "$BATS_TEST_DIRNAME/rpc.py" doctor.census '{"from":4294967295}' >"$reply"
	equal "$(jq -c '[.result.objects, .result.next]' "$reply")" '[[],null]'
	banger --quiet daemon stop
	equal "$(objects '.owner == "foreign" and (.name | contains("somebody-elses-file-"))' | wc -l)" $count
}

@test "doctor --census: everything of a VM, what is nobody's, and what is foreign" {
	local id vmm stray=0123456789abcdef0123456789abcdef
	run_vm box
	id=$(vm_get box .id)
	vmm=$(vm_get box .pid)
	equal "$(objects '.kind == "process"' | sort)" \
		"$(printf '%s\n' 'process banger bangerd' 'process vm banger-vmm' 'process vm qemu-system-x86' | sort)"
	equal "$(objects ".vm == \"$id\" and .kind == \"tap\"")" "tap vm $(tap_of box)"
	equal "$(objects '.kind == "bridge" or .kind == "rules"')" \
		"$(printf '%s\n' 'bridge banger br-fc' 'rules banger bridge banger' 'rules banger inet banger')"
	equal "$(objects ".vm == \"$id\" and .kind == \"row\"")" "row vm box"
	equal "$(objects ".vm == \"$id\" and .kind == \"socket\"" | wc -l)" 2
	banger --json doctor --census | jq -e --arg id "$id" --argjson vmm "$vmm" '
		(.objects[] | select(.name == "banger-vmm") | .pid == $vmm and .vm == $id and .vm_name == "box") and
		(.objects[] | select(.kind == "folder" and .vm == $id and .files) |
			(.used_bytes > 1000000) and ([.files[].name] | contains(["console.log", "handles.json", "system.qcow2"])))'
	run_for 0 banger doctor --census
	matches "$output" "process +box +banger-vmm +$vmm"
	mkdir -p "$BANGER_STATE_DIR/vms/$stray" "$BANGER_RUNTIME_DIR/vm/${stray::12}"
	touch "$BANGER_STATE_DIR/vms/$stray/work.qcow2" "$BANGER_STATE_DIR/vms/README"
	ip tuntap add bgr-99 mode tap
	ip link add br-fc-x type bridge
	equal "$(objects '.owner == "none"' | sort)" "$(printf 'folder none %s\n' "$BANGER_RUNTIME_DIR/vm/${stray::12}" \
		"$BANGER_STATE_DIR/vms/$stray" | sort)"
	equal "$(objects '.owner == "foreign" and .kind != "cgroup"' | sort)" "$(printf '%s\n' 'bridge foreign br-fc-x' \
		'tap foreign bgr-99' "file foreign $BANGER_STATE_DIR/vms/README" | sort)"
	equal "$(plan)" "remove null $BANGER_RUNTIME_DIR/vm/${stray::12}"
	equal "$(plan left)" "leave null $BANGER_STATE_DIR/vms/$stray"
	kill_daemon
	equal "$(objects '.kind == "process"' | sort)" "$(printf '%s\n' 'process vm banger-vmm' 'process vm qemu-system-x86')"
	run ! pgrep -x bangerd
	recover
	equal "$(plan)$(objects '.owner == "none"')" "folder none $BANGER_STATE_DIR/vms/$stray"
	rm -r "$BANGER_STATE_DIR/vms/$stray" "$BANGER_STATE_DIR/vms/README"
	ip link delete bgr-99
	ip link delete br-fc-x
}

# --- kill -9, of several at once ---

@test "bangerd, VMM and QEMU killed in each combination: the VM goes on, or has ended with its reason; nothing is left" {
	local daemon vmm qemu guest
	run_vm box
	for victims in daemon vmm qemu daemon+vmm daemon+qemu vmm+qemu daemon+vmm+qemu; do
		daemon=$(daemon_pid)
		vmm=$(vm_get box .pid)
		qemu=$(pgrep -P "$vmm" -x qemu-system-x86)
		guest=$(boot_id box)
		local pids=()
		[[ $victims != *daemon* ]] || pids+=("$daemon")
		[[ $victims != *vmm* ]] || pids+=("$vmm")
		[[ $victims != *qemu* ]] || pids+=("$qemu")
		kill -KILL "${pids[@]}"
		[[ $victims != *daemon* ]] || wait_until 20 has_ended "$daemon"
		[[ $victims != *daemon* ]] || recover "$victims killed"
		if [ "$victims" = daemon ]; then
			equal "$(state_of box) $(vm_get box .pid) $(boot_id box)" "running $vmm $guest"
			continue
		fi
		wait_until 20 has_no_run box
		wait_until 20 assert_ended_with_reason box
		assert_stopped box
		disks_are_whole box
		equal "$(plan)$(plan left)" ""
		start_vm box
	done
	in_vm box true
}

has_no_run() {
	[ "$(state_of "$1")" != running ]
}

# What killed the VMM of a daemon that was gone nobody saw.
assert_ended_with_reason() {
	matches "$(state_of "$1") $(vm_get "$1" .last_error)" \
		'^(error the VMM (was killed by signal 9|exited with status 1|ended in disorder)|stopped its VMM was gone)'
}

# --- another boot ---

@test "the host was rebooted: its VMs are stopped with that reason, and no number of that boot is taken for theirs" {
	local id
	run_vm box
	make_vm other
	id=$(vm_get box .id)
	kill -KILL "$(daemon_pid)" "$(vm_get box .pid)"
	wait_until 20 daemon_is_gone
	wait_until 20 no_vmm_runs
	# /run is no tmpfs, so that its sockets are still there; and the number of the VMM is a shell's now.
	jq -c ".pid = $BASHPID | .start_time = $(cut -d ' ' -f 22 "/proc/$BASHPID/stat")" "$BANGER_STATE_DIR/vms/$id/handles.json" \
		>"$BATS_TEST_TMPDIR/handles.json"
	cp "$BATS_TEST_TMPDIR/handles.json" "$BANGER_STATE_DIR/vms/$id/handles.json"
	echo 01234567-89ab-4cde-8f01-23456789abcd >"$BATS_TEST_TMPDIR/boot_id"
	mount --bind "$BATS_TEST_TMPDIR/boot_id" /proc/sys/kernel/random/boot_id
	equal "$(plan)" "$(printf '%s\n' 'note-gone box null' "remove box $(tap_of_id "$id")" 'remove null br-fc')"
	recover "another boot"
	equal "$(state_of box) $(vm_get box .last_error)" "stopped the host was rebooted"
	equal "$(state_of other) $(vm_get other .last_error)" "created null"
	assert_stopped box
	equal "$(plan)$(plan left)" ""
	start_vm box
	equal "$(state_of box) $(vm_get box .last_error)" "running null"
	restart_daemon
	equal "$(state_of box)" running
	in_vm box true
}

# --- the clock ---

@test "a clock that is wrong by ten years: VMs are adopted, none expires, what waits still waits as long" {
	local vmm
	[ -e "$FAKETIME_LIBRARY" ] || skip "libfaketime is not installed"
	# Sanitizers want to be the first of the libraries.
	export BANGER=${BANGER_PLAIN_BUILD:-$BANGER_BUILD/../default}/src/bin/banger
	echo 'auto_stop_stale_after = "1h"' | cat - "$BANGER_CONFIG_DIR/config.toml" >"$BATS_TEST_TMPDIR/config"
	cp "$BATS_TEST_TMPDIR/config" "$BANGER_CONFIG_DIR/config.toml"
	run_vm box
	vmm=$(vm_get box .pid)
	for offset in +3650d -3650d "+$(((2147483640 - $(date +%s)) / 86400))d"; do
		kill_daemon
		LD_PRELOAD=$FAKETIME_LIBRARY FAKETIME=$offset FAKETIME_DONT_FAKE_MONOTONIC=1 recover "clock at $offset"
		equal "$(state_of box) $(vm_get box .pid)" "running $vmm"
		equal "$(plan)" ""
		in_vm box true
		# Made by that clock, and neither stopped as unused nor waited for.
		make_vm other
		matches "$(vm_get other .created_at)" "^20(36|16|38)-"
		start_vm other
		banger --quiet vm stop --timeout 100ms other >/dev/null
		equal "$(state_of other) $(state_of box)" "stopped running"
		delete_vm other
	done
	restart_daemon "the right clock again"
	equal "$(state_of box) $(vm_get box .pid)" "running $vmm"
}
