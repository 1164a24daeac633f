#!/usr/bin/env bats
# vm stats: what VMs use, once, as a live table, in pipes and as JSON; VMs that stand still; the daemon's own measuring.
# shellcheck disable=SC2154,SC2016 # bats sets status and output; expressions for other shells

load helper

stat_of() {
	banger --json vm stats "$1" | jq -r ".vms[0]$2"
}

@test "figures of a VM: idle, busy, frozen, paused, stopped; and of the host" {
	banger --quiet vm run -d --name box
	make_idle=$(stat_of box .cpu_milli)
	[ "$make_idle" -ge 0 ]
	in_vm box sh -c 'nohup sh -c "while :; do :; done" >/dev/null 2>&1 & echo $! >/tmp/pid'
	sleep 1
	wait_until 20 is_busy box
	[ "$(stat_of box .cpu_ms)" -gt 1000 ]
	[ "$(stat_of box .memory_bytes)" -gt $((50 << 20)) ]
	[ "$(stat_of box .memory_bytes)" -lt $((1400 << 20)) ]
	equal "$(stat_of box .vm_memory_bytes) $(stat_of box .vcpu)" "$((512 << 20)) 1"
	[ "$(stat_of box .guest_memory_total_bytes)" -gt $((400 << 20)) ]
	[ "$(stat_of box .guest_memory_used_bytes)" -gt $((10 << 20)) ]
	[ "$(stat_of box .guest_disk_total_bytes)" -gt $((1 << 30)) ]
	[ "$(stat_of box .guest_processes)" -gt 3 ]
	in_vm box sh -c 'kill $(cat /tmp/pid)'
	run_for 0 banger vm stats
	matches "${lines[0]}" '^NAME +STATE +CPU +MEMORY +NET IN +NET OUT +IN GUEST +DISK IN GUEST +READ +WRITTEN$'
	matches "${lines[1]}" '^box +running +[0-9.]+% +[0-9.]+ MiB +[0-9.]+ (Ki)?B +[0-9.]+ (Ki)?B +[0-9.]+ MiB of [0-9.]+ MiB '
	matches "${lines[2]}" '^host: .* CPU, load [0-9.]+, memory .*, 1 VM, network [0-9.]+ (Ki)?B/s in, [0-9.]+ (Ki)?B/s out$'
	kill -STOP "$(pgrep -P "$(vm_get box .pid)" -x qemu-system-x86)"
	equal "$(stat_of box .frozen)" true
	matches "$(banger vm stats box)" 'box +frozen'
	kill -CONT "$(pgrep -P "$(vm_get box .pid)" -x qemu-system-x86)"
	equal "$(stat_of box .frozen)" false
	kill -STOP "$(vm_get box .pid)"
	equal "$(stat_of box .frozen)" true
	kill -CONT "$(vm_get box .pid)"
	banger --quiet vm pause box
	equal "$(stat_of box .state) $(stat_of box .guest_processes)" "paused null"
	banger --quiet vm resume box
	banger --quiet vm stop box
	equal "$(banger --json vm stats | jq -c .vms)" "[]"
	equal "$(stat_of box .state) $(stat_of box .cpu_milli) $(stat_of box .memory_bytes)" "stopped null null"
	matches "$(banger vm stats box)" 'box +stopped +- +- +- +- +- +- +- +-'
	run_for 1 banger vm stats nobody
	contains "$stderr" "nobody"
	run_for 2 banger vm stats --interval 2s
	contains "$stderr" "--interval needs --watch"
	run_for 2 banger vm stats --watch --interval 10ms
}

is_busy() {
	[ "$(stat_of "$1" .cpu_milli)" -gt 300 ]
}

has_lines() {
	[ "$(wc -l <"$1")" -ge "$2" ]
}

