#!/usr/bin/env bats
# Ports of guests published on the host, through the agent: the guest has no network at all.
# shellcheck disable=SC2154,SC2016 # bats sets status, output, stderr, lines; many expressions are for a guest

load helper

setup_file() {
	share_home
}

teardown_file() {
	end_shared_home
}

setup() {
	watch_census
}

teardown() {
	local status=0
	delete_vms_but || status=1
	banger --quiet daemon stop --force
	wait_until 20 no_process_of_ours || status=1
	compare_census || status=1
	return "$status"
}

port_of() {
	vm_get "$1" ".ports[$2].host"
}

listens() {
	ss -Hltn "sport = :$1" | grep -q .
}

is_closed() {
	! listens "$1"
}

@test "a port that was asked for, one that is free, one at another address" {
	local free
	run_for 0 banger vm run --name box -d -p 18080:80 -p 0:80 --publish 127.0.0.2:18080:80/tcp
	equal "$output" box
	free=$(port_of box 1)
	contains "$stderr" $'published: 127.0.0.1:18080 -> 80\npublished: 127.0.0.1:'"$free"$' -> 80\npublished: 127.0.0.2:18080 -> 80'
	equal "$(banger --json vm list | jq -c '.vms[0].ports | map([.address, .guest, .open])')" \
		'[["127.0.0.1",80,true],["127.0.0.1",80,true],["127.0.0.2",80,true]]'
	run_for 0 banger vm show box
	matches "$output" 'published +127\.0\.0\.1:18080 -> 80'
	# Nobody listens in the guest yet.
	run_for 1 through 18080 </dev/null
	equal "$stderr" reset

	serve_echo box 80
	for port in 18080 "$free"; do
		run_for 0 through "$port" <<<hello
		equal "$output" hello
	done
	run_for 0 through 18080 127.0.0.2 <<<other
	equal "$output" other
	head -c 3000000 /dev/urandom >"$BATS_TEST_TMPDIR/big"
	through "$free" <"$BATS_TEST_TMPDIR/big" >"$BATS_TEST_TMPDIR/back"
	cmp "$BATS_TEST_TMPDIR/big" "$BATS_TEST_TMPDIR/back"
	# Many at once, each with an answer of its own.
	local clients=()
	for i in {1..40}; do
		through 18080 <<<"client $i" >"$BATS_TEST_TMPDIR/client-$i" 3>&- &
		clients+=($!)
	done
	wait "${clients[@]}"
	for i in {1..40}; do
		equal "$(<"$BATS_TEST_TMPDIR/client-$i")" "client $i"
	done
}

@test "ports come back with bangerd, go with the VM, and are the same at the next start" {
	local port
	banger --quiet vm run --name box -d -p 0:80
	port=$(port_of box 0)
	serve_echo box 80
	kill -KILL "$(daemon_pid)"
	equal "$(vm_get box '.ports[0].open')" true
	run_for 0 through "$port" <<<again
	equal "$output" again
	banger --quiet daemon stop
	is_closed "$port"
	equal "$(vm_get box '.ports[0].open')" true
	run_for 0 through "$port" <<<again
	equal "$output" again

	# A guest that stands still does not answer: whoever connects is told so in time.
	banger --quiet vm pause box >/dev/null
	SECONDS=0
	run_for 1 through "$port" </dev/null
	equal "$stderr" reset
	[ "$SECONDS" -ge 8 ] && [ "$SECONDS" -le 20 ]
	banger --quiet vm resume box >/dev/null
	run_for 0 through "$port" <<<resumed
	equal "$output" resumed

	banger --quiet vm restart box >/dev/null
	equal "$(port_of box 0)" "$port"
	serve_echo box 80
	run_for 0 through "$port" <<<restarted
	equal "$output" restarted
	banger --quiet vm stop box >/dev/null
	is_closed "$port"
	equal "$(vm_get box '.ports[0].open')" false
	# Somebody else has taken it meanwhile: nothing happens to the VM.
	start taker python3 -m http.server --bind 127.0.0.1 "$port"
	wait_until 20 listens "$port"
	run_for 1 banger --quiet vm start box
	equal "$stderr" $'banger: cannot start \'box\': 127.0.0.1:'"$port"$' is in use\nhint: publish at another port; port 0 is any that is free'
	equal "$(state_of box)" stopped
	kill "$started"
	wait "$started" || true
	banger --quiet vm start box >/dev/null
	listens "$port"
	# The guest ends by itself: so do its ports.
	in_vm box poweroff -f || in_vm box sh -c 'kill -TERM 1' || true
	wait_until 30 vm_is box stopped
	wait_until 20 is_closed "$port"
	banger --quiet vm start box >/dev/null
	banger --quiet vm delete box >/dev/null
	is_closed "$port"
}

