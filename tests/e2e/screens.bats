#!/usr/bin/env bats
# What a user sees on terminals of 80x24 and 200x50, in tmux: tables that fit, the live line, colours and their absence.
# shellcheck disable=SC2154,SC2016 # bats sets status and the like; expressions for another shell

load helper
load screen

LONG=a-machine-with-quite-a-long-name-for-a-test

setup() {
	begin_home "$BATS_TEST_TMPDIR"
	export PATH=$PROGRAMS:$PATH
	unset NO_COLOR
}

teardown() {
	[ -z "${SCREEN:-}" ] || close_screen
	end_home "$BATS_TEST_TMPDIR"
}

# A shell in a terminal of that size.
open_shell() {
	open_screen "$1" env TERM="${2:-screen-256color}" PS1='ready> ' bash --norc --noprofile
	see '^ready> $'
}

# Runs a line and waits for the prompt after it; the screen has nothing else then.
type_line() {
	type_keys "clear; $1" Enter
	see '^ready> $'
}

# Lines that went over the terminal's edge come out joined, and are longer than it is wide.
fits() {
	local widest
	widest=$(tmux -S "$SCREEN" capture-pane -pJ | sed 's/ *$//' | LC_ALL=C.UTF-8 wc -L)
	[ "$widest" -le "$1" ] || {
		echo "a line of $widest columns on a terminal of $1" >&2
		screen >&2
		return 1
	}
}

# Whether the screen has escape sequences of colours.
coloured() {
	tmux -S "$SCREEN" capture-pane -pe | grep -q $'\033\\[[0-9;]*3[1-7]m\|\033\\[2m'
}

@test "tables and reports fit 80x24, and use 200x50" {
	local words
	banger --quiet vm create --no-start --name $LONG >/dev/null
	banger --quiet vm create --no-start --name box >/dev/null
	open_shell 80x24
	# (Paths, as 'vm show' has them, are whole: they are there to be copied.)
	for words in ps 'image list' 'image catalog' 'kernel list -a' 'vm stats' 'daemon operations list' \
		'doctor --plan' 'vm run --help' 'help' 'vm --help' 'daemon status' 'vm create --name Box' \
		'vm workspace export box' 'vm run --image nosuch'; do
		type_line "banger $words"
		fits 80
	done
	type_line 'banger ps'
	see '^ID +NAME +STATE +IMAGE'
	see 'a-machine-with-.*…'
	see '^[0-9a-f]{12}  box '
	tmux -S "$SCREEN" resize-window -x 200 -y 50
	type_line 'banger ps'
	fits 200
	see "$LONG +created +$IMAGE .*now|ago"
	type_line 'banger doctor'
	fits 200
	see '^WARN +firecracker +firecracker is not installed|^PASS +firecracker'
	tmux -S "$SCREEN" resize-window -x 80 -y 50
	type_line 'banger doctor'
	fits 80
}

@test "a pipe gets everything, uncut and without colour" {
	banger --quiet vm create --no-start --name $LONG >/dev/null
	open_shell 80x24
	type_line "banger ps | cat >$BATS_TEST_TMPDIR/out"
	grep -q "$LONG" "$BATS_TEST_TMPDIR/out"
	run ! grep -q -e $'\033' -e '…' "$BATS_TEST_TMPDIR/out"
}

@test "the live line: stage and elapsed time while it works, nothing of it left afterwards" {
	open_shell 80x24
	type_keys 'clear; banger vm run --rm -- echo it is done' Enter
	see '^(vmm|boot|initramfs|disk)[^ ]*.* [0-9]+ s$'
	see '^it is done$'
	see '^ready> $'
	see '^spec: '
	# Only stages of more than a second have left a line, and each says how long it took.
	run bash -c "$(declare -f screen); SCREEN=$SCREEN; screen | grep -E '^[a-z]+: ' | grep -vE '^(spec|warning|note): |: done in [0-9]'"
	equal "$output" ''
}

@test "Ctrl-C while a VM is made: the live line goes, the words are said, nothing is left" {
	open_shell 80x24
	type_keys 'clear; banger vm run --rm; echo status $?' Enter
	see '^boot.* [0-9]+ s$'
	type_keys C-c
	see '^status 130$'
	see '^banger: cancelled'
	run ! screen_has '^boot.* [0-9]+ s$'
	wait_until 20 has_no_vms
}

@test "colours: on a terminal, and not with NO_COLOR, TERM=dumb, or --json" {
	banger --quiet vm create --no-start --name box >/dev/null
	open_shell 80x24
	type_line 'banger ps'
	see ' created '
	coloured
	type_line 'NO_COLOR=1 banger ps'
	see ' created '
	run ! coloured
	type_line 'NO_COLOR= banger ps'
	coloured
	type_line 'TERM=dumb banger ps'
	run ! coloured
	type_line 'env -u TERM banger ps'
	run ! coloured
	type_line 'banger --json ps'
	run ! coloured
	type_line 'banger vm show nobody'
	coloured
	type_line 'NO_COLOR=1 banger vm show nobody'
	see '^banger: there is no VM'
	run ! coloured
}
