#!/usr/bin/env bats
# Ephemeral VMs live as long as the client that made them: as long as its connection, and as long as its process when bangerd
# was replaced meanwhile. Whatever else is done with them changes nothing about that.
# shellcheck disable=SC2154 # bats and helpers set status, output, stderr, lines, reply

load helper
load crash_helper

make_ephemeral() {
	client_does vm.create "{\"name\":\"$1\",\"ephemeral\":true,\"start\":${2:-true}}"
}

# The process whose lease the next daemon will look at.
lease_holder_of() {
	jq .lease_pid "$(folder_of "$1")/handles.json"
}

@test "restart, stop and start by others leave it alone; it goes when its client's connection is closed" {
	connect_client
	make_ephemeral brief
	equal "$(jq -c '.result.vm | [.name, .state, .ephemeral]' <<<"$reply")" '["brief","running",true]'
	equal "$(lease_holder_of brief)" "$CLIENT_PID"
	banger --quiet vm restart brief >/dev/null
	in_vm brief true
	equal "$(lease_holder_of brief)" "$CLIENT_PID"
	stop_vm brief
	equal "$(state_of brief)" stopped
	start_vm brief
	in_vm brief true
	equal "$(lease_holder_of brief)" "$CLIENT_PID"
	# Others come and go.
	client_does vm.list
	banger --quiet vm list >/dev/null
	equal "$(state_of brief) $(vm_get brief .ephemeral)" "running true"
	client_asks close
	wait_until 20 has_no_vms
	wait_until 20 no_vmm_runs
	kill -0 "$CLIENT_PID" # it is the connection that counts
	end_client
}

@test "bangerd killed: it stays while the process lives that made it, restarted or not, and goes with it" {
	local guest
	connect_client
	make_ephemeral brief
	banger --quiet vm restart brief >/dev/null
	guest=$(boot_id brief)
	restart_daemon
	equal "$(state_of brief) $(boot_id brief)" "running $guest"
	# A VM that was started by a daemon that never saw its client.
	banger --quiet vm restart brief >/dev/null
	stop_vm brief
	start_vm brief
	equal "$(lease_holder_of brief)" "$CLIENT_PID"
	guest=$(boot_id brief)
	restart_daemon "kill -9 again"
	equal "$(state_of brief) $(boot_id brief)" "running $guest"
	end_client
	restart_daemon "kill -9 after the end of the client"
	log_has 'delete: it was to live as long as its client'
	assert_no_vms
	wait_until 20 no_vmm_runs
}

@test "a client that ends while its VM is stopped, and one that never was started: both go" {
	connect_client
	make_ephemeral never false
	make_ephemeral once
	stop_vm once
	equal "$(state_of never) $(state_of once)" "created stopped"
	end_client
	wait_until 20 has_no_vms
}

@test "many over one connection: one after the other, and side by side" {
	local before after
	connect_client
	make_ephemeral first false
	client_does vm.delete '{"vm":"first"}'
	before=$(find "/proc/$(daemon_pid)/fd" -mindepth 1 | wc -l)
	for ((i = 0; i < 20; i++)); do
		make_ephemeral "one-$i" false
		client_does vm.delete "{\"vm\":\"one-$i\"}"
	done
	assert_no_vms
	for ((i = 0; i < 20; i++)); do
		make_ephemeral "all-$i" false
	done
	# One that others delete is nobody's any more.
	delete_vm all-7
	make_vm all-7
	equal "$(banger --quiet vm list -q | wc -l)" 20
	client_asks close
	only_all_7() { [ "$(banger --json vm list | jq -c '[.vms[].name]')" = '["all-7"]' ]; }
	wait_until 20 only_all_7
	end_client
	after=$(find "/proc/$(daemon_pid)/fd" -mindepth 1 | wc -l)
	[ "$after" -le "$before" ]
}
