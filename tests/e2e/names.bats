#!/usr/bin/env bats
# NAME.vm: what the daemon answers as VMs come, are renamed, and go; and how programs get to ask it, in guests and on the
# host. With a real systemd-resolved: resolved.bats.
# shellcheck disable=SC2154,SC2016 # bats sets status, output, stderr, lines; one expression is for another shell

load helper
load crash_helper

LISTEN=127.0.0.1:42069

# What a test has begun of its own ends before the census, also when the test failed.
teardown() {
	local status=0 log
	end_lan
	end_resolved
	end_taker
	end_flood
	end_process "${DNSMASQ_PID:-}"
	[ -z "${OWN_RESOLV_CONF:-}" ] || umount /etc/resolv.conf
	: >>"$BANGER_STATE_DIR/bangerd.log"
	exec {log}<"$BANGER_STATE_DIR/bangerd.log"
	end_home "$BATS_TEST_TMPDIR" || status=1
	! grep -E 'AddressSanitizer|LeakSanitizer|runtime error:' <&"$log" >&2 || status=1
	exec {log}<&-
	return "$status"
}

end_process() { # PID, or nothing
	[ -z "$1" ] || { kill "$1" && wait "$1"; } 2>/dev/null || true
}

# Somebody else on our port.
take_port() {
	python3 -c 'import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 42069))
time.sleep(600)' 3>&- &
	TAKER_PID=$!
	wait_until 20 grep -q ':A455 ' /proc/net/udp
}

end_taker() {
	end_process "${TAKER_PID:-}"
	TAKER_PID=
}

ask() { # DIG'S ARGUMENTS
	dig +tries=1 +time=5 -p 42069 @127.0.0.1 "$@"
}

status_of() {
	ask "$1" | sed -n 's/.*status: \([A-Z]*\).*/\1/p'
}

# The status, and the address if there is one: "NOERROR 172.16.0.2"
answer_of() {
	echo "$(status_of "$1") $(ask +short "$1")"
}

answer_is() {
	[ "$(answer_of "$1")" = "$2" ]
}

answers() {
	ask vm SOA | grep -q 'status: NOERROR'
}

check_of() { # NAME: doctor's check
	banger --json doctor | jq -r ".checks[] | select(.name == \"$1\") | .status + \" \" + .message"
}

@test "a name is known from the VM's creation to its deletion, and after the daemon was killed" {
	banger vm list
	equal "$(status_of box.vm)" NXDOMAIN
	banger --quiet vm create --no-start --name box >/dev/null
	equal "$(status_of box.vm)" NOERROR
	equal "$(status_of BOX.VM)" NOERROR
	equal "$(status_of ox.vm)" NXDOMAIN
	equal "$(status_of box.example)" REFUSED
	kill -KILL "$(daemon_pid)"
	banger vm list
	equal "$(status_of box.vm)" NOERROR
	banger --quiet vm delete box
	equal "$(status_of box.vm)" NXDOMAIN
}

@test "daemon status and doctor tell where names are answered" {
	banger vm list
	ask vm SOA >/dev/null
	banger --json daemon status | jq -e ".dns_listen == \"$LISTEN\" and .dns_listening and .dns_answers >= 1"
	banger daemon status | grep -qE "^dns +$LISTEN, [0-9]+ answers$"
	equal "$(check_of dns)" "pass NAME.vm is answered on $LISTEN"
}

@test "a port that is taken: VMs work, doctor names it, and the names are answered once it is free" {
	take_port
	banger --quiet vm create --no-start --name box >/dev/null
	equal "$(check_of dns)" "warn answer DNS on $LISTEN: Address already in use"
	run_for 0 banger daemon status
	[[ $output == *"$LISTEN, not answering: see 'banger doctor'"* ]]
	end_taker
	banger --quiet daemon stop
	banger vm list
	equal "$(status_of box.vm)" NOERROR
}

