#!/usr/bin/env bats
# The privileged operations of the network against the kernel and nft: a host, two guests and a LAN, each in a network
# namespace of its own. A guest is a TAP as a VM has it, with the kernel's own network stack at its other end
# (tap_guest).
# shellcheck disable=SC2154,SC2030,SC2031 # bats sets status, output, lines, and each test is a process of its own

bats_require_minimum_version 1.5.0

ID2=0123456789abcdef0123456789abcdef
ID3=1123456789abcdef0123456789abcdef
MAC2=02:fc:ac:10:00:02 MAC3=02:fc:ac:10:00:03
IP2=172.16.0.2 IP3=172.16.0.3 BRIDGE_IP=172.16.0.1

setup_file() {
	[ "$(id -u)" -eq 0 ] || skip "network namespaces need root"
}

setup() {
	TOOLS=$BANGER_BUILD/tests/integration
	DIR=$(mktemp -d)
	PIDS=()
	declare -gA SPACES=()
	for each in host lan g2 g3; do
		make_space "$each"
	done
	# The LAN: 203.0.113.0/24, and what clouds have at 169.254.169.254. The host's way out is over it.
	in_space host ip link add up0 type veth peer name eth0 netns "${SPACES[lan]}"
	in_space host ip addr add 203.0.113.1/24 dev up0
	in_space host ip link set up0 up
	in_space lan ip addr add 203.0.113.2/24 dev eth0
	in_space lan ip addr add 169.254.169.254/32 dev eth0
	in_space lan ip link set eth0 up
	in_space host ip route add default via 203.0.113.2
}

# A namespace goes with the process that holds it, and has no name that could stay behind.
make_space() {
	unshare --net sleep 1000 </dev/null >/dev/null 2>&1 3>&- &
	SPACES[$1]=$!
	PIDS+=("$!")
	wait_until 10 has_own_space "$!"
	in_space "$1" ip link set lo up
}

has_own_space() {
	[ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]
}

teardown() {
	for pid in "${PIDS[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$DIR"
}

in_space() {
	nsenter --net="/proc/${SPACES[$1]}/ns/net" "${@:2}"
}

# The operations, in the host's namespace.
net() {
	in_space host "$TOOLS/net_tool" "$DIR" $BRIDGE_IP/24 "$@"
}

peer() {
	in_space "$1" "$BATS_TEST_DIRNAME/net_peer.py" "${@:2}"
}

frames() {
	in_space "$1" "$BATS_TEST_DIRNAME/net_frames.py" "${@:2}"
}

# Starts a program that prints "ready" in a namespace: start NAME NAMESPACE PROGRAM... Its output goes to $DIR/NAME,
# its process is in $started.
start() {
	local name=$1 space=$2
	shift 2
	nsenter --net="/proc/${SPACES[$space]}/ns/net" "$@" >"$DIR/$name" 2>"$DIR/$name.err" </dev/null 3>&- &
	started=$!
	PIDS+=("$started")
	wait_until 10 grep -qx ready "$DIR/$name"
}

wait_until() {
	local deadline=$((SECONDS + $1))
	shift
	until "$@"; do
		if [ "$SECONDS" -ge "$deadline" ]; then
			echo "gave up waiting for: $*" >&2
			return 1
		fi
		sleep 0.05
	done
}

equal() {
	if [[ $1 != "$2" ]]; then
		printf 'got:    %s\nwanted: %s\n' "$1" "$2" >&2
		return 1
	fi
}

fails() {
	if "$@"; then
		echo "should have failed: $*" >&2
		return 1
	fi
}

# A guest at one of our TAPs: guest INDEX ID [nat]
guest() {
	local index=$1 id=$2 nat=${3:+:nat}
	net tap "$index" 0
	net join "$index:$id$nat"
	start "guest-$index" host "$TOOLS/tap_guest" "bgr-$index" "/proc/${SPACES[g$index]}/ns/net"
	in_space "g$index" ip link set eth0 address "02:fc:ac:10:00:0$index"
	in_space "g$index" ip addr add "172.16.0.$index/24" dev eth0
	in_space "g$index" ip link set eth0 up
	in_space "g$index" ip route add default via $BRIDGE_IP
}

# The bridge and both guests, the first with NAT.
two_guests() {
	net raise
	guest 2 $ID2 nat
	guest 3 $ID3
	net forward on
}

dropped() {
	in_space host nft list chain "$@" | sed -n 's/.*counter packets \([0-9]*\) .*/\1/p' | paste -sd+ | bc
}

