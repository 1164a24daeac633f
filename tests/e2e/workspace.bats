#!/usr/bin/env bats
# Checkouts into guests: vm run PATH, vm workspace prepare, once and again, and what hostile ones cannot do. The hundreds
# of generated repositories are in tests/integration/workspace.bats, against an agent without a guest.
# shellcheck disable=SC2154,SC2016 # bats sets status, output, stderr, lines; expressions for other shells

load helper
load checkout

setup() {
	watch_census
	cd "$BATS_TEST_TMPDIR" || return
	banger --quiet vm exec box -w / -- sh -c 'rm -rf /root/repo /root/.banger-new.*'
}

make_repo() {
	git init -q "$1"
	mkdir "$1/dir"
	echo one >"$1/file"
	echo two >"$1/dir/other"
	printf '#!/bin/sh\nexit 7\n' >"$1/run"
	chmod +x "$1/run"
	ln -s file "$1/link"
	echo 'ignored' >"$1/.gitignore"
	git -C "$1" add -A
	git -C "$1" commit -q -m first
	echo more >>"$1/file"
	git -C "$1" commit -q -a -m second
}

# Everything but .git, with modes, sizes and links.
TREE='cd "$1" && find . -path ./.git -prune -o ! -name . -printf "%P %y %m %l\n" | sort && find . -path ./.git -prune -o -type f -print0 | sort -z | xargs -0 sha256sum'

guest_tree() {
	in_vm box sh -c "$TREE" tree /root/repo
}

in_repo() {
	in_vm box sh -c 'cd /root/repo && "$@"' in "$@"
}

@test "prepare: a real repository, with the working tree as it is" {
	make_repo r
	git -C r remote add origin https://me:secret@example.org/x.git
	echo edit >>r/file
	echo staged >r/new
	git -C r add new
	rm r/dir/other
	echo hidden >r/ignored
	echo left >r/untracked
	run_for 0 banger vm workspace prepare box r
	[[ $stderr == *'1 untracked file is left out: --include-untracked ships them'* ]]
	equal "$output" 'box:/root/repo: 5 added, 0 changed, 0 removed'
	equal "$(in_repo git fsck --strict 2>&1)" ''
	equal "$(in_repo git status --porcelain)" "$(git -C r status --porcelain | grep -v untracked)"
	equal "$(in_repo git rev-parse HEAD)" "$(git -C r rev-parse HEAD)"
	equal "$(in_repo git rev-parse --abbrev-ref HEAD)" main
	equal "$(in_repo git config remote.origin.url)" https://example.org/x.git
	equal "$(in_repo git config user.email)" ada@example.org
	rm r/ignored r/untracked
	rmdir r/dir # which git does not know
	equal "$(guest_tree)" "$(sh -c "$TREE" tree r)"
	equal "$(in_repo git rev-list --count HEAD)" 1
	run_for 0 banger --json vm show box
	equal "$(jq -r .vm.workspace.guest_path <<<"$output")" /root/repo
	equal "$(jq -r .vm.workspace.host_path <<<"$output")" "$PWD/r"
	equal "$(jq -r .vm.workspace.head <<<"$output")" "$(git -C r rev-parse HEAD)"
	run_for 0 banger ps
	[[ $output == *"$PWD/r"* ]]
}

@test "prepare: again only what changed, and the guest's work stays" {
	make_repo r
	banger --quiet vm workspace prepare box r >/dev/null
	in_repo sh -c 'echo guest >mine; echo guest >dir/other; git commit -q -a -m theirs'
	echo host >>r/file
	run_for 0 banger vm workspace prepare box r --dry-run
	equal "$output" 'M file'
	run_for 0 banger vm workspace prepare box r
	equal "$output" 'box:/root/repo: 0 added, 1 changed, 0 removed'
	equal "$(in_repo cat mine dir/other)" $'guest\nguest'
	equal "$(in_repo tail -n 1 file)" host
	equal "$(in_repo git log -1 --format=%s)" theirs
	# The host's change meets the guest's.
	echo other >r/dir/other
	run_for 1 banger vm workspace prepare box r
	[[ $stderr == *'changed on both sides: dir/other'* ]]
	[[ $stderr == *'the guest has changed 1 file that has changed on the host too'* ]]
	equal "$(in_repo cat dir/other)" guest
	run_for 0 banger vm workspace prepare box r --force
	equal "$(in_repo cat mine dir/other)" $'guest\nother'
	equal "$(in_repo git log -1 --format=%s)" theirs
	# Commits on both sides.
	git -C r commit -q -a -m ours
	run_for 1 banger vm workspace prepare box r
	[[ $stderr == *'the guest has commits of its own, and HEAD has moved on the host too'* ]]
	theirs=$(in_repo git rev-parse HEAD)
	run_for 0 banger vm workspace prepare box r --force
	equal "$(in_repo git rev-parse HEAD)" "$(git -C r rev-parse HEAD)"
	equal "$(in_repo git rev-parse "refs/banger/kept/$theirs")" "$theirs"
	in_repo git fsck --strict
}

