#!/usr/bin/env bats
# VMs from their making to their end, with real guests: run, create, list, stop, start, pause, kill, delete, prune; and
# what becomes of them when something interrupts.
# shellcheck disable=SC2154,SC2016 # bats sets status, output, stderr, lines; many expressions are for the guest's shell

load helper

# The lines on standard error that are neither progress nor a note.
without_progress() {
	grep -Ev '^([a-z]+: (begun|done in .*)|(disk|vmm|initramfs): .*|spec: .*|warning: no usable KVM.*)$' <<<"$1" || true
}

boot_id() {
	in_vm "$1" cat /proc/sys/kernel/random/boot_id
}

vmm_pid() {
	vm_get "$1" .pid
}

# What kernel and file systems said of a root that was not unmounted.
recoveries() {
	in_vm "$1" sh -c 'dmesg | grep -Ec "EXT4-fs.*(recovery|recovered|orphan|error)" || true'
}

@test "run --rm -- CMD: the command's output and status, and nothing is left" {
	run_for 0 banger vm run --rm -- sh -c 'uname -a; id; df -h /; echo to-stderr >&2'
	matches "${lines[0]}" '^Linux [a-z]+-[a-z]+ .* GNU/Linux$'
	equal "${lines[1]}" 'uid=0(root) gid=0(root) groups=0(root)'
	matches "${lines[3]}" '^/dev/vda +2.0G '
	equal "${#lines[@]}" 4
	contains "$stderr" 'spec: 1 vcpu · 512 MiB · 1 GiB disk · debian-bookworm-slim'
	equal "$(without_progress "$stderr")" 'to-stderr'
	equal "$(grep -c 'no usable KVM' <<<"$stderr")" 1
	assert_no_vms
}

@test "run --rm exits with the command's status, by signal with 128 + n, and 127 when there is no such command" {
	run_for 7 banger --quiet vm run --rm --name seven -- sh -c 'echo out; echo err >&2; exit 7'
	equal "$output" 'out'
	equal "$stderr" 'err'
	assert_no_vms
	run_for 137 banger --quiet vm run --rm -- sh -c 'kill -9 $$'
	assert_no_vms
	run_for 127 banger --quiet vm run --rm -- no-such-command
	equal "$stderr" "banger: exec 'no-such-command': No such file or directory"
	assert_no_vms
}

@test "run -d, exec, ps, show, stop, start, restart, delete: one VM's life" {
	local id first second

	run_for 0 banger --quiet vm run --name box -d
	equal "$output" 'box'
	equal "$stderr" ''
	run_for 0 banger vm exec box -- uptime
	matches "$output" 'up .*load average'
	id=$(vm_get box .id)
	matches "$id" '^[0-9a-f]{32}$'

	run_for 0 banger ps
	matches "${lines[0]}" '^ID +NAME +STATE +IMAGE +IP +VCPU +MEM +DISK +WORKSPACE +CREATED$'
	matches "${lines[1]}" "^${id:0:12} +box +running +debian-bookworm-slim +172[.]16[.]0[.]2 +1 +512 MiB +1 GiB +- +[a-z0-9]"
	equal "${#lines[@]}" 2
	run_for 0 banger vm list -q
	equal "$output" "$id"
	run_for 0 banger --json ps
	equal "$(jq -c '.vms | map([.id, .name, .state, .image, .vcpu, .memory_bytes, .disk_bytes])' <<<"$output")" \
		"[[\"$id\",\"box\",\"running\",\"debian-bookworm-slim\",1,536870912,1073741824]]"
	run_for 0 banger vm show box
	for fact in "$id" running debian-bookworm-slim debian-cloud qemu "$ACCEL" "$BANGER_STATE_DIR/vms/$id"; do
		contains "$output" "$fact"
	done
	[ $(($(date +%s) - $(vm_get box .started_at | date -f - +%s))) -lt 60 ]
	run_for 0 banger vm health box
	matches "$output" 'healthy +yes'
	matches "$output" 'hostname +box'
	equal "$(in_vm box hostname)" box

	first=$(boot_id box)
	in_vm box sh -c 'echo on-root >/srv/kept; echo in-root-home >/root/kept; echo shm >/dev/shm/lost'
	run_for 0 banger vm stop box
	equal "$output" 'box: stopped'
	equal "$(state_of box)" stopped
	equal "$(vm_get box .pid)" null
	wait_until 20 no_vmm_runs
	run_for 1 banger vm exec box -- true
	matches "$stderr" "^banger: .*stopped"
	run_for 1 banger vm stop box
	matches "$stderr" "^banger: cannot stop 'box': .*stopped"

	run_for 0 banger --quiet vm start box
	equal "$output" 'box: running'
	equal "$(in_vm box cat /srv/kept /root/kept)" $'on-root\nin-root-home'
	run_for 1 in_vm box cat /dev/shm/lost
	equal "$(recoveries box)" 0
	second=$(boot_id box)
	lacks "$first" "$second"
	run_for 1 banger --quiet vm start box
	matches "$stderr" "^banger: cannot start 'box': .*running"

	run_for 0 banger --quiet vm restart box
	equal "$output" 'box: running'
	lacks "$second" "$(boot_id box)"
	equal "$(recoveries box)" 0
	equal "$(in_vm box cat /srv/kept)" on-root

	run_for 0 banger --quiet vm delete box
	equal "$output" 'box: deleted'
	assert_no_vms
	run_for 1 banger vm show box
	matches "$stderr" "^banger: .*'box'"
}