@test "the host reaches its guests; a guest reaches neither host nor guest nor LAN, but DNS on the bridge" {
	two_guests
	start host-services host "$BATS_TEST_DIRNAME/net_peer.py" serve 0.0.0.0 80
	start dns host "$BATS_TEST_DIRNAME/net_peer.py" serve $BRIDGE_IP 53
	start lan-services lan "$BATS_TEST_DIRNAME/net_peer.py" serve 0.0.0.0 80
	for index in 2 3; do
		start "guest-services-$index" "g$index" "$BATS_TEST_DIRNAME/net_peer.py" serve 0.0.0.0 80
		in_space host ping -q -c 1 -W 2 "172.16.0.$index" >/dev/null
		for protocol in tcp udp; do
			equal "$(peer host $protocol "172.16.0.$index" 80)" $BRIDGE_IP
			equal "$(peer "g$index" $protocol $BRIDGE_IP 53)" "172.16.0.$index"
			for address in $BRIDGE_IP 203.0.113.1 127.0.0.1; do
				[ "$address" != 127.0.0.1 ] || continue # that is the guest itself
				fails peer "g$index" $protocol "$address" 80
			done
		done
		fails in_space "g$index" ping -q -c 1 -W 1 $BRIDGE_IP >/dev/null
	done
	fails peer g2 tcp $IP3 80
	fails peer g3 udp $IP2 80
	fails peer g3 tcp 203.0.113.2 80
	fails peer g3 udp 203.0.113.2 80
	[ "$(dropped inet banger to_host)" -gt 0 ]
	[ "$(dropped inet banger from_guest)" -gt 0 ]
	# Nor when it tells its own kernel that the other is not on its network.
	in_space g3 ip route add $IP2/32 via $BRIDGE_IP
	fails peer g3 tcp $IP2 80
	# The host's loopback, by a route of the guest's own.
	in_space g3 ip route add 127.9.9.9/32 via $BRIDGE_IP table local
	in_space g3 sysctl -qw net.ipv4.conf.all.route_localnet=1
	fails peer g3 tcp 127.9.9.9 80
}

@test "NAT: out under the host's address, but to no metadata service, nor to what the host publishes" {
	two_guests
	start lan-services lan "$BATS_TEST_DIRNAME/net_peer.py" serve 0.0.0.0 80
	for protocol in tcp udp; do
		equal "$(peer g2 $protocol 203.0.113.2 80)" 203.0.113.1
		fails peer g2 $protocol 169.254.169.254 80
		equal "$(peer host $protocol 169.254.169.254 80)" 203.0.113.1
		fails peer g3 $protocol 203.0.113.2 80
	done
	# As Docker publishes ports: another address of the host's own that leads elsewhere.
	in_space host nft 'table ip mine { chain pre { type nat hook prerouting priority -100; tcp dport 8080 dnat to 203.0.113.2:80; }; }'
	fails peer g2 tcp 203.0.113.1 8080
	fails peer g2 tcp $BRIDGE_IP 8080
}

# How many connections the host knows of.
connections() {
	in_space host cat /proc/sys/net/netfilter/nf_conntrack_count
}

# What a rule of the chain has dropped, by the set that it is about.
dropped_by() {
	in_space host nft list chain inet banger allowed | sed -n "s/.*@$1 .*counter packets \([0-9]*\) .*/\1/p"
}

# One more flood, as a TAP loses some of it, and whether both limits have been reached.
floods() {
	local connections beginnings
	connections=$(dropped_by connections) beginnings=$(dropped_by beginnings)
	peer "$1" flood "$2" "$3"
	[ "$(dropped_by connections)" -gt "$connections" ] && [ "$(dropped_by beginnings)" -gt "$beginnings" ]
}

