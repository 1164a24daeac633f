#!/usr/bin/env bats
# Commands in a running guest: arguments, streams, status, signals, environment. All tests share one VM, in which the
# census counts too: no command may leave a process behind.
# shellcheck disable=SC2154,SC2016 # bats sets status, output, stderr, lines; many expressions are for the guest's shell

load helper

setup_file() {
	share_home
	banger --quiet vm run --name box -d
	clocks >"$BATS_FILE_TMPDIR/clocks"
}

teardown_file() {
	end_shared_home
}

# Seconds on the host's clock, on the guest's, and since the guest's boot.
clocks() {
	echo "$(date +%s.%N) $(in_vm box sh -c 'date +%s.%N; cut -d " " -f 1 /proc/uptime' | tr '\n' ' ')"
}

# The guest's processes that are not the kernel's, without those that this very question needs.
guest_processes() {
	in_vm box sh -c 'ps -e -o ppid=,comm= --sort pid | grep -Ev "^ *2 |kthreadd|ps$|grep$| sh$"'
}

guest_processes_are() {
	[ "$(guest_processes)" = "$1" ]
}

setup() {
	watch_census
	guest_processes >"$BATS_TEST_TMPDIR/guest-before"
}

teardown() {
	local before status=0
	before=$(<"$BATS_TEST_TMPDIR/guest-before")
	if ! wait_until 20 guest_processes_are "$before"; then
		diff -u "$BATS_TEST_TMPDIR/guest-before" <(guest_processes) >&2 || true
		status=1
	fi
	compare_census || status=1
	return "$status"
}

exec_box() {
	banger vm exec box -- "$@"
}

guest_has() {
	in_vm box pgrep -f -- "$1" >/dev/null
}

guest_lacks() {
	! guest_has "$1"
}

@test "the exit status is the command's" {
	local code
	for code in 0 1 2 7 126 127 128 255; do
		run_for "$code" exec_box sh -c "exit $code"
		equal "$output$stderr" ''
	done
	run_for 0 exec_box sh -c 'exit 256'
}

@test "a signal is 128 + n" {
	local signal
	for signal in 1 2 3 6 9 11 15 31; do
		run_for $((128 + signal)) exec_box sh -c "kill -$signal \$\$"
		equal "$output$stderr" ''
	done
}

@test "what cannot be executed: 127 when it is not there, 126 when it may not be" {
	run_for 127 exec_box no-such-command
	equal "$stderr" "banger: exec 'no-such-command': No such file or directory"
	run_for 127 exec_box /no/such/path
	run_for 126 exec_box /etc/passwd
	equal "$stderr" "banger: exec '/etc/passwd': Permission denied"
	run_for 126 exec_box /etc
	run_for 1 exec_box ''
	equal "$stderr" "banger: cannot run '' in 'box': no program is given"
}

@test "arguments arrive byte for byte" {
	local -a args=('' ' ' "a b" "'single'" '"double"' '`id`' '$(id)' '$HOME' \\ '\\n' '*' '-' '--' '--help' ';' '&' '|'
		$'new\nline' $'\ttab' $'\r' $'\x01\x1b[31m' $'\x80\xff\xfe not UTF-8' 'Grüße' '' '-e' '{}' '!')
	printf '%s\0' "${args[@]}" >"$BATS_TEST_TMPDIR/wanted"
	banger vm exec box -- printf '%s\0' "${args[@]}" >"$BATS_TEST_TMPDIR/got"
	cmp "$BATS_TEST_TMPDIR/wanted" "$BATS_TEST_TMPDIR/got"

	# Every byte but NUL, in one argument.
	python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(1, 256)))' >"$BATS_TEST_TMPDIR/wanted"
	banger vm exec box -- printf '%s' "$(<"$BATS_TEST_TMPDIR/wanted")" >"$BATS_TEST_TMPDIR/got"
	cmp "$BATS_TEST_TMPDIR/wanted" "$BATS_TEST_TMPDIR/got"
}

