#!/usr/bin/env bats
# Images and kernels whose files and records do not fit: folders that were removed by hand, deletes that could not be finished.
# shellcheck disable=SC2154 # bats sets status, output, stderr, lines

load helper
load crash_helper

KERNEL=debian-cloud

setup_file() {
	record_image_tar "$BATS_FILE_TMPDIR/image.tar"
	record_image_tar "$BATS_FILE_TMPDIR/image-2.tar" 2
	record_kernel_tar "$BATS_FILE_TMPDIR/kernel.tar"
}

# An image of one's own, with the shared kernels.
own_image() {
	own_artifacts
	rmdir "$BANGER_STATE_DIR/kernels"
	ln -s "$BANGER_CACHE/state/kernels" "$BANGER_STATE_DIR/kernels"
	serve "$BATS_FILE_TMPDIR/image.tar"
	banger --quiet image pull "$IMAGE" >/dev/null
	equal "$(images)" "$IMAGE ready"
}

own_kernel() {
	own_artifacts
	serve "$BATS_FILE_TMPDIR/kernel.tar"
	banger --quiet kernel pull $KERNEL >/dev/null
	equal "$(kernels)" "$KERNEL ready"
}

release_state() {
	mountpoint -q "$BANGER_STATE_DIR/images/$IMAGE" && umount "$BANGER_STATE_DIR/images/$IMAGE"
	mountpoint -q "$BANGER_STATE_DIR/kernels/$KERNEL" && umount "$BANGER_STATE_DIR/kernels/$KERNEL"
	return 0
}

@test "an image whose folder was removed is made again when a VM needs it" {
	own_image
	rm -r "$BANGER_STATE_DIR/images/$IMAGE"
	serve "$BATS_FILE_TMPDIR/image-2.tar"
	make_vm box
	equal "$(images)" "$IMAGE ready"
	equal "$(image_version)" 2
	image_is_whole
	equal "$(state_of box)" created
	disks_are_whole box
}

@test "an image or a kernel whose folder was removed is forgotten at the next start, and can be pulled again" {
	own_image
	rm -r "$BANGER_STATE_DIR/images/$IMAGE"
	restart_daemon
	equal "$(images)" ''
	banger --quiet image pull "$IMAGE" >/dev/null
	equal "$(images)" "$IMAGE ready"
	image_is_whole
	rm "$BANGER_STATE_DIR/kernels"
	mkdir -m 700 "$BANGER_STATE_DIR/kernels"
	restart_daemon
	equal "$(kernels)" ''
	serve "$BATS_FILE_TMPDIR/kernel.tar"
	banger --quiet kernel pull $KERNEL >/dev/null
	equal "$(kernels)" "$KERNEL ready"
}

@test "an image that was removed under a VM: said, everything else goes on, and it is made again when the VM is gone" {
	own_image
	make_vm box
	rm -r "$BANGER_STATE_DIR/images/$IMAGE"
	run_for 1 banger vm create --no-start --name more
	contains "$stderr" "cannot create 'more': "
	contains "$stderr" "the files of image '$IMAGE' are gone"
	contains "$stderr" "in use by 1 VM"
	equal "$(names_in images)" ''
	restart_daemon
	log_has "cannot put image '$IMAGE' right, leaving it as it is"
	equal "$(state_of box)" created
	run_for 1 banger --quiet vm start box
	contains "$stderr" "cannot start 'box': "
	contains "$stderr" "there is no image '$IMAGE'"
	equal "$(state_of box)" created
	wait_until 20 no_vmm_runs
	banger --quiet kernel list >/dev/null
	equal "$(images)" "$IMAGE ready" # its record
	run_for 1 banger --quiet image delete "$IMAGE"
	contains "$stderr" "in use by 1 VM"
	delete_vm box
	make_vm box
	equal "$(images)" "$IMAGE ready"
	image_is_whole
}

# What is mounted cannot be renamed. Noun and verb, the name, what lists them.
delete_fails_at_first() {
	local noun=$1 verb=$2 name=$3 list=$4 folder=$BANGER_STATE_DIR/$4/$3
	mount --bind "$folder" "$folder"
	run_for 1 banger --quiet "$noun" "$verb" "$name"
	contains "$stderr" "Device or resource busy"
	equal "$("$list")" "$name deleting"
	run_for 1 banger --quiet "$noun" "$verb" "$name"
	contains "$stderr" "Device or resource busy"
	# A daemon that cannot do it either starts, and says so.
	restart_daemon
	log_has "cannot put $noun '$name' right, leaving it as it is"
	equal "$("$list")" "$name deleting"
	umount "$folder"
	run_for 0 banger --quiet "$noun" "$verb" "$name"
	equal "$("$list")" ''
	equal "$(ls -A "$(dirname "$folder")")" ''
	run_for 1 banger --quiet "$noun" "$verb" "$name"
	contains "$stderr" "no $noun '$name'"
}

@test "an image whose delete failed: it can be repeated, also by another daemon" {
	own_image
	delete_fails_at_first image delete "$IMAGE" images
}

@test "a kernel whose delete failed: it can be repeated, also by another daemon" {
	own_kernel
	delete_fails_at_first kernel rm $KERNEL kernels
}

@test "an image whose delete failed is made anew when a VM needs it, and finished by the next start" {
	local folder=$BANGER_STATE_DIR/images/$IMAGE
	own_image
	mount --bind "$folder" "$folder"
	run_for 1 banger --quiet image delete "$IMAGE"
	umount "$folder"
	serve "$BATS_FILE_TMPDIR/image-2.tar"
	make_vm box
	equal "$(images) $(image_version)" "$IMAGE ready 2"
	image_is_whole
	delete_vm box
	mount --bind "$folder" "$folder"
	run_for 1 banger --quiet image delete "$IMAGE"
	umount "$folder"
	restart_daemon
	equal "$(images)" ''
	equal "$(names_in images)" ''
}