@test "a guest cannot fill the host's table of connections, neither by NAT nor by asking for names; what stands goes on" {
	two_guests
	start lan-services lan "$BATS_TEST_DIRNAME/net_peer.py" serve 0.0.0.0 80
	coproc HOLD { in_space g2 "$BATS_TEST_DIRNAME/net_peer.py" hold 203.0.113.2 80 3>&-; }
	PIDS+=("$HOLD_PID")
	read -r -t 20 line <&"${HOLD[0]}"
	wait_until 20 floods g2 203.0.113.2 9
	[ "$(connections)" -ge 4096 ]
	[ "$(connections)" -le 4120 ]
	fails peer g2 udp 203.0.113.2 80
	echo on >&"${HOLD[1]}"
	read -r -t 20 line <&"${HOLD[0]}"
	equal "$line" on
	# The other one has a number of its own, and what it is not allowed to reach is not even counted.
	start dns host "$BATS_TEST_DIRNAME/net_peer.py" serve $BRIDGE_IP 53
	equal "$(peer g3 udp $BRIDGE_IP 53)" 172.16.0.3
	peer g3 flood 203.0.113.2 9
	[ "$(connections)" -le 4120 ]
	wait_until 20 floods g3 $BRIDGE_IP 53
	[ "$(connections)" -le 8240 ]
	# What is counted is no change of the rules.
	coproc WHOLE { net whole 2:$ID2:nat 3:$ID3; }
	PIDS+=("$WHOLE_PID")
	exec {from}<&"${WHOLE[0]}" {to}>&"${WHOLE[1]}"
	read -r -t 20 line <&"$from"
	peer g2 udp 203.0.113.2 80
	grep -q elements <<<"$(in_space host nft list set inet banger connections)"
	echo >&"$to"
	read -r -t 20 line <&"$from"
	exec {from}<&- {to}>&-
	equal "$line" yes
}

@test "NAT is switched while connections stand" {
	two_guests
	start lan-services lan "$BATS_TEST_DIRNAME/net_peer.py" serve 0.0.0.0 80
	coproc HOLD { in_space g2 "$BATS_TEST_DIRNAME/net_peer.py" hold 203.0.113.2 80 3>&-; }
	PIDS+=("$HOLD_PID")
	read -r -t 20 line <&"${HOLD[0]}"
	equal "$line" 203.0.113.1
	echo one >&"${HOLD[1]}"
	read -r -t 20 line <&"${HOLD[0]}"
	equal "$line" one
	net nat 2:$ID2
	echo two >&"${HOLD[1]}"
	read -r -t 20 line <&"${HOLD[0]}"
	equal "$line" "no answer"
	fails peer g2 tcp 203.0.113.2 80
	net nat 3:$ID3:nat
	equal "$(peer g3 tcp 203.0.113.2 80)" 203.0.113.1
}

@test "what a guest may not send goes nowhere: foreign addresses, ARP of others, IPv6, VLANs, a switch's frames" {
	two_guests
	in_space host ping -q -c 1 -W 2 $IP2 >/dev/null
	start seen-by-host host "$BATS_TEST_DIRNAME/net_frames.py" see br-fc honest
	local host=$started
	start seen-by-guest g3 "$BATS_TEST_DIRNAME/net_frames.py" see eth0 from-host
	local guest=$started
	frames g2 send eth0 $MAC2 $IP2 $MAC3 $IP3 $BRIDGE_IP
	wait "$host"
	equal "$(cat "$DIR/seen-by-host")" $'ready\nhonest'
	frames host say br-fc from-host $MAC3
	wait "$guest"
	equal "$(cat "$DIR/seen-by-guest")" $'ready\nfrom-host'
	# All but the honest one, which the host does not want either, and two that are the switch's own.
	equal "$(frames host print $MAC2 $IP2 $MAC3 $IP3 $BRIDGE_IP | wc -l)" 35
	[ "$(dropped bridge banger from_tap)" -ge 32 ]
	[ "$(dropped bridge banger link_local)" -ge 1 ]
	# Nobody has been believed: the host still finds both where they are.
	in_space host ip neigh flush all
	in_space host ping -q -c 1 -W 2 $IP2 >/dev/null
	in_space host ping -q -c 1 -W 2 $IP3 >/dev/null
	equal "$(in_space host bridge fdb show br br-fc | grep -c "$MAC3 dev bgr-3 master br-fc static")" 1
}

