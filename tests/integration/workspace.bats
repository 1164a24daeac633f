#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154,SC2016 # bats sets status and output; expressions for other shells
# Checkouts through src/workspace to an agent of this machine, with git's own word on what arrived. What hostile
# repositories cannot do is in tests/unit/test_workspace_git.c too; guests are in tests/e2e/workspace.bats.

bats_require_minimum_version 1.5.0

load helper
load agent

setup() {
	export HOME=$BATS_TEST_TMPDIR GIT_CONFIG_NOSYSTEM=1
	git config --global user.name a
	git config --global user.email a@b
	git config --global init.defaultBranch main
	git config --global protocol.file.allow always
	git config --global advice.detachedHead false
	cd "$BATS_TEST_TMPDIR" || return
	mkdir guest
}

teardown() {
	[ -z "${paused:-}" ] || kill -KILL "$paused" 2>/dev/null || true
}

tool() {
	"$BANGER_BUILD/tests/integration/workspace_tool" "$@"
}

prepare() {
	run tool prepare "$SOCKET" "$1" "$PWD/guest/r" "${@:2}"
	echo "$output"
}

# Stops before what it tells as STAGE; its process is in $paused.
pause_prepare() {
	"$BANGER_BUILD/tests/integration/workspace_tool" prepare "$SOCKET" "$1" "$PWD/guest/$2" "stop=$3" >"said.$2" 2>&1 3>&- &
	paused=$!
	wait_for is_stopped "$paused"
}

is_stopped() {
	grep -q '^State:.*stopped' "/proc/$1/status"
}

# Lets it go on; its exit status is in $status.
resume_prepare() {
	kill -CONT "$paused"
	wait "$paused" && status=0 || status=$?
	paused=
	cat said.*
}

make_repo() {
	git init -q "$1"
	echo one >"$1/one"
	mkdir "$1/dir"
	echo two >"$1/dir/two"
	git -C "$1" add -A
	git -C "$1" commit -q -m first
	echo more >>"$1/one"
	git -C "$1" commit -q -a -m second
}

generated() {
	mkdir worlds
	python3 "$BATS_TEST_DIRNAME/workspace_repos.py" "$BANGER_BUILD/tests/integration/workspace_tool" "$SOCKET" "$PWD/worlds" "$@"
}

# GIT1 to GIT5, as workspace_repos.py has them; each file of them says how many had what.
@test "GIT1 to GIT5: generated checkouts arrive as they are, and again, and meet the guest's work (1)" {
	generated 1001 50
}

@test "GIT1 to GIT5: generated checkouts arrive as they are, and again, and meet the guest's work (2)" {
	generated 2001 50
}

@test "GIT1 to GIT5: generated checkouts arrive as they are, and again, and meet the guest's work (3)" {
	generated 3001 50
}

@test "GIT1 to GIT5: generated checkouts arrive as they are, and again, and meet the guest's work (4)" {
	generated 4001 50
}

@test "full_copy has the history; without it, it begins with the commit" {
	make_repo r
	prepare r
	[ "$status" -eq 0 ]
	[ "$(git -C guest/r rev-list --count HEAD)" = 1 ]
	prepare r full
	[ "$status" -eq 0 ]
	[ "$(git -C guest/r rev-list --count HEAD)" = 2 ]
	[ "$(git -C guest/r rev-parse --is-shallow-repository)" = false ]
	git -C guest/r fsck
	git -C r rm -q one
	git -C r commit -q -m third
	prepare r full
	[ "$status" -eq 0 ]
	[ "$(git -C guest/r rev-list HEAD)" = "$(git -C r rev-list HEAD)" ]
	git -C guest/r fsck
}