@test "pause and resume: the guest stands still, goes on, and its clock is right" {
	local paused guest

	banger --quiet vm run --name box -d
	in_vm box sh -c 'while :; do echo tick; sleep 0.1; done >/dev/shm/ticks 2>/dev/null & echo $! >/dev/shm/pid'
	run_for 0 banger vm pause box
	equal "$output" 'box: paused'
	equal "$(state_of box)" paused
	paused=$(date +%s)
	run_for 1 banger vm exec box -- true
	matches "$stderr" "^banger: .*paused"
	run_for 1 banger --quiet vm pause box
	# A clock that went on from where it stood would be this late; there is nothing else to wait for.
	wait_until 20 has_passed $((paused + 4))
	run_for 0 banger --quiet vm resume box
	equal "$output" 'box: running'
	equal "$(state_of box)" running
	guest=$(in_vm box date +%s)
	[ $(($(date +%s) - guest)) -le 2 ]
	run_for 0 in_vm box sh -c 'kill "$(cat /dev/shm/pid)" && echo still-there'
	equal "$output" still-there
	run_for 1 banger --quiet vm resume box

	# A paused guest is woken to be stopped properly.
	banger --quiet vm pause box
	run_for 0 banger --quiet vm stop box
	equal "$output" 'box: stopped'
}

has_passed() {
	[ "$(date +%s)" -ge "$1" ]
}

@test "kill ends the VMM at once; the disks survive it" {
	banger --quiet vm run --name box -d
	in_vm box sh -c 'echo written >/root/file; sync'
	run_for 0 banger vm kill box
	equal "$output" 'box: stopped'
	wait_until 20 no_vmm_runs
	run_for 1 banger --quiet vm kill box
	banger --quiet vm start box
	equal "$(in_vm box cat /root/file)" written
	run_for 0 banger vm kill --signal TERM box
	equal "$output" 'box: stopped'
	run_for 2 banger vm kill --signal NOPE box
}

@test "stop forces a guest that does not listen, and says so" {
	local qemu

	banger --quiet vm run --name box -d
	qemu=$(pgrep qemu-system)
	kill -STOP "$qemu"
	run_for 0 banger --quiet vm stop --timeout 1s box
	equal "$output" 'box: stopped (forced)'
	wait_until 20 no_vmm_runs
	banger --quiet vm start box
	run_for 0 banger --quiet --json vm stop --timeout 0 box
	equal "$(jq -c '.results[0].result | [.forced, .vm.state]' <<<"$output")" '[true,"stopped"]'
}

