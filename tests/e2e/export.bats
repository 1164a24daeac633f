#!/usr/bin/env bats
# vm workspace export: a guest's work as a patch or a bundle, also that of a guest that means harm.
# shellcheck disable=SC2154,SC2016 # bats sets output, stderr; expressions for other shells

load helper
load checkout

setup() {
	watch_census
	cd "$BATS_TEST_TMPDIR" || return
	in_vm box sh -c 'rm -rf /srv/*'
}

# A repository on the host and the same in the guest's /srv/repo, without 'prepare'.
both_have_repository() {
	mkdir repo
	git -C repo init -q
	mkdir repo/dir
	seq 40 >repo/dir/lines
	head -c 5000 /dev/urandom >repo/binary
	seq 100 >repo/moving
	echo gone >repo/gone
	echo '#!/bin/sh' >repo/run
	ln -s dir/lines repo/link
	echo 'ignored' >repo/.gitignore
	git -C repo add -A
	git -C repo commit -q -m base
	BASE=$(git -C repo rev-parse HEAD)
	banger --quiet vm cp repo box:/srv
}

work() {
	in_vm box sh -ec "cd /srv/repo; $1"
}

# The files of a folder but .git, whatever is in them.
files_of() {
	tar -C "$1" --exclude=.git --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -c . | sha256sum
}

guest_files() {
	in_vm box sh -c 'tar -C /srv/repo --exclude=.git --exclude=ignored --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -c . | sha256sum'
}

export_repo() {
	banger vm workspace export box --guest-path /srv/repo --base-commit "$BASE" "$@"
}

CHANGES='sed -i "s/^3$/three/; s/^39$/-- a\/..\/x/" dir/lines; printf end >>dir/lines
	git mv moving "moved to"; echo more >>"moved to"; git commit -qam one; echo new >"$(printf "odd \"\\t\\377")"
	head -c 300 /dev/urandom >>binary; chmod +x run; rm gone; ln -sfn ../repo/dir link; : >empty; mkdir -p a/b; echo deep >a/b/c
	git add a; echo never >ignored; git commit -qm two; echo last >>dir/lines'

@test "export: commits and what is not committed as one patch, which makes the trees equal" {
	both_have_repository
	work "$CHANGES"
	local before
	before=$(work 'git status --porcelain; sha256sum .git/index; git for-each-ref; find .git/objects | sort; git stash list')
	export_repo >work.patch
	equal "$(work 'git status --porcelain; sha256sum .git/index; git for-each-ref; find .git/objects | sort; git stash list')" "$before"
	git -C repo apply --check ../work.patch
	(cd repo && export_repo --quiet | git apply)
	equal "$(files_of repo)" "$(guest_files)"
	[ ! -e repo/ignored ]
	# From a commit of the guest's: only what is not committed.
	work 'git add -A; git commit -qm three; echo last >>dir/lines'
	equal "$(banger vm workspace export box -w /srv/repo --base-commit HEAD | grep '^[+-]')" '--- a/dir/lines
+++ b/dir/lines
+last'
	run_for 0 banger --json vm workspace export box -w /srv/repo --base-commit HEAD -o one.patch
	equal "$(jq -c '[.file, .format, .files, .uncommitted, .links_out]' <<<"$output")" '["one.patch","patch",1,false,[]]'
	equal "$(stat -c %s one.patch)" "$(jq .bytes <<<"$output")"
	run_for 0 banger vm workspace export box -w /srv/repo/a --base-commit HEAD~2
	contains "$output" 'diff --git a/a/b/c b/a/b/c'
	work 'git add -A; git commit -qm four'
	run_for 0 banger vm workspace export box -w /srv/repo --base-commit HEAD -o none.patch
	equal "$output$stderr" 'nothing has changed'
	[ ! -e none.patch ]
}