@test "an address that others could reach is refused by name" {
	echo 'dns_listen = "0.0.0.0:53"' >"$BANGER_CONFIG_DIR/config.toml"
	run_for 1 banger vm list
	# shellcheck disable=SC2154 # set by run_for
	[[ $stderr == *"config.toml:1:1: dns_listen is '0.0.0.0:53': it must be a loopback address or bridge_ip (172.16.0.1)"* ]]
	write_config
}

@test "a name has its address from the VM's start to its end, however it ends" {
	banger --quiet vm run --name box -d
	equal "$(answer_of box.vm)" 'NOERROR 172.16.0.2'
	equal "$(ask +short +tcp box.vm)" 172.16.0.2
	run_for 0 ask +noall +answer box.vm
	matches "$output" '^box\.vm\.[[:space:]]+1[[:space:]]+IN[[:space:]]+A[[:space:]]+172\.16\.0\.2$'
	banger --quiet vm create --no-start --name second
	equal "$(answer_of second.vm)" 'NOERROR '
	# Another name takes the address along at once.
	banger --quiet vm set --name third box
	equal "$(answer_of box.vm) $(answer_of third.vm)" 'NXDOMAIN  NOERROR 172.16.0.2'
	banger --quiet vm set --name box second
	equal "$(answer_of box.vm)" 'NOERROR '
	banger --quiet vm stop third
	equal "$(answer_of third.vm)" 'NOERROR '
	banger --quiet vm start third
	equal "$(answer_of third.vm)" 'NOERROR 172.16.0.2'
	# As it was when bangerd was killed, and what became of it meanwhile.
	kill_daemon
	recover
	equal "$(answer_of third.vm)" 'NOERROR 172.16.0.2'
	kill -KILL "$(pgrep -x banger-vmm)"
	wait_until 20 answer_is third.vm 'NOERROR '
	equal "$(state_of third)" error
	banger --quiet vm start third
	equal "$(answer_of third.vm)" 'NOERROR 172.16.0.2'
	banger --quiet vm kill third
	equal "$(answer_of third.vm)" 'NOERROR '
	banger --quiet vm delete third
	equal "$(answer_of third.vm)" 'NXDOMAIN '
}

# Datagrams from sixty-four addresses, as fast as one process makes them; nobody reads the answers.
begin_flood() {
	python3 -c 'import socket
query = b"\0\7\1\0\0\1\0\0\0\0\0\0\3box\2vm\0\0\1\0\1"
sources = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(64)]
for number, source in enumerate(sources):
    source.bind((f"127.1.1.{number + 1}", 0))
    source.setblocking(False)
while True:
    for source in sources:
        try:
            source.sendto(query, ("127.0.0.1", 42069))
        except BlockingIOError:
            pass' 3>&- &
	FLOOD_PID=$!
}

@test "a flood of queries keeps neither bangerd from its clients nor others from their answers" {
	local began worst=0 took before
	banger --quiet vm create --no-start --name box
	before=$(banger --json daemon status | jq .dns_answers)
	begin_flood
	for _ in {1..25}; do
		began=${EPOCHREALTIME/./}
		equal "$(banger --json vm list | jq -r '.vms[].name')" box
		took=$(((${EPOCHREALTIME/./} - began) / 1000))
		[ "$took" -le "$worst" ] || worst=$took
		equal "$(ask +tcp box.vm | sed -n 's/.*status: \([A-Z]*\).*/\1/p')" NOERROR
	done
	[ $(($(banger --json daemon status | jq .dns_answers) - before)) -gt 10000 ]
	end_flood
	equal "$(dig +tries=5 +time=2 -p 42069 @127.0.0.1 box.vm | grep -c 'status: NOERROR')" 1
	echo "# vm list, with its process: $worst ms at worst" >&3
}

end_flood() {
	end_process "${FLOOD_PID:-}"
	FLOOD_PID=
}

# --- guests ---

