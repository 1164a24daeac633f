#!/usr/bin/env bats
# Sessions as a user at a terminal has them: expect types and reads, and tmux is a terminal emulator.
# shellcheck disable=SC2154,SC2016 # bats sets status, output, stderr, lines; many expressions are for expect or a guest

load helper
load terminal

setup_file() {
	export TERM=xterm
	unset NO_COLOR
	share_home
	banger --quiet vm run --name box -d
}

teardown_file() {
	end_shared_home
}

setup() {
	watch_census
}

teardown() {
	local status=0
	delete_vms_but box || status=1
	compare_census || status=1
	return "$status"
}

@test "run: a shell, the window's size, Ctrl-C, the shell's status, the terminal as before, and a reminder" {
	play <<-'EXPECT'
		type "$banger vm run --name fresh"
		see {spec: 1 vcpu}
		see {root@fresh:~# $}
		type {stty size; tty; echo $TERM; hostname}
		see {30 100\r\n/dev/pts/\d+\r\nxterm\r\nfresh\r\n}
		resize 50 132
		type {until [ "$(stty size)" = "50 132" ]; do sleep 0.1; done; echo re''sized}
		see {resized}
		type {sh -c 'echo re''ady; exec sleep 1000'}
		see {ready\r\n}
		send \003
		see {\^C.*# $}
		type {echo "was $?"}
		see {was 130}
		type {exit 5}
		see {'fresh' still runs: 'banger vm shell fresh' returns to it}
		see {host> $}
		type {echo "status $?"}
		see {status 5\r\n.*host> $}
	EXPECT
	equal "$(state_of fresh)" running
}

@test "run --rm: the VM goes with the shell" {
	play <<-'EXPECT'
		type "$banger --quiet vm run --rm --name fresh"
		see {root@fresh:~# $}
		send \004
		see {host> $}
		type {echo "status $?"}
		see {status 0\r\n.*host> $}
	EXPECT
	equal "$(banger --json ps | jq -c '[.vms[].name]')" '["box"]'
}

@test "shell: job control, line editing, end of file, any bytes" {
	play <<-'EXPECT'
		type "$banger vm shell --env GREETING=hello --guest-path /srv box"
		see {root@box:/srv# $}
		type {echo "$GREETING-$0-$HOME"}
		see {hello--?(/bin/)?bash-/root\r\n}
		type {sh -c 'echo re''ady; exec sleep 1000'}
		see {ready\r\n}
		send \032
		see {Stopped.*# $}
		type {kill %1; wait %1; echo "ended $?"}
		see {ended 143\r\n.*# $}
		send "echo wrong"
		send \025
		type {echo 'Grüße ✓' | wc -m}
		see {8\r\n.*# $}
		type {sh -c 'echo re''ady; exec cat >/dev/null'; echo "cat: $?"}
		see {ready\r\n}
		send \004
		see {cat: 0\r\n.*# $}
		type {bash -c 'exit 44'}
		see {exit 44'\r\n.*# $}
		send \004
		see {host> $}
		type {echo "status $?"}
		see {status 44\r\n.*host> $}
	EXPECT
}

@test "exec --tty: the terminal is the command's, and given back when it ends by a signal" {
	play <<-'EXPECT'
		type "$banger vm exec --tty box -- sh -c 'stty size; stty raw -echo; echo ready; kill -9 \$\$'"
		see {30 100\r\nready}
		see {host> $}
		type {echo "status $?"}
		see {status 137\r\n.*host> $}
		type "$banger vm exec --tty box -- sh -c 'trap \"echo caught; exit 3\" INT; echo ready; while :; do sleep 0.1; done'"
		see {ready\r\n}
		send \003
		see {caught}
		see {host> $}
		type {echo "status $?"}
		see {status 3\r\n.*host> $}
	EXPECT
}

@test "a session that is ended from outside leaves the terminal as it was" {
	play <<-'EXPECT'
		type "$banger vm shell box"
		see {root@box:~# $}
		exec pkill -TERM -f "vm shell box"
		see {a signal ended the session in 'box'}
		see {host> $}
		type {echo "status $?"}
		see {status 143\r\n.*host> $}
	EXPECT
}

@test "a VM that ends under its session" {
	banger --quiet vm run --name fresh -d
	play <<-'EXPECT'
		type "$banger vm shell fresh"
		see {root@fresh:~# $}
		exec $banger vm kill fresh
		see {lost the session in 'fresh': }
		see {host> $}
		type {echo "status $?"}
		see {status 1\r\n.*host> $}
	EXPECT
}

@test "without a terminal the shell reads its commands from standard input" {
	run_for 3 banger vm shell box <<<$'echo in-shell; tty\nexit 3'
	equal "$output" $'in-shell\nnot a tty'
	run_for 0 banger vm shell box </dev/null
	equal "$output$stderr" ''
}

@test "in a terminal emulator: a session, its resize, a full screen" {
	local tmux=(tmux -L banger-e2e -f /dev/null)

	export TMUX_TMPDIR=$BATS_TEST_TMPDIR
	"${tmux[@]}" new-session -d -x 100 -y 30 "$BANGER vm shell box" 3>&-
	pane_has() { "${tmux[@]}" capture-pane -p | grep -q -- "$1"; }
	wait_until 30 pane_has '^root@box:~# *$'
	"${tmux[@]}" resize-window -x 77 -y 22
	# The last line is tmux's own.
	"${tmux[@]}" send-keys 'until [ "$(stty size)" = "21 77" ] || [ "$(stty size)" = "22 77" ]; do sleep 0.1; done; echo "re"sized' Enter
	wait_until 20 pane_has '^resized'
	"${tmux[@]}" send-keys "printf '\\033[2J\\033[5;10Hmiddle\\n'" Enter
	wait_until 20 pane_has '^         middle'
	"${tmux[@]}" send-keys 'exit' Enter
	wait_until 20 tmux_is_gone
}

tmux_is_gone() {
	! tmux -L banger-e2e list-sessions 2>/dev/null
}

@test "a table has colours on a terminal, none with NO_COLOR and none in a pipe" {
	play <<-'EXPECT'
		type "$banger ps"
		see {box +\x1b\[32mrunning\x1b\[0m}
		see {host> $}
		type "NO_COLOR=1 $banger ps; TERM=dumb $banger ps"
		see {box +running .*box +running .*host> $}
		type "$banger vm show nobody"
		see {\x1b\[31mbanger:\x1b\[0m there is no VM 'nobody'}
		see {host> $}
	EXPECT
	run_for 0 banger ps
	lacks "$output" $'\033'
	run_for 0 banger vm show box
	lacks "$output" $'\033'
}

@test "prune asks: yes, no, nothing, Ctrl-C" {
	banger --quiet vm create --no-start --name idle >/dev/null
	play <<-'EXPECT'
		foreach answer {n "" maybe Y} {
			type "$banger vm prune; echo \"status \$?\""
			see {delete 1 VM with their disks: idle\? \[y/N\] $}
			type $answer
			see {status 0\r\n.*host> $}
		}
		type "$banger vm prune"
		see {\[y/N\] $}
		send \003
		see {host> $}
		type {echo "status $?"}
		see {status 130\r\n.*host> $}
		type "$banger vm list"
		see {idle +.*created.*host> $}
		type "$banger vm prune; echo \"status \$?\""
		see {\[y/N\] $}
		type y
		see {idle: deleted\r\nstatus 0\r\n.*host> $}
	EXPECT
	equal "$(banger --json ps | jq -c '[.vms[].name]')" '["box"]'
}

@test "the shell is the one that the guest's passwd names, as a login shell" {
	run_for 0 banger vm shell box <<<'echo "$0"; shopt login_shell'
	equal "$output" $'-bash\nlogin_shell    \ton'
	in_vm box sed -i '1s|/bin/bash$|/bin/sh|' /etc/passwd
	run_for 0 banger vm shell box <<<'echo "$0"'
	equal "$output" -sh
	in_vm box sed -i '1s|/bin/sh$|/no/such/shell|' /etc/passwd
	run_for 1 banger vm shell box
	contains "$stderr" "cannot open a shell in 'box': exec '/no/such/shell': "
	in_vm box sed -i '1s|/no/such/shell$|/bin/bash|' /etc/passwd
}