@test "1.9 MiB of arguments arrive; more than 2 MiB, or too many, is a clear error" {
	run_for 0 python3 "$BATS_TEST_DIRNAME/exec_many.py" "$BANGER" box 19 100000
	equal "$output" equal
	run_for 0 python3 "$BATS_TEST_DIRNAME/exec_many.py" "$BANGER" box 15000 100
	equal "$output" equal
	run_for 1 python3 "$BATS_TEST_DIRNAME/exec_many.py" "$BANGER" box 22 100000
	matches "$stderr" '^banger: .*2097152 bytes'
	run_for 1 python3 "$BATS_TEST_DIRNAME/exec_many.py" "$BANGER" box 17000 8
	matches "$stderr" '^banger: .*16384'
	run_for 0 exec_box echo well
}

@test "standard input reaches the command and ends where it ends" {
	run_for 0 exec_box wc -c < <(printf 12345)
	equal "$output" 5
	run_for 0 exec_box cat </dev/null
	equal "$output" ''
	# Closed by a shell of its own: here the descriptor would go to the pipe that takes the output.
	run_for 0 sh -c 'exec "$BANGER" vm exec box -- cat <&-'
	equal "$output" ''
	run_for 0 exec_box sh -c 'read -r line; echo "got $line"' <<<'one line'
	equal "$output" 'got one line'
	# The command's end is the end, whether standard input has one or not.
	run_for 0 exec_box true < <(sleep 1000 & echo $! >"$BATS_TEST_TMPDIR/sleep"; wait)
	kill "$(<"$BATS_TEST_TMPDIR/sleep")"
	run_for 0 exec_box head -n 1 < <(yes)
	equal "$output" y
}

@test "20 MiB go in and come out unchanged, both ways at once" {
	head -c 20971520 /dev/urandom >"$BATS_TEST_TMPDIR/bytes"
	# shellcheck disable=SC2094 # it is only read
	exec_box cat <"$BATS_TEST_TMPDIR/bytes" | cmp - "$BATS_TEST_TMPDIR/bytes"
	run_for 0 exec_box wc -c <"$BATS_TEST_TMPDIR/bytes"
	equal "$output" 20971520
	exec_box sh -c 'head -c 2097152 /dev/zero | tee /dev/stderr' >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err"
	head -c 2097152 /dev/zero | cmp - "$BATS_TEST_TMPDIR/out"
	cmp "$BATS_TEST_TMPDIR/out" "$BATS_TEST_TMPDIR/err"
}

@test "standard error is apart" {
	run_for 3 exec_box sh -c 'echo out; echo err >&2; exit 3'
	equal "$output" out
	equal "$stderr" err
}

@test "a reader that leaves ends an endless command" {
	local -a statuses
	exec_box yes | head -n 1 >"$BATS_TEST_TMPDIR/first" && statuses=("${PIPESTATUS[@]}")
	equal "$(<"$BATS_TEST_TMPDIR/first")" y
	equal "${statuses[*]}" '141 0'
	wait_until 20 guest_lacks '^yes'
	run_for 1 sh -c 'exec "$BANGER" vm exec box -- echo lost >&-'
	matches "$stderr" '^banger: .*write .*: Bad file descriptor'
}

@test "output that nobody reads waits, and holds nobody else up" {
	local client
	mkfifo "$BATS_TEST_TMPDIR/pipe"
	start flood sh -c 'exec "$BANGER" vm exec box -- cat /dev/zero >"$1"' sh "$BATS_TEST_TMPDIR/pipe"
	client=$started
	exec 7<"$BATS_TEST_TMPDIR/pipe"
	head -c 1048576 <&7 >/dev/null
	wait_until 20 is_blocked_in_write "$client"
	run_for 0 exec_box echo through
	equal "$output" through
	[ "$(awk '/VmRSS/ { print $2 }' "/proc/$client/status")" -lt $((96 << 10)) ]
	# Ctrl-C gets past the output that stands there, and a second one ends the client with it.
	kill -INT "$client"
	wait_until 20 guest_lacks '^cat /dev/zero'
	kill -INT "$client"
	wait_for_status "$client" 130
	exec 7<&-
}

# Whether a process sleeps because a pipe is full (it polls for that, or writes).
is_blocked_in_write() {
	local before after
	before=$(awk '/^wchar/ { print $2 }' "/proc/$1/io")
	sleep 0.3
	after=$(awk '/^wchar/ { print $2 }' "/proc/$1/io")
	[ "$before" = "$after" ]
}

