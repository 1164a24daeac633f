#!/usr/bin/env bats
# daemon operations list and cancel.
# shellcheck disable=SC2154 # bats sets status, output, stderr, lines

load helper

in_flight() {
	[ "$(banger --json daemon operations list | jq '.operations | length')" -eq "$1" ]
}

@test "operations: listed with their stage, cancelled, and undone" {
	local id qemu

	run_for 1 banger daemon operations list
	matches "$stderr" '^banger: bangerd is not running'
	run_for 1 banger daemon operations cancel 1
	banger --quiet vm run --name box -d
	qemu=$(pgrep qemu-system)
	run_for 0 banger daemon operations list
	equal "$output" 'ID  METHOD  SUBJECT  STAGE  ELAPSED'
	run_for 0 banger --json daemon operations list
	equal "$output" '{"operations":[]}'

	# A guest that cannot answer: its stop takes until it is cancelled.
	kill -STOP "$qemu"
	start stop "$BANGER" vm stop -t 100s box
	wait_until 20 in_flight 1
	run_for 0 banger daemon operations list
	matches "${lines[1]}" '^ *[0-9]+ +vm\.stop +[0-9a-f]{32} .* [0-9.]+ (ms|s)$'
	id=$(banger --json daemon operations list | jq '.operations[0].id')
	run_for 1 banger daemon operations cancel 999999 "$id"
	equal "$output" "$id: asked to end"
	equal "$stderr" 'banger: no operation 999999 is in flight'
	wait_for_status "$started" 1
	contains "$(<"$BATS_TEST_TMPDIR/stop.err")" "banger: cannot stop 'box': "
	wait_until 20 in_flight 0
	kill -CONT "$qemu"
	equal "$(state_of box)" running

	run_for 1 banger --json daemon operations cancel "$id"
	equal "$(jq -c '.results[0] | [.id, .error.kind]' <<<"$output")" "[$id,\"not_found\"]"
	for wrong in x -1 1x ''; do
		run_for 2 banger daemon operations cancel "$wrong"
	done
	run_for 2 banger daemon operations cancel
	run_for 2 banger daemon operations
}