@test "fragments, broadcasts, multicasts and the host's loopback let in no more than the rest" {
	two_guests
	start host-services host "$BATS_TEST_DIRNAME/net_peer.py" serve 0.0.0.0 80
	start dns host "$BATS_TEST_DIRNAME/net_peer.py" serve $BRIDGE_IP 53
	start lan-services lan "$BATS_TEST_DIRNAME/net_peer.py" serve 0.0.0.0 80
	start guest-services g3 "$BATS_TEST_DIRNAME/net_peer.py" serve 0.0.0.0 80
	equal "$(peer g2 udp $BRIDGE_IP 53 4000)" $IP2
	equal "$(peer g2 udp 203.0.113.2 80 4000)" 203.0.113.1
	fails peer g2 udp $BRIDGE_IP 80 4000
	fails peer g3 udp 203.0.113.2 80 4000
	for address in 255.255.255.255 172.16.0.255 224.0.0.1 203.0.113.255; do
		fails peer g2 udp $address 80
	done
	# As some orchestrators set it.
	in_space host sysctl -qw net.ipv4.conf.all.route_localnet=1
	in_space g2 ip link set lo down
	in_space g2 ip route flush table local 127.0.0.0/8
	in_space g2 ip route add 127.0.0.0/8 via $BRIDGE_IP dev eth0 src $IP2
	in_space g2 sysctl -qw net.ipv4.conf.all.route_localnet=1
	for protocol in tcp udp; do
		fails peer g2 $protocol 127.0.0.1 80
	done
}

@test "what a guest says of somebody else's way is not believed" {
	two_guests
	for each in all br-fc; do
		in_space host sysctl -qw net.ipv4.conf.$each.accept_redirects=1
	done
	in_space host ip route add 198.18.0.0/24 via $IP2
	in_space host python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("172.16.0.1", 5000)); s.sendto(b"?", ("198.18.0.9", 5000))'
	frames g2 redirect eth0 "$(in_space host ip -j link show br-fc | jq -r '.[].address')" $MAC2 $IP2 $IP3 $BRIDGE_IP 198.18.0.9 5000
	wait_until 5 redirect_is_dropped
	equal "$(in_space host ip route get 198.18.0.9 from $BRIDGE_IP | sed -n '1s/ uid.*//p' | xargs)" \
		"198.18.0.9 from $BRIDGE_IP via $IP2 dev br-fc"
}

redirect_is_dropped() {
	in_space host nft list chain inet banger to_host | grep -q 'redirect counter packets 1 '
}

@test "a TAP that somebody has taken out of the bridge leads nowhere" {
	two_guests
	start host-services host "$BATS_TEST_DIRNAME/net_peer.py" serve 0.0.0.0 80
	start lan-services lan "$BATS_TEST_DIRNAME/net_peer.py" serve 0.0.0.0 80
	equal "$(peer g2 tcp 203.0.113.2 80)" 203.0.113.1
	in_space host ip link set bgr-2 nomaster
	in_space host ip route add $IP2/32 dev bgr-2
	in_space host sysctl -qw net.ipv4.ip_forward=1
	in_space g2 ip neigh flush all
	for protocol in tcp udp; do
		fails peer g2 $protocol $BRIDGE_IP 80
		fails peer g2 $protocol 203.0.113.2 80
	done
	[ "$(dropped inet banger input)" -gt 0 ]
	[ "$(dropped inet banger forward)" -gt 0 ]
}

@test "no guest sees what is for another" {
	two_guests
	start seen g2 "$BATS_TEST_DIRNAME/net_frames.py" see eth0 to-2
	local guest=$started
	frames host say br-fc to-3 $MAC3
	frames host say br-fc to-nobody 02:fc:ac:10:00:09
	frames host say br-fc to-2 $MAC2
	wait "$guest"
	equal "$(cat "$DIR/seen")" $'ready\nto-2'
}

@test "a LAN peer with a route to the guests finds nobody, forwarding or not" {
	two_guests
	start guest-services g2 "$BATS_TEST_DIRNAME/net_peer.py" serve 0.0.0.0 80
	in_space lan ip route add 172.16.0.0/24 via 203.0.113.1
	for forwarding in 0 1; do
		in_space host sysctl -qw net.ipv4.ip_forward=$forwarding
		net forward on
		fails peer lan tcp $IP2 80
		fails peer lan udp $IP2 80
		fails in_space lan ping -q -c 1 -W 1 $IP3 >/dev/null
	done
	[ "$(dropped inet banger to_guest)" -gt 0 ]
}

