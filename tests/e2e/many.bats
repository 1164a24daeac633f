#!/usr/bin/env bats
# Verbs on many VMs: side by side, in the order given, by any reference, and one failure does not stop the others.
# shellcheck disable=SC2154 # bats sets status, output, stderr, lines

load helper

in_flight() {
	[ "$(banger --json daemon operations list | jq '.operations | length')" -eq "$1" ]
}

@test "pause, resume, kill, restart: two VMs, by name, prefix and id, one of them twice, and one that is not there" {
	local one verb
	banger --quiet vm run --name web-one -d >/dev/null
	banger --quiet vm run --name web-two -d >/dev/null
	one=$(vm_get web-one .id)
	for verb in pause:paused resume:running kill:stopped restart:running; do
		run banger --quiet vm "${verb%:*}" web-t "${one:0:12}" nobody web-one web-two
		equal "$status" 1
		equal "$output" "web-two: ${verb#*:}
web-one: ${verb#*:}
banger: cannot ${verb%:*} 'nobody': there is no VM 'nobody'"
		equal "$(state_of web-one) $(state_of web-two)" "${verb#*:} ${verb#*:}"
	done
	# One that cannot be done among those that can.
	banger --quiet vm pause web-one >/dev/null
	run_for 1 banger --quiet vm pause web-one web-two
	equal "$output" 'web-two: paused'
	contains "$stderr" "banger: cannot pause 'web-one': it is paused"
	run_for 1 banger --json --quiet vm resume web-two web-none web-one
	equal "$(jq -c '.results | map([.reference, (.error.kind // .result.vm.state)])' <<<"$output")" \
		'[["web-two","running"],["web-none","not_found"],["web-one","running"]]'
	run_for 1 banger vm kill web-
	contains "$stderr" "'web-' could be any of 2 VMs: 'web-one' ("

	# Side by side: both wait for guests that cannot answer.
	# shellcheck disable=SC2046 # two processes
	kill -STOP $(pgrep qemu-system)
	start stop "$BANGER" --quiet vm stop -t 100s web-one web-two
	wait_until 20 in_flight 2
	# shellcheck disable=SC2046
	kill -CONT $(pgrep qemu-system)
	wait_for_status "$started" 0
	equal "$(<"$BATS_TEST_TMPDIR/stop.out")" $'web-one: stopped\nweb-two: stopped'
}

@test "more VMs than connections at once: all are done, in their order" {
	local names
	names=$(seq -f 'vm-%02g' 1 40)
	for name in $names; do
		banger --quiet vm create --no-start --name "$name" >/dev/null
	done
	# shellcheck disable=SC2086 # a list of names
	run_for 0 banger --quiet vm set $names --vcpu 2
	equal "$(cut -d : -f 1 <<<"$output")" "$names"
	equal "$(banger --json vm list | jq -c '[.vms[].vcpu] | unique')" '[2]'
	# shellcheck disable=SC2086
	run_for 0 banger --quiet vm delete $names
	equal "$output" "${names//$'\n'/$': deleted\n'}: deleted"
	assert_no_vms
}
