#!/usr/bin/env bats
# auto_stop_stale_after: VMs that nobody uses are stopped, and no others.
# shellcheck disable=SC2154,SC2016,SC2030,SC2031,SC2034 # bats sets status, output, stderr, lines; expressions for other
# shells; each test is a subshell

load helper
load crash_helper

# For as long as a test may take to do something with a VM that is to live.
stop_after() {
	sed -i "1i auto_stop_stale_after = \"$1\"" "$BANGER_CONFIG_DIR/config.toml"
}

used_at_ms() {
	/usr/bin/python3 -c '
import sqlite3, sys
print(*sqlite3.connect(sys.argv[1]).execute("SELECT used_at_ms FROM vms").fetchone())
' "$BANGER_STATE_DIR/state.db"
}

has_use_after() {
	[ "$(used_at_ms)" -gt "$1" ]
}

@test "a VM that nobody uses is stopped, with the reason; asking how it is is no use" {
	stop_after 6s
	run_vm box
	banger --quiet vm create --no-start --name idle >/dev/null
	# vm_is asks with vm.show, ten times a second.
	wait_until 30 vm_is box stopped
	equal "$(vm_get box .last_error)" 'nobody used it for 6.0 s (auto_stop_stale_after)'
	log_has 'stopped: nobody used it'
	assert_stopped box
	equal "$(state_of idle)" created

	# Started again, it has its time again; a paused one is kept.
	start_vm box
	equal "$(state_of box) $(vm_get box .last_error)" 'running null'
	banger --quiet vm pause box >/dev/null
	banger --quiet vm create --name other >/dev/null
	wait_until 30 vm_is other stopped
	equal "$(state_of box)" paused
	banger --quiet vm resume box >/dev/null
	equal "$(state_of box)" running
	wait_until 30 vm_is box stopped
}

@test "an open session is use for as long as it lasts, also through the daemon's death; so is a client of run --rm" {
	local session brief
	stop_after 5s
	run_vm box
	start session "$BANGER" vm exec box -- sh -c 'until [ -e /go ]; do sleep 0.1; done; echo done'
	session=$started
	start brief "$BANGER" --quiet vm run --rm --name brief -- sh -c 'until [ -e /go ]; do sleep 0.1; done'
	brief=$started
	banger --quiet vm create --name other >/dev/null
	wait_until 30 vm_is other stopped
	# Longer than VM other was left alone.
	equal "$(state_of box) $(state_of brief)" 'running running'
	has_use_after 0
	restart_daemon
	start_vm other
	wait_until 30 vm_is other stopped
	equal "$(state_of box) $(state_of brief)" 'running running'
	in_vm box touch /go
	in_vm brief touch /go || true # the VM may be gone before that is answered
	wait_for_status "$session" 0
	wait_for_status "$brief" 0
	equal "$(cat "$BATS_TEST_TMPDIR/session.out")" 'done'
	wait_until 30 vm_is box stopped
}

@test "when it was used last outlives the daemon" {
	local before
	stop_after 8s
	run_vm box
	wait_until 20 has_use_after 0
	before=$(used_at_ms)
	restart_daemon
	equal "$(used_at_ms)" "$before"
	wait_until 30 vm_is box stopped
}

@test "a guest that talks over its network device is used; one that only sends, or is kept alive, is not" {
	local pinging slow
	stop_after 8s
	run_vm box
	start pinging ping -q -i 0.2 172.16.0.2
	pinging=$started
	banger --quiet vm create --name other >/dev/null
	# Nobody answers that: our rules let nothing out.
	in_vm other sh -c 'nohup bash -c "while :; do echo x >/dev/udp/203.0.113.9/9; sleep 0.1; done" >/dev/null 2>&1 &'
	wait_until 40 vm_is other stopped
	equal "$(vm_get other .last_error)" 'nobody used it for 8.0 s (auto_stop_stale_after)'
	equal "$(state_of box)" running
	# Others' traffic is none of its own, and a packet now and then none at all.
	start_vm other
	in_vm box true
	kill -INT "$pinging"
	wait_for_status "$pinging" 0
	start slow ping -q -i 3 172.16.0.2
	slow=$started
	start pinging ping -q -i 0.2 172.16.0.3
	wait_until 40 vm_is box stopped
	equal "$(state_of other)" running
	kill -INT "$started" "$slow"
	wait_until 40 vm_is other stopped
}
