#!/usr/bin/env bats
# Verbs on many VMs: side by side, in the order given, by any reference, and one failure does not stop the others.
# shellcheck disable=SC2154 # bats sets status, output, stderr, lines

load helper

in_flight() {
	[ "$(banger --json daemon operations list | jq '.operations | length')" -eq "$1" ]
}

# What the verbs are given: each VM twice or more, by a prefix of its name, of its id, its name and its whole id, and four
# that are none. $one is the id of web-one.
all_ways() {
	WAYS=(web-t "${one:0:12}" nobody web- '' 'A b' web-one web-two "$one")
	WRONG=("'nobody': there is no VM 'nobody'"
		"'web-': 'web-' could be any of 2 VMs: 'web-one' (${one:0:12}), 'web-two' ($(vm_get web-two '.id[0:12]'))"
		"'': a VM must be named: its name, id or a prefix of either"
		"'A b': there is no VM 'A b'")
}

# In their order: the VMs as they were named first, then each wrong one.
assert_told() {
	equal "$output" "web-two: $2
web-one: $2
$(printf "banger: cannot $1 %s\n" "${WRONG[@]}")"
	equal "$status" 1
}

@test "every verb: two VMs in every way of naming them, and four that are none" {
	local one row verb after
	banger --quiet vm create --no-start --name web-one >/dev/null
	banger --quiet vm create --no-start --name web-two >/dev/null
	one=$(vm_get web-one .id)
	all_ways
	for row in start:running pause:paused resume:running restart:running stop:stopped start:running kill:stopped; do
		verb=${row%:*} after=${row#*:}
		run banger --quiet vm "$verb" "${WAYS[@]}"
		assert_told "$verb" "$after"
		equal "$(state_of web-one) $(state_of web-two)" "$after $after"
	done
	# Done already, or never: no VM stops another's.
	for verb in stop pause resume kill; do
		run banger --quiet vm $verb web-two nobody web-one
		equal "$(grep -v '^hint: ' <<<"$output")" "banger: cannot $verb 'web-two': it is stopped
banger: cannot $verb 'nobody': there is no VM 'nobody'
banger: cannot $verb 'web-one': it is stopped"
		equal "$status" 1
	done
	run banger --quiet vm set --vcpu 2 "${WAYS[@]}"
	assert_told change '2 vcpu · 512 MiB · 1 GiB disk · debian-bookworm-slim'
	run_for 2 banger vm set --name other web-one web-two
	contains "$stderr" "several VMs cannot all be named 'other'"
	run_for 1 banger vm stats "${WAYS[@]}"
	equal "$(awk '/^web-/ { print $1 }' <<<"$output" | paste -sd' ')" 'web-two web-one'
	equal "$stderr" "$(printf 'banger: %s\n' "${WRONG[@]#*: }")"
	run_for 1 banger --json vm stats nobody web-one "$one"
	equal "$(jq -c '[.vms[].name]' <<<"$output") $(jq -r .error.kind <<<"$stderr")" '["web-one"] not_found'
	run_for 1 banger vm stats nobody none
	equal "$output" ''
	run banger --quiet vm delete "${WAYS[@]}"
	assert_told delete deleted
	assert_no_vms
	for verb in start stop restart kill delete pause resume 'set --vcpu 1'; do
		# shellcheck disable=SC2086 # words
		run_for 2 banger vm $verb
	done
}

@test "one that cannot be done among those that can; in JSON; side by side" {
	banger --quiet vm run --name web-one -d >/dev/null
	banger --quiet vm run --name web-two -d >/dev/null
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