@test "vm run PATH: the command runs in the checkout, with its status" {
	make_repo r
	run_for 7 banger --quiet vm run r --name w --image debian-bookworm --rm -- ./run
	run_for 0 banger --quiet vm run r/dir --name w --image debian-bookworm --guest-path /srv/deep/r --branch try/x --rm -- \
		sh -c 'pwd; git branch --show-current; git status --porcelain'
	equal "$output" $'/srv/deep/r\ntry/x'
}

@test "GIT1: what is wrong with a checkout is said before anything is made" {
	make_repo r
	git init -q --bare bare
	mkdir none
	run_for 1 banger vm run none -d
	[[ $stderr == *"'none' is not in a git repository"* ]]
	run_for 1 banger vm run bare -d
	[[ $stderr == *"'bare' is a bare repository"* ]]
	run_for 1 banger vm run r -d --branch 'a..b'
	[[ $stderr == *"'a..b' is no name for a branch"* ]]
	run_for 1 banger vm run r -d --branch x --from nowhere
	[[ $stderr == *"'nowhere' is no commit of"* ]]
	run_for 2 banger vm run r -d --from main
	run_for 2 banger vm run -d --dry-run
	run_for 0 banger vm run r --dry-run
	[[ $output == *'A dir/other'* ]]
	equal "$(banger vm list -q | wc -l)" 1
}

@test "vm run PATH: a guest without git says so, and is not kept" {
	make_repo r
	run_for 1 banger --quiet vm run r --name w --image debian-bookworm-slim -- true
	[[ $stderr == *'the guest has no git, which a workspace needs'* ]]
	[[ $stderr == *"hint: use an image with git (debian-bookworm has it), install it there ('apt-get install git'"* ]]
	equal "$(banger vm list -q | wc -l)" 1
	# The files alone, as the documents have it.
	banger --quiet vm run --name w --image debian-bookworm-slim -d >/dev/null
	echo edit >>r/file
	(cd r && git ls-files -z | tar -c --null -T - | banger vm exec w -- sh -c 'mkdir -p repo && tar -x -C repo')
	equal "$(in_vm w sh -c 'cd repo && cat file && ls -A')" "$(cat r/file; printf '%s\n' .gitignore dir file link run)"
	banger --quiet vm delete w
}

@test "GIT2: what a hostile repository names never runs on the host" {
	make_repo r
	ran=$PWD/ran
	for hook in pre-commit post-checkout post-index-change reference-transaction pre-auto-gc; do
		printf '#!/bin/sh\ntouch %s\n' "$ran" >r/.git/hooks/$hook
		chmod +x r/.git/hooks/$hook
	done
	echo '* filter=evil diff=evil merge=evil' >r/.gitattributes
	touch r/file
	git -C r config core.fsmonitor "touch $ran; false"
	for key in filter.evil.clean filter.evil.smudge filter.evil.process diff.evil.textconv diff.evil.command \
		diff.external core.sshCommand core.pager core.editor credential.helper core.askPass gpg.program \
		uploadpack.packObjectsHook remote.origin.uploadpack alias.ls-files; do
		git -C r config "$key" "!touch $ran"
	done
	git -C r config remote.origin.url "ext::touch $ran"
	rm -f ran
	run_for 0 banger vm workspace prepare box r --include-untracked
	[[ $stderr == *"the remote 'origin' is left out"* ]]
	echo more >>r/file
	run_for 0 banger vm workspace prepare box r --include-untracked
	[ ! -e ran ]
	in_repo sh -c 'test ! -e .git/hooks/pre-commit && ! git config --get-regexp "filter|fsmonitor|alias"'
}

@test "GIT4: links lead nowhere, and what is no file is left out" {
	make_repo r
	ln -s /etc/shadow r/shadow
	ln -s ../../../x r/up
	mkdir r/inside outside
	echo secret >outside/file
	echo public >r/inside/file
	git -C r add -A
	git -C r commit -q -m links
	rm -r r/inside
	ln -s ../outside r/inside
	mkfifo r/pipe
	run_for 0 banger vm workspace prepare box r --include-untracked
	equal "$(in_repo readlink shadow up inside)" $'/etc/shadow\n../../../x\n../outside'
	run_for 1 in_repo cat inside/file
}