@test "a VMM that is killed from outside is noticed; the VM says why and starts again" {
	local qemu

	banger --quiet vm run --name box -d
	qemu=$(pgrep qemu-system)
	kill -KILL "$(vmm_pid box)"
	wait_until 20 vm_is box error
	matches "$(vm_get box .last_error)" 'killed by signal 9|SIGKILL|KILL'
	wait_until 20 process_is_gone "$qemu"
	run_for 1 banger vm exec box -- true
	banger --quiet vm start box
	equal "$(state_of box)" running
	equal "$(vm_get box .last_error)" null

	kill -KILL "$(pgrep qemu-system)"
	wait_until 20 vm_is box error
	contains "$(vm_get box .last_error)" QEMU
	wait_until 20 no_vmm_runs
	run_for 0 banger --quiet vm delete box
}

@test "a guest that powers off or reboots by itself is stopped; one that panics says so" {
	banger --quiet vm run --name box -d
	run in_vm box sh -c 'sync; echo o >/proc/sysrq-trigger; sleep 100'
	[ "$status" -ne 0 ]
	wait_until 20 vm_is box stopped
	equal "$(vm_get box .last_error)" null

	banger --quiet vm start box
	run in_vm box sh -c 'echo b >/proc/sysrq-trigger; sleep 100'
	[ "$status" -ne 0 ]
	wait_until 20 vm_is box stopped

	banger --quiet vm start box
	run in_vm box sh -c 'echo c >/proc/sysrq-trigger; sleep 100'
	[ "$status" -ne 0 ]
	wait_until 20 vm_is box error
	contains "$(vm_get box .last_error)" 'Kernel panic'
	run_for 0 banger vm logs --console box
	contains "$output" 'Kernel panic'
	wait_until 20 no_vmm_runs
}

@test "logs: the VMM's, the console's, and -f until Ctrl-C" {
	banger --quiet vm run --name box -d
	run_for 0 banger vm logs box
	[ -n "$output" ]
	in_vm box sh -c 'printf "hello from the guest \033]52;c;AAAA\007 end\n" >/dev/console'
	wait_until 20 sh -c '"$BANGER" vm logs --console box | grep -q "hello from the guest"'
	run_for 0 banger vm logs --console box
	lacks "$output" $'\033'
	lacks "$output" $'\007'
	matches "$output" 'hello from the guest .*52;c;AAAA.* end'

	start follow "$BANGER" vm logs --console -f box
	wait_until 20 file_has "$BATS_TEST_TMPDIR/follow.out" 'hello from the guest'
	in_vm box sh -c 'echo later >/dev/console'
	wait_until 20 file_has "$BATS_TEST_TMPDIR/follow.out" later
	kill -INT "$started"
	wait_for_status "$started" 130

	# The console's file outlives the VMM.
	banger --quiet vm stop box
	run_for 0 banger vm logs --console box
	contains "$output" later
}

@test "create: --no-start only creates; a taken name is refused and changes nothing" {
	run_for 0 banger --quiet vm create --no-start --name box --disk-size 2G --memory 256
	matches "${lines[1]}" '^[0-9a-f]{12} +box +created +debian-bookworm-slim +172[.]16[.]0[.]2 +1 +256 MiB +2 GiB '
	run_for 1 banger --quiet vm create --no-start --name box
	matches "$stderr" "^banger: cannot create the VM: .*'box'"
	run_for 1 banger --quiet vm run --name box -- true
	matches "$stderr" "^banger: cannot run the VM: .*'box'"
	equal "$(banger vm list -q | wc -l)" 1
	run_for 1 banger vm exec box -- true
	run_for 0 banger --quiet vm start box
	run_for 0 in_vm box df -B1 --output=size /root
	[ "${lines[1]}" -gt $((19 << 26)) ]
	run_for 0 in_vm box sh -c "awk '/MemTotal/ { print \$2 }' /proc/meminfo"
	[ "$output" -gt $((150 << 10)) ]
	[ "$output" -le $((256 << 10)) ]
}

