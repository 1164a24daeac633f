#!/usr/bin/env bats
# The network with real guests: addresses, NAT to an internet of this file's own, and what becomes of bridge, TAPs and
# rules when something interrupts. What the rules keep out is shown by tests/integration/network.bats.
# shellcheck disable=SC2154,SC2016 # bats sets status, output, stderr, lines; many expressions are for the guest's shell

load helper
load crash_helper
load outside

setup() {
	make_outside
	begin_home "$BATS_TEST_TMPDIR"
}

teardown() {
	local status=0
	end_home "$BATS_TEST_TMPDIR" || status=1
	end_outside
	return "$status"
}

asks_in_vain() {
	ASK_SECONDS=2 run_for 124 asks "$@"
	equal "$output" ''
}

answers_ping() {
	ping -q -c 1 -W 10 "$1" >/dev/null
}

# The TAPs that there are, with what their aliases say of them: "bgr-2 box"
taps() {
	ip -j link | jq -r '.[] | select(.ifname | startswith("bgr-")) | "\(.ifname) \(.ifalias // "-" | sub("banger [0-9a-f]{16} "; ""))"'
}

tap_count_is() {
	[ "$(taps | grep -c ' idle$')" -eq "$1" ]
}

nothing_of_the_network_is_left() {
	equal "$(taps)" ''
	equal "$(ip -o link show br-fc 2>/dev/null)" ''
	equal "$(nft list tables)" ''
	equal "$(sysctl -n net.ipv4.ip_forward net.ipv4.conf.up0.forwarding | paste -sd' ')" '0 0'
}

# In the middle of something they are gone as soon as the daemon is.
ends_without_network() {
	banger --quiet daemon stop
	nothing_of_the_network_is_left
}

@test "guests have addresses; the host reaches them, they neither one another nor the host" {
	banger --quiet vm run --name one -d
	banger --quiet vm run --name two -d
	run_for 0 banger ps
	matches "${lines[1]}" ' one +running +[^ ]+ +172[.]16[.]0[.]2 '
	matches "${lines[2]}" ' two +running +[^ ]+ +172[.]16[.]0[.]3 '
	equal "$(in_vm one cat /sys/class/net/eth0/address)" 02:fc:ac:10:00:02
	for address in 172.16.0.2 172.16.0.3; do
		answers_ping $address
	done
	asks_in_vain one 172.16.0.1 80
	asks_in_vain one 203.0.113.2 80
	asks_in_vain one 172.16.0.3 80
	equal "$(in_vm one cat /etc/resolv.conf 2>/dev/null)" ''
	run_for 0 banger doctor
	matches "$output" "PASS +network .*bridge 'br-fc', 172.16.0.1/24; 2 of 253 addresses in use"
	matches "$output" 'PASS +packet rules '
	# The address stays with the VM as long as it exists, and is given again then.
	banger --quiet vm stop one
	equal "$(taps)" "bgr-3 vm $(vm_get two .id)"
	banger --quiet vm create --name three --no-start
	equal "$(vm_get one .ip) $(vm_get three .ip)" '172.16.0.2 172.16.0.4'
	banger --quiet vm start one
	answers_ping 172.16.0.2
	banger --quiet vm delete one three
	banger --quiet vm create --name four --no-start
	equal "$(vm_get four .ip)" 172.16.0.2
	banger --quiet vm delete two four
	ends_without_network
}

@test "--nat reaches out under the host's address; vm set switches it while the guest runs" {
	banger --quiet vm run --name box --nat -d
	equal "$(vm_get box .nat)" true
	equal "$(asks box 203.0.113.2 80)" 203.0.113.1
	asks_in_vain box 169.254.169.254 80
	asks_in_vain box 203.0.113.1 80
	equal "$(in_vm box cat /etc/resolv.conf)" 'nameserver 1.1.1.1'
	run_for 0 banger --quiet vm set --no-nat box
	equal "$output" 'box: 1 vcpu · 512 MiB · 1 GiB disk · debian-bookworm-slim'
	equal "$(vm_get box .nat)" false
	asks_in_vain box 203.0.113.2 80
	equal "$(sysctl -n net.ipv4.conf.up0.forwarding)" 0
	run_for 0 banger --quiet vm set --nat box
	equal "$output" 'box: 1 vcpu · 512 MiB · 1 GiB disk · debian-bookworm-slim · NAT'
	equal "$(asks box 203.0.113.2 80)" 203.0.113.1
	banger --quiet vm restart box
	equal "$(asks box 203.0.113.2 80)" 203.0.113.1
	# What was counted of it, so that it does not fill the host's table of connections, is not the next one's.
	contains "$(nft list table inet banger)" '172.16.0.2 ct count over 4096'
	banger --quiet vm stop box
	lacks "$(nft list table inet banger)" 172.16.0.2
	banger --quiet vm delete box
	ends_without_network
}