@test "a host that does not forward does so for the guests alone, and only as long as they need it" {
	in_space host ip link add other0 type veth peer name other1 netns "${SPACES[g3]}"
	in_space host ip addr add 198.51.100.1/24 dev other0
	in_space host ip link set other0 up
	in_space g3 ip addr add 198.51.100.2/24 dev other1
	in_space g3 ip link set other1 up
	in_space g3 ip route add default via 198.51.100.1
	in_space lan ip route add 198.51.100.0/24 via 203.0.113.1
	start other-services g3 "$BATS_TEST_DIRNAME/net_peer.py" serve 0.0.0.0 80
	start lan-services lan "$BATS_TEST_DIRNAME/net_peer.py" serve 0.0.0.0 80
	net raise
	equal "$(forwarding)" "0 0 0 0"
	guest 2 $ID2 nat
	net forward on
	equal "$(forwarding)" "0 1 1 1"
	equal "$(peer g2 tcp 203.0.113.2 80)" 203.0.113.1
	# The interfaces that forward now did not before, and still do not for others.
	fails peer lan tcp 198.51.100.2 80
	fails peer g3 tcp 203.0.113.2 80
	# After a crash and rules that are lost the bridge still says which they are.
	in_space host nft flush ruleset
	net raise 2:$ID2:nat
	fails peer lan tcp 198.51.100.2 80
	equal "$(peer g2 tcp 203.0.113.2 80)" 203.0.113.1
	net forward off
	equal "$(forwarding)" "0 0 0 0"
	fails peer g2 tcp 203.0.113.2 80
	net forward on
	net leave 2:$ID2
	net clear
	equal "$(in_space host sysctl -n net.ipv4.ip_forward net.ipv4.conf.up0.forwarding net.ipv4.conf.other0.forwarding |
		paste -sd' ')" "0 0 0"
	# On a host that forwards nothing is ours to change, then or later.
	net raise
	guest_again
	in_space host sysctl -qw net.ipv4.ip_forward=1
	net forward on
	equal "$(peer lan tcp 198.51.100.2 80)" 203.0.113.2
	net leave 2:$ID2
	net clear
	equal "$(in_space host sysctl -n net.ipv4.ip_forward net.ipv4.conf.up0.forwarding | paste -sd' ')" "1 1"
}

# all, bridge, up0, other0
forwarding() {
	in_space host sysctl -n net.ipv4.ip_forward net.ipv4.conf.{br-fc,up0,other0}.forwarding | paste -sd' '
}

guest_again() {
	net tap 2 0
	net join 2:$ID2:nat
	net forward on
}

@test "what somebody else removes or changes is seen, and put back" {
	two_guests
	in_space host nft 'table inet mine { chain c { type filter hook input priority 0; counter; }; }'
	for damage in 'nft flush ruleset' 'nft delete table bridge banger' 'nft flush chain inet banger to_host' \
		'nft insert rule bridge banger from_tap accept' "nft delete element inet banger nat { $IP2 }" \
		"nft add element inet banger nat { $IP3 }" 'nft flush set bridge banger guests' 'ip link del br-fc' \
		'ip link set br-fc down' 'ip link set bgr-2 nomaster'; do
		coproc WHOLE { net whole 2:$ID2:nat 3:$ID3; }
		local pid=$WHOLE_PID from to line
		exec {from}<&"${WHOLE[0]}" {to}>&"${WHOLE[1]}" # bash closes its own with the process's end
		read -r -t 20 line <&"$from"
		equal "$line" raised
		in_space host sh -c "$damage"
		echo >&"$to"
		read -r -t 20 line <&"$from"
		wait "$pid"
		exec {from}<&- {to}>&-
		equal "$damage: $line" "$damage: no"
		net raise 2:$ID2:nat 3:$ID3
		equal "$(echo | net whole 2:$ID2:nat 3:$ID3)" $'raised\nyes'
		in_space host ping -q -c 1 -W 2 $IP2 >/dev/null
		in_space host ping -q -c 1 -W 2 $IP3 >/dev/null
		equal "$(in_space host ip -d link show bgr-2 | grep -o 'isolated on')" 'isolated on'
	done
}

has_ended() {
	! kill -0 "$1" 2>/dev/null
}