@test "a port that is in use, also by another VM or after a restart, is said before anything is made" {
	banger --quiet vm run --name box -d -p 18081:80
	run_for 1 banger --quiet vm create --name other -p 0:1 -p 18081:80
	equal "$stderr" $'banger: cannot create the VM: 127.0.0.1:18081 is in use by VM \'box\'\nhint: publish at another port; port 0 is any that is free'
	equal "$(banger --json vm list | jq -c '[.vms[].name]')" '["box"]'
	equal "$(find "$BANGER_STATE_DIR/vms" -mindepth 1 -maxdepth 1 | wc -l)" 1
	# One that was taken while bangerd was away: the VM goes on, and says which.
	banger --quiet daemon stop
	start taker python3 -m http.server --bind 127.0.0.1 18081
	wait_until 20 listens 18081
	equal "$(vm_get box '.ports[0].open')" false
	run_for 0 banger vm show box
	matches "$output" 'published +127\.0\.0\.1:18081 -> 80 \(in use on the host\)'
	equal "$(in_vm box echo alive)" alive
	kill "$started"
	wait "$started" || true
	# Whoever reconciles first opens it: a minute at most, or the next start.
	banger --quiet daemon stop
	equal "$(vm_get box '.ports[0].open')" true
}

@test "what is no port, and what cannot be published" {
	run_for 2 banger vm create -p 8080:0
	equal "$stderr" $'banger: --publish: \'8080:0\': \'0\' is no port: it must be 1 to 65535\nhint: see \'banger vm create --help\''
	run_for 2 banger vm run -p 65536:80
	contains "$stderr" "'65536' is no port: it must be 0 to 65535"
	run_for 2 banger vm run -p http:80
	contains "$stderr" "'http' is no port"
	run_for 2 banger vm run -p 53:53/udp
	contains "$stderr" 'only tcp can be published'
	run_for 2 banger vm run -p localhost:1:1
	contains "$stderr" "'localhost' is no IPv4 address"
	run_for 1 banger --quiet vm create -p 18082:80 -p 18082:81
	contains "$stderr" 'port 18082 of the host is published twice'
	run_for 1 banger --quiet vm create -p 192.0.2.1:18082:80
	contains "$stderr" '192.0.2.1:18082: this host has no such address'
	equal "$(banger --json vm list | jq -c .vms)" '[]'
	# A bangerd that may not.
	banger --quiet daemon stop
	run_for 1 setpriv --bounding-set=-net_bind_service --inh-caps=-net_bind_service "$BANGER" --quiet vm create -p 80:80
	equal "$stderr" $'banger: cannot create the VM: 127.0.0.1:80 is a privileged port\nhint: publish at one from 1024 on; port 0 is any that is free'
}

@test "a VM that is only made has its port, and no listener" {
	local port
	run_for 0 banger --quiet vm create --no-start --name box -p 80
	port=$(port_of box 0)
	[ "$port" -ge 1024 ]
	is_closed "$port"
	banger --quiet vm start box >/dev/null
	listens "$port"
}
