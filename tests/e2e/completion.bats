#!/usr/bin/env bats
# Completion in the shells themselves: bash, zsh and fish, with names of a running daemon and without one.
# shellcheck disable=SC2154,SC2016 # bats sets status and the like; many expressions are for another shell

load helper
load screen

setup() {
	begin_home "$BATS_TEST_TMPDIR"
	# What users call is on PATH, and their shells have nothing of their own to say.
	export PATH=$PROGRAMS:$PATH HOME=$BATS_TEST_TMPDIR TERM=screen
	export XDG_CONFIG_HOME=$BATS_TEST_TMPDIR
	cd "$BATS_TEST_TMPDIR" || return
	touch a-file
	mkdir a-folder
}

teardown() {
	[ -z "${SCREEN:-}" ] || close_screen
	rm -rf /tmp/fish.root # fish's own
	end_home "$BATS_TEST_TMPDIR"
}

make_vms() {
	local name
	for name in "$@"; do
		banger --quiet vm create --no-start --name "$name" >/dev/null
	done
}

# A shell with the script loaded and a prompt that is seen.
open_shell() {
	case $1 in
	bash) open_screen 100x30 bash --norc --noprofile ;;
	zsh) open_screen 100x30 zsh -f ;;
	fish) open_screen 100x30 fish --no-config ;;
	esac
	case $1 in
	bash) type_keys 'PS1="ready> "; source <(banger completion bash)' Enter ;;
	zsh) type_keys 'PS1="ready> "; autoload -U compinit; compinit -u; source <(banger completion zsh)' Enter ;;
	fish) type_keys 'function fish_prompt; echo -n "ready> "; end; banger completion fish | source' Enter ;;
	esac
	type_keys 'clear' Enter
	see '^ready> $'
}

# complete_line TYPED REGEX: what the line or the screen becomes with a tab.
complete_line() {
	type_keys -l "$1"
	type_keys Tab
	see "$2"
	type_keys C-c
	see '^ready> $' # what is typed before that may be thrown away
	type_keys clear Enter
	wait_until 20 screen_is_clear
}

screen_is_clear() {
	[ "$(screen | grep -c .)" -eq 1 ]
}

check_shell() {
	make_vms alpha beta
	open_shell "$1"
	complete_line 'banger vm sto' '^ready> banger vm stop $'
	complete_line 'banger dae' '^ready> banger daemon $'
	complete_line 'banger vm stop al' '^ready> banger vm stop alpha $'
	complete_line 'banger vm stop alpha ' '^ready> banger vm stop alpha beta $'
	complete_line 'banger vm create --no-st' '^ready> banger vm create --no-start $'
	complete_line 'banger vm run --image debian-bookworm-sl' '^ready> banger vm run --image debian-bookworm-slim $'
	complete_line 'banger vm run --image=debian-bookworm-sl' '^ready> banger vm run --image=debian-bookworm-slim $'
	complete_line 'banger kernel show debian-cl' '^ready> banger kernel show debian-cloud $'
	complete_line 'banger vm kill --signal TE' '^ready> banger vm kill --signal TERM $'
	complete_line 'banger image cache pr' '^ready> banger image cache prune $'
	# No space after a VM whose path is to follow; the host's own files beside it.
	complete_line 'banger vm cp alp' '^ready> banger vm cp alpha:$'
	complete_line 'banger vm cp a-fi' '^ready> banger vm cp a-file $'
	complete_line 'banger kernel import x --from a-fo' '^ready> banger kernel import x --from a-folder/$'
	complete_line 'banger image register x --rootfs a-fi' '^ready> banger image register x --rootfs a-file $'
	# A checkout on the host, the folder beside it, and where an export goes.
	complete_line 'banger vm run ./a-fo' '^ready> banger vm run ./a-folder/$'
	complete_line 'banger vm workspace prepare alpha a-fo' '^ready> banger vm workspace prepare alpha a-folder/$'
	complete_line 'banger vm run . --mode fu' '^ready> banger vm run . --mode full_copy $'
	complete_line 'banger vm workspace export alpha -o a-fi' '^ready> banger vm workspace export alpha -o a-file $'
	complete_line 'banger help vm sto' '^ready> banger help vm stop $'
	# The daemon is gone: nothing is offered, nothing is said, and none is started.
	banger --quiet daemon stop
	type_keys -l 'banger vm stop al'
	type_keys Tab
	type_keys -l 'x'
	see '^ready> banger vm stop alx$'
	equal "$(screen | grep -c .)" 1
	run_for 1 banger daemon status
}

@test "bash" {
	check_shell bash
}

@test "zsh" {
	check_shell zsh
}

@test "fish" {
	check_shell fish
}

@test "bash: several candidates are listed, and names of files never break it" {
	make_vms alpha beta
	touch 'two words' '*'
	open_shell bash
	type_keys -l 'banger vm stop '
	type_keys Tab Tab
	see '^alpha +beta'
	type_keys C-c
	complete_line 'banger vm cp two' '^ready> banger vm cp two\\ words $'
}

@test "zsh and fish show what a verb or an option does" {
	make_vms alpha
	open_shell zsh
	type_keys -l 'banger vm pau'
	type_keys Tab
	see '^ready> banger vm pause $'
	type_keys C-c
	type_keys -l 'banger vm st'
	type_keys Tab Tab
	see '^start +start VMs'
	close_screen
	open_shell fish
	type_keys -l 'banger vm st'
	type_keys Tab Tab
	see 'start +\(start VMs\)'
}

@test "scripts of others may ask, too: words, and descriptions behind a tab" {
	make_vms alpha
	run_for 0 banger completion words -- vm stop ''
	equal "$output" alpha
	run_for 0 banger completion words -- vm prun
	equal "$output" $'prune\tdelete every VM that is not running'
	run_for 0 banger completion words -- nonsense ''
	equal "$output$stderr" ''
	# A daemon that hangs is no reason to: the shell gets its prompt back.
	pid=$(daemon_pid)
	kill -STOP "$pid"
	run_for 0 timeout 10 "$BANGER" completion words -- vm stop ''
	kill -CONT "$pid"
	equal "$output$stderr" ''
}

@test "the installed files are what the program prints, and the shells find them" {
	local shell
	for shell in bash:banger.bash zsh:_banger fish:banger.fish; do
		"$BANGER" completion "${shell%:*}" | cmp - "$BANGER_BUILD/src/bin/${shell#*:}"
	done
	banger completion bash | shellcheck --shell=bash -
	banger completion zsh | zsh -n
	banger completion fish | fish --no-execute
	# zsh autoloads it from a folder of fpath, as from share/zsh/site-functions.
	make_vms alpha
	open_screen 100x30 zsh -f
	type_keys "PS1='ready> '; fpath=($BANGER_BUILD/src/bin \$fpath); autoload -U compinit; compinit -u; clear" Enter
	see '^ready> $'
	complete_line 'banger vm stop al' '^ready> banger vm stop alpha $'
	close_screen
	# bash-completion loads it when it is first needed.
	mkdir -p "$BATS_TEST_TMPDIR/data/bash-completion/completions"
	cp "$BANGER_BUILD/src/bin/banger.bash" "$BATS_TEST_TMPDIR/data/bash-completion/completions/"
	export XDG_DATA_HOME=$BATS_TEST_TMPDIR/data
	open_screen 100x30 bash --norc --noprofile
	type_keys "PS1='ready> '; . /usr/share/bash-completion/bash_completion; clear" Enter
	see '^ready> $'
	complete_line 'banger vm stop al' '^ready> banger vm stop alpha $'
}