@test "GIT1: submodules with --mode full_copy, each a repository in its place" {
	make_repo inner
	make_repo r
	git -C r -c protocol.file.allow=always submodule --quiet add "$PWD/inner" sub/deep
	git -C r commit -q -m sub
	run_for 0 banger vm workspace prepare box r
	[[ $stderr == *'1 submodule is not shipped: --mode full_copy ships them'* ]]
	equal "$(in_repo git status --porcelain)" ''
	echo edit >>r/sub/deep/file
	run_for 0 banger vm workspace prepare box r --mode full_copy
	equal "$(in_repo git rev-list --count HEAD)" 3
	equal "$(in_repo git -C sub/deep rev-parse HEAD)" "$(git -C inner rev-parse HEAD)"
	equal "$(in_repo tail -n 1 sub/deep/file)" edit
	equal "$(in_repo git status --porcelain)" "$(git -C r status --porcelain)"
	in_repo git -C sub/deep fsck --strict
	run_for 0 banger vm workspace prepare box r --mode full_copy
	equal "$output" 'box:/root/repo: 0 added, 0 changed, 0 removed'
}

@test "prepare: --branch and --from stay, in a second one and with --auto-prepare" {
	make_repo r
	old=$(git -C r rev-parse HEAD~)
	git -C r tag old HEAD~
	run_for 0 banger vm workspace prepare box r --branch try/x --from old --include-untracked
	equal "$(in_repo git rev-parse HEAD)" "$old"
	equal "$(banger --json vm show box | jq -r '.vm.workspace | .branch, .from, .mode, .include_untracked, .pending')" \
		"$(printf '%s\n' try/x old shallow_overlay true false)"
	git -C r commit -q --allow-empty -m third
	# Untracked files are part of it: one alone is a change.
	run_for 0 banger vm exec box --auto-prepare -- git log -1 --format=%H
	equal "$output" "$old"
	run_for 0 banger vm exec box -- true
	equal "$stderr" ''
	echo new >r/new
	run_for 0 banger vm exec box -- true
	[[ $stderr == *"warning: files of '$PWD/r', or its 'old', have changed since they were shipped to 'box'"* ]]
	run_for 0 banger vm exec box --auto-prepare -- sh -c 'git branch --show-current; cat new'
	equal "$output" $'try/x\nnew'
	run_for 0 banger vm workspace prepare box r --include-untracked
	equal "$(in_repo git rev-parse HEAD)" "$old"
	# The guest is not asked how: what it says of itself ships nothing that was not asked for.
	run_for 0 banger vm workspace prepare box r
	in_repo sed -i 's/mode=shallow_overlay/mode=full_copy/; s/named=from/named=yes/' .git/banger/manifest
	in_repo sh -c 'printf "0 - 100644 %040d\tzzz\0" 1 >>.git/banger/manifest'
	echo more >>r/dir/other
	run_for 0 banger vm exec box --auto-prepare -- sh -c 'git rev-parse HEAD; git rev-list --count HEAD; test ! -e new'
	equal "$output" "$old"$'\n1'
}

@test "prepare: one that has not ended is told, also when the host's change is undone" {
	make_repo inner
	make_repo r
	git -C r -c protocol.file.allow=always submodule --quiet add "$PWD/inner" sub
	git -C r commit -q -m sub
	run_for 0 banger vm workspace prepare box r --mode full_copy
	run_for 0 banger vm exec box -- true
	equal "$stderr" ''
	# The guest's work in the submodule is in the way, when the rest has been done already.
	in_repo sh -c 'echo guest >sub/file'
	cp -a r/file file
	echo host | tee -a r/file >>r/sub/file
	run_for 1 banger vm workspace prepare box r --mode full_copy
	[[ $stderr == *"submodule 'sub': the guest has changed 1 file"* ]]
	cp -a file r/file
	git -C r/sub checkout -q file
	equal "$(in_repo tail -n 1 file)" host
	run_for 0 banger vm exec box -- true
	[[ $stderr == *"warning: the last prepare of '$PWD/r' has not ended: 'box' may have half of it"* ]]
	run_for 0 banger vm show box
	[[ $output == *', not all of it'* ]]
	run_for 0 banger vm exec box --auto-prepare -- tail -n 1 file
	equal "$output" more
	equal "$(in_repo cat sub/file)" guest
	run_for 0 banger vm exec box -- true
	equal "$stderr" ''
}

@test "vm run PATH: Ctrl-C while the checkout is on its way leaves no VM" {
	make_repo r
	head -c 200M /dev/urandom >r/big
	git -C r add big
	env --default-signal=INT "$BANGER" vm run r --name w --image debian-bookworm -- true >out 2>&1 &
	pid=$!
	wait_until 60 in_stage w
	kill -INT "$pid"
	wait_until 60 has_ended "$pid"
	run_for 0 cat out
	[[ $output == *'cancelled'* ]]
	equal "$(banger vm list -q | wc -l)" 1
}

in_stage() {
	banger --json vm list | jq -e --arg name "$1" 'any(.vms[]; .name == $name and .state == "running")' >/dev/null
}

has_ended() {
	! kill -0 "$1" 2>/dev/null
}