# A LAN that the host is on, with 203.0.113.2 in it, which also is the name server of guests with NAT.
begin_lan() {
	ip netns add banger-lan
	ip link add lan0 type veth peer name eth0 netns banger-lan
	ip addr add 203.0.113.1/24 dev lan0
	ip link set lan0 up
	ip -n banger-lan addr add 203.0.113.2/24 dev eth0
	ip -n banger-lan link set eth0 up
	ip -n banger-lan route add 172.16.0.0/24 via 203.0.113.1
	ip netns exec banger-lan dnsmasq -k -C /dev/null --no-resolv --no-hosts --listen-address=203.0.113.2 --bind-interfaces \
		--address=/example.com/198.18.0.9 --user=root --pid-file= 3>&- &
	LAN_PID=$!
	wait_until 20 lan_answers
}

lan_answers() {
	[ "$(dig +short +tries=1 +time=1 @203.0.113.2 example.com)" = 198.18.0.9 ]
}

end_lan() {
	[ -n "${LAN_PID:-}" ] || return 0
	end_process "$LAN_PID"
	LAN_PID=
	ip link del lan0
	ip netns del banger-lan
	umount /run/netns
	rmdir /run/netns
}

# What a program in a guest finds for a name: "" when nothing
guest_finds() {
	in_vm "$1" sh -c "getent ahostsv4 $2 | sed -n 's/ *STREAM.*//p'"
}

guest_finds_it() {
	[ "$(guest_finds one two.vm)" = 172.16.0.3 ]
}

@test "dns_listen on the bridge: guests find one another's names, a LAN finds nothing" {
	sed -i '1i dns_listen = "172.16.0.1:53"\ndefault_dns = "203.0.113.2"' "$BANGER_CONFIG_DIR/config.toml"
	begin_lan
	banger vm list
	equal "$(check_of dns)" 'pass NAME.vm is answered on 172.16.0.1:53, once the first VM brings the bridge'
	banger --quiet vm run --name one -d
	banger --quiet vm run --name two --nat -d
	equal "$(check_of dns)" 'pass NAME.vm is answered on 172.16.0.1:53, for guests, too'
	equal "$(dig +short +tries=1 @172.16.0.1 one.vm)" 172.16.0.2
	equal "$(in_vm one cat /etc/resolv.conf)" 'nameserver 172.16.0.1'
	equal "$(in_vm two cat /etc/resolv.conf)" $'nameserver 172.16.0.1\nnameserver 203.0.113.2'
	equal "$(guest_finds one two.vm) $(guest_finds two one.vm)" '172.16.0.3 172.16.0.2'
	equal "$(in_vm one env RES_OPTIONS=use-vc getent ahostsv4 two.vm | head -n 1 | cut -d ' ' -f 1)" 172.16.0.3
	equal "$(guest_finds one three.vm)" ''
	# One has names of VMs and nothing else; two has NAT, and the rest from its second server.
	equal "$(guest_finds one example.com) $(guest_finds two example.com)" ' 198.18.0.9'
	# A peer that knows the way gets no answer, neither on UDP nor on TCP.
	run_for 9 ip netns exec banger-lan dig +tries=1 +time=1 @172.16.0.1 one.vm
	run_for 9 ip netns exec banger-lan dig +tries=1 +time=1 +tcp @172.16.0.1 one.vm
	for damage in 'ip link del br-fc' 'nft flush ruleset'; do
		$damage
		wait_until 20 guest_finds_it
	done
	restart_daemon
	equal "$(guest_finds one two.vm)" 172.16.0.3
	banger --quiet vm delete one two
	# The bridge may go and come back while the daemon listens.
	banger --quiet daemon stop
	banger vm list
	banger --quiet vm run --name one -d
	equal "$(guest_finds one one.vm)" 172.16.0.2
}

# --- systemd-resolved, with a resolvectl of ours ---