@test "bangerd killed and rules flushed: guests go on; what is missing is put back" {
	banger --quiet vm run --name box --nat -d
	kill_daemon
	answers_ping 172.16.0.2
	# Nobody is there to put it back.
	nft flush ruleset
	recover
	equal "$(asks box 203.0.113.2 80)" 203.0.113.1
	asks_in_vain box 169.254.169.254 80
	for damage in 'nft flush ruleset' 'ip link del br-fc' 'nft flush chain inet banger to_host' 'ip link set bgr-2 nomaster'; do
		$damage
		wait_until 20 is_whole
		answers_ping 172.16.0.2
		equal "$(asks box 203.0.113.2 80)" 203.0.113.1
		asks_in_vain box 172.16.0.1 80
	done
	log_has "somebody has changed the VMs' network: put right"
	# A daemon that ends leaves running VMs what they have.
	banger --quiet daemon stop --force
	equal "$(taps)" "bgr-2 vm $(vm_get box .id)"
	equal "$(asks box 203.0.113.2 80)" 203.0.113.1
	# Both at once, and the bridge: nobody's TAP is taken for a rest of ours.
	ip tuntap add bgr-9 mode tap
	kill_daemon
	kill -KILL "$(pgrep -x qemu-system-x86)" "$(pgrep -x banger-vmm)"
	wait_until 20 no_vmm_runs
	recover
	equal "$(state_of box) $(taps)" 'stopped bgr-9 -'
	ip link del bgr-9
	nothing_of_the_network_is_left
}

is_whole() {
	banger --json doctor | jq -e '.checks[] | select(.name == "packet rules") | .status == "pass"' >/dev/null
}

@test "rules flushed a hundred times while a VM starts and stops: nothing fails, and other tables are as they were" {
	local mine=$BATS_TEST_TMPDIR/mine.nft count=0
	nft 'table inet mine { set s { type ipv4_addr; elements = { 192.0.2.1 }; }; chain c { type filter hook input priority 0; ip saddr @s drop; }; }'
	nft list table inet mine >"$mine"
	(echo 'flush ruleset'; cat "$mine") >"$BATS_TEST_TMPDIR/flush.nft"
	banger --quiet vm run --name still --nat -d
	banger --quiet vm create --no-start --name moving --nat
	start cycle bash -c 'set -e; for i in 1 2 3 4 5; do "$BANGER" --quiet vm start moving; "$BANGER" --quiet vm stop moving; done'
	until [ $count -ge 100 ] && process_is_gone "$started"; do
		case $((count % 10)) in
		9) ip link del br-fc ;;
		4) nft delete table inet banger ;;
		*) nft -f "$BATS_TEST_TMPDIR/flush.nft" ;;
		esac
		wait_until 20 rules_are_there
		count=$((count + 1))
	done
	wait_for_status "$started" 0
	wait_until 20 is_whole
	equal "$(nft list table inet mine)" "$(cat "$mine")"
	equal "$(asks still 203.0.113.2 80)" 203.0.113.1
	asks_in_vain still 172.16.0.1 80
	equal "$(taps)" "bgr-2 vm $(vm_get still .id)"
	banger --quiet vm delete still moving
	banger --quiet daemon stop
	equal "$(nft list ruleset)" "$(cat "$mine")"
	nft delete table inet mine
	nothing_of_the_network_is_left
}

rules_are_there() {
	[ "$(nft list tables | grep -c ' banger$')" -eq 2 ] && ip link show br-fc >/dev/null 2>&1
}

@test "a guest's root sends what it may not, and its LAN asks for what is published: the host sees none of it" {
	local own=(02:fc:ac:10:00:02 172.16.0.2) other=(02:fc:ac:10:00:03 172.16.0.3) tools="$BATS_TEST_DIRNAME/../integration"
	local frames=$tools/net_frames.py peer=$tools/net_peer.py
	banger --quiet vm run --name box -p 18080:80 -d
	answers_ping 172.16.0.2
	start seen "$frames" see br-fc honest
	wait_until 20 file_has "$BATS_TEST_TMPDIR/seen.out" ready
	"$frames" print "${own[@]}" "${other[@]}" 172.16.0.1 | in_vm box perl -e '
		socket(my $s, 17, 3, 0) or die "$!"; open(my $f, "<", "/sys/class/net/eth0/ifindex"); chomp(my $index = <$f>);
		while (<STDIN>) { chomp; send($s, pack("H*", $_), 0, pack("S n i S C C a8", 17, 3, $index, 0, 0, 6, "")) or die "$!" }'
	wait_for_status "$started" 0
	equal "$(<"$BATS_TEST_TMPDIR/seen.out")" $'ready\nhonest'
	answers_ping 172.16.0.2

	# Something listens at 18080, for this host alone.
	equal "$(ss -Hltn 'sport = :18080' | awk '{ print $4 }')" 127.0.0.1:18080
	ip netns exec banger-out ip route add 172.16.0.0/24 via 203.0.113.1
	for address in 203.0.113.1 172.16.0.1 172.16.0.2; do
		run_for 1 ip netns exec banger-out "$peer" tcp $address 18080
	done
	asks_in_vain box 172.16.0.1 18080
	asks_in_vain box 203.0.113.1 18080
	banger --quiet vm delete box
	ends_without_network
}

