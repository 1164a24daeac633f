#!/usr/bin/env bats
# vm cp: files and folders into a guest and out of it, by the rules of cp, scp and docker cp; and what a guest cannot do with it.
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
	cd "$BATS_TEST_TMPDIR" || return
	mkdir here
	in_vm box sh -c 'rm -rf /srv/* /root/*'
}

teardown() {
	cd / || return
	compare_census
}

# Modes, sizes, names and link targets below a folder, on either side.
LIST='cd "$1" && find . ! -name . -printf "%P %y %m %s %l\n" | sed -E "s/^(.* d [0-9]+) [0-9]+/\1/" | sort'

host_list() {
	sh -c "$LIST" list "$1"
}

guest_list() {
	in_vm box sh -c "$LIST" list "$1"
}

make_tree() {
	mkdir -p "$1/sub/empty"
	echo content >"$1/file"
	echo '#!/bin/sh' >"$1/run"
	chmod 750 "$1/run"
	chmod 700 "$1/sub/empty"
	ln -s file "$1/link"
	ln -s ../run "$1/sub/up"
	ln "$1/file" "$1/sub/again"
	touch -d 2001-02-03T04:05:06Z "$1/file"
	printf x >"$1/"$'odd \xff\n name'
}

@test "cp: a file there and back keeps its bytes, mode and time" {
	head -c 3000000 /dev/urandom >here/data
	chmod 640 here/data
	touch -d 2001-02-03T04:05:06Z here/data
	run_for 0 banger --quiet vm cp here/data box:/srv/copy
	equal "$output$stderr" ''
	equal "$(in_vm box stat -c '%a %u %g %s %Y' /srv/copy)" '640 0 0 3000000 981173106'
	run_for 0 banger vm cp box:/srv/copy back
	cmp here/data back
	equal "$(stat -c '%a %Y' back)" '640 981173106'
	run_for 0 banger --json vm cp box:/srv/copy here/
	equal "$output" '{"entries":1,"bytes":3000000,"left_out":0}'
	cmp here/data here/copy
}

@test "cp: where it goes: new names, folders that exist, slashes, home" {
	echo one >one
	banger vm cp one box:
	banger vm cp one box:two
	banger vm cp one box:~/three
	banger vm cp one box:/srv
	banger vm cp one box:/srv/
	banger vm cp one box:/srv/../srv/other
	equal "$(in_vm box sh -c 'cd /root; ls; cat one two three; ls /srv')" $'one\nthree\ntwo\none\none\none\none\nother'
	echo two >one
	banger vm cp one box:/srv
	equal "$(in_vm box cat /srv/one)" two
	run_for 1 banger vm cp one box:/srv/none/
	equal "$stderr" "banger: cannot copy 'one' to 'box:/srv/none/': there is no folder '/srv/none' in 'box'"
	run_for 1 banger vm cp one box:/srv/none/one
	equal "$stderr" "banger: cannot copy 'one' to 'box:/srv/none/one': there is no folder '/srv/none' in 'box'"
	run_for 1 banger vm cp one box:/srv/one/
	contains "$stderr" "'/srv/one' in 'box' is no folder"
	run_for 1 banger vm cp one box:/dev/null
	contains "$stderr" "'/dev/null' in 'box' is no file"
	run_for 1 banger vm cp one/ box:/srv
	contains "$stderr" "'one/' is no folder"
	run_for 1 banger vm cp none box:/srv
	contains "$stderr" "look at 'none': No such file or directory"

	banger vm cp box:/srv/one .
	banger vm cp box:/srv/one here/new
	banger vm cp box:two here/
	equal "$(cat one here/new here/two)" $'two\ntwo\none'
	run_for 1 banger vm cp box:/srv/one here/none/
	equal "$stderr" "banger: cannot copy 'box:/srv/one' to 'here/none/': there is no folder 'here/none/'"
	run_for 1 banger vm cp box:/srv/none here/x
	equal "$stderr" "banger: cannot copy 'box:/srv/none' to 'here/x': there is no '/srv/none' in 'box'"
	run_for 1 banger vm cp box:/srv/one/ here/x
	contains "$stderr" "'/srv/one' in 'box' is no folder"
	run_for 1 banger vm cp box:/srv/one /dev/null
	contains "$stderr" "'/dev/null' is no regular file"
	[ -c /dev/null ]
	for path in / /srv/..; do
		run_for 1 banger vm cp "box:$path" here/x
	done
	equal "$(ls here)" $'new\ntwo'
}