# A resolved that can be found to run, and a resolvectl that does WHAT and writes its arguments down.
fake_resolved() { # WHAT
	FAKES=$BATS_TEST_TMPDIR/fakes
	mkdir -p "$FAKES"
	: >"$FAKES/calls"
	printf '#!/bin/sh\necho "$*" >>%s/calls\n%s\n' "$FAKES" "$1" >"$FAKES/resolvectl"
	chmod +x "$FAKES/resolvectl"
	PATH=$FAKES:$PATH
	[ -n "${RESOLVED_PID:-}" ] || start_resolved
}

start_resolved() {
	mkdir -p /run/systemd/resolve
	python3 -c 'import socket
s = socket.socket(socket.AF_UNIX)
s.bind("/run/systemd/resolve/io.systemd.Resolve")
s.listen()
while True:
    s.accept()[0].close()' 3>&- &
	RESOLVED_PID=$!
	wait_until 20 test -S /run/systemd/resolve/io.systemd.Resolve
}

end_resolved() {
	end_process "${RESOLVED_PID:-}"
	RESOLVED_PID=
	rm -rf /run/systemd
}

TOLD='default-route br-fc no
domain br-fc ~vm
dnssec br-fc no
dnsovertls br-fc no
llmnr br-fc no
mdns br-fc no
dns br-fc 127.0.0.1:42069'

calls_are() {
	[ "$(cat "$FAKES/calls")" = "$1" ]
}

@test "systemd-resolved is told of the bridge, again when that or resolved is another, and untold at the end" {
	fake_resolved true
	banger vm list
	equal "$(check_of names)" 'pass systemd-resolved asks for NAME.vm while VMs run'
	calls_are ''
	banger --quiet vm run --name box -d
	wait_until 20 calls_are "$TOLD"
	banger --quiet vm run --name other -d
	ip link del br-fc
	wait_until 20 calls_are "$TOLD"$'\n'"$TOLD"
	# Another run of resolved is seen with the next VM, at the latest after a minute.
	end_resolved
	start_resolved
	banger --quiet vm restart other
	wait_until 20 calls_are "$TOLD"$'\n'"$TOLD"$'\n'"$TOLD"
	: >"$FAKES/calls"
	# A bangerd that was killed tells it nothing; the next one tells it anew.
	kill_daemon
	calls_are ''
	recover
	wait_until 20 calls_are "$TOLD"
	: >"$FAKES/calls"
	banger --quiet daemon stop --force
	calls_are 'revert br-fc'
	recover
	wait_until 20 calls_are "revert br-fc"$'\n'"$TOLD"
	banger --quiet vm delete box other
	: >"$FAKES/calls"
	banger --quiet daemon stop
	calls_are 'revert br-fc'
	run_for 1 ip link show br-fc
	# It is not told at all when it does not run.
	end_resolved
	: >"$FAKES/calls"
	banger --quiet vm run --name box -d
	banger --quiet vm delete box
	banger --quiet daemon stop
	calls_are ''
}