@test "export: the guest's commits as a bundle" {
	both_have_repository
	work "$CHANGES; git branch other"
	run_for 0 export_repo --bundle -o w.bundle
	matches "$stderr" "^wrote 'w.bundle', [0-9.]+ KiB
warning: the guest has changes that are not committed, and so not in the bundle; a patch would have them$"
	git -C repo bundle verify -q ../w.bundle
	git -C repo fetch -q ../w.bundle
	equal "$(git -C repo log --format=%s "$BASE..FETCH_HEAD")" $'two\none'
	git -C repo fetch -q ../w.bundle other:other
	equal "$(git -C repo rev-parse other)" "$(work 'git rev-parse HEAD')"
	export_repo --bundle | cmp - w.bundle
	work 'git reset -q --hard HEAD~2; git branch -qD other'
	run_for 0 export_repo --bundle -o none.bundle
	equal "$stderr" 'no commits to export'
	[ ! -e none.bundle ]
}

# Nothing of an export is left in the guest's repository.
is_tidy() {
	[ "$(in_vm box find /srv/repo/.git -name 'banger-*')" = "" ]
}

@test "export: nothing on the host is overwritten, and nothing is half written" {
	both_have_repository
	work 'echo x >new'
	echo mine >w.patch
	ln -s nowhere link.patch
	for file in w.patch link.patch; do
		run_for 1 export_repo -o "$file"
		equal "$stderr" "banger: cannot export from 'box': '$file' exists already
hint: nothing on the host is overwritten: name a new file"
	done
	equal "$(cat w.patch)" mine
	[ ! -e nowhere ]
	run_for 1 export_repo -o none/w.patch
	contains "$stderr" "open 'none': No such file or directory"
	run_for 2 export_repo -o ''
	run_for 2 export_repo -o none/
	run_for 2 export_repo --json
	run_for 2 export_repo --base-commit -x
	run_for 2 export_repo --base-commit 'a b'
	# What the guest needs meanwhile goes, also when its script is hung up while it cleans up.
	work 'printf "#!/bin/sh\nsleep 1\nexec /bin/rm \"\$@\"\n" >/usr/local/bin/rm; chmod +x /usr/local/bin/rm'
	run_for 1 export_repo --max-size 10 -o big.patch
	equal "$stderr" "banger: cannot export from 'box': the command's output is over 10 bytes
hint: --max-size lets more through"
	wait_until 20 is_tidy
	in_vm box rm /usr/local/bin/rm
	# Ctrl-C while the guest's git is at it, and a git that dies in the middle.
	work 'printf "#!/bin/sh\ncase \$1 in diff-tree) printf \"diff --git a/x b/x\"; touch /srv/began; exec sleep 100;; esac\nexec /usr/bin/git \"\$@\"\n" >/usr/local/bin/git
		chmod +x /usr/local/bin/git'
	start cut env --default-signal=INT "$BANGER" vm workspace export box -w /srv/repo --base-commit "$BASE" -o cut.patch
	wait_until 20 in_vm box test -e /srv/began
	kill -INT "$started"
	wait_for_status "$started" 130
	contains "$(<"$BATS_TEST_TMPDIR/cut.err")" 'cancelled; nothing was written'
	work 'printf "#!/bin/sh\ncase \$1 in diff-tree) printf \"diff --git a/x b/x\\\\n\"; echo broke >&2; exit 3;; esac\nexec /usr/bin/git \"\$@\"\n" >/usr/local/bin/git'
	run_for 1 export_repo -o cut.patch
	contains "$stderr" "git in the guest failed with status 3: broke"
	run_for 1 export_repo
	equal "$output" ''
	in_vm box rm /usr/local/bin/git
	equal "$(find . -name '*cut.patch*' -o -name 'big*' -o -name '.banger*')" ''
	wait_until 20 is_tidy # a script that was cut off may be at it still
	export_repo -o cut.patch
	[ -s cut.patch ]
}