@test "cp: folders with links, hard links, odd names; content by /." {
	make_tree tree
	banger vm cp tree box:/srv
	equal "$(guest_list /srv/tree)" "$(host_list tree)"
	equal "$(in_vm box stat -c '%h %U %Y' /srv/tree/file)" '2 root 981173106'
	banger vm cp tree box:/srv/named
	banger vm cp tree/. box:/srv
	equal "$(guest_list /srv/named)" "$(host_list tree)"
	equal "$(in_vm box cat /srv/file)" content
	# Into a folder that is there: merged.
	in_vm box touch /srv/tree/theirs
	echo changed >tree/file
	banger vm cp tree box:/srv
	equal "$(in_vm box sh -c 'cat /srv/tree/file; ls /srv/tree/theirs')" $'changed\n/srv/tree/theirs'
	run_for 1 banger vm cp tree box:/srv/file
	contains "$stderr" "'/srv/file' in 'box' is no folder"

	banger vm cp box:/srv/named out
	equal "$(host_list out)" "$(guest_list /srv/named)"
	banger vm cp box:/srv/named/ here
	equal "$(host_list here/named)" "$(guest_list /srv/named)"
	run_for 1 banger vm cp box:/srv/named here
	equal "$stderr" "banger: cannot copy 'box:/srv/named' to 'here': 'here/named' exists already
hint: folders out of a guest are not merged: give a name that is not there yet"
	run_for 1 banger vm cp box:/srv/named/. here
	contains "$stderr" "'here' exists already"
	banger vm cp box:/srv/named/. content
	equal "$(host_list content)" "$(guest_list /srv/named)"
	run_for 1 banger vm cp box:/srv/named tree/file
	contains "$stderr" "'tree/file' is no folder"
	# Special files are left out, and said.
	mkfifo tree/fifo
	run_for 0 banger vm cp tree box:/srv/again
	equal "$stderr" 'warning: left out 1 that is neither file, folder nor link'
	run_for 1 banger vm cp tree/fifo box:/srv/fifo
	contains "$stderr" 'is neither a file nor a folder'
}

@test "cp: links: a named one is followed, and none leads out of what a guest sends" {
	echo secret >canary
	in_vm box sh -c 'cd /srv; echo real >real; ln -s real link; ln -s /srv/real far; mkdir -p t/sub; ln -s /etc/passwd t/abs
		ln -s ../../canary t/up; ln -s ../t/sub/../../x t/odd; ln -s sub t/in; echo f >t/sub/f; ln -s t dirlink'
	banger vm cp box:/srv/link .
	banger vm cp box:/srv/far .
	banger vm cp box:/etc/os-release .
	equal "$(stat -c '%F' link far os-release | sort -u)" 'regular file'
	equal "$(cat link far)" $'real\nreal'
	run_for 0 banger vm cp box:/srv/dirlink t
	equal "$(cd t && find . | sort)" $'.\n./in\n./sub\n./sub/f'
	equal "$(sort <<<"$stderr")" "warning: left out, as it leads out of what is copied: dirlink/abs -> /etc/passwd
warning: left out, as it leads out of what is copied: dirlink/odd -> ../t/sub/../../x
warning: left out, as it leads out of what is copied: dirlink/up -> ../../canary"
	# Hostile names do not reach the terminal.
	in_vm box sh -c 'mkdir /srv/h; ln -s /x "/srv/h/$(printf "a\033]52;c;AAAA\007b")"'
	run_for 0 banger vm cp box:/srv/h h
	lacks "$stderr" $'\033'
	# Into the guest: a link that stands in the way is replaced, one to a folder is followed.
	banger vm cp canary box:/srv/link
	equal "$(in_vm box sh -c 'cat /srv/real; stat -c %F /srv/link')" $'real\nregular file'
	banger vm cp canary box:/srv/dirlink
	equal "$(in_vm box cat /srv/t/canary)" secret
	ln -s canary mine
	banger vm cp mine box:/srv
	equal "$(in_vm box stat -c %F /srv/mine)" 'regular file'
}