tap_is_of() {
	[ "$(taps | grep '^bgr-2 ')" = "bgr-2 vm $(vm_get "$1" .id)" ]
}

doctor_of_guests() {
	banger --json doctor | jq -r '.checks[] | select(.name == "network of a VM") | "\(.status): \(.message): \(.hint)"'
}

is_idle() {
	[ "$(banger --json vm stats "$1" | jq '.vms[0].cpu_milli')" -lt 200 ]
}

@test "a TAP that is removed under a running VM is made anew; where that cannot be, it is said until a restart" {
	banger --quiet vm run --name box --nat -d
	for time in first second; do
		echo "$time time"
		ip link del bgr-2
		wait_until 20 tap_is_of box
		wait_until 20 answers_ping 172.16.0.2
		equal "$(asks box 203.0.113.2 80)" 203.0.113.1
		asks_in_vain box 172.16.0.1 80
	done
	log_has 'somebody has removed its TAP device: made anew'
	# More than fits into a packet, both ways, and a QEMU that does not read from nothing.
	ping -q -c 5 -i 0.01 -W 10 -s 20000 172.16.0.2 >/dev/null
	wait_until 20 is_idle box
	run_for 0 banger doctor
	matches "$output" 'PASS +packet rules '
	equal "$(vm_get box .last_error)" null
	# While nobody looked.
	kill_daemon
	ip link del bgr-2
	recover
	wait_until 20 answers_ping 172.16.0.2
	equal "$(taps)" "bgr-2 vm $(vm_get box .id)"

	kill_daemon
	ip link del bgr-2
	ip tuntap add bgr-2 mode tap
	recover
	contains "$(vm_get box .last_error)" 'somebody has removed its TAP device: it has no network until it is restarted'
	log_has 'somebody has removed its TAP device: it has no network until it is restarted'
	equal "$(doctor_of_guests)" "warn: 'box': somebody has removed its TAP device: it has no network until it is restarted: 'banger vm restart box'"
	equal "$(banger --json vm stats box | jq -c '[.vms[0].net_in_bytes, .vms[0].net_out_rate]')" '[null,null]'
	in_vm box true
	# What is in our way stays there, and a start says so.
	banger --quiet vm stop box
	equal "$(taps)" 'bgr-2 -'
	run_for 1 banger vm start box
	contains "$stderr" "there is a network device 'bgr-2' already"
	equal "$(state_of box)" stopped
	ip link del bgr-2
	banger --quiet vm start box
	equal "$(vm_get box .last_error) $(asks box 203.0.113.2 80)" 'null 203.0.113.1'
	banger --quiet vm delete box
	ends_without_network
}

@test "bridge_ip changed while a VM runs: said until it is restarted; the others have the new network" {
	local id
	banger --quiet vm run --name box --nat -d
	banger --quiet vm create --name other --no-start
	id=$(vm_get box .id)
	equal "$(asks box 203.0.113.2 80)" 203.0.113.1
	banger --quiet daemon stop --force
	sed -i '1i bridge_ip = "172.16.9.1"' "$BANGER_CONFIG_DIR/config.toml"
	equal "$(state_of box) $(vm_get box .ip) $(vm_get other .ip)" 'running 172.16.9.2 172.16.9.3'
	equal "$(vm_get box .last_error)" 'bridge_ip or cidr has changed since it was started: it has no network until it is restarted'
	contains "$(doctor_of_guests)" "warn: 'box': bridge_ip or cidr has changed since it was started"
	in_vm box true
	asks_in_vain box 203.0.113.2 80
	banger --quiet vm start other
	answers_ping 172.16.9.3
	equal "$(vm_get other .last_error)" null
	banger --quiet vm restart box
	equal "$(vm_get box .last_error) $(vm_get box .ip) $(vm_get box .id)" "null 172.16.9.2 $id"
	answers_ping 172.16.9.2
	equal "$(asks box 203.0.113.2 80)" 203.0.113.1
	equal "$(doctor_of_guests)" ''
	# A network that has no room for one that runs: it goes on, and cannot be started again.
	banger --quiet daemon stop --force
	sed -i '1i cidr = 30' "$BANGER_CONFIG_DIR/config.toml"
	equal "$(state_of other)" running
	in_vm other true
	run_for 1 banger --quiet vm restart other
	contains "$stderr" "'other' has place 3, which 172.16.9.1/30 does not have"
	banger --quiet vm delete box other
	ends_without_network
}