@test "many VMs at once: the order given, one bad reference, prefixes, repeats" {
	local one two three

	for name in one two three; do
		banger --quiet vm create --no-start --name "web-$name" >/dev/null
	done
	one=$(vm_get web-one .id) two=$(vm_get web-two .id) three=$(vm_get web-three .id)

	run_for 1 banger --quiet vm delete nobody web-t
	equal "$output" ''
	matches "$stderr" "^banger: cannot delete 'nobody': "
	matches "$stderr" "banger: cannot delete 'web-t': .*(web-two.*web-three|web-three.*web-two|ambiguous)"
	equal "$(banger vm list -q | wc -l)" 3

	# By name, by prefix of a name, by id, by prefix of an id; the same VM again counts once.
	run_for 0 banger --json vm show web-tw
	equal "$(jq -r .vm.id <<<"$output")" "$two"
	run_for 0 banger --json vm show "${three:0:12}"
	equal "$(jq -r .vm.name <<<"$output")" web-three
	run banger --quiet vm delete web-three nobody "$one" "${three:0:12}" web-o
	equal "$status" 1
	equal "$output" "web-three: deleted
banger: cannot delete 'nobody': there is no VM 'nobody'
web-one: deleted"
	equal "$(banger --json vm list | jq -c '[.vms[].name]')" '["web-two"]'

	# A whole name wins over the prefix that it also is.
	banger --quiet vm create --no-start --name web >/dev/null
	run_for 1 banger --quiet --json vm delete web nobody2
	equal "$(jq -c '.results | map([.reference, (.error.kind // .result.name)])' <<<"$output")" \
		'[["web","web"],["nobody2","not_found"]]'
	equal "$(banger --json vm list | jq -c '[.vms[].name]')" '["web-two"]'
}

@test "two VMs started and stopped side by side" {
	banger --quiet vm create --no-start --name one >/dev/null
	banger --quiet vm create --no-start --name two >/dev/null
	run_for 1 banger --quiet vm start one nobody two
	equal "$output" $'one: running\ntwo: running'
	equal "$(in_vm one hostname) $(in_vm two hostname)" 'one two'
	run_for 0 banger --quiet vm stop two one
	equal "$output" $'two: stopped\none: stopped'
}

@test "prune deletes what does not run, after asking or with --force" {
	banger --quiet vm run --name runs -d >/dev/null
	banger --quiet vm create --no-start --name idle >/dev/null
	banger --quiet vm run --name stopped -d >/dev/null
	banger --quiet vm stop stopped
	run_for 1 banger vm prune </dev/null
	contains "$stderr" 'hint: '
	equal "$(banger vm list -q | wc -l)" 3
	run_for 0 banger vm prune --force
	equal "$(sort <<<"$output")" $'idle: deleted\nstopped: deleted'
	equal "$(banger --json vm list | jq -c '[.vms[].name]')" '["runs"]'
	run_for 0 banger vm prune --force
	equal "$output" ''
	equal "$(in_vm runs echo well)" well
}

@test "Ctrl-C while a VM is made cancels in every stage, and leaves nothing" {
	local stage

	banger ps >/dev/null
	for stage in disk vmm boot; do
		start run "$BANGER" vm run --name box -- echo never
		wait_until 20 file_has "$BATS_TEST_TMPDIR/run.err" "^$stage: "
		kill -INT "$started"
		wait_for_status "$started" 130
		contains "$(cat "$BATS_TEST_TMPDIR/run.err")" 'banger: cancelled'
		equal "$(cat "$BATS_TEST_TMPDIR/run.out")" ''
		wait_until 20 has_no_vms
		wait_until 20 no_vmm_runs
	done
	# The same again, undisturbed.
	run_for 0 banger --quiet vm run --rm --name box -- echo well
	equal "$output" well
}

