#!/usr/bin/env bats
# shellcheck disable=SC2154 # bats sets status and output
# Large real checkouts, of git, perl and Linux, to an agent of this machine and back: what arrives is what was there, by
# git's own word, and so is what comes back. tests/prepare-sources fetches them once.

bats_require_minimum_version 1.5.0

# The first time they are fetched and committed.
export BATS_TEST_TIMEOUT=900

setup_file() {
	"$BATS_TEST_DIRNAME/../prepare-sources" "$BANGER_CACHE" 3>&-
	export SOCKET=$BATS_FILE_TMPDIR/agent.sock
	"$BANGER_BUILD/tests/integration/agent_checked" --listen-unix "$SOCKET" 3>&- &
	echo $! >"$BATS_FILE_TMPDIR/agent.pid"
	wait_for test -S "$SOCKET"
}

teardown_file() {
	kill "$(cat "$BATS_FILE_TMPDIR/agent.pid")"
	wait_for test ! -e "$SOCKET"
}

setup() {
	export HOME=$BATS_TEST_TMPDIR GIT_CONFIG_NOSYSTEM=1
	git config --global user.name a
	git config --global user.email a@b
	git config --global gc.auto 0
	cd "$BATS_TEST_TMPDIR" || return
	mkdir guest
}

# A kernel twice is much to leave lying about.
teardown() {
	rm -rf "$BATS_TEST_TMPDIR/r" "$BATS_TEST_TMPDIR/guest"
}

wait_for() {
	local tries
	for tries in {1..200}; do
		"$@" && return 0
		sleep 0.05
	done
	echo "still not, after $tries tries: $*"
	return 1
}

tool() {
	"$BANGER_BUILD/tests/integration/workspace_tool" "$@"
}

prepare() {
	run tool prepare "$SOCKET" r "$PWD/guest/r" "$@"
	echo "$output"
	[ "$status" -eq 0 ]
}

# Names, kinds, modes and links, then the bytes.
same_trees() {
	local top
	for top in r guest/r; do
		(cd "$top" && find . -path ./.git -prune -o -type d -printf '%p\0' -o -printf '%p %y %m %l\0' | sort -z) >"list-${top%%/*}"
	done
	cmp list-r list-guest
	diff -r -q --no-dereference --exclude=.git r guest/r
}

same_status() {
	[ "$(git -C guest/r rev-parse HEAD)" = "$(git -C r rev-parse HEAD)" ]
	[ "$(git -C guest/r status --porcelain)" = "$(git -C r status --porcelain)" ]
}

# Work as somebody does it, in the checkout $1; $2 makes it another's: every 97th file of the language gets a line, some go, move
# or become executable, and new ones come.
work() {
	local path count=0
	while IFS= read -r -d '' path; do
		case $((count % 5)) in
		0 | 1 | 2) echo "$2" >>"$1/$path" ;;
		3)
			rm "$1/$path"
			rmdir --parents --ignore-fail-on-non-empty -- "$(dirname -- "$1/$path")" # git has no empty folders
			;;
		4) mv "$1/$path" "$1/$path.$2" ;;
		esac
		count=$((count + 1))
	done < <(git -C "$1" ls-files -z -- '*.c' '*.h' '*.pm' | sed -z -n "${#2}~97p")
	[ "$count" -gt 5 ]
	mkdir "$1/of-$2"
	head -c 300000 /dev/urandom >"$1/of-$2/binary"
	echo text >"$1/of-$2/text"
	chmod +x "$1/of-$2/text"
	ln -s ../README "$1/of-$2/link"
}

# There and back: import, again, and what the guest did as a patch and as commits.
round_trip() {
	git clone -q "$BANGER_CACHE/sources/$1.git" r
	prepare
	[[ "$output" == first* ]]
	git -C guest/r fsck
	same_trees
	same_status

	work r host
	git -C r add -A -- of-host
	prepare untracked
	[[ "$output" == again* ]]
	same_trees
	same_status
	prepare untracked
	[[ "$output" == current* ]]

	# A commit, and more that is not committed.
	work guest/r guests
	git -C guest/r add -A
	git -C guest/r commit -q -m guest
	work guest/r visitors
	git -C guest/r fsck
	tool export "$SOCKET" patch "$PWD/guest/r" patch
	git -C r apply --check ../patch
	git -C r apply ../patch
	same_trees
	tool export "$SOCKET" bundle "$PWD/guest/r" bundle
	git -C r bundle verify -q ../bundle
	git -C r fetch -q ../bundle HEAD
	[ "$(git -C r rev-parse FETCH_HEAD)" = "$(git -C guest/r rev-parse HEAD)" ]
}

@test "git's own source goes there and back" {
	round_trip git
}

@test "perl goes there and back" {
	round_trip perl
}

@test "a kernel goes there and back" {
	round_trip linux
}
