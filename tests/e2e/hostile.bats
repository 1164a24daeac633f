#!/usr/bin/env bats
# Guests that answer wrongly, or not at all, or without end: every verb that asks a guest fails in time and in one line,
# nothing of it reaches a terminal unescaped, and neither VM nor daemon is the worse for it (FAULTS GA1 to GA6).
# shellcheck disable=SC2154,SC2016 # bats sets status, output, stderr, lines; expressions for other shells

load helper

setup_file() {
	share_home
	banger --quiet daemon stop --force
	sed -i '1i stats_poll_interval = "1s"' "$BANGER_CONFIG_DIR/config.toml"
	banger --quiet vm run --name box -d -p 18090:80 >/dev/null
}

teardown_file() {
	end_shared_home
}

setup() {
	watch_census
}

teardown() {
	stop_impostor || true
	compare_census
}

# Puts an agent of ours into the place of the guest's.
start_impostor() {
	SOCKET=$BANGER_RUNTIME_DIR/vm/$(vm_get box '.id[0:12]')/vsock.sock
	mv "$SOCKET" "$SOCKET.real"
	echo close >"$BATS_TEST_TMPDIR/mode"
	start impostor "$BATS_TEST_DIRNAME/hostile_agent.py" "$SOCKET" "$BATS_TEST_TMPDIR/mode"
	IMPOSTOR_PID=$started
	wait_until 20 file_has "$BATS_TEST_TMPDIR/impostor.out" ready
}

stop_impostor() {
	[ -n "${IMPOSTOR_PID:-}" ] || return 0
	kill "$IMPOSTOR_PID"
	wait "$IMPOSTOR_PID" 2>/dev/null || true
	mv "$SOCKET.real" "$SOCKET"
	IMPOSTOR_PID=
}

# The verbs that ask a guest, each with the exit status that it has when the guest does not answer properly.
VERBS=(
	'ports 1 vm ports box'
	'ports-json 1 --json vm ports box'
	'ping 1 vm ping box -c 1'
	'ping-json 1 --json vm ping box -c 1'
	'health 1 vm health box'
	'health-json 1 --json vm health box'
	'stats 0 vm stats box'
	'stats-json 0 --json vm stats box'
	'exec 1 vm exec box -- true'
	'shell 1 vm shell box'
	'get 1 vm cp box:/etc/hostname HERE/got'
	'get-tar 1 vm cp box:/etc -'
	'put 1 vm cp HERE/file box:/root/file'
	'put-tar 1 vm cp - box:/root'
	'ssh 255 vm ssh box -- true'
	'list 0 ps'
	'show-json 0 --json vm show box'
)

AGREES=(ping=0 ping-json=0)

# Runs one and notes how it ends: run_verb FOLDER NAME STATUS ARGUMENT...
run_verb() {
	local folder=$1 name=$2 status=0
	shift 3
	timeout 60 "$BANGER" "${@/HERE/$folder}" >"$folder/$name.out" 2>"$folder/$name.err" </dev/null || status=$?
	echo "$status" >"$folder/$name.status"
}

# Whether somebody who connects to the published port is sent away in time.
run_published() {
	local status=0
	timeout 60 python3 -c 'import socket
with socket.create_connection(("127.0.0.1", 18090), 50) as stream:
    stream.sendall(b"hello")
    while stream.recv(65536): pass' 2>/dev/null || status=$?
	echo "$status" >"$1/published.status"
}

