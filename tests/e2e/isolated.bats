#!/usr/bin/env bats
# VMs in a network namespace of banger's own, for root and for a user without rights: what guests reach through it, that the
# host has nothing of it, and what becomes of it when somebody is killed.
# shellcheck disable=SC2154,SC2016,SC2034 # bats sets status, output, stderr, lines; many expressions are for the guest's shell

load helper
load crash_helper

USER_ID=65534

# What the host reaches over a link of its own: 203.0.113.2, where port 80 answers with who asks; the host answers as well,
# at all its addresses.
setup() {
	ip netns add banger-out
	ip link add up0 type veth peer name eth0 netns banger-out
	ip addr add 203.0.113.1/24 dev up0
	ip link set up0 up
	ip -n banger-out addr add 203.0.113.2/24 dev eth0
	ip -n banger-out addr add 169.254.169.254/32 dev eth0
	ip -n banger-out link set eth0 up
	ip route add default via 203.0.113.2
	serve_peer out ip netns exec banger-out
	serve_peer host
	begin_home "$BATS_TEST_TMPDIR"
	sed -i '1i network = "isolated"' "$BANGER_CONFIG_DIR/config.toml"
}

serve_peer() {
	local name=$1
	shift
	"$@" "$BATS_TEST_DIRNAME/../integration/net_peer.py" serve 0.0.0.0 80 >"$BATS_TEST_TMPDIR/$name" 3>&- &
	PEERS+=("$!")
	wait_until 10 file_has "$BATS_TEST_TMPDIR/$name" ready
}

teardown() {
	local status=0
	end_home "$BATS_TEST_TMPDIR" || status=1
	kill "${PEERS[@]}"
	ip link del up0
	ip netns del banger-out
	return "$status"
}

# Who a server says that the guest is: asks VM ADDRESS PORT
asks() {
	in_vm "$1" timeout 2 bash -c 'exec 3<>"/dev/tcp/$0/$1" && head -n 1 <&3' "$2" "$3"
}

# Silence, or, where there is no way out at all, an answer that says so.
asks_in_vain() {
	local said
	! said=$(asks "$@" 2>/dev/null)
	equal "$said" ''
}

is_out_of_reach() {
	! asks "$@" >/dev/null 2>&1
}

gets_out() {
	equal "$(asks "$1" 203.0.113.2 80)" 203.0.113.1
}

tries_to_get_out() {
	gets_out "$1" 2>/dev/null
}

# The outer process of the network, the inner one, and the way out of it.
outer() {
	pgrep -o -x banger-network
}

inner() {
	pgrep -n -x banger-network
}

way_out() {
	pgrep -x 'passt.*|pasta.*'
}

no_way_out() {
	! way_out >/dev/null
}

no_holder_runs() {
	! outer >/dev/null && no_way_out
}

check_of() {
	banger --json doctor | jq -r ".checks[] | select(.name == \"$1\") | \"\\(.status) \\(.message)\""
}

is_whole() {
	equal "$(check_of 'packet rules')" 'pass as bangerd made them' 2>/dev/null
}

within() {
	nsenter -t "$(inner)" --net "$@"
}

# What the host had before: no links, no rules, no forwarding.
host_is_untouched() {
	equal "$(ip -o link | awk '{ print $2 }' | sort | paste -sd' ')" 'lo: up0@if2:'
	equal "$(nft list tables)" ''
	equal "$(sysctl -n net.ipv4.ip_forward net.ipv4.conf.up0.forwarding | paste -sd' ')" '0 0'
}

