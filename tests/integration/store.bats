#!/usr/bin/env bats
# The database on disks that are full to their last byte, in mount namespaces of their own.

setup() {
	[ "$(id -u)" = 0 ] || skip "mounting needs root"
	export PLACE=$BATS_TEST_TMPDIR/place IMAGE=$BATS_TEST_TMPDIR/image
	mkdir "$PLACE"
}

# Mounts with these arguments on PLACE and works there.
work_on() {
	# shellcheck disable=SC2016
	run unshare -m bash -c 'set -e
		mount --make-rprivate /
		mount "$@" "$PLACE"
		"$BANGER_BUILD/tests/integration/store_tool" "$PLACE"' work "$@"
	echo "$output"
}

deletes_but_does_not_create() {
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "opened" ]
	[[ "${lines[1]}" == "create: store the VM: keep the reserve '$PLACE/reserve': No space left on device" ]]
	[ "${lines[2]}" = "left: 0" ]
	[ "${lines[3]}" = "create with room: stored" ]
}

@test "on a full tmpfs stopping and deleting work, creating does not" {
	work_on -t tmpfs -o size=4M none
	deletes_but_does_not_create
}

@test "on a full ext4 stopping and deleting work, creating does not" {
	[ -e /dev/loop-control ] || skip "there are no loop devices"
	truncate -s 10M "$IMAGE"
	mkfs.ext4 -q "$IMAGE"
	work_on -o loop "$IMAGE"
	deletes_but_does_not_create
}
