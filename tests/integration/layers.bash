# Images from layers, through layers_tool: what layers.bats and bombs.bats share.
# shellcheck disable=SC2030,SC2031,SC2034,SC2154 # bats sets status, output and stderr, for each test in a subshell of its own

bats_require_minimum_version 1.5.0

setup() {
	TOOL=$BANGER_BUILD/tests/integration/layers_tool
	WRITER=$BANGER_BUILD/tests/integration/ext4_tool
	WALK=$BANGER_BUILD/tests/integration/ext4_walk
	LAYERS=$BATS_TEST_DIRNAME/layers.py
	TARS=$BATS_TEST_DIRNAME/ext4_tars.py
	IMAGES=$BATS_TEST_TMPDIR/images
	ROOT=$IMAGES/i/root.ext4
	cd "$BATS_TEST_TMPDIR" || exit
}

teardown() {
	rm -rf "$BATS_TEST_TMPDIR"
}

clean() {
	run e2fsck -fn "$1"
	[ "$status" -eq 0 ] || { echo "$output"; return 1; }
}

# From the layers listed in that file.
make_image() {
	local arguments
	mapfile -t arguments <"$1/layers"
	"$TOOL" "$IMAGES" i "${arguments[@]}" >/dev/null 2>err || { cat err; return 1; }
	clean "$ROOT"
	clean "$IMAGES/i/work-seed.ext4"
}

# The image made of the layout is what umoci unpacks from it, or from another one with the same layers.
same_as_umoci() {
	[ "$(id -u)" -eq 0 ] || skip "only root can unpack owners and devices"
	make_image "$1"
	rm -rf bundle
	umoci unpack --image "${2:-$1}:latest" bundle 2>err || { cat err; return 1; }
	"$LAYERS" walk bundle/rootfs >theirs
	"$WALK" "$ROOT" >ours
	diff theirs ours || { echo "differs: $1"; return 1; }
}

# COMPRESSION,DIFF_ID,PATH of a tar, compressed.
layer() {
	local packed=$1
	case $2 in
	gzip) packed=$1.gz && gzip -nc "$1" >"$packed" ;;
	zstd) packed=$1.zst && zstd -qcf "$1" >"$packed" ;;
	esac
	echo "$2,sha256:$(sha256sum <"$1" | cut -d' ' -f1),$packed"
}

refuses() {
	run --separate-stderr "$TOOL" "$IMAGES" i "$@"
	[ "$status" -eq 1 ] || { echo "status $status: $output $stderr"; return 1; }
	nothing_left
}

says() {
	[[ $stderr == *"$1"* ]] || { echo "does not say '$1': $stderr"; return 1; }
}

# No image, no staging folder, no process.
nothing_left() {
	[ -z "$(ls -A "$IMAGES")" ] || { ls -A "$IMAGES"; return 1; }
	no_workers
}

# Of those that this run of bats has started: its session's. (What program they are, only root could ask.)
no_workers() {
	local left
	left=$(pgrep -s 0 -f -- '--worker (image|unpack)$') || return 0
	echo "still run: $left"
	return 1
}

# Starts the tool with a layer that does not come, and finds its workers.
start_waiting() {
	: >err
	"$TOOL" "$IMAGES" i "$@" "none,sha256:0,$PWD/never" 2>err 3>&- &
	pid=$!
	wait_for grep -q '^waiting' err
	image_worker=$(pgrep -P $pid -f -- '--worker image$')
}

ends_with() {
	status=0
	wait "$pid" || status=$?
	[ "$status" -eq 1 ]
	stderr=$(grep -v '^waiting' err)
	says "$1"
	nothing_left
}
