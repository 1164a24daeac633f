#!/usr/bin/env bats
# Verbs that do not come to their end: cancelled, refused by a VMM that hangs, out of descriptors, unable to write, or left half
# done by whatever stopped them. What is stored is then true, and the next verb finds its way.
# shellcheck disable=SC2154,SC2016 # bats and helpers set status, output, stderr, lines, reply; expressions for other shells

load helper
load crash_helper

# What the row says, without asking bangerd: state and intent.
row_of() {
	change_database 'SELECT state, intent FROM vms WHERE name = ?' "$1"
}

qemu_of() {
	pgrep -P "$(vm_get "$1" .pid)" -x qemu-system-x86
}

# Ctrl-C as soon as the guest is being asked.
cancel_stop() {
	start stop "$BANGER" vm stop --timeout 60s box
	wait_until 20 file_has "$BATS_TEST_TMPDIR/stop.err" '^shutdown: '
	kill -INT "$started"
	wait_for_status "$started" 130
	contains "$(cat "$BATS_TEST_TMPDIR/stop.err")" "banger: cannot stop 'box': cancelled"
	equal "$(cat "$BATS_TEST_TMPDIR/stop.out")" ''
}

row_is() {
	[ "$(row_of "$1")" = "$2" ]
}

# --- stop that is cancelled ---

@test "stop cancelled before the guest heard of it: the VM goes on" {
	local vmm guest qemu
	run_vm box
	vmm=$(vm_get box .pid)
	guest=$(boot_id box)
	qemu=$(qemu_of box)
	kill -STOP "$qemu"
	cancel_stop
	wait_until 20 row_is box "('running', None)"
	kill -CONT "$qemu"
	equal "$(state_of box) $(vm_get box .pid) $(vm_get box .last_error)" "running $vmm null"
	equal "$(boot_id box)" "$guest"
	run_for 0 banger --quiet vm stop box
	equal "$output" 'box: stopped'
	assert_stopped box
}

@test "stop cancelled after the guest was told: it is not forced, and noted when it ends" {
	run_vm box
	# Its init gives it five seconds.
	in_vm box sh -c 'trap "" TERM HUP; sleep 1000 >/dev/null 2>&1 &'
	cancel_stop
	wait_until 20 row_is box "('running', None)"
	wait_until 30 vm_is box stopped
	equal "$(vm_get box .last_error)" null
	contains "$(tail -n 1 "$(folder_of box)/vmm.log")" 'exit status 0'
	assert_stopped box
	start_vm box
	equal "$(in_vm box sh -c 'dmesg | grep -Ec "EXT4-fs.*(recovery|recovered|orphan|error)" || true')" 0
}

@test "stop of a paused VM cancelled: it was woken to hear, and is recorded as running" {
	local client
	run_vm box
	# The agent stands still for three seconds of the guest's time, of which none passes while it is paused.
	start client "$BANGER" --quiet vm exec box -- sh -c 'exec >/dev/console; agents=$(pgrep -f @banger-agent)
		(i=0; while [ $i -lt 30 ]; do echo "tick $i"; i=$((i + 1)); sleep 0.1; done; kill -CONT $agents) & kill -STOP $agents'
	client=$started
	wait_until 20 file_has "$(folder_of box)/console.log" 'tick 1'
	banger --quiet vm pause box >/dev/null
	equal "$(row_of box)" "('paused', None)"
	cancel_stop
	wait_until 20 row_is box "('running', None)"
	wait_until 20 file_has "$(folder_of box)/console.log" 'tick 29'
	in_vm box true
	wait_for_status "$client" 0
	equal "$(state_of box)" running
}

@test "restart cancelled while it stops: the VM goes on" {
	local qemu
	run_vm box
	qemu=$(qemu_of box)
	kill -STOP "$qemu"
	start restart "$BANGER" vm restart box
	wait_until 20 file_has "$BATS_TEST_TMPDIR/restart.err" '^shutdown: '
	kill -INT "$started"
	wait_for_status "$started" 130
	wait_until 20 row_is box "('running', None)"
	kill -CONT "$qemu"
	in_vm box true
}

# --- kill ---

@test "kill of a VMM that stands still: by SIGTERM it says so, without it works" {
	local vmm qemu
	run_vm box
	vmm=$(vm_get box .pid)
	qemu=$(qemu_of box)
	kill -STOP "$vmm"
	run_for 1 banger --quiet vm kill --signal TERM box
	contains "$stderr" "banger: cannot kill 'box': wait for the VMM to end: Connection timed out"
	contains "$stderr" "hint: 'banger vm kill box' makes it end"
	equal "$(row_of box)" "('running', None)"
	equal "$(state_of box) $(vm_get box .pid)" "running $vmm"
	run_for 0 banger --quiet vm kill box
	equal "$output" 'box: stopped'
	equal "$(row_of box)" "('stopped', None)"
	wait_until 20 process_is_gone "$qemu"
	assert_stopped box
	disks_are_whole box
	start_vm box
	in_vm box true
}

@test "kill by SIGTERM cancelled: the VM goes on as far as its VMM does" {
	local vmm
	run_vm box
	vmm=$(vm_get box .pid)
	kill -STOP "$vmm"
	start kill "$BANGER" --quiet vm kill --signal TERM box
	wait_until 20 row_is box "('running', 'stop')"
	kill -INT "$started"
	wait_for_status "$started" 130
	wait_until 20 row_is box "('running', None)"
	kill -CONT "$vmm" # takes the signal now
	wait_until 20 vm_is box stopped
	equal "$(vm_get box .last_error)" null
	assert_stopped box
}

# --- what was left half done ---