@test "root: guests get out with --nat and never to the host; the host has nothing of it" {
	banger --quiet vm run --name one --nat -d
	banger --quiet vm run --name two -d
	gets_out one
	asks_in_vain two 203.0.113.2 80
	# The host: at the address that it is seen as, at the way out's own ends, at its loopback, and at the bridge's.
	for address in 203.0.113.1 192.0.0.1 192.0.0.2 127.0.0.2 172.16.0.1; do
		run ! asks one "$address" 80
	done
	asks_in_vain one 169.254.169.254 80
	asks_in_vain one 172.16.0.3 80
	# An address that the host gets later is out of reach at once.
	ip addr add 198.51.100.7/32 dev lo
	wait_until 3 is_out_of_reach one 198.51.100.7 80
	asks_in_vain one 198.51.100.7 80
	ip addr del 198.51.100.7/32 dev lo
	equal "$(in_vm one cat /etc/resolv.conf)" 'nameserver 1.1.1.1'
	host_is_untouched
	run_for 0 banger doctor
	matches "$output" "PASS +network .*in a namespace of banger's own: bridge 'br-fc', 172.16.0.1/24; 2 of 253 addresses in use"
	matches "$output" 'PASS +packet rules '
	matches "$output" 'PASS +way out '
	# The host has no route to these addresses, so names have none.
	equal "$(vm_get one .ip)" 172.16.0.2
	run_for 0 /usr/bin/dig +short +time=2 +tries=1 @127.0.0.1 -p 42069 one.vm A
	equal "$output" ''
	# Nobody in there has rights, and all of it is somebody's who owns nothing.
	for process in "$(outer)" "$(inner)" "$(way_out)"; do
		matches "$(awk '/^Uid/ { print $2 }' "/proc/$process/status")" '^1[89][0-9]{8}$|^20[01][0-9]{7}$'
	done
	equal "$(awk '/^CapEff/ { print $2 }' "/proc/$(outer)/status" "/proc/$(inner)/status" | paste -sd' ')" \
		'0000000000000000 0000000000001000'
	# The way out is for NAT alone.
	banger --quiet vm set --no-nat one
	wait_until 3 no_way_out
	asks_in_vain one 203.0.113.2 80
	banger --quiet vm set --nat one
	gets_out one
	banger --quiet vm restart one
	gets_out one
	banger --quiet vm delete one two
	banger --quiet daemon stop
	wait_until 5 no_holder_runs
	host_is_untouched
}

@test "whoever is killed: what can be restored is, and what cannot is said" {
	banger --quiet vm run --name box --nat -d
	gets_out box
	kill -KILL "$(way_out)"
	wait_until 10 tries_to_get_out box
	kill_daemon
	gets_out box
	recover
	gets_out box
	for process in outer inner; do
		kill -KILL "$($process)"
		wait_until 10 is_whole
		wait_until 10 tries_to_get_out box
	done
	equal "$(pgrep -c -x banger-network)" 2
	# Somebody else with the right to do so.
	within nft flush ruleset
	wait_until 5 is_whole
	gets_out box
	asks_in_vain box 203.0.113.1 80
	kill_daemon
	within ip link del br-fc
	kill -KILL "$(way_out)"
	recover
	wait_until 10 tries_to_get_out box
	# Bangerd and the network's process together: nobody has the namespace any more.
	kill_daemon
	kill -KILL "$(inner)"
	wait_until 5 no_holder_runs
	recover
	equal "$(state_of box)" running
	in_vm box true
	contains "$(check_of network)" '1 of them has lost its TAP device'
	log_has 'it has no network until it is restarted'
	asks_in_vain box 203.0.113.2 80
	banger --quiet vm restart box
	gets_out box
	lacks "$(check_of network)" lost
	# All of them, and the VM.
	kill_daemon
	kill -KILL "$(outer)" "$(pgrep -x qemu-system-x86)" "$(pgrep -x banger-vmm)"
	wait_until 5 no_vmm_runs
	wait_until 5 no_holder_runs
	recover
	equal "$(state_of box)" stopped
	run ! outer
	# A network that nobody needs ends without bangerd.
	banger --quiet vm start box
	banger --quiet vm stop box
	kill_daemon
	wait_until 5 no_holder_runs
}

@test "bangerd or the network's process killed while they make one: nothing is left" {
	for point in net.holder.inside net.holder.ready; do
		banger --quiet daemon stop
		BANGER_FAILPOINT=$point run_for 1 banger --quiet vm create --name box
		contains "$stderr" 'make the isolated network'
		run ! outer
		banger --quiet daemon stop
		recover $point
		assert_no_vms
	done
	for point in vm.start.bridge net.guest.marked vm.start.tap vm.start.network vm.start.spawned; do
		BANGER_FAILPOINT=$point run banger --quiet vm create --name box --nat
		kill_daemon || wait_until 5 daemon_is_gone
		recover $point
		[ -z "$(banger vm list -q)" ] || banger --quiet vm delete box
		assert_no_vms
		banger --quiet daemon stop
		wait_until 5 no_holder_runs
		host_is_untouched
	done
}