@test "bangerd killed while it makes or removes a network: nothing is left of it" {
	for point in net.bridge.made vm.start.bridge net.tap.furnished vm.start.tap net.guest.marked net.guest.rules \
		net.forwarding.recorded vm.start.network; do
		crash_at $point banger --quiet vm create --name box --nat
		recover $point
		assert_no_vms
		nothing_of_the_network_is_left
	done
	banger --quiet vm create --name box --nat --no-start
	banger --quiet vm start box
	for point in vm.set.intent vm.set.grown; do
		kill_daemon
		BANGER_FAILPOINT=$point run_for 1 banger vm set --no-nat box
		wait_until 20 daemon_is_gone
		recover $point
		equal "$(vm_get box .nat)" false
		asks_in_vain box 203.0.113.2 80
		banger --quiet vm set --nat box
	done
	for point in net.guest.left vm.teardown.network; do
		kill_daemon
		BANGER_FAILPOINT=$point run_for 1 banger vm stop box
		wait_until 20 daemon_is_gone
		recover $point
		equal "$(state_of box)" stopped
		nothing_of_the_network_is_left
		banger --quiet vm start box
		equal "$(asks box 203.0.113.2 80)" 203.0.113.1
	done
	banger --quiet vm delete box
	banger --quiet daemon stop
	BANGER_FAILPOINT=net.rules.removed banger --quiet vm create --name box
	banger --quiet vm delete box
	banger --quiet daemon stop --force || true
	wait_until 20 daemon_is_gone
	recover net.rules.removed
	nothing_of_the_network_is_left
}

@test "TAPs wait ready, and are refilled" {
	sed -i 's/^tap_pool_size = 0/tap_pool_size = 3/' "$BANGER_CONFIG_DIR/config.toml"
	banger --quiet vm run --name one -d
	wait_until 20 tap_count_is 3
	# Somebody has removed the one that the next VM is to get.
	ip link del bgr-3
	banger --quiet vm run --name two -d
	wait_until 20 tap_count_is 3
	equal "$(vm_get two .ip)" 172.16.0.3
	equal "$(taps | cut -d' ' -f1 | sort -V | paste -sd' ')" 'bgr-2 bgr-3 bgr-4 bgr-5 bgr-6'
	banger --quiet vm delete one two
	wait_until 20 tap_count_is 3
	equal "$(taps | wc -l)" 3
	kill_daemon
	recover
	nothing_of_the_network_is_left
}

@test "no network: no device, and NAT is refused; a bridge or network that is taken is said" {
	echo 'network = "none"' | cat - "$BANGER_CONFIG_DIR/config.toml" >"$BATS_TEST_TMPDIR/config.toml"
	cp "$BANGER_CONFIG_DIR/config.toml" "$BATS_TEST_TMPDIR/usual.toml"
	cp "$BATS_TEST_TMPDIR/config.toml" "$BANGER_CONFIG_DIR/config.toml"
	run_for 1 banger vm create --nat
	contains "$stderr" 'banger: cannot create the VM: VMs have no network here, so no NAT: network = "none"'
	banger --quiet vm run --name box -d
	equal "$(vm_get box .ip)" null
	equal "$(in_vm box ls /sys/class/net)" lo
	run_for 1 banger vm set --nat box
	contains "$stderr" "cannot change 'box': VMs have no network here"
	nothing_of_the_network_is_left
	# It gets an address when it is started with a network.
	banger --quiet daemon stop --force
	cp "$BATS_TEST_TMPDIR/usual.toml" "$BANGER_CONFIG_DIR/config.toml"
	banger --quiet vm restart box
	equal "$(vm_get box .ip)" 172.16.0.2
	answers_ping 172.16.0.2
	banger --quiet vm stop box
	banger --quiet daemon stop

	ip link add br-fc type bridge
	run_for 1 banger vm start box
	contains "$stderr" "there is a network device 'br-fc' that is not this bangerd's"
	contains "$stderr" 'hint: set bridge_name and bridge_ip'
	equal "$(state_of box) $(taps)" 'stopped '
	banger --quiet daemon stop
	ip link show br-fc >/dev/null
	ip link del br-fc

	# One guest is all that a /30 has room for.
	sed -i '1i cidr = 30' "$BANGER_CONFIG_DIR/config.toml"
	run_for 1 banger --quiet vm create --no-start
	contains "$stderr" 'all 1 addresses of 172.16.0.1/30 are taken by VMs'
	banger --quiet vm delete box
	banger --quiet vm create --name next --no-start
	equal "$(vm_get next .ip)" 172.16.0.2
}