@test "export: a guest that means harm" {
	both_have_repository
	fake_git() {
		in_vm box sh -c 'cat >/srv/out; printf "#!/bin/sh\ncase \$1 in diff-tree) cat /srv/out; exit 0;; bundle) cat /srv/out; exit 0;; esac\nexec /usr/bin/git \"\$@\"\n" >/usr/local/bin/git
			chmod +x /usr/local/bin/git' <<<"$1"
	}
	fake_git $'diff --git a/.git/hooks/post-checkout b/.git/hooks/post-checkout\nnew file mode 100755\nindex 0000000..5710000\n--- /dev/null\n+++ b/.git/hooks/post-checkout\n@@ -0,0 +1 @@\n+x'
	run_for 1 export_repo
	equal "$output" ''
	contains "$stderr" "the guest sent what cannot be trusted: line 4 of the patch names the file '.git/hooks/post-checkout', which no checkout may have"
	run_for 1 export_repo -o w.patch
	[ ! -e w.patch ]
	fake_git $'--- a/../../x\n+++ b/../../x\n@@ -0,0 +1 @@\n+x'
	run_for 1 export_repo
	contains "$stderr" 'cannot be trusted: line 1 of the patch'
	fake_git $'\033]52;c;AAAA\007'
	run_for 1 export_repo
	lacks "$stderr" $'\033'
	work 'git commit -q --allow-empty -m empty'
	fake_git 'not a bundle'
	run_for 1 export_repo --bundle -o w.bundle
	contains "$stderr" "the bundle's line 'not a bundle': not how a bundle begins"
	[ ! -e w.bundle ]
	in_vm box rm /usr/local/bin/git
	# Links that lead out are the repository's right, and told; a terminal sees no control characters.
	work 'ln -s ../../.ssh/authorized_keys far; printf "a\033]0;x\007\tb\n" >esc; git init -q nested; git -C nested -c user.name=a -c user.email=b commit -q --allow-empty -m x'
	run_for 0 export_repo -o w.patch
	contains "$stderr" 'warning: the patch makes a link that leads out of the checkout: far -> ../../.ssh/authorized_keys'
	contains "$stderr" 'warning: of a repository within the repository the patch only has the commit: nested'
	run_for 0 script -qec "$BANGER vm workspace export box -w /srv/repo --base-commit $BASE" /dev/null </dev/null
	lacks "$output" $'\033]0'
	contains "$output" '\x1b]0;x\x07'
	# Nor characters that are cut where it is read in pieces.
	work 'printf %0100000d 0 | sed "s/0/€/g" >long'
	run_for 0 script -qec "$BANGER vm workspace export box -w /srv/repo --base-commit $BASE" /dev/null </dev/null
	contains "$output" '€€€€'
	lacks "$output" '\xe2'
	run_for 2 script -qec "$BANGER vm workspace export --bundle box -w /srv/repo --base-commit $BASE" /dev/null </dev/null
	contains "$output" 'which a bundle would garble'
}

@test "export: where there is nothing to export from" {
	both_have_repository
	run_for 1 banger vm workspace export none
	contains "$stderr" "no VM"
	run_for 1 banger vm workspace export box
	equal "$stderr" "banger: cannot export from 'box': 'box' has no workspace
hint: give it one with 'banger vm workspace prepare box PATH', or name a repository in it with --guest-path and --base-commit"
	run_for 1 banger vm workspace export box -w /none --base-commit HEAD
	contains "$stderr" "there is no folder '/none' in the guest"
	run_for 1 banger vm workspace export box -w /etc --base-commit HEAD
	contains "$stderr" "'/etc' in the guest is in no git repository"
	run_for 1 export_repo --base-commit deadbeef
	equal "$stderr" "banger: cannot export from 'box': the guest's repository has no commit 'deadbeef'
hint: name a commit that it has with --base-commit"
	run_for 1 banger vm workspace export box -w /srv/repo
	contains "$stderr" "the guest's repository does not know what it was given"
	in_vm box mv /usr/bin/git /usr/bin/git.away
	run_for 1 export_repo
	in_vm box mv /usr/bin/git.away /usr/bin/git
	equal "$stderr" "banger: cannot export from 'box': the guest has no git
hint: install it there, or use an image that has it (debian-bookworm)"
}