@test "a resolvectl that fails, hangs or is missing is in no VM's way, and doctor tells" {
	fake_resolved '[ "$1" != dnssec ] || { echo "Failed to set DNSSEC configuration: no" >&2; exit 1; }'
	banger --quiet vm run --name box -d
	wait_until 20 log_has 'systemd-resolved does not ask for names of VMs'
	contains "$(check_of names)" "warn 'resolvectl'"
	contains "$(check_of names)" 'Failed to set DNSSEC configuration: no'
	# It stopped there.
	equal "$(head -n 3 "$FAKES/calls")" $'default-route br-fc no\ndomain br-fc ~vm\ndnssec br-fc no'
	run_for 1 grep -E '^(mdns|dns) ' "$FAKES/calls"
	banger --quiet daemon stop --force

	fake_resolved 'exec sleep 1000'
	banger --quiet vm restart box
	banger --quiet vm run --name other -d
	equal "$(answer_of other.vm)" 'NOERROR 172.16.0.3'
	wait_until 20 test -s "$FAKES/calls"
	wait_until 20 names_check_has "wait for 'resolvectl'"
	banger --quiet daemon stop --force
	equal "$(pgrep -f 'sleep 1000' || true)" ''

	# All programs but that one; QEMU from where its user may go.
	sed -i "1i qemu_bin = \"$(command -v qemu-system-x86_64)\"" "$BANGER_CONFIG_DIR/config.toml"
	mkdir "$BATS_TEST_TMPDIR/others"
	ln -s /usr/sbin/* /usr/bin/* "$BATS_TEST_TMPDIR/others" 2>/dev/null || true
	rm -f "$BATS_TEST_TMPDIR/others/resolvectl"
	PATH=$BATS_TEST_TMPDIR/others banger --quiet vm restart other
	wait_until 20 names_check_has "resolvectl"
}

names_check_has() {
	[[ $(check_of names) == warn*"$1"* ]]
}

@test "resolved is not told to ask whoever has taken the port" {
	fake_resolved true
	take_port
	banger --quiet vm run --name box -d
	equal "$(check_of dns)" "warn answer DNS on $LISTEN: Address already in use"
	banger --quiet daemon stop --force
	calls_are ''
}

# --- the recipes of docs/network.md ---

# The lines of the nth block below a heading.
recipe() { # HEADING NTH
	awk -v heading="### $1" -v nth="$2" '
		/^#/ { is_in = $0 == heading; count = 0; was_code = 0 }
		is_in && /^    / { if (!was_code) count++; if (count == nth) print substr($0, 5) }
		is_in && !/^$/ { was_code = /^    / }' "$BATS_TEST_DIRNAME/../../docs/network.md"
}

# What a program of the host finds for a name: "" when nothing
host_finds() {
	getent ahostsv4 "$1" | sed -n 's/ *STREAM.*//p'
}

host_finds_it() {
	[ "$(host_finds "$1")" = "$2" ]
}

@test "the recipe for dnsmasq" {
	local folder=$BATS_TEST_TMPDIR/dnsmasq.d
	mkdir "$folder"
	recipe dnsmasq 1 >"$folder/banger.conf"
	equal "$(wc -l <"$folder/banger.conf")" 2
	equal "$(recipe NetworkManager 2)" "$(cat "$folder/banger.conf")"
	begin_lan
	banger --quiet vm run --name box -d
	run_for 0 banger doctor
	matches "$output" 'WARN +names +programs of this host do not find NAME.vm'
	contains "$output" 'a recipe for a plain resolv.conf'
	dnsmasq -k -C /dev/null --conf-dir="$folder" --no-resolv --no-hosts --server=203.0.113.2 \
		--listen-address=127.0.0.1 --bind-interfaces --stop-dns-rebind --user=root --pid-file= 3>&- &
	DNSMASQ_PID=$!
	wait_until 20 host_finds_it example.com 198.18.0.9
	equal "$(host_finds box.vm)" 172.16.0.2
	equal "$(check_of names)" 'pass programs of this host find NAME.vm'
	equal "$(host_finds nobody.vm)" ''
	banger --quiet vm stop box
	wait_until 20 host_finds_it box.vm ''
}

@test "the recipe for a plain resolv.conf" {
	sed -i "1i $(recipe 'plain resolv.conf' 1)" "$BANGER_CONFIG_DIR/config.toml"
	begin_lan
	{
		recipe 'plain resolv.conf' 2
		echo 'nameserver 203.0.113.2'
	} >"$BATS_TEST_TMPDIR/resolv.conf"
	mount --bind "$BATS_TEST_TMPDIR/resolv.conf" /etc/resolv.conf
	OWN_RESOLV_CONF=1
	banger --quiet vm run --name box -d
	equal "$(host_finds example.com) $(host_finds box.vm) $(host_finds nobody.vm)" '198.18.0.9 172.16.0.2 '
	equal "$(check_of dns)" 'pass NAME.vm is answered on 127.0.0.42:53'
	equal "$(check_of names)" 'pass programs of this host find NAME.vm'
	banger --quiet daemon stop --force
	equal "$(host_finds example.com)" 198.18.0.9
}
