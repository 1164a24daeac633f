#!/usr/bin/env bats
# The .vm server on sockets, against dig and against peers that do as they like. On loopback.

setup_file() {
	export TOOL=$BANGER_BUILD/tests/integration/dns_tool
	cd "$BATS_FILE_TMPDIR" || return
	mkfifo orders
	"$TOOL" 127.0.0.1:0 '[::1]:0' <orders >answers 3>&- &
	echo $! >pid
	sleep infinity >orders 3>&- &
	echo $! >holder
	wait_lines 2
	PORT=$(sed -n 's/^127.0.0.1:0 //p' answers)
	PORT6=$(sed -n 's/^\[::1\]:0 //p' answers)
	export PORT PORT6
	order box 172.16.0.2
	order asleep -
}

teardown_file() {
	kill "$(<"$BATS_FILE_TMPDIR/holder")" "$(<"$BATS_FILE_TMPDIR/pid")"
}

setup() {
	cd "$BATS_FILE_TMPDIR" || return
}

wait_lines() { # COUNT
	local _
	for _ in {1..100}; do
		[ "$(wc -l <answers)" -ge "$1" ] && return 0
		sleep 0.1
	done
	echo "only $(<answers)"
	return 1
}

order() { # NAME ADDRESS|-|gone
	local lines
	lines=$(wc -l <answers)
	echo "$1 $2" >orders
	wait_lines $((lines + 1))
}

ask() { # DIG'S ARGUMENTS
	dig +tries=1 +time=5 -p "$PORT" @127.0.0.1 "$@"
}

peer() { # WHAT: dns_client.py's
	python3 "$BATS_TEST_DIRNAME/dns_client.py" "$PORT" "$1"
}

status_of() {
	ask "$@" | sed -n 's/.*status: \([A-Z]*\).*/\1/p'
}

@test "dig gets the address, over UDP and TCP, IPv4 and IPv6, with and without EDNS" {
	[ "$(ask +short box.vm)" = 172.16.0.2 ]
	[ "$(ask +short +tcp box.vm)" = 172.16.0.2 ]
	[ "$(ask +short +noedns BOX.VM)" = 172.16.0.2 ]
	[ "$(dig +short +tries=1 -p "$PORT6" @::1 box.vm)" = 172.16.0.2 ]
	[ "$(dig +short +tcp +tries=1 -p "$PORT6" @::1 box.vm)" = 172.16.0.2 ]
	ask box.vm | grep -qE '^box\.vm\.\s+1\s+IN\s+A\s+172\.16\.0\.2$'
	ask box.vm | grep -q 'flags: qr aa rd;'
	ask +qr +dnssec +bufsize=65535 box.vm | grep -q 'EDNS: version: 0, flags:; udp: 1232'
}

@test "dig gets NODATA, NXDOMAIN, REFUSED, BADVERS, NOTIMP" {
	[ "$(status_of asleep.vm)" = NOERROR ]
	ask asleep.vm | grep -qE '^vm\.\s+1\s+IN\s+SOA\s+localhost\. nobody\.invalid\. [0-9]+ 3600 600 86400 1$'
	[ "$(status_of box.vm AAAA)" = NOERROR ]
	[ -z "$(ask +short box.vm AAAA)" ]
	[ "$(status_of nothing.vm)" = NXDOMAIN ]
	[ "$(status_of a.box.vm)" = NXDOMAIN ]
	[ "$(status_of example.com)" = REFUSED ]
	[ "$(status_of version.bind CH TXT)" = REFUSED ]
	ask +tcp vm AXFR | grep -q 'Transfer failed'
	[ "$(status_of +edns=1 +noednsneg box.vm)" = BADVERS ]
	[ "$(status_of +opcode=NOTIFY box.vm)" = NOTIMP ]
	[ "$(ask +short vm NS)" = localhost. ]
}

@test "a name follows at once" {
	order late 172.16.0.9
	[ "$(ask +short late.vm)" = 172.16.0.9 ]
	order late 172.16.0.10
	[ "$(ask +short late.vm)" = 172.16.0.10 ]
	order late -
	[ "$(status_of late.vm)" = NOERROR ]
	[ -z "$(ask +short late.vm)" ]
	order late gone
	[ "$(status_of late.vm)" = NXDOMAIN ]
}

@test "what is no query gets no answer" {
	[ "$(peer silent | sort -u)" = True ]
	[ "$(peer from_port_0)" = 0 ]
}

@test "TCP: pieces, a thousand at once, bad lengths" {
	[ "$(peer byte_by_byte)" = 0 ]
	[ "$(peer pipelined)" = "True 0" ]
	run peer bad_lengths
	[ "$output" = $'0 0\n1 0\n11 0\n1233 0\n65535 0' ]
}

@test "TCP: who is idle, slow or does not read is in nobody's way" {
	[ "$(peer idle)" = True ]
	[ "$(peer one_byte_a_second)" = True ]
	[ "$(peer never_reads)" = "True 0" ]
	[ "$(peer crowd)" = 40 ]
}

@test "a flood leaves it answering" {
	[ "$(peer flood)" = "0 0" ]
}

@test "an address that is taken is named" {
	run "$TOOL" "127.0.0.1:$PORT" </dev/null
	[ "$status" -eq 1 ]
	[ "$output" = "answer DNS on 127.0.0.1:$PORT: Address already in use" ]
	for address in x 127.0.0.1 127.0.0.1: 127.0.0.1:65536 '[::1:53' '[127.0.0.1]:53' 1.2.3:53; do
		run "$TOOL" "$address" </dev/null
		[ "$output" = "'$address' is not an ADDRESS:PORT" ]
	done
}

# The VMs' bridge may come later, go, and come again. Nothing of it reaches the machine's own network.
@test "an address that no interface has yet is answered when one has it" {
	# shellcheck disable=SC2016 # it is for the inner shell
	run unshare --map-root-user --net bash -eu -c '
		ip link set lo up
		coproc TOOL { "$TOOL" 172.16.0.1:0; }
		read -r _ port <&"${TOOL[0]}"
		echo "box 172.16.0.2" >&"${TOOL[1]}"
		read -r _ <&"${TOOL[0]}"
		for _ in 1 2; do
			dig +tries=1 +time=1 -p "$port" @172.16.0.1 box.vm >/dev/null && exit 1
			ip link add br-fc type bridge
			ip addr add 172.16.0.1/24 dev br-fc
			ip link set br-fc up
			dig +short +tries=1 +time=5 -p "$port" @172.16.0.1 box.vm
			dig +short +tcp +tries=1 +time=5 -p "$port" @172.16.0.1 box.vm
			ip link del br-fc
		done'
	[ "$output" = $'172.16.0.2\n172.16.0.2\n172.16.0.2\n172.16.0.2' ]
	[ "$status" -eq 0 ]
}
