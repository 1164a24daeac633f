#!/usr/bin/env bats
# bangerd killed: at each named step of what it does (FAULTS.md K1), at system calls, and while VMs run. What it was doing is
# then either done or undone, the same command works again, and VMs that ran go on.
# shellcheck disable=SC2154,SC2016,SC2030,SC2031,SC2034 # bats sets status, output, stderr, lines; expressions for other shells; each
# test is a subshell

load helper
load crash_helper
load registry

setup_file() {
	record_image_tar "$BATS_FILE_TMPDIR/image.tar"
	record_image_tar "$BATS_FILE_TMPDIR/image-2.tar" 2
	record_kernel_tar "$BATS_FILE_TMPDIR/kernel.tar"
}

@test "each failpoint of the sources has its test, and each test its failpoint" {
	local sources tests
	sources=$(grep -rhoE 'failpoint\("[^"]+"\)' "$BATS_TEST_DIRNAME/../../src" | cut -d '"' -f 2 | sort -u)
	tests=$(grep -ohE '\b[a-z]+(\.[a-z]+)+\b' "$BATS_TEST_DIRNAME"/*.bats "$BATS_TEST_DIRNAME"/../integration/*.bats | sort -u)
	equal "$(comm -23 <(echo "$sources") <(echo "$tests"))" ""
	equal "$(grep -oE '^@test "killed at [a-z.]+' "$BATS_TEST_FILENAME" | cut -d ' ' -f 4 | sort -u |
		comm -13 <(echo "$sources") -)" ""
}

# --- the database ---

# A first start that is killed leaves what the next one can work with.
first_start_killed_at() {
	BANGER_FAILPOINT=$1 run_for 1 banger vm list
	contains "$stderr" "banger: cannot start bangerd: bangerd ended before it was ready"
	wait_until 20 daemon_is_gone
	recover "$1"
	equal "$(find "$BANGER_STATE_DIR" -name '.new-*')" ""
	equal "$(banger --json vm list | jq -c .vms)" "[]"
	equal "$(change_database 'PRAGMA integrity_check')" "('ok',)"
}

@test "killed at store.open.made: a new database is made" {
	first_start_killed_at store.open.made
}

@test "killed at store.open.renamed: the database is in its place" {
	first_start_killed_at store.open.renamed
}

# --- vm create ---

create_undone() {
	crash_at "$1" banger vm create --name box --no-start
	recover "$1"
	assert_no_vms
	equal "$(pinned)" ''
	make_vm box
	equal "$(state_of box)" created
	disks_are_whole box
}

# The names that known_hosts has.
pinned() {
	cut -d ' ' -f 1 "$BANGER_STATE_DIR/ssh/known_hosts"
}

@test "killed at vm.create.row: the VM is undone" {
	create_undone vm.create.row
}

@test "killed at vm.create.folder: the VM is undone" {
	create_undone vm.create.folder
}

@test "killed at disk.create.made: the VM is undone" {
	create_undone disk.create.made
}

@test "killed at disk.create.renamed: the VM is undone" {
	create_undone disk.create.renamed
}

@test "killed at vm.create.disks: the VM is undone" {
	create_undone vm.create.disks
}

@test "killed at vm.create.keys: the VM is undone" {
	create_undone vm.create.keys
}

@test "killed at vm.create.pinned: the VM is undone" {
	create_undone vm.create.pinned
}

@test "killed at vm.create.stored: the VM is there" {
	crash_at vm.create.stored banger vm create --name box --no-start
	recover vm.create.stored
	equal "$(state_of box)" created
	disks_are_whole box
	run_for 1 banger vm create --name box --no-start
	contains "$stderr" "a VM named 'box' exists already"
}

# Before a sample of its system calls. A count is also reached by other threads, and by qemu-img: then that is what dies.
@test "killed before single system calls of vm create: done or undone, and it works again" {
	local calls=() call kills=0 deaths=0 undone=0 pid
	[ "$EUID" -eq 0 ] || skip "tracing a process that is not dumpable needs root"
	# Sanitizers and ptrace do not go together.
	BANGER=${BANGER_PLAIN_BUILD:-$BANGER_BUILD/../default}/src/bin/banger
	make_vm box
	delete_vm box
	trace_daemon -o "$BATS_TEST_TMPDIR/trace"
	make_vm box
	end_trace TERM
	delete_vm box
	mapfile -t calls < <(calls_of_thread "$BATS_TEST_TMPDIR/trace" 'mkdir.*/vms/[0-9a-f]+"')
	[ "${#calls[@]}" -gt 100 ]
	for ((i = 4; i < ${#calls[@]}; i += 9)); do
		read -r call count <<<"${calls[i]}"
		pid=$(daemon_pid)
		trace_daemon -o /dev/null -e "inject=$call:signal=KILL:when=$count"
		run banger --quiet vm create --name box --no-start
		end_trace
		kills=$((kills + 1))
		if has_ended "$pid"; then deaths=$((deaths + 1)); fi
		if [ "$(banger --quiet vm list -q)" = "" ]; then
			undone=$((undone + 1))
			assert_no_vms
			make_vm box
		fi
		equal "before the $count. $call: $(state_of box)" "before the $count. $call: created"
		disks_are_whole box
		delete_vm box
		equal "$(ls "$BANGER_STATE_DIR/vms")" ""
	done
	echo "# $kills of ${#calls[@]} calls: bangerd died of $deaths, $undone were undone" >&3
	[ "$deaths" -gt $((kills / 2)) ]
}

# The same for a VM that has an address: whatever was begun is finished by the next bangerd, or by who asks again.
@test "killed before single system calls of vm delete: it is there still or gone, and nothing of it is left" {
	local calls=() call kills=0 deaths=0 gone=0 pid
	[ "$EUID" -eq 0 ] || skip "tracing a process that is not dumpable needs root"
	BANGER=${BANGER_PLAIN_BUILD:-$BANGER_BUILD/../default}/src/bin/banger
	make_vm box
	trace_daemon -o "$BATS_TEST_TMPDIR/trace"
	delete_vm box
	end_trace TERM
	mapfile -t calls < <(calls_of_thread "$BATS_TEST_TMPDIR/trace" 'unlinkat.*work.qcow2"')
	[ "${#calls[@]}" -gt 50 ]
	for ((i = 2; i < ${#calls[@]}; i += 5)); do
		make_vm box
		read -r call count <<<"${calls[i]}"
		pid=$(daemon_pid)
		trace_daemon -o /dev/null -e "inject=$call:signal=KILL:when=$count"
		run banger --quiet vm delete box
		end_trace
		kills=$((kills + 1))
		if has_ended "$pid"; then deaths=$((deaths + 1)); fi
		if [ "$(banger --quiet vm list -q)" = "" ]; then
			gone=$((gone + 1))
		else
			equal "before the $count. $call: $(state_of box)" "before the $count. $call: created"
			disks_are_whole box
			delete_vm box
		fi
		assert_no_vms
		equal "$(banger --json doctor --plan | jq -c '[.actions, .left]')" '[[],[]]'
	done
	echo "# $kills of ${#calls[@]} calls: bangerd died of $deaths, $gone were deleted all the same" >&3
	[ "$deaths" -gt $((kills / 2)) ]
}

# --- vm start ---

# The VM is as before, with the reason; it can be started.
start_undone() {
	make_vm box
	crash_at "$1" banger vm start box
	recover "$1"
	equal "$(state_of box)" created
	equal "$(vm_get box .last_error)" "bangerd ended while this VM was being started"
	assert_stopped box
	start_vm box
	equal "$(state_of box) $(vm_get box .last_error)" "running null"
	in_vm box true
}

@test "killed at vm.start.intent: the start is undone" {
	start_undone vm.start.intent
}

@test "killed at vm.start.initrd: the start is undone" {
	start_undone vm.start.initrd
}

@test "killed at vm.start.folder: the start is undone" {
	start_undone vm.start.folder
}

@test "killed at priv.cgroup.made: the start is undone" {
	start_undone priv.cgroup.made
}

@test "killed at vm.start.cgroup: the start is undone" {
	start_undone vm.start.cgroup
}

@test "killed at vm.start.spawned: the VMM that nobody wrote down is ended" {
	start_undone vm.start.spawned
	log_has "found VMM [0-9]*, which handles.json does not name"
}

@test "killed at vm.start.noted: the VMM is ended" {
	start_undone vm.start.noted
}

@test "killed at vm.start.configured: the VMM is ended" {
	start_undone vm.start.configured
}

@test "killed at vm.start.booted: the VMM is ended" {
	start_undone vm.start.booted
}

@test "killed at vm.start.healthy: the VMM is ended" {
	start_undone vm.start.healthy
}

@test "killed at vm.start.files: the VMM is ended" {
	start_undone vm.start.files
}

@test "killed at vm.start.stored: the VM runs and is adopted" {
	make_vm box
	crash_at vm.start.stored banger vm start box
	local vmm
	vmm=$(pgrep -x banger-vmm)
	recover vm.start.stored
	equal "$(state_of box) $(vm_get box .pid)" "running $vmm"
	in_vm box true
	run_for 1 banger vm start box
	contains "$stderr" "cannot start 'box': it is running"
}

@test "vm run killed while its guest boots: neither VM nor VMM is left" {
	crash_at vm.start.booted banger vm run --name box -d
	recover vm.start.booted
	assert_no_vms
	wait_until 20 no_vmm_runs
}

# --- vm stop ---

# What was begun is finished.
stop_done() {
	run_vm box
	crash_at "$1" banger vm stop box
	recover "$1"
	equal "$(state_of box) $(vm_get box .last_error)" "stopped null"
	assert_stopped box
	disks_are_whole box
	run_for 1 banger vm stop box
	contains "$stderr" "cannot stop 'box': it is stopped"
}

@test "killed at vm.stop.intent: the VM is stopped" {
	stop_done vm.stop.intent
}

@test "killed at vm.stop.asked: the VM is stopped, and its disks can be used" {
	stop_done vm.stop.asked
	start_vm box
	in_vm box sh -c 'touch /written /root/written'
}

@test "killed at vm.teardown.ended: the VM is stopped" {
	stop_done vm.teardown.ended
}

@test "killed at vm.teardown.cgroup: the VM is stopped" {
	stop_done vm.teardown.cgroup
}

@test "killed at vm.teardown.sockets: the VM is stopped" {
	stop_done vm.teardown.sockets
}

@test "killed at vm.stop.ended: the VM is stopped" {
	stop_done vm.stop.ended
}

@test "killed at vm.stop.stored: the VM is stopped" {
	stop_done vm.stop.stored
}

@test "killed at vm.kill.intent: the VM is stopped" {
	run_vm box
	crash_at vm.kill.intent banger vm kill box
	recover vm.kill.intent
	equal "$(state_of box) $(vm_get box .last_error)" "stopped null"
	assert_stopped box
	disks_are_whole box
	start_vm box
	in_vm box true
}

@test "killed at vm.end.stored: the VM whose guest powered off is stopped, and nothing of its run is left" {
	local handles runtime
	BANGER_FAILPOINT=vm.end.stored run_vm box
	handles=$(folder_of box)/handles.json
	runtime=$(runtime_of box)
	banger --quiet vm exec box -- sh -c 'sync; echo o >/proc/sysrq-trigger' || true
	wait_until 20 daemon_is_gone
	[ -e "$handles" ]
	[ -e "$runtime" ]
	recover vm.end.stored
	log_has 'clean handles.json, .*: it does not run'
	equal "$(state_of box) $(vm_get box .last_error)" "stopped null"
	assert_stopped box
	start_vm box
	in_vm box true
}

# --- vm pause, vm resume ---

@test "killed at vm.freeze.done: the VM is what its VMM says" {
	local vmm guest
	run_vm box
	vmm=$(vm_get box .pid)
	guest=$(boot_id box)
	crash_at vm.freeze.done banger vm pause box
	equal "$(change_database 'SELECT state, intent FROM vms')" "('running', None)"
	recover "vm.freeze.done of pause"
	equal "$(state_of box) $(vm_get box .pid)" "paused $vmm"
	crash_at vm.freeze.done banger vm resume box
	equal "$(change_database 'SELECT state, intent FROM vms')" "('paused', None)"
	recover "vm.freeze.done of resume"
	equal "$(state_of box) $(vm_get box .pid)" "running $vmm"
	equal "$(boot_id box)" "$guest"
}

# --- vm set ---

set_done() {
	make_vm box
	crash_at "$1" banger vm set box --name web --vcpu 2 --disk-size 2G
	recover "$1"
	equal "$(banger --json vm list | jq -c '[.vms[] | [.name, .state, .vcpu, .disk_bytes]]')" '[["web","created",2,2147483648]]'
	equal "$(change_database 'SELECT intent FROM vms')" "(None,)"
	equal "$(qemu-img info --output=json "$(folder_of web)/work.qcow2" | jq '."virtual-size"')" 2147483648
	disks_are_whole web
	equal "$(pinned)" web.vm
	banger --quiet vm set web --disk-size 3G >/dev/null
}

@test "killed at vm.set.intent: the VM is changed, and its disk grown" {
	set_done vm.set.intent
}

@test "killed at vm.set.grown: the VM is changed; one that runs goes on and has its name" {
	local vmm guest
	set_done vm.set.grown
	run_vm box
	vmm=$(vm_get box .pid)
	guest=$(boot_id box)
	crash_at vm.set.grown banger vm set box --name renamed
	recover "vm.set.grown of a VM that runs"
	equal "$(state_of renamed) $(vm_get renamed .pid)" "running $vmm"
	equal "$(boot_id renamed)" "$guest"
	equal "$(in_vm renamed hostname)" renamed
}

@test "killed at vm.set.pinned: the VM is changed" {
	set_done vm.set.pinned
}

# --- vm delete ---

delete_done() {
	crash_at "$1" banger vm delete box
	recover "$1"
	assert_no_vms
	run_for 1 banger vm delete box
	contains "$stderr" "there is no VM 'box'"
	equal "$(pinned)" ''
	make_vm box # the name is free
}

@test "killed at vm.delete.intent: the VM that ran is gone" {
	run_vm box
	delete_done vm.delete.intent
	wait_until 20 no_vmm_runs
}

@test "killed at vm.delete.unpinned: the VM is gone" {
	make_vm box
	delete_done vm.delete.unpinned
}

@test "killed at vm.delete.folder: the VM is gone" {
	make_vm box
	delete_done vm.delete.folder
}

@test "killed at vm.delete.row: the VM is gone" {
	make_vm box
	delete_done vm.delete.row
}

# --- images ---

image_home() {
	own_artifacts
	serve "$BATS_FILE_TMPDIR/image.tar"
}

pull_image() {
	banger --quiet image pull "$IMAGE" >/dev/null
}

# The image is there whole: the one of the version given, and nothing else.
assert_image() {
	equal "$(images)" "$IMAGE ready"
	equal "$(names_in images)" "$IMAGE"
	equal "$(image_version)" "$1"
	image_is_whole
}

assert_no_image() {
	equal "$(images)" ""
	equal "$(names_in images)" ""
}

# Once without an image, and once with one that is to be replaced.
image_pull_undone() {
	image_home
	crash_at "$1" banger image pull "$IMAGE"
	recover "$1"
	assert_no_image
	pull_image
	assert_image 1
	serve "$BATS_FILE_TMPDIR/image-2.tar"
	crash_at "$1" banger image pull "$IMAGE"
	recover
	assert_image 1
	pull_image
	assert_image 2
}

image_pull_done() {
	image_home
	crash_at "$1" banger image pull "$IMAGE"
	recover "$1"
	assert_image 1
	serve "$BATS_FILE_TMPDIR/image-2.tar"
	crash_at "$1" banger image pull "$IMAGE"
	recover
	assert_image 2
	pull_image
	assert_image 2
}

@test "killed at image.pull.intent: there is no image, or the old one" {
	image_pull_undone image.pull.intent
}

@test "killed at image.build.staged: there is no image, or the old one" {
	image_pull_undone image.build.staged
}

@test "killed at image.build.written: there is no image, or the old one" {
	image_pull_undone image.build.written
}

@test "killed at image.build.renamed: the new image is there" {
	image_pull_done image.build.renamed
}

@test "killed at image.pull.built: the new image is there" {
	image_pull_done image.pull.built
}

@test "killed at image.pull.stored: the new image is there" {
	image_pull_done image.pull.stored
}

@test "killed while mmdebstrap writes: it is ended, and so is the worker" {
	image_home
	touch "$HOME_DIR/hold"
	start pull "$BANGER" image pull "$IMAGE"
	wait_until 20 test -e "$HOME_DIR/held"
	pgrep -f -- '--worker image'
	restart_daemon
	wait_for_status "$started" 1
	no_one_builds() { ! pgrep -f 'bin/mmdebstrap|--worker image' >/dev/null; }
	wait_until 20 no_one_builds
	assert_no_image
	rm "$HOME_DIR/hold"
	pull_image
	assert_image 1
}

image_delete_done() {
	image_home
	pull_image
	crash_at "$1" banger image delete "$IMAGE"
	recover "$1"
	assert_no_image
	run_for 1 banger image delete "$IMAGE"
	contains "$stderr" "no image '$IMAGE'"
	pull_image
	assert_image 1
}

@test "killed at image.delete.intent: the image is gone" {
	image_delete_done image.delete.intent
}

@test "killed at image.delete.renamed: the image is gone" {
	image_delete_done image.delete.renamed
}

@test "killed at image.delete.removed: the image is gone" {
	image_delete_done image.delete.removed
}

# --- images of a registry ---

# Whatever was cut off: no image, no staging, and only whole blobs under their names; then the same command works.
oci_pull_undone() {
	own_artifacts
	[ -d "$BATS_FILE_TMPDIR/layouts" ] || make_layouts "$BATS_FILE_TMPDIR/layouts" >/dev/null 2>&1
	LAYOUTS=$BATS_FILE_TMPDIR/layouts
	start_registry "$BATS_TEST_TMPDIR/registry"
	push tiny:1 tiny:1
	crash_at "$1" banger image pull "$REGISTRY/tiny:1"
	recover "$1"
	assert_no_image
	blobs_are_whole
	banger --quiet image pull "$REGISTRY/tiny:1" >/dev/null
	equal "$(images)" "tiny-1 ready"
	blobs_are_whole
	equal "$(find "$BANGER_CACHE_DIR/partial" -type f)" ""
	stop_registry
}

blobs_are_whole() {
	local blob
	while read -r blob; do
		equal "$(sha256sum <"$blob" | cut -d ' ' -f 1)" "${blob##*/}"
	done < <(find "$BANGER_CACHE_DIR/blobs" -type f)
}

@test "killed at oci.blob.partial: there is no image" {
	oci_pull_undone oci.blob.partial
}

@test "killed at oci.blob.written: there is no image" {
	oci_pull_undone oci.blob.written
}

@test "killed at oci.blob.verified: there is no image" {
	oci_pull_undone oci.blob.verified
}

@test "killed at oci.blob.synced: there is no image" {
	oci_pull_undone oci.blob.synced
}

@test "killed at oci.blob.renamed: there is no image" {
	oci_pull_undone oci.blob.renamed
}

@test "killed at oci.prune.renamed: the cache is empty, and the next prune leaves nothing" {
	own_artifacts
	[ -d "$BATS_FILE_TMPDIR/layouts" ] || make_layouts "$BATS_FILE_TMPDIR/layouts" >/dev/null 2>&1
	LAYOUTS=$BATS_FILE_TMPDIR/layouts
	start_registry "$BATS_TEST_TMPDIR/registry"
	push tiny:1 tiny:1
	banger --quiet image pull "$REGISTRY/tiny:1" >/dev/null
	crash_at oci.prune.renamed banger image cache prune
	recover oci.prune.renamed
	banger --quiet image cache prune >/dev/null
	equal "$(find "$BANGER_CACHE_DIR" -type f)" ""
	banger --quiet image pull "$REGISTRY/tiny:1" --name again >/dev/null
	blobs_are_whole
	stop_registry
}

# --- files of one's own ---

# A file system and a kernel of one's own, in $mine and $vmlinux.
own_files() {
	own_artifacts
	mine=$HOME_DIR/mine.ext4 vmlinux=$HOME_DIR/vmlinux
	truncate -s 64M "$mine"
	mke2fs -q -t ext4 "$mine"
	/usr/bin/python3 "$BATS_TEST_DIRNAME/../integration/small_kernel.py" >"$vmlinux"
}

kind_of() {
	banger --json image show "$1" | jq -r .image.kind
}

@test "killed at image.promote.stored: the image is registered as before, and can be promoted" {
	own_files
	banger --quiet image register mine --rootfs "$mine" >/dev/null
	crash_at image.promote.stored banger image promote mine
	recover image.promote.stored
	equal "$(kind_of mine) $(names_in images)" "registered mine"
	banger --quiet image promote mine >/dev/null
	rm "$mine"
	equal "$(kind_of mine) $(names_in images)" "managed mine"
}

@test "killed at image.promote.moved: the image is managed" {
	own_files
	banger --quiet image register mine --rootfs "$mine" >/dev/null
	crash_at image.promote.moved banger image promote mine
	recover image.promote.moved
	rm "$mine"
	equal "$(kind_of mine) $(names_in images)" "managed mine"
}

register_pair() {
	banger --quiet image register pair --rootfs "$mine" --kernel "$vmlinux" --initrd "$mine"
}

assert_pair() {
	equal "$(images) $(names_in images)" "pair ready pair"
	equal "$(kernels) $(names_in kernels)" "pair ready pair"
	equal "$(banger --json image show pair | jq -r .image.kernel)" pair
	cmp "$BANGER_STATE_DIR/kernels/pair/vmlinux" "$vmlinux"
}

# Neither image nor kernel is left, and the same command works.
register_undone() {
	crash_at "$1" register_pair
	recover "$1"
	assert_no_image
	assert_no_kernel
	register_pair >/dev/null
	assert_pair
	banger --quiet image delete pair >/dev/null
	banger --quiet kernel rm pair >/dev/null
}

@test "killed at image.register.kernel: neither the image nor its kernel is there" {
	own_files
	register_undone image.register.kernel
}

@test "an image with a kernel of its own, killed at the other steps: both are there, or neither" {
	local step
	own_files
	for step in image.pull.intent kernel.pull.intent kernel.pull.staged kernel.pull.extracted kernel.pull.renamed \
		kernel.pull.built kernel.pull.stored image.build.staged; do
		register_undone "$step"
	done
	for step in image.build.renamed image.pull.built image.pull.stored; do
		crash_at "$step" register_pair
		recover "$step"
		assert_pair
		banger --quiet image delete pair >/dev/null
		banger --quiet kernel rm pair >/dev/null
	done
	# Killed again while that is undone.
	crash_at image.register.kernel register_pair
	BANGER_FAILPOINT=kernel.delete.intent run_for 1 banger vm list
	wait_until 20 daemon_is_gone
	recover kernel.delete.intent
	assert_no_image
	assert_no_kernel
	# A kernel that was there before is not touched.
	banger --quiet kernel import pair --from "$HOME_DIR" >/dev/null
	run_for 1 register_pair
	contains "$stderr" "a kernel named 'pair' exists already"
	equal "$(images)" ''
	equal "$(kernels)" "pair ready"
}

# --- kernels ---

KERNEL=debian-cloud

kernel_home() {
	own_artifacts
	serve "$BATS_FILE_TMPDIR/kernel.tar"
}

pull_kernel() {
	banger --quiet kernel pull $KERNEL >/dev/null
}

assert_kernel() {
	local folder=$BANGER_STATE_DIR/kernels/$KERNEL
	equal "$(kernels)" "$KERNEL ready"
	equal "$(names_in kernels)" "$KERNEL"
	equal "$(sha256sum <"$folder/vmlinux" | cut -d ' ' -f 1)" "$(jq -r .vmlinux_sha256 "$folder/kernel.json")"
	[ -s "$folder/modules/kernel/fs/overlayfs/overlay.ko" ]
}

assert_no_kernel() {
	equal "$(kernels)" ""
	equal "$(names_in kernels)" ""
}

kernel_pull_undone() {
	kernel_home
	crash_at "$1" banger kernel pull $KERNEL
	recover "$1"
	assert_no_kernel
	pull_kernel
	assert_kernel
}

kernel_pull_done() {
	kernel_home
	crash_at "$1" banger kernel pull $KERNEL
	recover "$1"
	assert_kernel
	pull_kernel
	assert_kernel
}

@test "killed at kernel.pull.intent: there is no kernel" {
	kernel_pull_undone kernel.pull.intent
}

@test "killed at kernel.pull.staged: there is no kernel" {
	kernel_pull_undone kernel.pull.staged
}

@test "killed at kernel.pull.extracted: there is no kernel" {
	kernel_pull_undone kernel.pull.extracted
}

@test "killed at kernel.pull.renamed: the kernel is there" {
	kernel_pull_done kernel.pull.renamed
}

@test "killed at kernel.pull.built: the kernel is there" {
	kernel_pull_done kernel.pull.built
}

@test "killed at kernel.pull.stored: the kernel is there" {
	kernel_pull_done kernel.pull.stored
}

kernel_rm_done() {
	kernel_home
	pull_kernel
	crash_at "$1" banger kernel rm $KERNEL
	recover "$1"
	assert_no_kernel
	run_for 1 banger kernel rm $KERNEL
	contains "$stderr" "no kernel '$KERNEL'"
}

@test "killed at kernel.delete.intent: the kernel is gone" {
	kernel_rm_done kernel.delete.intent
}

@test "killed at kernel.rm.renamed: the kernel is gone" {
	kernel_rm_done kernel.rm.renamed
}

@test "killed at kernel.delete.removed: the kernel is gone" {
	kernel_rm_done kernel.delete.removed
}

# --- VMs that run while bangerd is killed ---

@test "a VM that runs is adopted, and so are its sessions" {
	local vmm guest session follower
	run_vm box
	vmm=$(vm_get box .pid)
	guest=$(boot_id box)
	start session "$BANGER" vm exec box -- sh -c 'echo one; until [ -e /go ]; do sleep 0.1; done; echo two; exit 7'
	session=$started
	start follower "$BANGER" vm logs box --console -f
	follower=$started
	wait_until 20 file_has "$BATS_TEST_TMPDIR/session.out" one
	restart_daemon
	equal "$(state_of box) $(vm_get box .pid)" "running $vmm"
	equal "$(vm_get box .engine) $(vm_get box .accelerator)" "qemu $ACCEL"
	equal "$(boot_id box)" "$guest"
	in_vm box sh -c 'echo after the crash >/dev/console; touch /go'
	wait_for_status "$session" 7
	equal "$(cat "$BATS_TEST_TMPDIR/session.out")" $'one\ntwo'
	equal "$(cat "$BATS_TEST_TMPDIR/session.err")" ""
	wait_until 20 file_has "$BATS_TEST_TMPDIR/follower.out" 'after the crash'
	kill -INT "$follower"
	wait "$follower" || true
	banger --quiet vm pause box >/dev/null
	restart_daemon "kill -9 beside a paused VM"
	equal "$(state_of box) $(vm_get box .pid)" "paused $vmm"
	banger --quiet vm resume box >/dev/null
	equal "$(boot_id box)" "$guest"
	# One that is no child of its daemon can be stopped like any other.
	run_for 0 banger --json vm stop box
	equal "$(jq -c '.results[0].result | [.vm.state, .forced]' <<<"$output")" '["stopped",false]'
	assert_stopped box
}

# Ends both ways for a VM whose daemon is not the parent of its VMM.
@test "how the VMM of an adopted VM ended is told from its files" {
	run_vm box
	restart_daemon
	in_vm box sh -c 'sync; echo o >/proc/sysrq-trigger' || true
	wait_until 20 vm_is box stopped
	equal "$(vm_get box .last_error)" null
	assert_stopped box
	start_vm box
	restart_daemon
	kill -KILL "$(vm_get box .pid)"
	wait_until 20 vm_is box error
	contains "$(vm_get box .last_error)" "the VMM ended in disorder; log: "
	assert_stopped box
}

@test "handles.json lost, cut off, garbage or another's: the VM that runs is found" {
	local vmm guest handles other
	run_vm box
	vmm=$(vm_get box .pid)
	guest=$(boot_id box)
	handles=$(folder_of box)/handles.json
	cp "$handles" "$BATS_TEST_TMPDIR/handles.json"
	sleep 1000 3>&- &
	other=$!
	for damage in 'rm "$1"' 'truncate -s 20 "$1"' ': >"$1"' 'head -c 5000 /dev/urandom >"$1"' \
		'jq -c ".pid = $2 | .start_time = $3" "$4" >"$1"' 'jq -c ".boot_id = \"${5/[0-9]/x}\"" "$4" >"$1"'; do
		kill_daemon
		bash -euc "$damage" damage "$handles" "$other" "$(cut -d ' ' -f 22 "/proc/$other/stat")" \
			"$BATS_TEST_TMPDIR/handles.json" "$(</proc/sys/kernel/random/boot_id)"
		recover "$damage"
		equal "$(state_of box) $(vm_get box .pid) $(vm_get box .last_error)" "running $vmm null"
		equal "$(boot_id box)" "$guest"
		# What it was started with only that file had said.
		equal "$(jq -c . "$handles")" "$(jq -c 'del(.machine_key)' "$BATS_TEST_TMPDIR/handles.json")"
	done
	kill "$other" # it lives
	stop_vm box
	assert_stopped box
}

@test "a VMM that should not run is ended: its row says stopped, or is gone; the disks stay" {
	local folder
	run_vm box
	kill_daemon
	change_database "UPDATE vms SET state = 'stopped'"
	recover "row of a VM that stopped"
	log_has 'clean VMM [0-9]*, .*: it does not run'
	equal "$(state_of box)" stopped
	assert_stopped box
	start_vm box
	folder=$(folder_of box)
	kill_daemon
	change_database 'DELETE FROM vms'
	recover "no row"
	log_has 'end VMM [0-9]*: it belongs to no VM'
	log_has "leave .*$(basename "$folder"): the folder has disks, but belongs to no VM of the database"
	wait_until 20 no_vmm_runs
	equal "$(ls "$BANGER_RUNTIME_DIR/vm")" ""
	equal "$(banger --json vm list | jq -c .vms)" "[]"
	qemu-img check -q -f qcow2 "$folder/system.qcow2"
	rm -r "$folder"
}

@test "vm run --rm: the VM outlives bangerd with its client, and goes with it" {
	local client
	start client "$BANGER" --quiet vm run --rm --name brief -- sh -c 'echo up; until [ -e /go ]; do sleep 0.1; done; exit 5'
	client=$started
	wait_until 60 file_has "$BATS_TEST_TMPDIR/client.out" up
	restart_daemon
	equal "$(state_of brief) $(vm_get brief .ephemeral)" "running true"
	in_vm brief touch /go || true # the VM may be gone before that is answered
	wait_for_status "$client" 5
	assert_no_vms
	wait_until 20 no_vmm_runs
}

@test "vm run --rm: bangerd and the client killed: the VM is deleted" {
	local client
	start client "$BANGER" --quiet vm run --rm --name brief -- sh -c 'echo up; sleep 1000'
	client=$started
	wait_until 60 file_has "$BATS_TEST_TMPDIR/client.out" up
	kill_daemon
	kill -KILL "$client"
	wait_for_status "$client" 137
	recover
	assert_no_vms
	wait_until 20 no_vmm_runs
}

# --- rows and folders that do not fit ---

@test "rows of VMs that cannot run any more are stopped, with the reason" {
	local id
	make_vm box
	id=$(vm_get box .id)
	for state in running paused; do
		kill_daemon
		change_database 'UPDATE vms SET state = ?, boot_id = ?, last_error = NULL' "$state" \
			00000000-1111-2222-3333-444444444444
		# As it was before the host went down: process 1 is another's now.
		mkdir -p "$BANGER_RUNTIME_DIR/vm/${id::12}"
		jq -nc '{ pid: 1, start_time: 1, boot_id: "00000000-1111-2222-3333-444444444444", engine: "qemu", accelerator: "tcg" }' \
			>"$BANGER_STATE_DIR/vms/$id/handles.json"
		recover "host rebooted, VM was $state"
		equal "$(state_of box) $(vm_get box .last_error)" "stopped the host was rebooted"
		assert_stopped box
		kill_daemon
		change_database 'UPDATE vms SET state = ?, boot_id = ?' "$state" "$(</proc/sys/kernel/random/boot_id)"
		recover "VMM gone, VM was $state"
		equal "$(state_of box) $(vm_get box .last_error)" "stopped its VMM was gone when bangerd started"
	done
}

@test "a VM whose folder is gone says so, and can be deleted" {
	make_vm box
	rm -r "$(folder_of box)"
	restart_daemon
	equal "$(state_of box)" created
	run_for 1 banger vm start box
	contains "$stderr" "the system disk of 'box' is missing"
	equal "$(state_of box)" created
	delete_vm box
	assert_no_vms
}

@test "what has no row: half a VM's folder goes, disks and whatever is not ours stay" {
	local vms=$BANGER_STATE_DIR/vms ours=0123456789abcdef0123456789abcdef disks=fedcba9876543210fedcba9876543210 vmm
	own_artifacts
	banger --quiet vm list >/dev/null # makes the folders
	kill_daemon
	mkdir -p "$vms/$ours" "$vms/$disks" "$vms/${ours^^}" "$vms/0123" "$vms/my-vm" "$BANGER_RUNTIME_DIR/vm"/{0123456789ab,mine} \
		"$BANGER_STATE_DIR"/{images,kernels}/{mine,.new-mine-0123}
	touch "$vms/$ours/host_key" "$vms/$disks/work.qcow2" "$vms/notes" "$BANGER_STATE_DIR"/{notes,.new-notes} \
		"$BANGER_STATE_DIR"/{images,kernels}/notes
	# A VMM of somebody else, though with an id of ours.
	"$PROGRAMS/banger-vmm" --id "$ours" --api-sock "$HOME_DIR/api.sock" --log-path "$HOME_DIR/vmm.log" 3>&- &
	vmm=$!
	wait_until 20 test -S "$HOME_DIR/api.sock"
	recover
	equal "$(ls "$vms")" "$(printf '%s\n' 0123 "${ours^^}" "$disks" my-vm notes | sort)"
	equal "$(ls "$BANGER_RUNTIME_DIR/vm")" mine
	equal "$(names_in images) $(names_in kernels)" "mine notes mine notes"
	[ -e "$BANGER_STATE_DIR/notes" ]
	[ -e "$BANGER_STATE_DIR/.new-notes" ]
	kill "$vmm" # it lives
	wait_for_status "$vmm" 0
	rm -r "${vms:?}"/* "$BANGER_RUNTIME_DIR/vm/mine"
}
