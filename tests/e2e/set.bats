#!/usr/bin/env bats
# vm set: what may be changed of which VM, what is refused, and what a guest finds afterwards.
# shellcheck disable=SC2154,SC2016 # bats sets status, output, stderr, lines; expressions for other shells

load helper

spec_of() {
	banger --json vm show "$1" | jq -c '.vm | [.name, .state, .vcpu, .memory_bytes / 1048576, .disk_bytes / 1048576]'
}

virtual_mib() {
	qemu-img info --output=json "$(vm_get "$1" .directory)/work.qcow2" | jq '."virtual-size" / 1048576'
}

@test "set: the guest has what was set, its files and its new name" {
	banger --quiet vm run --name box -d
	in_vm box sh -c 'echo kept >/root/file; sync'

	# Of a VM that runs only the name may change, and its guest follows.
	run_for 1 banger vm set box --memory 640
	equal "$stderr" "banger: cannot change 'box': it is running
hint: 'banger vm stop box' stops it"
	run_for 1 banger vm set box --memory 640 --name web
	equal "$(spec_of box)" '["box","running",1,512,1024]'
	run_for 0 banger vm set box --name web
	equal "$output" "box: now 'web', 1 vcpu · 512 MiB · 1 GiB disk · $IMAGE"
	equal "$stderr" ''
	equal "$(in_vm web sh -c 'hostname; cat /etc/hostname')" $'web\nweb'
	run_for 1 banger vm show box
	run_for 0 banger vm stop web

	run_for 0 banger vm set web --vcpu 2 --memory 640 --disk-size 2560M
	equal "$output" "web: 2 vcpu · 640 MiB · 2.5 GiB disk · $IMAGE"
	equal "$(spec_of web)" '["web","stopped",2,640,2560]'
	equal "$(virtual_mib web)" 2560
	banger --quiet vm start web
	equal "$(in_vm web sh -c 'nproc; hostname; cat /root/file')" $'2\nweb\nkept'
	run_for 0 in_vm web df -B1 --output=size /root
	[ "${lines[1]}" -gt $((2300 << 20)) ]
	run_for 0 in_vm web sh -c "awk '/MemTotal/ { print \$2 }' /proc/meminfo"
	[ "$output" -gt $((520 << 10)) ]
	[ "$output" -le $((640 << 10)) ]

	# A paused one is told its name when it goes on.
	banger --quiet vm pause web
	run_for 0 banger --quiet vm set web --name later
	equal "$(spec_of later)" '["later","paused",2,640,2560]'
	banger --quiet vm resume later
	equal "$(in_vm later hostname)" later

	# A guest that cannot be told keeps its name until it is restarted, which is said.
	kill -STOP "$(pgrep qemu-system)"
	run_for 0 banger vm set later --name last
	kill -CONT "$(pgrep qemu-system)"
	contains "$output" "later: now 'last', "
	contains "$stderr" "warning: the guest of 'last' keeps its old hostname until it is restarted: "
	equal "$(spec_of last)" '["last","running",2,640,2560]'
}

@test "set: what is wrong is refused and changes nothing" {
	banger --quiet vm create --no-start --name box >/dev/null
	banger --quiet vm create --no-start --name other >/dev/null

	run_for 2 banger vm set box
	contains "$stderr" 'banger: nothing is to be changed'
	run_for 2 banger vm set box other --name both
	contains "$stderr" "banger: several VMs cannot all be named 'both'"
	for wrong in '--name Box' '--name -x' '--vcpu 0' '--vcpu 33' '--memory 1' '--disk-size 1' '--nat=yes'; do
		# shellcheck disable=SC2086 # an option and its value
		run_for 2 banger vm set box $wrong
	done
	run_for 1 banger vm set box --name other
	equal "$stderr" "banger: cannot change 'box': a VM named 'other' exists already"
	run_for 1 banger vm set box --disk-size 512M --vcpu 2
	equal "$stderr" "banger: cannot change 'box': its disk has 1 GiB: disks only grow"
	run_for 1 banger vm set nobody --vcpu 2
	equal "$stderr" "banger: cannot change 'nobody': there is no VM 'nobody'"
	equal "$(spec_of box)" '["box","created",1,512,1024]'

	# The daemon says the same without the CLI's help.
	for params in '{"vm":"box"}' '{"vm":"box","name":"Box"}' '{"vm":"box","name":""}' '{"vm":"box","vcpu":33}' \
		'{"vm":"box","memory_bytes":1}' '{"vm":"box","disk_bytes":1073741825}' '{"vm":"box","disk_bytes":0}' \
		'{"vm":"box","nat":1}' '{"name":"x"}'; do
		run /usr/bin/python3 "$BATS_TEST_DIRNAME/rpc.py" vm.set "$params"
		contains "$output" '"error"'
	done
	equal "$(spec_of box)" '["box","created",1,512,1024]'

	# The disk is missing: nothing is changed.
	rm "$(vm_get box .directory)/work.qcow2"
	run_for 1 banger --quiet vm set box --disk-size 2G --vcpu 2
	contains "$stderr" "banger: cannot change 'box': the work disk of 'box' is missing"
	equal "$(spec_of box)" '["box","created",1,512,1024]'
}

@test "set: many VMs, by prefixes and twice, in the order given; one failure does not stop the others" {
	local one setters=()
	for name in web-one web-two db; do
		banger --quiet vm create --no-start --name "$name" >/dev/null
	done
	one=$(vm_get web-one .id)
	run banger --quiet vm set db nobody web-t "${one:0:12}" web-one --vcpu 2 --disk-size 2G
	equal "$status" 1
	equal "$output" "db: 2 vcpu · 512 MiB · 2 GiB disk · $IMAGE
banger: cannot change 'nobody': there is no VM 'nobody'
web-two: 2 vcpu · 512 MiB · 2 GiB disk · $IMAGE
web-one: 2 vcpu · 512 MiB · 2 GiB disk · $IMAGE"
	for name in web-one web-two db; do
		equal "$(virtual_mib "$name")" 2048
	done
	# The same again is no change.
	run_for 0 banger --quiet --json vm set db web-one --disk-size 2G
	equal "$(jq -c '.results | map(.result.vm | [.name, .disk_bytes])' <<<"$output")" '[["db",2147483648],["web-one",2147483648]]'
	# One name at a time goes to one VM.
	for vm in web-one web-two db; do
		banger --quiet vm set "$vm" --name taken >"$BATS_TEST_TMPDIR/$vm.said" 2>&1 3>&- &
		setters+=("$!")
	done
	wait "${setters[@]}" || true # two of them fail
	equal "$(cat "$BATS_TEST_TMPDIR"/*.said | grep -c "now 'taken'")" 1
	equal "$(banger --json vm list | jq -c '[.vms[] | select(.name == "taken")] | length')" 1
}
