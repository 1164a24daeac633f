#!/usr/bin/env bats
# VMs in a network namespace of banger's own, for root and for a user without rights: what guests reach through it, that the
# host has nothing of it, and what becomes of it when somebody is killed.
# shellcheck disable=SC2154,SC2016,SC2034 # bats sets status, output, stderr, lines; many expressions are for the guest's shell

load helper
load crash_helper
load outside

USER_ID=1 # daemon: ssh wants one that has a name

# The host answers as well, at all its addresses.
setup() {
	make_outside
	serve_peer host
	begin_home "$BATS_TEST_TMPDIR"
	sed -i '1i network = "isolated"' "$BANGER_CONFIG_DIR/config.toml"
}

teardown() {
	local status=0
	continue_holder || true
	end_home "$BATS_TEST_TMPDIR" || status=1
	end_outside
	return "$status"
}

# Silence, or, where there is no way out at all, an answer that says so.
asks_in_vain() {
	local said
	if said=$(ASK_SECONDS=2 asks "$@" 2>/dev/null); then return 1; fi
	equal "$said" ''
}

is_out_of_reach() {
	! ASK_SECONDS=2 asks "$@" >/dev/null 2>&1
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

eth0_is_up() {
	[ "$(in_vm box cat /sys/class/net/eth0/operstate)" = up ]
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

# How many links there have been in the namespace, this one included.
link_number() {
	within ip link add counted type bridge
	within ip -j link show counted | jq '.[0].ifindex'
	within ip link del counted
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
		is_out_of_reach one "$address" 80
	done
	asks_in_vain one 169.254.169.254 80
	asks_in_vain one 172.16.0.3 80
	# An address that the host gets later is out of reach at once.
	ip addr add 198.51.100.7/32 dev lo
	wait_until 20 is_out_of_reach one 198.51.100.7 80
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
	wait_until 20 no_way_out
	asks_in_vain one 203.0.113.2 80
	banger --quiet vm set --nat one
	gets_out one
	banger --quiet vm restart one
	gets_out one
	banger --quiet vm delete one two
	banger --quiet daemon stop
	wait_until 20 no_holder_runs
	host_is_untouched
}

@test "whoever is killed: what can be restored is, and what cannot is said" {
	banger --quiet vm run --name box --nat -d
	gets_out box
	kill -KILL "$(way_out)"
	wait_until 20 tries_to_get_out box
	kill_daemon
	gets_out box
	recover
	gets_out box
	equal "$(banger --json doctor --census | jq -c '[.objects[] | select(.name == "banger-network") | .owner]')" '["banger","banger"]'
	for process in outer inner; do
		kill -KILL "$($process)"
		wait_until 20 is_whole
		wait_until 20 tries_to_get_out box
	done
	equal "$(pgrep -c -x banger-network)" 2
	# Somebody else with the right to do so.
	within nft flush ruleset
	wait_until 20 is_whole
	gets_out box
	asks_in_vain box 203.0.113.1 80
	kill_daemon
	within ip link del br-fc
	kill -KILL "$(way_out)"
	recover
	wait_until 20 tries_to_get_out box
	# Bangerd and the network's process together: nobody has the namespace any more.
	kill_daemon
	kill -KILL "$(inner)"
	wait_until 20 no_holder_runs
	recover
	equal "$(state_of box)" running
	in_vm box true
	contains "$(check_of 'network of a VM')" "warn 'box': somebody has removed its TAP device: it has no network until it is restarted"
	log_has 'it has no network until it is restarted'
	# What it takes to find that out is no reason to try again.
	local number
	number=$(link_number)
	sleep 2
	equal "$(link_number)" $((number + 1))
	asks_in_vain box 203.0.113.2 80
	banger --quiet vm restart box
	gets_out box
	equal "$(check_of 'network of a VM')" ''
	# All of them, and the VM.
	kill_daemon
	kill -KILL "$(outer)" "$(pgrep -x qemu-system-x86)" "$(pgrep -x banger-vmm)"
	wait_until 20 no_vmm_runs
	wait_until 20 no_holder_runs
	recover
	equal "$(state_of box)" stopped
	run ! outer
	# A network that nobody needs ends without bangerd.
	banger --quiet vm start box
	banger --quiet vm stop box
	kill_daemon
	wait_until 20 no_holder_runs
}

# --- one that hangs ---

# Nothing of it answers, and it says nothing of that.
stop_holder() {
	pkill -STOP -x banger-network
}

continue_holder() {
	pkill -CONT -x banger-network
}

ps_warns() {
	run_for 0 banger ps && contains "$stderr" "$1" 2>/dev/null
}

ps_is_silent() {
	run_for 0 banger ps && equal "$stderr" '' 2>/dev/null
}

has_link() {
	within ip link show "$1" >/dev/null 2>&1
}

has_no_link() {
	! has_link "$1"
}

@test "who keeps the network hangs: lists wait for nobody, bangerd starts and serves, and all goes on when it does" {
	banger --quiet vm run --name box --nat -d
	banger --quiet vm run --name gone -d
	gets_out box
	boot=$(boot_id box)
	stop_holder
	# This one waits for it, with the lock.
	start set banger --quiet vm set --nat box
	for _ in 1 2 3 4 5 6; do
		run_for 0 timeout 4 "$BANGER" --json vm show box
		run_for 0 timeout 4 "$BANGER" --json vm list
	done
	took=$(for _ in 1 2 3 4 5; do
		began=${EPOCHREALTIME/./}
		banger vm show box >/dev/null
		echo $((${EPOCHREALTIME/./} - began))
	done | sort -n | head -n 1)
	kill -0 "$started"
	[ "$took" -lt 100000 ]
	kill -INT "$started"
	kill_daemon
	# Bangerd starts all the same, and says what is wrong.
	run_for 0 timeout 20 "$BANGER" vm list -q
	wait_until 20 ps_warns "warning: 'box' and 1 more: the process of its network, banger-network, does not answer: it is as it was, and cannot be changed"
	contains "$(vm_get box .last_error)" 'banger-network, does not answer'
	contains "$(check_of network)" "warn in a namespace of banger's own: bridge 'br-fc', 172.16.0.1/24; its process, banger-network, does not answer"
	equal "$(boot_id box)" "$boot"
	run_for 1 timeout 20 "$BANGER" --quiet vm create --name late
	contains "$stderr" "connect the VM to the network: the isolated network's process, banger-network, does not answer"
	contains "$stderr" "hint: 'pkill -CONT -x banger-network' if somebody has stopped it"
	# What ends meanwhile leaves its device until then.
	timeout 20 "$BANGER" --quiet vm delete gone
	has_link bgr-3
	continue_holder
	wait_until 20 ps_is_silent
	wait_until 20 is_whole
	wait_until 20 tries_to_get_out box
	equal "$(boot_id box)" "$boot"
	has_no_link bgr-3
	log_has "the VMs' network is taken over"
	banger --quiet vm set --no-nat box
	asks_in_vain box 203.0.113.2 80
	# The same while bangerd runs.
	stop_holder
	run_for 1 timeout 30 "$BANGER" --quiet vm set --nat box
	contains "$stderr" 'banger-network, does not answer'
	ps_warns 'does not answer'
	wait_until 20 log_has "the process of the VMs' network, banger-network, does not answer: VMs go on, retrying"
	continue_holder
	wait_until 20 ps_is_silent
	wait_until 20 log_has "the process of the VMs' network answers again"
	banger --quiet vm set --nat box
	gets_out box
	equal "$(boot_id box)" "$boot"
	# A VM that is deleted meanwhile does not wait for it, and what it had is taken back afterwards.
	stop_holder
	timeout 40 "$BANGER" --quiet vm delete box
	continue_holder
}

@test "no other can be started in its namespaces at the moment: they are kept, and it is tried again" {
	local daemon files
	banger --quiet vm run --name box --nat -d
	gets_out box
	daemon=$(daemon_pid)
	# No descriptor can be had from here on.
	files=$(prlimit --pid "$daemon" --nofile --noheadings -o SOFT)
	prlimit --pid "$daemon" --nofile=3:
	kill -KILL "$(outer)"
	wait_until 20 log_has 'it cannot be put right, retrying'
	prlimit --pid "$daemon" --nofile="$files:"
	wait_until 20 is_whole
	wait_until 20 tries_to_get_out box
	equal "$(check_of 'network of a VM')" ''
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
		kill_daemon || wait_until 20 daemon_is_gone
		recover $point
		[ -z "$(banger vm list -q)" ] || banger --quiet vm delete box
		assert_no_vms
		banger --quiet daemon stop
		wait_until 20 no_holder_runs
		host_is_untouched
	done
}

# --- a user without rights ---

# As a user who owns nothing but this home, on a host whose udev lets everybody open /dev/net/tun.
as_user() {
	unshare --mount sh -euc 'mount -t tmpfs tmpfs /dev/net; mknod -m 666 /dev/net/tun c 10 200; exec "$@"' sh \
		setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups --inh-caps=-all --bounding-set=-all "$@"
}

# The home is given to that user, with copies of the image and the kernel.
become_user() {
	local name
	for name in "images/$1" kernels/debian-cloud; do
		mkdir -p "$HOME_DIR/own/${name%/*}"
		cp -r --sparse=always --reflink=auto "$BANGER_CACHE/state/$name" "$HOME_DIR/own/$name"
	done
	rm "$BANGER_STATE_DIR"/{images,kernels}
	mv "$HOME_DIR"/own/* "$BANGER_STATE_DIR"
	rmdir "$HOME_DIR/own"
	sed -i "s/^default_image_name = .*/default_image_name = \"$1\"/; /^network/d" "$BANGER_CONFIG_DIR/config.toml"
	mkdir "$HOME_DIR/home"
	chown -R "$USER_ID:$USER_ID" "$HOME_DIR"
	banger() {
		as_user env HOME="$HOME_DIR/home" "$BANGER" "$@"
	}
}

network_of() {
	readlink "/proc/$1/ns/net"
}

@test "a user without rights has all of it: auto, NAT, exec, ssh, published ports, kill -9" {
	become_user debian-bookworm
	run_for 0 banger doctor
	matches "$output" "PASS +network .*in a namespace of banger's own"
	banger --quiet vm run --name box --nat -p 8080:80 -d --memory 1G --disk-size 3G --system-overlay-size 6G
	banger --quiet vm run --name other -d --disk-size 3G --system-overlay-size 6G
	equal "$(stat -c %u "/proc/$(daemon_pid)")" "$USER_ID"
	wait_until 20 tries_to_get_out box
	asks_in_vain other 203.0.113.2 80
	for address in 203.0.113.1 192.0.0.1 127.0.0.2 172.16.0.1 172.16.0.3 169.254.169.254; do
		asks_in_vain box "$address" 80
	done
	host_is_untouched
	# VMMs are in there, without rights in there or anywhere, and so are the emulators.
	for process in $(pgrep -x 'banger-vmm|qemu-system-x86'); do
		equal "$(network_of "$process")" "$(network_of "$(inner)")"
		equal "$(awk '/^Cap(Prm|Eff|Amb)/ { print $2 }' "/proc/$process/status" | sort -u)" 0000000000000000
		equal "$(awk '/^NoNewPrivs/ { print $2 }' "/proc/$process/status")" 1
		as_user cat "/proc/$process/net/unix" >/dev/null # where auto-stop looks for streams
	done
	# Through the agent, whatever the network is.
	in_vm box perl -MIO::Socket::INET -e 'my $server = IO::Socket::INET->new(LocalPort => 80, Listen => 8) or die; exit 0 if fork;
		close STDIN; close STDOUT; close STDERR; while (my $client = $server->accept) { print $client "served\n" }'
	run_for 0 timeout 20 bash -c 'exec 3<>/dev/tcp/127.0.0.1/8080 && head -n 1 <&3'
	equal "$output" served
	run_for 7 banger vm ssh box -- 'hostname; exit 7'
	equal "$output" box
	run_for 0 as_user ssh -F "$BANGER_STATE_DIR/ssh/config" box.vm hostname
	equal "$output" box
	equal "$(banger --json vm stats box | jq '.vms[0].net_out_bytes > 0')" true
	banger --quiet vm set --no-nat box
	asks_in_vain box 203.0.113.2 80
	banger --quiet vm set --nat box
	kill_daemon
	kill -KILL "$(way_out)"
	recover
	wait_until 20 tries_to_get_out box
	kill -KILL "$(outer)"
	wait_until 20 is_whole
	wait_until 20 tries_to_get_out box
	banger --quiet vm pause box
	banger --quiet vm resume box
	gets_out box
	banger --quiet vm delete box other
	banger --quiet daemon stop
	wait_until 20 no_holder_runs
	host_is_untouched
}

@test "without pasta --nat is refused and all else works; without user namespaces there is no network, and why is said" {
	banger() {
		unshare --mount sh -euc 'mount --bind /dev/null /usr/bin/pasta && exec "$@"' sh "$BANGER" "$@"
	}
	run_for 1 banger vm create --nat
	contains "$stderr" "banger: cannot create the VM: the isolated network has no way out without 'pasta', and that is not installed"
	contains "$stderr" 'hint: apt install passt'
	banger --quiet vm run --name box -d
	run_for 1 banger vm set --nat box
	contains "$stderr" 'hint: apt install passt'
	equal "$(vm_get box .nat)" false
	wait_until 20 eth0_is_up
	contains "$(check_of 'way out')" "warn the isolated network has no way out without 'pasta'"
	banger --quiet vm delete box
	banger --quiet daemon stop

	banger() {
		unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"' sh "$BANGER" "$@"
	}
	run_for 0 banger --json doctor
	contains "$(jq -r '.checks[] | select(.name == "network") | "\(.status) \(.message) \(.hint)"' <<<"$output")" \
		'warn VMs have no network device: make a user namespace: No space left on device user namespaces must be allowed'
	run_for 1 banger vm create --nat
	contains "$stderr" 'VMs have no network here, so no NAT: make a user namespace'
	banger --quiet daemon stop
	unset -f banger
	banger() { "$BANGER" "$@"; }
}

@test "another network than before: the earlier one is removed; a process of other settings ends" {
	banger --quiet vm run --name box -d
	kill_daemon
	sed -i 's/^network = .*/network = "host"/' "$BANGER_CONFIG_DIR/config.toml"
	recover
	wait_until 20 no_holder_runs
	log_has "the VMs' network is another one than before: the earlier one is removed"
	contains "$(check_of 'network of a VM')" "warn 'box': somebody has removed its TAP device: it has no network until it is restarted"
	banger --quiet vm restart box
	ping -q -c 1 -W 10 172.16.0.2 >/dev/null
	kill_daemon
	sed -i 's/^network = .*/network = "isolated"/' "$BANGER_CONFIG_DIR/config.toml"
	recover
	host_is_untouched
	banger --quiet vm restart box
	outer >/dev/null
	kill_daemon
	sed -i '1i bridge_ip = "172.16.9.1"' "$BANGER_CONFIG_DIR/config.toml"
	recover
	banger --quiet vm restart box
	equal "$(vm_get box .ip)" 172.16.9.2
	equal "$(pgrep -c -x banger-network)" 2
	contains "$(within ip -br addr show br-fc)" 172.16.9.1/24
	banger --quiet vm delete box
}

@test "what comes through its socket and is no request is refused, and whoever asks is bangerd's user or root" {
	local socket=$BANGER_RUNTIME_DIR/network.sock
	banger --quiet vm run --name box -d
	equal "$(stat -c %a "$socket") $(stat -c %a "$BANGER_RUNTIME_DIR")" '600 700'
	/usr/bin/python3 -c '
import os, socket, struct, sys
def ask(data, cut=False):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(sys.argv[1])
    client.sendall(data)
    if cut:
        client.shutdown(socket.SHUT_WR)
    try:
        return client.recv(65536)
    except ConnectionResetError:
        return b""
def request(op, value=0, body=b"", count=0):
    return struct.pack("<IIII", 0x62676e01, op, value, count) + body
def kind(reply):
    return struct.unpack_from("<I", reply, 4)[0] if reply else None
guest = lambda index, flags, id: struct.pack("<II", index, flags) + id
id = b"0123456789abcdef" * 2
assert ask(os.urandom(4096)) == b""
assert ask(b"GET / HTTP/1.0\r\n\r\n") == b""
assert ask(request(10, 0, b"", 4096), cut=True) == b""
assert ask(request(10, 0, b"", 2**32 - 1)) == b""
assert ask(request(14, 0, guest(2, 0, b"../../../../etc/passwd".ljust(32, b"a")), 1)) == b""
assert kind(ask(request(14, 0, guest(1, 0, id), 1))) == 2
assert kind(ask(request(14, 0, guest(4000000000, 0, id), 1))) == 2
assert kind(ask(request(12, 255))) == 2
assert kind(ask(request(14, 0, guest(2, 0, id), 1))) == 6
assert kind(ask(request(1, 99, bytes(44), 1))) == 5' "$socket"
	wait_until 20 is_whole
	# One that never comes to the end of its request does not keep others for longer than a moment.
	run_for 0 timeout 60 /usr/bin/python3 -c '
import socket, struct, sys, time
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
began = time.monotonic()
client.sendall(struct.pack("<IIII", 0x62676e01, 10, 0, 4096))
try:
    while time.monotonic() < began + 40:
        client.sendall(b"a")
        time.sleep(0.1)
except (BrokenPipeError, ConnectionResetError):
    print(int(time.monotonic() - began))' "$socket"
	[ "${output:-99}" -lt 10 ]
	chmod 755 "$BANGER_RUNTIME_DIR"
	chmod 777 "$socket"
	run ! setpriv --reuid 1 --regid 1 --clear-groups /usr/bin/python3 -c '
import socket, struct, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(struct.pack("<IIII", 0x62676e01, 7, 0, 0))
sys.exit(0 if client.recv(1) else 1)' "$socket"
	chmod 700 "$BANGER_RUNTIME_DIR"
	banger --quiet vm delete box
}