@test "--branch and --from: as git switch -c, without doing it on the host" {
	make_repo r
	git -C r branch old HEAD~
	echo new >r/new
	git -C r add new
	echo edit >>r/dir/two
	prepare r branch=try/x from=old
	[ "$status" -eq 0 ]
	[ "$(git -C guest/r symbolic-ref HEAD)" = refs/heads/try/x ]
	[ "$(git -C guest/r rev-parse HEAD)" = "$(git -C r rev-parse old)" ]
	[ "$(cat guest/r/one)" = one ]
	[ "$(git -C guest/r status --porcelain)" = " M dir/two
A  new" ]
	[ "$(git -C r symbolic-ref HEAD)" = refs/heads/main ]
	# Uncommitted work where the two differ.
	echo edit >>r/one
	prepare r branch=try/y from=old
	[ "$status" -eq 1 ]
	[[ "$output" == *"'one' has uncommitted work and is different where --from begins"* ]]
	# The branch that was asked for stays when the host goes on.
	git -C r commit -q -a -m third
	rm -rf guest/r
	prepare r branch=try/x
	git -C r commit -q --allow-empty -m fourth
	prepare r
	[ "$status" -eq 0 ]
	[ "$(git -C guest/r symbolic-ref HEAD)" = refs/heads/try/x ]
	[ "$(git -C guest/r rev-parse HEAD)" = "$(git -C r rev-parse HEAD)" ]
}

@test "--from is kept with the branch, by the host's record alone" {
	make_repo r
	git -C r branch old HEAD~
	old=$(git -C r rev-parse old)
	prepare r branch=try/x from=old
	[ "$status" -eq 0 ]
	git -C r commit -q --allow-empty -m third
	echo edit >>r/dir/two
	run tool prepare "$SOCKET" "$PWD/r" "$PWD/guest/r" last_branch=try/x "last_from=$old"
	[ "$status" -eq 0 ]
	[ "$(git -C guest/r symbolic-ref HEAD)" = refs/heads/try/x ]
	[ "$(git -C guest/r rev-parse HEAD)" = "$old" ]
	[ "$(git -C guest/r status --porcelain)" = ' M dir/two' ]
	[ "$(cat guest/r/one)" = one ]
	# Of another working tree, or without the record, it is not what was asked for.
	prepare r
	[ "$status" -eq 1 ]
	[[ "$output" == 'error state: the guest is on a branch that does not begin at HEAD'* ]]
	[[ "$output" == *'hint: name it again with --branch and --from'* ]]
	[ "$(git -C guest/r rev-parse HEAD)" = "$old" ]
	# What was asked for by name goes before it, and a commit that is gone is told.
	run tool prepare "$SOCKET" "$PWD/r" "$PWD/guest/r" branch=try/x from=HEAD last_branch=try/x "last_from=$old"
	[ "$status" -eq 0 ]
	[ "$(git -C guest/r rev-parse HEAD)" = "$(git -C r rev-parse HEAD)" ]
	gone=${old//[0-9]/0}
	run tool prepare "$SOCKET" "$PWD/r" "$PWD/guest/r" last_branch=try/x "last_from=$gone"
	[ "$status" -eq 1 ]
	[[ "$output" == *"'$gone' is no commit of"* ]]
	[[ "$output" == *'hint: the branch of the last time began there'* ]]
}

is_empty() {
	[ -z "$(ls -A "$1")" ]
}

fingerprint() {
	tool fingerprint r "$@"
}

@test "the fingerprint sees what is shipped, and nothing behind a link" {
	make_repo r
	echo ignored >r/.gitignore
	git -C r add -A
	git -C r commit -q -m third
	before=$(fingerprint)
	with=$(fingerprint untracked)
	[ "$(fingerprint)" = "$before" ]
	echo x >r/ignored
	[ "$(fingerprint untracked)" = "$with" ]
	echo x >r/dir/new
	[ "$(fingerprint)" = "$before" ]
	[ "$(fingerprint untracked)" != "$with" ]
	with=$(fingerprint untracked)
	echo xy >r/dir/new
	[ "$(fingerprint untracked)" != "$with" ]
	rm r/dir/new
	mkdir outside
	echo two >outside/two
	mv r/dir away
	ln -s ../outside r/dir
	linked=$(fingerprint)
	[ "$linked" != "$before" ]
	echo more >>outside/two
	[ "$(fingerprint)" = "$linked" ]
	rm outside/two
	[ "$(fingerprint)" = "$linked" ]
	rm r/dir
	mv away r/dir
	[ "$(fingerprint)" = "$before" ]
}

@test "the fingerprint sees submodules with full, and where --from leads" {
	make_repo inner
	make_repo sub
	git -C sub submodule --quiet add "$PWD/inner" deep
	git -C sub commit -q -m deep
	make_repo r
	git -C r submodule --quiet add "$PWD/sub" s
	git -C r submodule --quiet add "$PWD/sub" empty
	git -C r commit -q -m subs
	git -C r submodule --quiet update --init --recursive
	git -C r submodule --quiet deinit -f empty
	before=$(fingerprint)
	full=$(fingerprint full)
	[ "$(fingerprint full)" = "$full" ]
	for at in s s/deep; do
		echo edit >>"r/$at/one"
		[ "$(fingerprint)" = "$before" ]
		[ "$(fingerprint full)" != "$full" ]
		full=$(fingerprint full)
		git -C "r/$at" commit -q --allow-empty -m inside
		[ "$(fingerprint full)" != "$full" ]
		full=$(fingerprint full)
	done
	[ "$(fingerprint full untracked)" = "$full" ]
	echo new >r/s/deep/new
	[ "$(fingerprint full)" = "$full" ]
	[ "$(fingerprint full untracked)" != "$full" ]
	git -C r branch other
	before=$(fingerprint from=other)
	[ "$(fingerprint from=other)" = "$before" ]
	git -C r branch -f other HEAD~
	[ "$(fingerprint from=other)" != "$before" ]
	git -C r branch -D other
	[ "$(fingerprint from=other)" != "$before" ]
}

@test "--from is looked up again, and the guest's branch follows unless it has gone on itself" {
	make_repo r
	prepare r branch=try/x from=main
	[ "$status" -eq 0 ]
	again() {
		run tool prepare "$SOCKET" "$PWD/r" "$PWD/guest/r" last_branch=try/x last_from=main "$@"
		echo "$output"
	}
	echo third >>r/one
	git -C r commit -q -a -m third
	echo dirty >>r/one
	again
	[ "$status" -eq 0 ]
	[ "$(git -C guest/r rev-parse try/x)" = "$(git -C r rev-parse main)" ]
	cmp r/one guest/r/one
	[ "$(git -C guest/r status --porcelain)" = ' M one' ]
	commit=$(git -C guest/r rev-parse try/x)
	git -C guest/r commit -q --allow-empty -m own
	own=$(git -C guest/r rev-parse HEAD)
	again
	[ "$status" -eq 0 ]
	git -C r commit -q --allow-empty -m fourth
	again
	[ "$status" -eq 1 ]
	[[ "$output" == 'error state: the guest has commits of its own'* ]]
	[ "$(git -C guest/r rev-parse try/x)" = "$own" ]
	again force
	[ "$status" -eq 0 ]
	[ "$(git -C guest/r rev-parse try/x)" = "$(git -C r rev-parse main)" ]
	[ "$(git -C guest/r rev-parse "refs/banger/kept/$own")" = "$own" ]
	[ "$commit" != "$own" ]
}

@test "GIT1: sparse checkouts, unfinished merges, pointers of LFS" {
	make_repo r
	git -C r sparse-checkout set --no-cone /one
	prepare r
	[ "$status" -eq 0 ]
	[ ! -e guest/r/dir ]
	[ -z "$(git -C guest/r status --porcelain)" ]
	git -C r sparse-checkout disable
	prepare r
	[ -e guest/r/dir/two ]
	[ -z "$(git -C guest/r status --porcelain)" ]
	printf 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n' >r/big
	echo 'big filter=lfs diff=lfs merge=lfs -text' >r/.gitattributes
	git -C r add -A
	git -C r commit -q -m lfs
	git -C r config filter.lfs.smudge "touch $PWD/ran"
	git -C r config filter.lfs.process "touch $PWD/ran"
	git -C r config filter.lfs.required true
	prepare r
	[ "$status" -eq 0 ]
	cmp r/big guest/r/big
	[ ! -e ran ]
	git -C r config --remove-section filter.lfs
	git -C r checkout -q -b other HEAD~
	echo this >r/one
	git -C r commit -q -a -m this
	git -C r checkout -q main
	echo that >r/one
	git -C r commit -q -a -m that
	run git -C r merge -q other
	prepare r
	[ "$status" -eq 1 ]
	[[ "$output" == *"has conflicts that are not resolved, in 'one'"* ]]
}

@test "GIT1: a partial clone that lacks what the commit needs is refused, and nothing is fetched" {
	make_repo origin
	git -C origin config uploadpack.allowFilter true
	git clone -q --filter=blob:none --no-checkout "file://$PWD/origin" r
	git -C r sparse-checkout set --no-cone /one
	git -C r checkout -q main
	mv origin away # a fetch would fail
	prepare r
	[ "$status" -eq 1 ]
	[[ "$output" == *"is a partial clone that lacks 1 of the objects of the commit"* ]]
	[ ! -e guest/r ]
	mv away origin
	git -C r sparse-checkout disable
	mv origin away
	prepare r
	[ "$status" -eq 0 ]
	git -C guest/r fsck
}

@test "GIT1: submodules stay empty, and are counted" {
	make_repo inner
	make_repo r
	git -C r submodule --quiet add ../inner sub
	git -C r commit -q -m sub
	prepare r
	[ "$status" -eq 0 ]
	[[ "$output" == *'submodules=1'* ]]
	[ -d guest/r/sub ]
	[ -z "$(git -C guest/r status --porcelain)" ]
	# A submodule is a checkout of its own as well.
	run tool prepare "$SOCKET" r/sub "$PWD/guest/sub"
	[ "$status" -eq 0 ]
	git -C guest/sub fsck
}

@test "GIT5: Ctrl-C at each stage leaves no half-made repository" {
	make_repo r
	head -c 3000000 /dev/urandom >r/staged
	git -C r add staged
	head -c 3000000 /dev/urandom >r/one
	for stage in scan objects files write; do
		prepare r "cancel=$stage"
		[ "$status" -eq 1 ]
		[[ "$output" == 'error cancelled: '* ]]
		wait_for is_empty guest
	done
	# Killed, where nobody of the host is left to tidy up.
	pause_prepare r r write
	run ! is_empty guest
	kill -KILL "$paused"
	wait_for is_empty guest
	prepare r
	[ "$status" -eq 0 ]
	[ "$(ls -A guest)" = r ]
	# The same in one that is there: what was is still true, and the next one ends it.
	head -c 3000000 /dev/urandom >r/one
	git -C r commit -q -a -m third
	head -c 3000000 /dev/urandom >r/dir/two
	for stage in objects files write; do
		prepare r "cancel=$stage"
		[ "$status" -eq 1 ]
		git -C guest/r fsck
	done
	prepare r
	[ "$status" -eq 0 ]
	cmp r/one guest/r/one
	cmp r/dir/two guest/r/dir/two
	[ "$(git -C guest/r status --porcelain)" = ' M dir/two' ]
}

@test "two first prepares at once do not disturb one another" {
	make_repo r
	head -c 100000 /dev/urandom >r/one
	boot=$(cat /proc/sys/kernel/random/boot_id)
	mkdir -p "guest/.banger-new.${boot//[0-9]/0}.AAAAAA/x"
	pause_prepare r a files
	[ "$(find guest -mindepth 1 -maxdepth 1 | wc -l)" = 1 ] # what is from another boot is gone
	prepare r
	[ "$status" -eq 0 ]
	resume_prepare
	[ "$status" -eq 0 ]
	[ "$(ls -A guest)" = $'a\nr' ]
	cmp r/one guest/a/one
	git -C guest/a fsck
	# To the same place, the second one finds the first.
	rm -rf guest/r
	pause_prepare r r write
	prepare r
	[ "$status" -eq 0 ]
	resume_prepare
	[ "$status" -eq 1 ]
	[[ "$(cat said.r)" == *"'$PWD/guest/r' is there by now"* ]]
	[ "$(ls -A guest)" = $'a\nr' ]
	[ -z "$(find guest -name '.banger-new*')" ]
}

@test "what is in the guest's place already is left alone" {
	make_repo r
	mkdir guest/r
	echo mine >guest/r/file
	prepare r
	[ "$status" -eq 1 ]
	[[ "$output" == *"is there already, and not from here"* ]]
	[ "$(cat guest/r/file)" = mine ]
	rm guest/r/file
	prepare r
	[ "$status" -eq 0 ]
	make_repo other
	prepare other
	[ "$status" -eq 1 ]
	[[ "$output" == *"is from '$PWD/r'"* ]]
}

@test "GIT1: a HEAD that cannot be read is not one without commits" {
	make_repo r
	commit=$(git -C r rev-parse HEAD)
	for bad in garbage '' 1234567890123456789012345678901234567890; do
		echo "$bad" >r/.git/refs/heads/main
		prepare r
		[ "$status" -eq 1 ]
		[[ "$output" == *"HEAD of '$PWD/r' cannot be read: "* ]]
		[ ! -e guest/r ]
	done
	[[ "$output" == *"the commit of HEAD of '$PWD/r' is missing: 1234567890123456789012345678901234567890"* ]]
	echo 'ref: refs/heads/../main' >r/.git/HEAD
	prepare r
	[[ "$output" == *"HEAD of '$PWD/r' cannot be read: "* ]]
	echo 'ref: refs/heads/main' >r/.git/HEAD
	echo "$commit" >r/.git/refs/heads/main
	object=r/.git/objects/${commit:0:2}/${commit:2}
	mv "$object" kept
	echo damaged >"$object"
	prepare r
	[ "$status" -eq 1 ]
	[[ "$output" == *"HEAD of '$PWD/r' cannot be read: "*'is corrupt'* ]]
	rm -f "$object"
	prepare r
	[[ "$output" == *"is missing: $commit"* ]]
	mv kept "$object"
	prepare r
	[ "$status" -eq 0 ]
	# Settings that are none are not taken for settings that are not there.
	echo '[core' >>r/.git/config
	prepare r
	[ "$status" -eq 1 ]
	[[ "$output" == *'bad config line'* ]]
}

@test "GIT1: a repository of another owner is refused, unless safe.directory has it" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	make_repo r
	chown -R 12345 r
	prepare r
	[ "$status" -eq 1 ]
	[[ "$output" == *"belongs to uid 12345, not to you"* ]]
	git config --global --add safe.directory "$PWD/r"
	prepare r
	[ "$status" -eq 0 ]
	git -C guest/r fsck
}

@test "GIT4: a file that never stays the same is given up" {
	make_repo r
	# So large that the writer has its turn while it is read, also on a busy machine.
	truncate -s 256M r/one
	while :; do printf x >>r/one; done &
	writer=$!
	prepare r
	kill $writer
	[ "$status" -eq 1 ]
	[[ "$output" == "error busy: 'one' changes"* ]]
	[ ! -e guest/r ]
}

@test "what the guest has and ignores is not overwritten, and nothing that is in the way" {
	make_repo r
	printf 'out\nlocal*\nlink\n' >r/.gitignore
	git -C r add -A
	git -C r commit -q -m ignores
	prepare r
	[ "$status" -eq 0 ]
	mkdir guest/r/out guest/elsewhere
	echo precious | tee guest/r/local.cfg guest/r/local-folder >guest/r/out/x
	ln -s ../elsewhere guest/r/link
	mkdir r/local-folder r/link
	echo host | tee r/local.cfg r/out r/local-folder/y >r/link/z
	git -C r add -f local.cfg out local-folder link
	prepare r
	[ "$status" -eq 1 ]
	[[ "$output" == *'the guest has changed 4 files that have changed on the host too'* ]]
	[ "$(cat guest/r/local.cfg guest/r/local-folder guest/r/out/x)" = "precious
precious
precious" ]
	[ -L guest/r/link ]
	# The same is no conflict, and force is force.
	echo host >guest/r/local.cfg
	prepare r
	[[ "$output" == *'the guest has changed 3 files that have changed on the host too'* ]]
	prepare r force
	[ "$status" -eq 0 ]
	[ "$(cat guest/r/local.cfg guest/r/out guest/r/local-folder/y guest/r/link/z | uniq)" = host ]
	[ -z "$(ls -A guest/elsewhere)" ]
	prepare r
	[[ "$output" == current* ]]
	# A file that makes way for a folder, and the other way round, is the host's alone.
	git -C r rm -q -r --cached local-folder out
	rm -r r/local-folder r/out
	mkdir r/out
	echo host | tee r/out/x >r/local-folder
	git -C r add -f local-folder out
	prepare r
	[ "$status" -eq 0 ]
	[ "$(cat guest/r/out/x guest/r/local-folder | uniq)" = host ]
}

@test "what the guest has staged, and in no file, is not replaced" {
	make_repo r
	prepare r
	echo v2 >guest/r/one
	git -C guest/r add one
	cp r/one guest/r/one
	staged=$(git -C guest/r rev-parse :one)
	# The host's file alone: the index stays as it is.
	echo host >>r/dir/two
	prepare r
	[ "$status" -eq 0 ]
	[ "$(git -C guest/r rev-parse :one)" = "$staged" ]
	cp r/one kept
	for change in 'commit -q -a -m host' 'rm -q --cached one'; do
		echo host >>r/one
		git -C r add -A
		# shellcheck disable=SC2086 # words
		git -C r $change
		prepare r
		[ "$status" -eq 1 ]
		[[ "$output" == 'error state: the guest has staged changes of 1 file'*$'\n''one' ]]
		[ "$(git -C guest/r rev-parse :one)" = "$staged" ]
		cmp kept guest/r/one
		[ "$(git -C guest/r rev-parse HEAD)" != "$(git -C r rev-parse HEAD)" ]
	done
	run tool list "$SOCKET" r "$PWD/guest/r"
	[ "$status" -eq 1 ]
	git -C r add one
	prepare r force
	[ "$status" -eq 0 ]
	[[ "$output" == *$'\n''one' ]]
	[ "$(git -C guest/r rev-parse :one)" = "$(git -C r rev-parse :one)" ]
	# What the host has as well, or had, is in nobody's way.
	echo staged >>r/one
	prepare r
	git -C guest/r add one
	git -C r commit -q -a -m same
	echo further >>r/one
	git -C r commit -q -a -m further
	prepare r
	[ "$status" -eq 0 ]
}

@test "another --mode moves no HEAD" {
	make_repo r
	prepare r
	git -C guest/r commit -q --allow-empty -m guest
	commit=$(git -C guest/r rev-parse HEAD)
	for mode in full force full; do
		prepare r "$mode"
		[ "$status" -eq 0 ]
		[ "$(git -C guest/r rev-parse HEAD)" = "$commit" ]
		git -C guest/r fsck
	done
}

# The guest's references, and who put them there.
refs() {
	git -C guest/r for-each-ref --format='%(refname) %(objectname)' refs/heads
	git -C guest/r rev-parse --symbolic-full-name HEAD
}

@test "HEAD and branches are only moved where the guest has left them" {
	make_repo r
	prepare r
	first=$(git -C r rev-parse HEAD)
	git -C r commit -q --allow-empty -m host
	# Another branch at the same commit, no branch, another commit.
	for do in 'switch -q -c other' 'checkout -q --detach' 'commit -q --allow-empty -m guest'; do
		# shellcheck disable=SC2086 # words
		git -C guest/r $do
		before=$(refs)
		prepare r
		[ "$status" -eq 1 ]
		[[ "$output" == 'error state: the guest '*', and HEAD has moved on the host'* ]]
		[ "$(refs)" = "$before" ]
		git -C guest/r switch -q main
	done
	# The branch that HEAD is to be on has gone on, and HEAD is elsewhere; then where it was, with the branch's commits apart.
	git -C guest/r reset -q --hard "$first"
	commit=$(git -C guest/r commit-tree -p HEAD -m own 'HEAD^{tree}')
	git -C r switch -q -c topic
	git -C guest/r branch topic "$commit"
	before=$(refs)
	prepare r
	[ "$status" -eq 1 ]
	[[ "$output" == *"the guest's branch of that name has commits of its own, and HEAD has moved"* ]]
	[ "$(refs)" = "$before" ]
	prepare r force
	[ "$status" -eq 0 ]
	[ "$(git -C guest/r rev-parse "refs/banger/kept/$commit")" = "$commit" ]
	[ "$(git -C guest/r rev-parse HEAD topic)" = "$(git -C r rev-parse HEAD topic)" ]
	[ "$(git -C guest/r rev-parse main)" = "$first" ]
	# Back and forth on the host, where every branch is as it was put: nothing of the guest's is in the way.
	git -C r commit -q --allow-empty -m topic
	for branch in topic main topic main; do
		git -C r switch -q "$branch"
		git -C r commit -q --allow-empty -m "$branch"
		prepare r
		[ "$status" -eq 0 ]
		[ "$(git -C guest/r rev-parse --symbolic-full-name HEAD)" = "refs/heads/$branch" ]
		[ "$(git -C guest/r rev-parse "$branch")" = "$(git -C r rev-parse "$branch")" ]
	done
	[ "$(git -C guest/r for-each-ref refs/banger/kept | wc -l)" = 1 ]
	git -C guest/r fsck
	# A name for which git has no room, even with force; before anything is changed.
	git -C guest/r branch try
	echo more >>r/one
	for words in '' force; do
		prepare r branch=try/x $words
		[ "$status" -eq 1 ]
		[[ "$output" == *"the guest has the branch 'try', and git has none called 'try/x' beside it"* ]]
	done
	git -C guest/r branch -m try deep/y/z
	prepare r branch=deep/y
	[[ "$output" == *"the guest has the branch 'deep/y/z'"* ]]
	[ -z "$(git -C guest/r status --porcelain)" ]
}

# One that ends when the files are there, and not yet the index.
break_off() {
	touch guest/r/.git/index.lock
	prepare r "$@"
	[ "$status" -eq 1 ]
	rm guest/r/.git/index.lock
}

@test "GIT7: what has not ended is completed first, also when the host's change is undone" {
	make_repo r
	echo same >r/same
	git -C r add -A
	git -C r commit -q -m third
	prepare r
	cp -r guest/r kept
	cp -r r before
	change() {
		echo changed | tee r/one r/added >r/dir/two
		rm r/same
		git -C r add -A
	}
	undo() {
		rm -rf r
		cp -r before r
	}
	# shellcheck disable=SC2031 # prepare sets it
	check() {
		[ "$status" -eq 0 ]
		diff -r -x .git r guest/r
		[ "$(git -C guest/r status --porcelain)" = "$(git -C r status --porcelain)" ]
		git -C guest/r fsck
		prepare r
		[[ "$output" == current* ]]
	}
	change
	break_off
	[ "$(cat guest/r/one)" = changed ]
	prepare r
	check
	undo
	break_off
	change
	prepare r
	check
	# The files are there, and git in the guest does not know it yet: some, all, or not one more.
	for file in '' one added; do
		rm -rf guest/r
		cp -r kept guest/r
		undo
		change
		break_off
		undo
		cp kept/.git/banger/index kept/.git/banger/tree guest/r/.git/banger/
		[ -z "$file" ] || cp "r/$file" "guest/r/$file" 2>/dev/null || rm "guest/r/$file"
		prepare r
		check
	done
	# The guest's own work meanwhile is not overwritten unasked.
	change
	break_off
	cp kept/.git/banger/index kept/.git/banger/tree guest/r/.git/banger/
	echo own >guest/r/one
	undo
	prepare r
	[ "$status" -eq 1 ]
	[[ "$output" == 'error state: the last prepare has not ended: the guest has changed 1 file'*$'\n'one ]]
	[ "$(cat guest/r/one)" = own ]
	prepare r force
	check
	# Nor are its commits.
	git -C r commit -q --allow-empty -m fourth
	change
	break_off
	git -C guest/r commit -q --allow-empty -m own
	commit=$(git -C guest/r rev-parse HEAD)
	prepare r
	[ "$status" -eq 1 ]
	[[ "$output" == *'the last prepare has not ended: the guest has commits of its own'* ]]
	[ "$(git -C guest/r rev-parse HEAD)" = "$commit" ]
	prepare r force
	check
	[ "$(git -C guest/r rev-parse "refs/banger/kept/$commit")" = "$commit" ]
	# What was refused has not begun.
	echo own >guest/r/one
	echo host >r/one
	prepare r
	[ "$status" -eq 1 ]
	git -C r checkout -q one
	prepare r
	[[ "$output" == current* ]]
	# A record that makes no sense ends nothing.
	echo host >r/one
	git -C r add one
	break_off force
	printf 'x\0y\0' >guest/r/.git/banger/pending
	prepare r
	[[ "$output" == *"the guest's record of its workspace is damaged"* ]]
}

# What was shipped is all there, as an export needs it, whatever git has tidied up in the guest.
tidy_up() {
	git -C guest/r reset -q --hard "$@"
	git -C guest/r reflog expire --expire=now --expire-unreachable=now --all
	git -C guest/r gc -q --prune=now
	git -C guest/r fsck --strict
	rm -rf shipped
	mkdir shipped
	git --git-dir=guest/r/.git/banger archive "$(cat guest/r/.git/banger/tree)" | tar -x -C shipped
	diff -r -x .git r shipped
}

@test "git gc in the guest drops nothing that an export begins with" {
	git init -q r
	# Before the first commit everything is only staged.
	echo one >r/one
	git -C r add one
	prepare r
	[ "$status" -eq 0 ]
	tidy_up
	git -C r commit -q -m first
	mkdir r/dir r/dir/deep
	echo staged | tee r/staged >r/dir/deep/staged
	git -C r add -A
	echo edit >>r/one
	echo over >>r/dir/deep/staged
	prepare r
	[ "$status" -eq 0 ]
	tidy_up
	# The guest's own commit of the same, packed, and taken back.
	echo more | tee -a r/staged >r/dir/new
	git -C r add -A
	rm -rf guest/r
	git -C r stash -q
	prepare r
	git -C r stash pop -q --index
	cp -r r/staged r/one r/dir guest/r
	git -C guest/r add -A
	git -C guest/r commit -q -m same
	git -C guest/r gc -q
	prepare r
	[ "$status" -eq 0 ]
	tidy_up HEAD~
	# What was committed once, and is not any more.
	git -C r commit -q -a -m second
	prepare r force
	[ "$status" -eq 0 ]
	git -C r rm -q --cached staged
	git -C r commit -q -m third
	prepare r untracked
	[ "$status" -eq 0 ]
	tidy_up
	# Nobody sees it, and no bundle has it.
	[ "$(git -C guest/r branch -a --format='%(refname:short)')" = main ]
	git -C guest/r bundle create -q "$PWD/bundle" HEAD --branches
	[ "$(git bundle list-heads bundle | cut -d ' ' -f 2 | sort | xargs)" = 'HEAD refs/heads/main' ]
}

@test "GIT1: a repository whose own files are links to another's is refused" {
	make_repo private
	git init -q r
	echo "$PWD/private/.git/objects" >r/.git/objects/info/alternates
	ln -s "$PWD/private/.git/refs/heads/main" r/.git/refs/heads/main
	prepare r
	[ "$status" -eq 1 ]
	[[ "$output" == *"/r/.git/refs/heads/main' is a link, and could be another repository's"* ]]
	rm -r r/.git/refs/heads
	ln -s "$PWD/private/.git/refs/heads" r/.git/refs/heads
	prepare r
	[[ "$output" == *"/r/.git/refs/heads' is a link"* ]]
	rm r/.git/refs/heads
	mkdir r/.git/refs/heads
	for name in index packed-refs shallow; do
		ln -s "$PWD/private/.git/index" "r/.git/$name"
		prepare r
		[[ "$output" == *"/r/.git/$name' is a link"* ]]
		rm "r/.git/$name"
	done
	# What no git has written is not passed on, wherever it is from.
	echo 'a secret' >r/.git/shallow
	prepare r full
	[[ "$output" == *"/r/.git/shallow' is not as git writes it"* ]]
	rm r/.git/shallow
	# As git itself made them once.
	git -C private config core.preferSymlinkRefs true
	git -C private symbolic-ref HEAD refs/heads/main
	[ -L private/.git/HEAD ]
	prepare private
	[ "$status" -eq 0 ]
}

@test "a FIFO where git would read a file is refused at once" {
	make_repo r
	for path in .git/config .git/index .git/HEAD .git/info/exclude .git/refs/heads/x .gitignore dir/.gitignore; do
		mkdir -p "r/${path%/*}"
		[ ! -e "r/$path" ] || mv "r/$path" kept
		mkfifo "r/$path"
		run timeout 20 "$BANGER_BUILD/tests/integration/workspace_tool" list - "$PWD/r" /root/repo
		echo "$output"
		[ "$status" -eq 1 ]
		[[ "$output" == "error invalid: '"*"${path##*/}'"*' is no file, but a FIFO, socket or device' ]]
		rm "r/$path"
		[ ! -e kept ] || mv kept "r/$path"
	done
	ln -s "$PWD/fifo" r/.git/packed-refs
	mkfifo fifo
	run timeout 20 "$BANGER_BUILD/tests/integration/workspace_tool" list - "$PWD/r" /root/repo
	[[ "$output" == *"/.git/packed-refs' is no file, but a FIFO, socket or device" ]]
	rm r/.git/packed-refs
	prepare r
	[ "$status" -eq 0 ]
}

# Submodules in which an export of $1 (patch or bundle) finds work.
with_work() {
	rm -f out
	found=$(tool export "$SOCKET" "$1" "$PWD/guest/r" out)
	found=$(sed -n 's/^submodule //p' <<<"$found")
}

@test "work in submodules is told by an export, and exported by itself" {
	make_repo inner
	make_repo sub
	git -C sub submodule --quiet add "$PWD/inner" deep
	git -C sub commit -q -m deep
	make_repo r
	for name in 'a b' plain; do
		git -C r submodule --quiet add "$PWD/sub" "$name"
	done
	git -C r commit -q -m subs
	git -C r submodule --quiet update --init --recursive
	echo host >>r/plain/one
	prepare r full
	for name in 'a b' 'a b/deep' plain plain/deep; do
		run tool prepare "$SOCKET" "$PWD/r/$name" "$PWD/guest/r/$name" full
		[ "$status" -eq 0 ]
	done
	for kind in patch bundle; do
		with_work $kind
		[ -z "$found" ]
		echo work >>guest/r/plain/one
		with_work $kind
		[ "$found" = plain ]
		cp r/plain/one guest/r/plain/one
		touch guest/r/plain/deep/new 'guest/r/a b/new'
		with_work $kind
		[ "$found" = $'a b\nplain/deep' ]
		rm guest/r/plain/deep/new 'guest/r/a b/new'
	done
	echo work >>'guest/r/a b/one'
	rm out
	tool export "$SOCKET" patch "$PWD/guest/r/a b" out
	git -C 'r/a b' apply ../../out
	cmp 'r/a b/one' 'guest/r/a b/one'
}

@test "another git at work in the guest is said, with git's own reason" {
	make_repo r
	prepare r
	touch guest/r/.git/index.lock
	echo third >>r/one
	git -C r commit -q -a -m third
	prepare r
	[ "$status" -eq 1 ]
	[[ "$output" == "error system: cannot write the files: status "*" in the guest: fatal: Unable to create '"*"index.lock': File exists."* ]]
	[[ "$output" == *'hint: another git or prepare is at work there'* ]]
	[[ "$output" != *'\x0a'* ]]
	rm guest/r/.git/index.lock
	prepare r
	[ "$status" -eq 0 ]
	[ "$(git -C guest/r rev-parse HEAD)" = "$(git -C r rev-parse HEAD)" ]
	[ -z "$(git -C guest/r status --porcelain)" ]
}

@test "GIT7: a guest whose disk is full says so at once" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	make_repo r
	head -c 30000000 /dev/urandom >r/one
	git -C r commit -q -a -m large
	# The agent is to see the small disk too.
	unshare -m bash -c '
		mount -t tmpfs -o size=4m none guest
		"$BANGER_BUILD/tests/integration/agent_checked" --listen-unix small.sock 3>&- &
		while [ ! -S small.sock ]; do sleep 0.05; done
		timeout 60 "$BANGER_BUILD/tests/integration/workspace_tool" prepare small.sock r "$PWD/guest/r" >said
		echo $? >status
		ls -A guest >left
		kill $!
		wait
	' || true
	[ "$(cat status)" = 1 ]
	[[ "$(cat said)" == *'No space left on device'* ]]
	[ ! -s left ]
}
