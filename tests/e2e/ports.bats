#!/usr/bin/env bats
# vm ports and vm ping against what really listens in a guest.
# shellcheck disable=SC2154,SC2016 # bats sets status, output, stderr, lines; expressions for other shells

load helper

setup_file() {
	share_home
	banger --quiet vm run --name box -d >/dev/null
}

teardown_file() {
	end_shared_home
}

setup() {
	watch_census
}

teardown() {
	compare_census
}

# A server in the guest, in Perl, which the image has; it ends with the VM.
serve() {
	printf '%s\n' 'use strict; use Socket qw(:all);' "$2" >"$BATS_TEST_TMPDIR/$1"
	banger vm cp "$BATS_TEST_TMPDIR/$1" "box:/srv/$1"
	in_vm box sh -c 'setsid perl "/srv/$1" </dev/null >/dev/null 2>&1 &' serve "$1"
}

SOCKET='sub listener { my ($family, $address, $type) = @_; socket(my $s, $family, $type, 0) or die;
	setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1); setsockopt($s, IPPROTO_IPV6, IPV6_V6ONLY, 1) if $family == AF_INET6;
	bind($s, $address) or die; listen($s, 5) if $type == SOCK_STREAM; return $s }
sub any4 { return pack_sockaddr_in($_[0], INADDR_ANY) }
sub any6 { return pack_sockaddr_in6($_[0], inet_pton(AF_INET6, "::")) }
sub answer { my ($s, $greets, $text) = @_; while (accept(my $c, $s)) { sysread($c, my $asked, 4096) unless $greets;
	syswrite($c, $text) if $greets || $asked =~ /^[A-Z]+ /; close $c } }
'

has_ports() {
	[ "$(in_vm box sh -c 'cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp | grep -Ec " 0A | 07 "')" -ge "$1" ]
}

@test "ports: each listener once, with what it speaks; a hostile name stays harmless" {
	run_for 0 banger vm ports box
	equal "$output" 'PROTO  ENDPOINT  PROCESS  COMMAND'
	run_for 0 banger --json vm ports box
	equal "$output" '{"ports":[]}'

	serve web "$SOCKET"'my $six = listener(AF_INET6, any6(8080), SOCK_STREAM); my $four = listener(AF_INET, any4(8080), SOCK_STREAM);
		answer($four, 0, "HTTP/1.0 200 OK\r\n\r\nhello");'
	serve banner "$SOCKET"'answer(listener(AF_INET, any4(2222), SOCK_STREAM), 1, "SSH-2.0-none\r\n");'
	serve silent "$SOCKET"'my $s = listener(AF_INET, pack_sockaddr_in(7000, INADDR_LOOPBACK), SOCK_STREAM); sleep 10000;'
	serve datagrams "$SOCKET"'$0 = "evil\033]52;c;AAAA\007"; my $s = listener(AF_INET, any4(5353), SOCK_DGRAM); sleep 10000;'
	# The image has no TLS server: the host's, with its libraries.
	in_vm box mkdir /srv/tls
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=box -keyout "$BATS_TEST_TMPDIR/key" \
		-out "$BATS_TEST_TMPDIR/cert" 2>/dev/null
	for file in /usr/bin/openssl $(ldd /usr/bin/openssl | awk '/lib(ssl|crypto)/ { print $3 }') "$BATS_TEST_TMPDIR"/{key,cert}; do
		banger vm cp "$file" box:/srv/tls/
	done
	in_vm box sh -c 'cd /srv/tls; LD_LIBRARY_PATH=. setsid ./openssl s_server -accept 127.0.0.1:8443 -cert cert -key key -www </dev/null >/dev/null 2>&1 &'
	wait_until 20 has_ports 6

	run_for 0 banger --json vm ports box
	equal "$(jq -c '[.ports[] | [.protocol, .endpoint, .process]] | sort' <<<"$output")" \
		'[["http","*:8080","perl"],["https","127.0.0.1:8443","openssl"],["tcp","0.0.0.0:2222","perl"],["tcp","127.0.0.1:7000","perl"],["udp","0.0.0.0:5353","evil\\x1b]52;c;AAAA"]]'
	equal "$(jq -c '.ports[] | select(.port == 8080) | [.transport, .addresses, .command]' <<<"$output")" \
		'["tcp",["0.0.0.0","::"],"perl /srv/web"]'
	run_for 0 banger vm ports box
	matches "$output" 'http +\*:8080 +perl +perl /srv/web'
	matches "$output" 'https +127.0.0.1:8443 +openssl +./openssl s_server -accept 127.0.0.1:8443'
	lacks "$output" $'\033'
	lacks "$output" $'\007'
}

@test "ping: round trips, their least, mean and most; a VM that does not run" {
	run_for 0 banger vm ping box -c 3 -i 50ms
	equal "${#lines[@]}" 5
	matches "${lines[0]}" '^box: seq=1 time=[0-9]+\.[0-9]{3} ms$'
	matches "${lines[2]}" '^box: seq=3 time=[0-9]+\.[0-9]{3} ms$'
	equal "${lines[3]}" '--- box: 3 sent, 3 answered, 0% lost'
	matches "${lines[4]}" '^round trip min/avg/max = [0-9.]+/[0-9.]+/[0-9.]+ ms$'
	run_for 0 banger --json vm ping box -c 2 -i 0
	equal "$(jq -c '[.sent, .answered, (.round_trips_us | length), (.min_us <= .avg_us and .avg_us <= .max_us)]' <<<"$output")" '[2,2,2,true]'
	start ping "$BANGER" vm ping box -c 0 -i 100ms
	wait_until 20 file_has "$BATS_TEST_TMPDIR/ping.out" 'seq=3'
	kill -INT "$started"
	wait_for_status "$started" 0
	file_has "$BATS_TEST_TMPDIR/ping.out" '^round trip min'

	kill -STOP "$(pgrep qemu-system)"
	run_for 1 banger vm ping box -c 2 -i 0 -W 200ms
	kill -CONT "$(pgrep qemu-system)"
	equal "${lines[0]}" 'box: seq=1 no answer in time'
	equal "${lines[2]}" '--- box: 2 sent, 0 answered, 100% lost'
	run_for 1 banger vm ping nobody
	equal "$stderr" "banger: there is no VM 'nobody'"
	banger --quiet vm create --no-start --name off >/dev/null
	run_for 1 banger vm ping off
	contains "$stderr" "cannot ping 'off': it was never started"
	run_for 1 banger vm ports off
	contains "$stderr" "cannot list the ports of 'off': it was never started"
	banger --quiet vm delete off >/dev/null
}