@test "what a command left behind does not hold its end back" {
	run_for 3 exec_box sh -c '(trap "" HUP; sleep 60; echo late) & echo $! >/dev/shm/left; echo done; exit 3'
	equal "$output" 'done'
	in_vm box sh -c 'pkill -P "$(cat /dev/shm/left)"; kill "$(cat /dev/shm/left)" 2>/dev/null; rm /dev/shm/left'
}

@test "environment: the agent's own, and --env on top, byte for byte" {
	run_for 0 exec_box sh -c 'echo "$HOME $USER $LOGNAME $PWD"; id -u'
	equal "$output" $'/root root root /root\n0'
	run_for 0 banger vm exec --env A=1 -e 'B=two words' --env C= --env 'D=a=b' --env $'E=x\ny\xff' --env HOME=/srv box -- \
		sh -c 'printf "%s|" "$A" "$B" "${C-unset}" "$D" "$E" "$HOME"'
	equal "$output" $'1|two words||a=b|x\ny\xff|/srv|'
	run_for 0 banger vm exec --env A=first --env A=last box -- printenv A
	equal "$output" last
	# Nothing of ours goes along by itself.
	export BANGER_E2E_SECRET=s3cret
	run_for 0 exec_box env
	lacks "$output" s3cret
	for bad in A '=x' ''; do
		run_for 2 banger vm exec --env "$bad" box -- true
		matches "$stderr" '^banger: .*NAME=VALUE'
	done
}

@test "--guest-path: where the command runs" {
	run_for 0 banger vm exec --guest-path /usr/share box -- pwd
	equal "$output" /usr/share
	run_for 1 banger vm exec --guest-path /no/such box -- pwd
	contains "$stderr" "'/no/such': No such file or directory"
	run_for 1 banger vm exec --guest-path /etc/passwd box -- pwd
	contains "$stderr" "'/etc/passwd': Not a directory"
	run_for 2 banger vm exec --guest-path relative box -- pwd
}

@test "--tty: a terminal for the command, and none without" {
	run_for 1 exec_box tty </dev/null
	equal "$output" 'not a tty'
	run_for 0 banger vm exec --tty box -- tty </dev/null
	matches "$output" $'^/dev/pts/[0-9]+\r$'
	run_for 0 banger vm exec --tty box -- sh -c 'stty size; echo err >&2' </dev/null
	equal "$output" $'24 80\r\nerr\r'
	equal "$stderr" ''
	run_for 0 env TERM=xterm-test "$BANGER" vm exec --tty box -- printenv TERM </dev/null
	equal "$output" $'xterm-test\r'
	# The end of input is the end-of-file character there.
	run_for 0 banger vm exec --tty box -- sh -c 'stty -echo; cat' </dev/null
	# A flood ends with its reader.
	banger vm exec --tty box -- yes </dev/null | head -c 262144 | wc -c >"$BATS_TEST_TMPDIR/count" || true
	equal "$(<"$BATS_TEST_TMPDIR/count")" 262144
	wait_until 20 guest_lacks '^yes'
}

@test "the first Ctrl-C is the command's; the second ends the client" {
	start wait "$BANGER" vm exec box -- sleep 1001
	wait_until 20 guest_has '^sleep 1001'
	kill -INT "$started"
	wait_for_status "$started" 130
	guest_lacks '^sleep 1001'

	start trap "$BANGER" vm exec box -- sh -c 'trap "echo caught; exit 9" INT TERM; echo ready; sleep 1002 & wait'
	wait_until 20 file_has "$BATS_TEST_TMPDIR/trap.out" ready
	kill -INT "$started"
	wait_for_status "$started" 9
	equal "$(<"$BATS_TEST_TMPDIR/trap.out")" $'ready\ncaught'
	in_vm box pkill -f '^sleep 1002'

	start deaf "$BANGER" vm exec box -- sh -c 'trap "echo no" INT; echo ready; while :; do sleep 1; done'
	wait_until 20 file_has "$BATS_TEST_TMPDIR/deaf.out" ready
	kill -INT "$started"
	wait_until 20 file_has "$BATS_TEST_TMPDIR/deaf.out" no
	kill -INT "$started"
	wait_for_status "$started" 130
	# Nobody listens any more: the guest's end is hung up on, and then killed.
	wait_until 20 guest_lacks 'trap "echo no"'
}

