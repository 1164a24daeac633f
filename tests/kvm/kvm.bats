#!/usr/bin/env bats
# What only a machine with a working KVM shows; runs in tests/kvm-host.
# shellcheck disable=SC2154 # bats sets status and output

load ../e2e/helper

NODE=/dev/kvm

setup_file() {
	share_home
	# Growing the root file system would be most of a boot.
	sed -i -e '/^templates = /d' -e '/^system_overlay_size/s/2GiB/1GiB/' "$BANGER_CONFIG_DIR/config.toml"
	banger --quiet template build >/dev/null
}

teardown_file() {
	banger --quiet template delete "$(banger --json template list | jq -r '.templates[0].id')" >/dev/null
	end_shared_home
}

setup() {
	watch_census
	NODE_WAS=$(stat -c '%a %u:%g' "$NODE")
}

teardown() {
	chown "${NODE_WAS#* }" "$NODE"
	chmod "${NODE_WAS% *}" "$NODE"
	delete_vms_but
	compare_census
}

# vm_of MODE OWNERS: a VM is begun from the template while the node is so; $qemu is its QEMU.
vm_of() {
	chown "$2" "$NODE"
	chmod "$1" "$NODE"
	run_for 0 banger vm create --name box
	contains "$stderr" "template:"
	lacks "$stderr" "boot: begun"
	equal "$(vm_get box .accelerator)" kvm
	qemu=$(pgrep -P "$(vm_get box .pid)")
	contains "$(tr '\0' ' ' <"/proc/$qemu/cmdline")" "-accel kvm"
	uid=$(stat -c %u "/proc/$qemu")
	[ "$uid" -ge 1879048192 ]
	equal "$(stat -c '%a %u:%g' "$NODE")" "$1 $2"
	in_vm box grep -qx kvm-clock /sys/devices/system/clocksource/clocksource0/current_clocksource
}

seen_by_qemu() {
	stat -c '%a %u:%g' "/proc/$qemu/root$NODE"
}

@test "KVM runs VMs as users of their own, whoever the node belongs to" {
	local qemu uid
	vm_of 666 0:0
	equal "$(seen_by_qemu) $(awk '$1 == "Gid:" { print $2 }' "/proc/$qemu/status")" "666 0:0 $uid"
	banger --quiet vm delete box
	vm_of 660 0:104
	equal "$(seen_by_qemu) $(awk '$1 == "Gid:" { print $2 }' "/proc/$qemu/status")" "660 0:104 104"
	banger --quiet vm delete box
	# Only root, or its group, may open it: QEMU has another in its place.
	vm_of 600 0:0
	equal "$(seen_by_qemu)" "600 $uid:$uid"
	banger --quiet vm delete box
	vm_of 660 0:0
	equal "$(seen_by_qemu)" "600 $uid:$uid"
}

# Name, machine-id, boot_id, MAC, host key, randomness: a line each; then the time.
about() {
	in_vm "$1" sh -c 'hostname; cat /etc/machine-id /proc/sys/kernel/random/boot_id /sys/class/net/eth0/address
		cut -d " " -f 2 /etc/ssh/ssh_host_ed25519_key.pub; head -c 16 /dev/urandom | od -An -tx1; date +%s'
}

@test "KVM runs a clone and its fork, each another machine with the right time" {
	local before after name
	run_for 0 banger vm create --name box
	contains "$stderr" "template:"
	in_vm box sh -c 'echo memory >/dev/shm/word; echo disk >/root/word; sync'
	run_for 0 banger vm fork box --name copy
	equal "$(vm_get copy .accelerator)" kvm
	equal "$(in_vm copy cat /dev/shm/word /root/word | xargs)" 'memory disk'
	for name in box copy; do
		before=$(date +%s)
		about "$name" >"$BATS_TEST_TMPDIR/$name"
		after=$(date +%s)
		equal "$(head -n 2 "$BATS_TEST_TMPDIR/$name" | xargs)" "$name $(vm_get "$name" .id)"
		[ "$(tail -n 1 "$BATS_TEST_TMPDIR/$name")" -ge $((before - 1)) ]
		[ "$(tail -n 1 "$BATS_TEST_TMPDIR/$name")" -le $((after + 1)) ]
	done
	equal "$(head -qn 6 "$BATS_TEST_TMPDIR"/{box,copy} | sort | uniq -d)" ''
	in_vm box sh -c 'echo mine >/root/word; sync'
	equal "$(in_vm copy cat /root/word)" disk
}

@test "KVM takes a VM back to its snapshot, memory and disks, with the right time" {
	run_for 0 banger vm create --name box
	in_vm box sh -c 'echo then >/dev/shm/word; echo then >/root/word; sync'
	run_for 0 banger vm snapshot create box mine
	clock_is_right box
	in_vm box sh -c 'echo now >/dev/shm/word; echo now >/root/word; sync'
	run_for 0 banger vm snapshot restore box mine
	equal "$(vm_get box '| "\(.state) \(.accelerator)"')" 'running kvm'
	equal "$(in_vm box cat /dev/shm/word /root/word | xargs)" 'then then'
	clock_is_right box
	in_vm box grep -qx kvm-clock /sys/devices/system/clocksource/clocksource0/current_clocksource
}