# What a terminal may get of a guest: UTF-8, and of control characters only newlines. ssh ends its own lines with CR LF.
assert_harmless() {
	python3 -c 'import sys, unicodedata
for path in sys.argv[1:]:
    text = open(path, "rb").read().decode().replace("\r\n", "\n")
    bad = sorted({c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")})
    if bad: sys.exit(f"{path} has {bad}")' "$@"
}

# All verbs at once against one kind of wrong answer. $1: the kind; then verbs that may end otherwise, as NAME=STATUS.
round() {
	local folder=$BATS_TEST_TMPDIR/$1 verb pids=() name wanted daemon
	echo "$1" >"$BATS_TEST_TMPDIR/mode"
	daemon=$(daemon_pid)
	mkdir "$folder"
	echo x >"$folder/file"
	for verb in "${VERBS[@]}"; do
		# shellcheck disable=SC2086 # words
		run_verb "$folder" $verb 3>&- &
		pids+=($!)
	done
	run_published "$folder" 3>&- &
	pids+=($!)
	wait "${pids[@]}"
	for verb in "${VERBS[@]}" 'published 0'; do
		read -r name wanted _ <<<"$verb"
		[[ ! " ${*:2} " =~ \ $name=([0-9]+)\  ]] || wanted=${BASH_REMATCH[1]}
		# A connection that is reset, or one that is closed without a byte: which of them is the guest's to say.
		[ "$name" != published ] || [ "$(<"$folder/$name.status")" -gt 1 ] || continue
		equal "$1: $name: status $(<"$folder/$name.status"): $(<"$folder/$name.err")" "$1: $name: status $wanted: $(<"$folder/$name.err")"
		# Ping and health say it as their answer; a command's own status needs no words.
		[ "$wanted" != 1 ] || [ -n "$(<"$folder/$name.out")" ] || matches "$(<"$folder/$name.err")" '^banger: |^[{]"error":'
		[[ $name != *-json || ! -s $folder/$name.out ]] || jq -e . <"$folder/$name.out" >/dev/null
	done
	rm "$folder/get-tar.out"
	assert_harmless "$folder"/*.{out,err}
	[ ! -e "$folder/got" ]
	equal "$1: $(daemon_pid)" "$1: $daemon"
}

resident_kib() {
	sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$1/status"
}

# The address sanitizer keeps what was freed, so that memory is compared only where there is none.
resident_below() {
	grep -q libasan "/proc/$1/maps" || [ "$(resident_kib "$1")" -lt "$2" ]
}

@test "wrong answers: each verb fails in one line, and nobody is harmed" {
	local before kind
	start_impostor
	before=$(resident_kib "$(daemon_pid)")
	for kind in close minus nothing zeros connect-flood binary deep nan not-utf8 endless; do
		round $kind
	done
	# Whoever says "ok" to a ping has answered it. To ssh it is a server that speaks nonsense.
	for kind in two early negative wrong-frame long-frame error-frame; do
		round $kind "${AGREES[@]}"
	done
	# A command that has begun may end as it likes, within what there is.
	for kind in exit-256=255 signal-99=192; do
		round ${kind%=*} "${AGREES[@]}" exec=${kind#*=} shell=${kind#*=}
		equal "$(<"$BATS_TEST_TMPDIR/${kind%=*}/exec.err")" \
			"warning: the agent in 'box' gave an impossible exit status: taken for ${kind#*=}"
	done
	round after-exit "${AGREES[@]}" exec=3 shell=3
	equal "$(<"$BATS_TEST_TMPDIR/after-exit/exec.out")" ''
	resident_below "$(daemon_pid)" $((before + 32768))
	stop_impostor
	equal "$(in_vm box echo alive)" alive
}

@test "no answer, half of one, one byte at a time: given up in time, and nobody else waits" {
	local running
	banger --quiet vm run --name calm -d >/dev/null
	start_impostor
	round quiet 3>&- &
	running=$!
	wait_until 20 test -d "$BATS_TEST_TMPDIR/quiet"
	while ! process_is_gone "$running"; do
		equal "$(timeout 30 "$BANGER" --quiet vm exec calm -- echo alive)" alive
		timeout 20 "$BANGER" ps >/dev/null
	done
	wait_for_status "$running" 0
	banger --quiet vm delete calm >/dev/null
	# A guest that does not even answer this is stopped all the same.
	banger --quiet vm stop -t 1s box >/dev/null
	equal "$(state_of box)" stopped
	kill "$IMPOSTOR_PID"
	wait "$IMPOSTOR_PID" || true
	IMPOSTOR_PID=
	banger --quiet vm start box >/dev/null
	equal "$(in_vm box echo alive)" alive
	watch_census
}

@test "what a guest calls itself and its ports is escaped and cut; an endless command is left with Ctrl-C" {
	start_impostor
	round texts health=0 health-json=0 ports=0 ports-json=0 exec=127
	cd "$BATS_TEST_TMPDIR/texts"
	for name in health ports exec; do
		grep -qF '\x1b]52;c;eA==\x07\x1b]8;;http://x\x1b\\x0d\u{202e}\u{009b}2J</script>' $name.out $name.err
	done
	[ "$(cat health.out ports.out health-json.out ports-json.out | wc -c)" -lt 5000 ]
	jq -e '.ports[0].command | contains("x1b]52;")' <ports-json.out >/dev/null
	cd /

	echo output >"$BATS_TEST_TMPDIR/mode"
	set -m
	env --default-signal=INT "$BANGER" vm exec box -- yes >/dev/null 2>"$BATS_TEST_TMPDIR/endless.err" </dev/null 3>&- &
	set +m
	started=$!
	wait_until 20 has_written_much "$started"
	resident_below "$started" 65536
	kill -INT "$started"
	wait_until 20 nothing_is_pending "$started" # or the second would be the same
	kill -INT "$started"
	wait_for_status "$started" 130
}

has_written_much() {
	[ "$(sed -n 's/^wchar: //p' "/proc/$1/io")" -gt 20000000 ]
}

nothing_is_pending() {
	grep -q '^ShdPnd:[[:space:]]*0*$' "/proc/$1/status"
}

# Root in a guest takes the agent's channel from it: dials every kind of port, then sends without end and reads nothing.
ATTACK='use strict;
my ($agent, $number);
for my $entry (glob "/proc/[0-9]*/fd/*") {
	(readlink($entry) // "") =~ m{^/dev/vport} or next;
	($agent, $number) = $entry =~ m{/proc/(\d+)/fd/(\d+)};
}
kill STOP => $agent;
my $fd = syscall(438, syscall(434, $agent, 0), $number + 0, 0); # pidfd_getfd(pidfd_open())
open(my $port, "+<&=", $fd) or die "$!";
my $input = "";
sub put { my $bytes = shift; while (length $bytes) { my $n = syswrite $port, $bytes; if ($n) { substr($bytes, 0, $n) = "" } else { get(1) } } }
sub get { my $ready = ""; vec($ready, $fd, 1) = 1; select($ready, undef, undef, shift) or return; sysread $port, $input, 65536, length $input }
sub frame { my ($type, $id, $payload) = @_; return pack("CCnNN", 1, $type, 0, $id, length $payload) . $payload }
my $own = "attacker";
put("\0" x 32781 . frame(1, 0, "BNGRMUX\n$own" . "\0" x 8));
my $peer;
until (defined $peer) { get(5); $peer = $1 if $input =~ /BNGRMUX\n(.{8})$own/s }
put(frame(1, 0, "BNGRMUX\n$own$peer"));
$input = "";
my ($id, $refused) = (2, 0);
for my $round (1 .. 20) {
	for (1 .. 200) { put(frame(2, $id, pack("NN", ($id * 2654435761) % 4294967296, 1 << 20))); $id += 2 }
	my $deadline = time + 10;
	while ($refused < $round * 200 && time < $deadline) {
		get(1);
		$refused++ while $input =~ s/\x01\x04\0\0....\0\0\0\x04....//s;
	}
}
print "refused $refused\n";
my $end = time + 8;
vec(my $writable = "", $fd, 1) = 1;
my $sent = 0;
while (time < $end) { select(undef, my $w = $writable, undef, 1); $sent += syswrite($port, "\0" x 65536) // 0 }
print "sent ", $sent > 1000000 ? "much" : $sent, "\n";
close STDOUT;
kill CONT => $agent;
'

is_unreachable() {
	! banger vm ping box -c 1 -W 500ms >/dev/null 2>&1
}

@test "a guest's root that takes the agent's channel: every dial is refused, nobody else is slower, and it ends" {
	local vmm
	banger --quiet vm run --name calm -d >/dev/null
	vmm=$(vm_get box .pid)
	printf %s "$ATTACK" | in_vm box sh -c 'cat >/root/attack; setsid perl /root/attack >/root/result 2>&1 </dev/null &'
	wait_until 20 is_unreachable
	while is_unreachable; do
		run_for 0 timeout 60 "$BANGER" vm ping calm -c 3 -i 0 -W 15s
		contains "$output" '3 answered, 0% lost'
		resident_below "$vmm" 81920
	done
	wait_until 20 file_in_guest_has /root/result '^sent'
	equal "$(in_vm box cat /root/result)" $'refused 4000\nsent much'
	equal "$(vm_get box .pid) $(state_of box)" "$vmm running"
	[ "$(cat "$BANGER_STATE_DIR/vms/$(vm_get box .id)"/vmm.log* | wc -c)" -lt $((2 << 20)) ]
	banger --quiet vm delete calm >/dev/null
}

file_in_guest_has() {
	in_vm box grep -q "$2" "$1"
}