# As a daemon leaves it that could neither finish nor undo. The daemon is a new one: its next look at everything is a minute away.
leave_intent() {
	restart_daemon "before '$1' is left half done"
	change_database 'UPDATE vms SET intent = ?' "$1"
}

@test "a stop that was left half done is finished before the next verb" {
	run_vm box
	leave_intent stop
	run_for 1 banger vm pause box
	contains "$stderr" "cannot pause 'box': it is stopped"
	equal "$(row_of box)" "('stopped', None)"
	assert_stopped box
	start_vm box
	leave_intent stop
	start_vm box
	equal "$(row_of box)" "('running', None)"
	in_vm box true
	leave_intent start
	run_for 1 banger vm resume box
	contains "$stderr" "cannot resume 'box': it is stopped"
	equal "$(vm_get box .last_error)" "bangerd ended while this VM was being started"
	assert_stopped box
}

@test "a delete or create that was left half done is finished before the next verb; delete goes over anything" {
	local intent
	for intent in delete create; do
		run_vm box
		leave_intent "$intent"
		run_for 1 banger vm start box
		contains "$stderr" "'box' has been deleted"
		assert_no_vms
		wait_until 20 no_vmm_runs
	done
	for intent in create start stop delete; do
		make_vm box
		leave_intent "$intent"
		run_for 0 banger --quiet vm delete box
		equal "$output" 'box: deleted'
		assert_no_vms
	done
	run_vm box
	leave_intent stop
	delete_vm box
	assert_no_vms
	wait_until 20 no_vmm_runs
}

# --- descriptors ---

# Which limits of open files a process has: soft, hard.
files_limits() {
	awk '/^Max open files/ { print $4, $5 }' "/proc/$1/limits"
}

@test "bangerd takes all descriptors that it may have; its VMMs have the limit from before" {
	local hard
	hard=$(ulimit -Hn)
	[ "$hard" -gt 300 ]
	ulimit -Sn 300
	run_vm box
	equal "$(files_limits "$(daemon_pid)")" "$hard $hard"
	equal "$(files_limits "$(vm_get box .pid)")" "300 $hard"
	equal "$(files_limits "$(qemu_of box)")" "300 $hard"
}

# The daemon gets so many descriptors more than it has, and no others.
leave_descriptors() {
	local free=$1 number=0
	while [ -e "/proc/$daemon/fd/$number" ] || [ "$((free--))" -gt 0 ]; do number=$((number + 1)); done
	prlimit --pid "$daemon" --nofile="$number:"
}

# Asks for a verb with no descriptor to spare, then with ever more: as long as it fails, the VM runs as if nobody had asked.
ask_with_few_descriptors() {
	local verb=$1 vmm free
	vmm=$(vm_get box .pid)
	for ((free = 0; ; free++)); do
		leave_descriptors "$free"
		client_asks "vm.$verb" '{"vm":"box"}'
		jq -e .error <<<"$reply" >/dev/null || break
		contains "$(jq -r .error.message <<<"$reply")" 'Too many open files'
		if has_ended "$vmm"; then # there is only one way from here
			equal "$(row_of box)" "('running', '$verb')"
			break
		fi
		equal "$(row_of box)" "('running', None)"
	done
	prlimit --pid "$daemon" --nofile="$limit:"
	[ "$free" -gt 1 ]
}

@test "few descriptors left: a VM that runs is neither taken for gone nor forced, and stop and delete are finished later" {
	local daemon limit
	run_vm box
	connect_client
	client_does vm.list # it is being served
	daemon=$(daemon_pid)
	limit=$(files_limits "$daemon" | cut -d ' ' -f 1)
	ask_with_few_descriptors stop
	start_vm box
	equal "$(in_vm box sh -c 'dmesg | grep -Ec "EXT4-fs.*(recovery|recovered|orphan|error)" || true')" 0
	ask_with_few_descriptors delete
	run banger --quiet vm delete box
	assert_no_vms
	wait_until 20 no_vmm_runs
	end_client
}

@test "no descriptors left: the VM goes on, and all works when there are some again" {
	local daemon limit guest
	run_vm box
	guest=$(boot_id box)
	connect_client
	client_does vm.list
	daemon=$(daemon_pid)
	limit=$(files_limits "$daemon" | cut -d ' ' -f 1)
	leave_descriptors 0
	run_for 1 timeout 20 "$BANGER" vm list
	contains "$stderr" 'Too many open files'
	client_asks vm.stop '{"vm":"box"}'
	contains "$(jq -r .error.message <<<"$reply")" 'Too many open files'
	client_asks vm.delete '{"vm":"box"}'
	contains "$(jq -r .error.message <<<"$reply")" 'Too many open files'
	prlimit --pid "$daemon" --nofile="$limit:"
	lists() { banger --quiet vm list >/dev/null 2>&1; }
	wait_until 20 lists
	equal "$(daemon_pid)" "$daemon"
	equal "$(state_of box) $(boot_id box)" "running $guest"
	end_client
	stop_vm box
	assert_stopped box
}

# --- handles.json ---

@test "start whose VMM cannot be written down: an error, no VMM is left, the VM is as before" {
	local state
	make_vm box
	for state in created stopped; do
		mkdir "$(folder_of box)/.handles.json.new" # where it is prepared
		run_for 1 banger --quiet vm start box
		contains "$stderr" "banger: cannot start 'box': write '$(folder_of box)/handles.json': Is a directory"
		wait_until 20 no_vmm_runs
		equal "$(row_of box)" "('$state', None)"
		contains "$(vm_get box .last_error)" "handles.json': Is a directory"
		assert_stopped box
		rmdir "$(folder_of box)/.handles.json.new"
		start_vm box
		equal "$(state_of box) $(vm_get box .last_error)" "running null"
		stop_vm box
	done
}