@test "what passes a guest's TAP is counted, as the guest sees it; a TAP that is removed ends there" {
	local before after
	two_guests
	in_space host ip tuntap add bgr-9 mode tap
	net tap 8 0
	equal "$(net traffic | cut -d' ' -f1 | sort)" "$ID2"$'\n'"$ID3"
	before=$(net traffic | grep "^$ID3")
	read -r _ in_bytes in_packets out_bytes out_packets < <(net traffic | grep "^$ID2")
	# 1000 bytes and 28 of headers, in frames with 14 of their own; answered with as many; and ARP about both.
	in_space host ping -q -c 10 -i 0.01 -W 1 -s 1000 $IP2 >/dev/null
	after=$(net traffic | grep "^$ID2")
	echo "before: $in_bytes $in_packets $out_bytes $out_packets, after: $after"
	read -r _ in_bytes_now in_packets_now out_bytes_now out_packets_now <<<"$after"
	[ $((in_packets_now - in_packets)) -ge 10 ] && [ $((in_packets_now - in_packets)) -le 16 ]
	[ $((out_packets_now - out_packets)) -ge 10 ] && [ $((out_packets_now - out_packets)) -le 16 ]
	[ $((in_bytes_now - in_bytes)) -ge 10420 ] && [ $((in_bytes_now - in_bytes)) -le 10920 ]
	[ $((out_bytes_now - out_bytes)) -ge 10420 ] && [ $((out_bytes_now - out_bytes)) -le 10920 ]
	# What is dropped was sent all the same, and nobody else got it.
	in_space g2 ping -q -c 3 -i 0.01 -W 1 203.0.113.77 >/dev/null || true
	[ "$(net traffic | awk -v id=$ID2 '$1 == id { print $5 }')" -ge $((out_packets_now + 3)) ]
	[ "$(net traffic | awk -v id=$ID3 '$1 == id { print $3 }')" -le $(($(cut -d' ' -f3 <<<"$before") + 3)) ]
	in_space host ip link del bgr-3
	equal "$(net traffic | cut -d' ' -f1)" "$ID2"
	wait_until 5 has_ended "$started"
}

@test "what is not ours stays, and in our way it is an error" {
	run -0 net look
	equal "$output" "bridge no"
	in_space host ip link add br-fc type bridge
	run -1 net raise
	equal "$output" "exists: there is a network device 'br-fc' that is not this bangerd's"
	run -0 net clear
	in_space host ip link show br-fc >/dev/null
	in_space host ip link del br-fc
	in_space host nft 'table inet banger { comment "mine"; }'
	run -1 net raise
	equal "$output" "exists: there are packet rules of the name of bridge 'br-fc' that are not this bangerd's"
	net clear
	in_space host nft delete table inet banger
	in_space host nft 'table inet mine { set s { type ipv4_addr; elements = { 192.0.2.1 }; }; chain c { type filter hook input priority 0; ip saddr @s drop; }; }'
	in_space host nft list table inet mine >"$DIR/mine"
	net raise
	in_space host ip tuntap add bgr-2 mode tap
	in_space host ip link set bgr-2 alias "banger 0000000000000000 vm $ID2"
	run -1 net tap 2 0
	equal "$output" "exists: there is a network device 'bgr-2' already"
	run -1 net join 2:$ID2
	equal "$output" "exists: there is a network device 'bgr-2' that is not this bangerd's"
	run -1 net untap 2
	net tap 3 0
	run -0 net look
	equal "$output" $'bridge yes\ntap 3 idle'
	net join 3:$ID3
	run -1 net join 3:$ID2
	equal "$output" "busy: the TAP device 'bgr-3' is another VM's"
	run -1 net join 3:../../etc
	net leave 3:$ID3
	net leave 3:$ID3
	net clear
	net clear
	run -0 net look
	equal "$output" "bridge no"
	in_space host ip link show bgr-2 >/dev/null
	equal "$(in_space host nft list table inet mine)" "$(cat "$DIR/mine")"
	equal "$(in_space host nft list tables)" "table inet mine"
	# Another bangerd of this host has its own bridge, TAPs and tables.
	net raise
	BRIDGE=br-fc-b in_space host "$TOOLS/net_tool" "$DIR" 172.16.9.1/24 raise
	BRIDGE=br-fc-b in_space host "$TOOLS/net_tool" "$DIR" 172.16.9.1/24 tap 2 0
	net clear
	equal "$(in_space host nft list tables | sort | paste -sd' ')" "table bridge banger-b table inet banger-b table inet mine"
}

@test "a TAP is its owner's alone to open" {
	net raise
	net tap 2 12345
	run -1 in_space host "$TOOLS/tap_guest" bgr-2 "/proc/${SPACES[g2]}/ns/net" 12346
	equal "$output" "bgr-2: Operation not permitted"
	start guest host "$TOOLS/tap_guest" bgr-2 "/proc/${SPACES[g2]}/ns/net" 12345
	# One that waits lets nothing pass, whoever has it open.
	in_space g2 ip link set eth0 address $MAC2
	in_space g2 ip addr add $IP2/24 dev eth0
	in_space g2 ip link set eth0 up
	fails in_space host ping -q -c 1 -W 1 $IP2 >/dev/null
	net join 2:$ID2
	in_space host ping -q -c 1 -W 2 $IP2 >/dev/null
}
