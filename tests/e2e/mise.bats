#!/usr/bin/env bats
# What a workspace is for commands: where they begin, whether it is still what the host has, and the tools that its mise file
# names. The guest's mise is one of our own.
# shellcheck disable=SC2154,SC2016,SC2088 # bats sets output, stderr; expressions for other shells, paths for others

load helper
load checkout

setup_file() { :; } # each test has a VM of its own
teardown_file() { :; }

setup() {
	begin_home "$BATS_TEST_TMPDIR"
	use_git_home "$BATS_TEST_TMPDIR/home"
	cd "$BATS_TEST_TMPDIR" || return
	# exec: tells that it was asked; install: takes until /root/go is there, and fails where /root/fail is.
	cat >"$HOME/mise" <<-'SH'
		#!/bin/sh
		case $1 in
		exec) shift 2; echo "through mise" >&2; exec "$@" ;;
		install)
			echo "installing in $PWD, trusting $MISE_TRUSTED_CONFIG_PATHS"
			until [ -e /root/go ]; do sleep 0.1; done
			touch installed
			[ ! -e /root/fail ] || exit 3
			;;
		esac
	SH
	copied '~/mise' '~/.local/bin/mise' 0755
	mkdir repo
	git -C repo init -q
	echo one >repo/file
	git -C repo add -A
	git -C repo commit -q -m one
}

teardown() {
	cd / || return
	end_home "$BATS_TEST_TMPDIR"
}

# A file of the host's home for every guest's.
copied() {
	printf '[[file_sync]]\nhost = "%s"\nguest = "%s"\nmode = "%s"\n' "$@" >>"$BANGER_CONFIG_DIR/config.toml"
}

new_vm() {
	banger --quiet vm run -d --name w --image debian-bookworm "$@" >/dev/null
}

@test "workspace: commands and shells begin there, and the host's new commits and edits are told" {
	new_vm ./repo
	equal "$(banger vm exec w -- pwd)" /root/repo
	equal "$(banger vm exec -w /srv w -- pwd)" /srv
	equal "$(echo pwd | banger vm shell w)" /root/repo
	run_for 0 banger vm exec w -- true
	equal "$stderr" ''
	echo edit >>repo/file
	run_for 0 banger vm exec w -- cat file
	equal "$output" one
	equal "$stderr" "warning: files of '$PWD/repo' have changed since they were shipped to 'w'
hint: 'banger vm exec --auto-prepare' ships what is different first, as does 'banger vm workspace prepare w $PWD/repo'"
	git -C repo commit -qam two
	run_for 0 banger vm exec w -- cat file
	contains "$stderr" "warning: HEAD of '$PWD/repo' is another commit since it was shipped to 'w'"
	run_for 0 banger --quiet vm exec w -- cat file
	equal "$stderr" ''
	run_for 0 banger --quiet vm exec --auto-prepare w -- cat file
	equal "$output" $'one\nedit'
	run_for 0 banger vm exec w -- git log --format=%s
	equal "$output$stderr" $'two'
	# Nothing to do, then the guest's own work in the way: the command does not run.
	run_for 0 banger --quiet vm exec --auto-prepare w -- cat file
	banger vm exec w -- sh -c 'echo mine >file'
	echo theirs >repo/file
	run_for 1 banger vm exec --auto-prepare w -- touch ran
	contains "$stderr" file
	run_for 2 banger vm exec w -- ls ran
	# Untracked files that were asked for once are so again.
	banger vm exec w -- git checkout -q file
	git -C repo checkout -q file
	echo loose >repo/loose
	banger --quiet vm workspace prepare w repo --include-untracked
	echo more >>repo/file
	run_for 0 banger --quiet vm exec --auto-prepare w -- tail -n1 file loose
	contains "$output" loose
	# A checkout that is gone is no reason not to run.
	mv repo away
	run_for 0 banger vm exec w -- pwd
	equal "$stderr" ''
	run_for 1 banger vm exec --auto-prepare w -- pwd
	contains "$stderr" "cannot look at the checkout '$PWD/repo': there is no folder '$PWD/repo'"
	# A workspace that is gone in the guest.
	banger vm exec -w / w -- rm -r /root/repo
	run_for 1 banger vm exec w -- pwd
	contains "$stderr" "cwd '/root/repo': No such file or directory"
	contains "$stderr" "hint: --guest-path names another folder"
	banger --quiet vm run -d --name bare >/dev/null
	run_for 1 banger vm exec --auto-prepare bare -- true
	contains "$stderr" "'bare' has no workspace"
	equal "$(banger vm exec bare -- pwd)" /root
}