@test "run that is stopped by Ctrl-Z while its VM boots, and goes on, has lost nothing" {
	banger ps >/dev/null
	start run "$BANGER" vm run --rm --name box -- sh -c 'seq 1 2000; sleep 1; echo to-stderr >&2; exit 6'
	wait_until 20 file_has "$BATS_TEST_TMPDIR/run.err" '^boot: '
	kill -TSTP "$started"
	wait_until 20 grep -q '^State:.*stopped' "/proc/$started/status"
	wait_until 60 vm_is box running # nobody waits for us
	equal "$(cat "$BATS_TEST_TMPDIR/run.out")" ''
	kill -CONT "$started"
	wait_until 20 file_has "$BATS_TEST_TMPDIR/run.out" '^1000$'
	kill -TSTP "$started"
	wait_until 20 grep -q '^State:.*stopped' "/proc/$started/status"
	kill -CONT "$started"
	wait_for_status "$started" 6
	equal "$(cat "$BATS_TEST_TMPDIR/run.out")" "$(seq 1 2000)"
	contains "$(without_progress "$(cat "$BATS_TEST_TMPDIR/run.err")")" 'to-stderr'
	assert_no_vms
}

@test "a client that is killed takes its --rm VM with it, while it is made and while it is used" {
	banger ps >/dev/null
	start run "$BANGER" vm run --rm --name box -- sleep 1000
	wait_until 20 file_has "$BATS_TEST_TMPDIR/run.err" '^boot: '
	kill -KILL "$started"
	wait_for_status "$started" 137
	wait_until 20 has_no_vms

	start run "$BANGER" vm run --rm --name box -- sh -c 'echo begun; sleep 1000'
	wait_until 20 file_has "$BATS_TEST_TMPDIR/run.out" begun
	equal "$(state_of box)" running
	kill -KILL "$started"
	wait_for_status "$started" 137
	wait_until 20 has_no_vms
	wait_until 20 no_vmm_runs
}

@test "Ctrl-C in run --rm -- CMD reaches the command, and the VM goes" {
	start run "$BANGER" --quiet vm run --rm --name box -- sh -c 'trap "echo caught; exit 9" INT; echo begun; sleep 1000 & wait'
	wait_until 20 file_has "$BATS_TEST_TMPDIR/run.out" begun
	kill -INT "$started"
	wait_for_status "$started" 9
	equal "$(cat "$BATS_TEST_TMPDIR/run.out")" $'begun\ncaught'
	assert_no_vms
}

@test "two clients at once: both get their VM, and one name has one winner" {
	local first second a=0 b=0

	start first "$BANGER" --quiet vm run --rm -- sh -c 'echo "$(hostname)"'
	first=$started
	start second "$BANGER" --quiet vm run --rm -- sh -c 'echo "$(hostname)"'
	second=$started
	wait_for_status "$first" 0
	wait_for_status "$second" 0
	matches "$(cat "$BATS_TEST_TMPDIR/first.out")" '^[a-z]+-[a-z]+$'
	lacks "$(cat "$BATS_TEST_TMPDIR/first.out")" "$(cat "$BATS_TEST_TMPDIR/second.out")"
	assert_no_vms

	start first "$BANGER" --quiet vm create --no-start --name same
	first=$started
	start second "$BANGER" --quiet vm create --no-start --name same
	second=$started
	wait "$first" || a=$?
	wait "$second" || b=$?
	equal "$((a + b))" 1
	equal "$(banger vm list -q | wc -l)" 1
}

@test "a delete of a running VM ends its guest first; the daemon keeps nothing of VMs that went" {
	local before

	banger --quiet vm run --rm -- true
	before=$(descriptors)
	banger --quiet vm run --name box -d >/dev/null
	run_for 0 banger --quiet vm delete box
	equal "$output" 'box: deleted'
	wait_until 20 no_vmm_runs
	wait_until 20 descriptors_are "$before"
}

descriptors() {
	find "/proc/$(daemon_pid)/fd" -mindepth 1 | wc -l
}

# A connection that has ended is closed when its thread is next.
descriptors_are() {
	[ "$(descriptors)" -le "$1" ]
}

@test "a VM that stays after its command says its name when nobody gave it one" {
	local name
	run_for 0 banger vm run -- true
	name=$(banger --json vm list | jq -r '.vms[].name')
	contains "$stderr" "'$name' still runs: 'banger vm exec $name -- CMD' runs more in it, 'banger vm delete $name' deletes it"
	run_for 0 banger vm run --rm -- true
	lacks "$stderr" 'still runs'
}
