#!/usr/bin/env bats
# Disks on file systems that share blocks between files, in a mount namespace of their own.

setup() {
	[ "$(id -u)" = 0 ] || skip "mounting a loop device needs root"
	[ -e /dev/loop-control ] || skip "there are no loop devices"
	export IMAGE=$BATS_TEST_TMPDIR/image PLACE=$BATS_TEST_TMPDIR/place
	mkdir "$PLACE"
	truncate -s 400M "$IMAGE"
}

# The unit test of disks once more, with a folder in the file system of IMAGE. The loop device goes with the mount.
clones_in_image() {
	# shellcheck disable=SC2016
	unshare -m bash -c 'set -e
		mount --make-rprivate /
		mount -o loop "$IMAGE" "$PLACE"
		mkdir "$PLACE/vm"
		BANGER_TEST_REFLINK_DIR=$PLACE/vm "$BANGER_BUILD/tests/unit/test_disk"'
}

@test "disks are reflinks on btrfs" {
	grep -qw btrfs /proc/filesystems || skip "the kernel has no btrfs"
	mkfs.btrfs -q "$IMAGE"
	run clones_in_image
	echo "$output"
	[ "$status" -eq 0 ]
	[[ "$output" == *"OK ] test_reflink"* ]]
	[ -z "$(losetup -j "$IMAGE")" ]
}