@test "a client that is stopped and goes on has lost nothing; one that is killed takes its command along" {
	start slow "$BANGER" vm exec box -- sh -c 'for n in $(seq 1 2000); do echo "line $n"; done; sleep 1; echo end'
	wait_until 20 file_has "$BATS_TEST_TMPDIR/slow.out" 'line 1'
	kill -TSTP "$started"
	wait_until 20 grep -q '^State:.*stopped' "/proc/$started/status"
	kill -CONT "$started"
	wait_for_status "$started" 0
	equal "$(cat "$BATS_TEST_TMPDIR/slow.out")" "$(seq -f 'line %.0f' 1 2000; echo end)"

	start gone "$BANGER" vm exec box -- sleep 1003
	wait_until 20 guest_has '^sleep 1003'
	kill -KILL "$started"
	wait_for_status "$started" 137
	wait_until 20 guest_lacks '^sleep 1003'
}

@test "a command that kills everything in the guest: sessions end, its init stays, and the agent is back at once" {
	local guest signal
	guest=$(exec_box cat /proc/sys/kernel/random/boot_id)
	agent_is_back() { exec_box true 2>/dev/null; }
	for signal in TERM KILL; do
		start bystander "$BANGER" --quiet vm exec box -- sleep 1004
		wait_until 20 guest_has '^sleep 1004'
		run_for 1 exec_box sh -c "kill -$signal -1"
		contains "$stderr" "banger: lost the session in 'box'"
		wait_for_status "$started" 1
		contains "$(cat "$BATS_TEST_TMPDIR/bystander.err")" "banger: lost the session in 'box'"
		wait_until 20 agent_is_back
		guest_lacks '^sleep 1004'
	done
	equal "$(exec_box cat /proc/sys/kernel/random/boot_id)" "$guest"
	equal "$(state_of box) $(exec_box hostname)" 'running box'
	# The agent is another process now, and all else is as it was.
	equal "$(guest_processes | awk '{ print $2 }')" "$(awk '{ print $2 }' "$BATS_TEST_TMPDIR/guest-before")"
	guest_processes >"$BATS_TEST_TMPDIR/guest-before"
}

@test "eight clients at once do not mix" {
	local n
	local -a clients
	for n in 1 2 3 4 5 6 7 8; do
		start "c$n" "$BANGER" vm exec box -- sh -c "for i in \$(seq 1 500); do echo $n-\$i; done; exit $n"
		clients[n]=$started
	done
	for n in 1 2 3 4 5 6 7 8; do
		wait_for_status "${clients[n]}" "$n"
		equal "$(cat "$BATS_TEST_TMPDIR/c$n.out")" "$(seq -f "$n-%.0f" 1 500)"
	done
}

@test "wrong usage is told before anything is asked; an unknown VM is a failure" {
	run_for 2 banger vm exec box
	run_for 2 banger vm exec box true
	run_for 2 banger vm exec box --
	run_for 1 banger vm exec nobody -- true
	matches "$stderr" "^banger: there is no VM 'nobody'"
	run_for 1 banger --json vm exec nobody -- true
	equal "$(jq -r .error.kind <<<"$stderr")" not_found
}

@test "the guest's clock is right, and goes as fast as the host's" {
	# Both lines were read across a busy host: half a second is what asking may take.
	run_for 0 awk '{ host[NR] = $1; guest[NR] = $2; uptime[NR] = $3 }
		function far(a, b, most) { return a - b > most || b - a > most }
		END {
			elapsed = host[2] - host[1]
			printf "elapsed %.2f guest %.2f uptime %.2f behind %.2f\n", elapsed, guest[2] - guest[1],
				uptime[2] - uptime[1], host[2] - guest[2]
			exit far(elapsed, uptime[2] - uptime[1], elapsed / 100 + 0.5) || far(host[2], guest[2], 2)
		}' "$BATS_FILE_TMPDIR/clocks" <(clocks)
	[ "$(cut -d ' ' -f 2 <<<"$output" | cut -d . -f 1)" -ge 15 ]
	# However busy the host is: a guest that once mistrusted its counter goes slow for good.
	matches "$(in_vm box cat /sys/devices/system/clocksource/clocksource0/current_clocksource)" '^(tsc|kvm-clock)$'
}