@test "--watch: lines in a pipe, objects with --json, a live table on a terminal; Ctrl-C ends each" {
	local out=$BATS_TEST_TMPDIR
	banger --quiet vm run -d --name box
	start lines "$BANGER" vm stats --watch --interval 1s
	wait_until 20 has_lines "$out/lines.out" 3
	kill -INT "$started"
	wait_for_status "$started" 130
	equal "$(cat "$out/lines.err")" ""
	matches "$(tail -n 1 "$out/lines.out")" '^20[0-9-]+T[0-9:]+Z box running cpu=[0-9.]+% memory=[0-9]+ guest_memory=[0-9]+ '
	equal "$(grep -c $'\033' "$out/lines.out")" 0
	start json "$BANGER" --json vm stats box --watch --interval 1s
	wait_until 20 has_lines "$out/json.out" 2
	# A daemon that is killed is started again, and the VM goes on.
	kill -KILL "$(daemon_pid)"
	wait_until 20 has_lines "$out/json.out" 5
	kill -INT "$started"
	wait_for_status "$started" 130
	equal "$(jq -r '.vms[0].name' "$out/json.out" | sort -u)" box
	run script -qec "timeout -s INT 4 $BANGER vm stats --watch --interval 1s" /dev/null
	[ "$status" -eq 130 ] || [ "$status" -eq 124 ]
	contains "$output" "box"
	matches "$output" '\[[= ]{10}\] +[0-9.]+%'
	contains "$output" $'\033[3F\033[J'
	# A reader that leaves ends it.
	run_for 0 bash -c '"$BANGER" vm stats --watch --interval 1s | head -n 1'
}

net_of() {
	stat_of "$1" ".net_$2"
}

@test "the network of each VM: bytes, packets and rates as the guest sees them; without one '-'" {
	local out=$BATS_TEST_TMPDIR
	banger --quiet vm run -d --name box
	banger --quiet vm run -d --name other
	ping -q -c 200 -i 0.002 -s 1400 172.16.0.2 >/dev/null
	run_for 0 banger --json vm stats
	echo "$output"
	for way in in out; do
		[ "$(jq ".vms[0].net_${way}_packets" <<<"$output")" -ge 200 ]
		[ "$(jq ".vms[0].net_${way}_packets" <<<"$output")" -le 300 ]
		[ "$(jq ".vms[0].net_${way}_bytes" <<<"$output")" -ge 280000 ]
		[ "$(jq ".vms[1].net_${way}_bytes" <<<"$output")" -le 20000 ]
		equal "$(jq ".host.vms_net_${way}_bytes" <<<"$output")" "$(jq "[.vms[].net_${way}_bytes] | add" <<<"$output")"
	done
	banger --quiet vm delete other
	# Alone on a terminal, a busy guest fills its bars.
	start flood ping -q -f -s 1400 172.16.0.2
	run script -qec "stty cols 120; timeout -s INT 5 $BANGER vm stats --watch --interval 1s" /dev/null
	kill -INT "$started"
	wait_for_status "$started" 0
	matches "$output" 'box .*running.* \[=+ *\] [0-9.]+ [KM]iB/s  \[=+ *\] [0-9.]+ [KM]iB/s'
	matches "$output" 'network [0-9.]+ [KM]iB/s in, [0-9.]+ [KM]iB/s out'
	wait_until 20 net_is_idle box
	start lines "$BANGER" vm stats --watch --interval 1s
	wait_until 20 has_lines "$out/lines.out" 2
	kill -INT "$started"
	wait_for_status "$started" 130
	matches "$(tail -n 1 "$out/lines.out")" ' net_in=[0-9]+ net_out=[0-9]+ net_in_rate=[0-9]+ net_out_rate=[0-9]+$'
	banger --quiet vm stop box
	equal "$(net_of box in_bytes)" null
	# Started again, it counts anew; and where there is no network, there is nothing to count.
	banger --quiet daemon stop
	sed -i '1i network = "none"' "$BANGER_CONFIG_DIR/config.toml"
	banger --quiet vm start box
	equal "$(net_of box in_bytes) $(net_of box out_rate)" 'null null'
	equal "$(banger --json vm stats | jq -c '[.host.vms_net_in_bytes, .host.vms_net_in_rate]')" '[null,null]'
}

net_is_idle() {
	[ "$(net_of "$1" in_rate)" -lt 1024 ]
}

@test "the daemon measures by itself while VMs run" {
	sed -i '1i stats_poll_interval = "1s"' "$BANGER_CONFIG_DIR/config.toml"
	banger --quiet vm run -d --name box
	sleep 3.2
	# Two moments are known already, so the answer comes at once.
	local began=${EPOCHREALTIME/./}
	[ "$(stat_of box .cpu_milli)" -ge 0 ]
	echo "$((${EPOCHREALTIME/./} - began)) us"
	[ "$((${EPOCHREALTIME/./} - began))" -lt 450000 ] || [ -n "${ASAN_OPTIONS:-}" ]
	banger doctor | run ! grep -F stats_poll_interval
}