@test "mise: a checkout that needs tools needs a network, or says that it does not" {
	for file in .mise.toml .tool-versions; do
		echo 'x' >"repo/$file"
		git -C repo add -A
		run_for 1 banger vm run -d ./repo
		equal "$stderr" "banger: the checkout has '$file', and installing the tools that it names needs the network
hint: --nat gives the VM a network, --no-bootstrap does without the tools"
		git -C repo rm -qf "$file"
	done
	assert_no_vms
	# One that does not go to the guest does not matter.
	echo x >repo/.mise.toml
	run_for 1 banger vm run -d --include-untracked ./repo
	contains "$stderr" --no-bootstrap
	echo .mise.toml >repo/.gitignore
	run_for 0 banger --quiet vm run --rm --image debian-bookworm --include-untracked ./repo -- ls -A
	lacks "$output" .mise.toml
	run_for 2 banger vm run --no-bootstrap
	contains "$stderr" 'go with a PATH'
}

@test "mise: commands go through it, and without bootstrap nothing is installed" {
	echo x >repo/.tool-versions
	git -C repo add -A
	new_vm --no-bootstrap ./repo
	run_for 0 banger vm exec w -- ls
	equal "$output" file
	equal "$stderr" 'through mise'
	run_for 0 banger vm exec w -w / -- echo plain
	equal "$output$stderr" plain
	run_for 7 banger vm exec w -- sh -c 'exit 7'
	run_for 2 banger vm exec -w / w -- ls /root/.cache/banger
}

@test "mise: bootstrap: first with -d and a command, beside a session" {
	echo x >repo/.mise.toml
	git -C repo add -A
	touch "$HOME/go"
	copied '~/go' '~/go' 0600
	copied '~/fail' '~/fail' 0600
	run_for 0 banger --quiet vm run --rm --nat --image debian-bookworm ./repo -- sh -c 'ls -A; cat /root/.cache/banger/mise.log'
	equal "$output" '.git
.mise.toml
file
installed
installing in /root/repo, trusting /root/repo
mise install ended with status 0'
	touch "$HOME/fail"
	run_for 1 banger vm run -d --nat --name w --image debian-bookworm ./repo
	equal "$output" w
	contains "$stderr" "not all tools of the workspace were installed; the log is in the guest's '/root/.cache/banger/mise.log'"
	equal "$(banger --quiet vm exec w -- tail -n1 /root/.cache/banger/mise.log 2>/dev/null)" 'mise install ended with status 3'
	# A session does not wait: what it does lets the installation go on.
	rm "$HOME/go" "$HOME/fail"
	run_for 0 banger --quiet vm run --rm --nat --image debian-bookworm ./repo <<-'SH'
		pwd
		ls -A installed
		touch /root/go
		until grep -q ended /root/.cache/banger/mise.log; do sleep 0.1; done
		ls -A installed
	SH
	equal "$output" $'/root/repo\ninstalled'
}

interrupted() {
	env --default-signal=INT "$BANGER" --quiet vm run --nat --image debian-bookworm "$@" >out 2>&1 &
	pid=$!
	wait_until 120 is_installing
	kill -INT "$pid"
	wait_until 30 has_ended "$pid"
}

is_installing() {
	banger --quiet vm exec w -w / -- grep -qs 'installing in' /root/.cache/banger/mise.log 2>/dev/null
}

has_ended() {
	! kill -0 "$1" 2>/dev/null
}

has_no_vms() {
	[ -z "$(banger vm list -q)" ]
}

@test "mise: Ctrl-C while tools are installed says which VM there is, and --rm leaves none" {
	echo x >repo/.mise.toml
	git -C repo add -A
	interrupted --name w -d ./repo
	contains "$(<out)" cancelled
	contains "$(<out)" "hint: 'w' still runs: 'banger vm shell w' goes on in it, 'banger vm delete w' deletes it"
	equal "$(banger --quiet vm exec w -- cat file)" one
	banger --quiet vm delete w
	interrupted --name w --rm ./repo -- true
	contains "$(<out)" cancelled
	lacks "$(<out)" 'still runs'
	wait_until 30 has_no_vms
}