@test "cp -: a tar on standard input and output" {
	make_tree tree
	tar -C tree -c . | banger vm cp - box:/srv
	equal "$(guest_list /srv)" "$(host_list tree)"
	mkdir out
	banger vm cp box:/srv - | tar -C out -x
	equal "$(host_list out/srv)" "$(host_list tree)"
	equal "$(banger vm cp box:/srv/file - | tar -xO)" content
	# A reader that leaves; an input that is no tar, or cut off; no such folder.
	in_vm box sh -c 'head -c 5000000 /dev/zero | tr "\0" x >/srv/large'
	run bash -c '"$BANGER" vm cp box:/srv/large - | head -c 1000 | wc -c; echo "${PIPESTATUS[0]}"'
	equal "$output" $'1000\n141'
	run_for 1 bash -c 'head -c 5000 /dev/urandom | "$BANGER" vm cp - box:/srv'
	contains "$stderr" "banger: cannot copy '-' to 'box:/srv': "
	run_for 1 bash -c 'tar -C tree -c . | head -c 2000 | "$BANGER" vm cp - box:/srv'
	run_for 1 bash -c 'tar -C tree -c . | "$BANGER" vm cp - box:/srv/none'
	contains "$stderr" "there is no folder '/srv/none' in 'box'"
	# From one guest to another, or the same.
	in_vm box sh -c 'rm -r /srv/*; mkdir /srv/a /srv/b; echo x >/srv/a/x'
	banger vm cp box:/srv/a - | banger vm cp - box:/srv/b
	equal "$(in_vm box cat /srv/b/a/x)" x
}

@test "cp: large and sparse files; Ctrl-C leaves nothing on the host" {
	truncate -s 3G sparse
	echo end >>sparse
	banger vm cp sparse box:/srv/sparse
	equal "$(in_vm box stat -c %s /srv/sparse)" "$(stat -c %s sparse)"
	[ "$(in_vm box stat -c %b /srv/sparse)" -lt 10000 ]
	banger vm cp box:/srv/sparse back
	equal "$(tail -c 4 back)" end
	equal "$(stat -c %s back)" "$(stat -c %s sparse)"
	[ "$(stat -c %b back)" -lt 10000 ]

	in_vm box sh -c 'head -c 200000000 /dev/zero | tr "\0" x >/srv/large'
	start cp "$BANGER" vm cp box:/srv/large "$PWD/here/large"
	appears() { compgen -G 'here/.new-*' >/dev/null; }
	wait_until 20 appears
	kill -INT "$started"
	wait_for_status "$started" 130
	equal "$(grep -v '^copy: ' cp.err)" 'banger: cancelled'
	equal "$(ls -A here)" ''
	head -c 200000000 /dev/zero >large
	start cp "$BANGER" vm cp large box:/srv/put
	wait_until 20 in_vm box sh -c 'ls -A /srv | grep -q banger-put'
	kill -INT "$started"
	wait_for_status "$started" 130
	leaves() { [ "$(in_vm box ls -A /srv)" = $'large\nsparse' ]; }
	wait_until 20 leaves
}

@test "cp: what is no copy is refused before anything is done" {
	echo x >x
	run_for 2 banger vm cp x y
	equal "$stderr" "banger: neither 'x' nor 'y' is VM:PATH
hint: see 'banger vm cp --help'"
	run_for 2 banger vm cp box:/x box:/y
	contains "$stderr" 'banger: both are in VMs: '
	run_for 2 banger vm cp x
	run_for 2 banger vm cp x :/y
	run_for 2 banger vm cp '' box:/y
	run_for 1 banger vm cp x nobody:/y
	equal "$stderr" "banger: cannot copy 'x' to 'nobody:/y': there is no VM 'nobody'"
	printf y >a:b
	banger vm cp ./a:b box:/srv/colon
	equal "$(in_vm box cat /srv/colon)" y
	banger --quiet vm create --no-start --name off >/dev/null
	run_for 1 banger vm cp x off:/y
	contains "$stderr" "cannot copy files of 'off': it was never started"
	banger --quiet vm delete off >/dev/null
}
