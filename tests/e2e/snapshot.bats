#!/usr/bin/env bats
# Snapshots of VMs: what comes back with one, what is refused, and what is left when something fails.
# shellcheck disable=SC2154,SC2016,SC2030,SC2031,SC2034 # bats sets status, output, stderr, lines; expressions for other shells; each
# test is a subshell

load helper
load crash_helper

# Programs of its own: it exchanges one, and another file's tests may do so to theirs.
if [ -n "${BATS_FILE_TMPDIR:-}" ]; then
	PROGRAMS=$BATS_FILE_TMPDIR/bin
	export BANGER=$PROGRAMS/banger
fi

# All tests share a home.
setup_file() {
	mkdir "$PROGRAMS"
	cp "$BANGER_BUILD"/src/bin/{banger,bangerd,banger-vmm,banger-vsock-agent} "$PROGRAMS/"
	share_home
	banger --quiet vm list >/dev/null # each test finds a daemon
}

teardown_file() {
	end_shared_home
}

setup() {
	watch_census
}

teardown() {
	# One that a test held in vain would hold up all others.
	[ ! -e "$BATS_TEST_TMPDIR/held" ] || xargs kill -CONT <"$BATS_TEST_TMPDIR/held" 2>/dev/null || true
	delete_vms_but
	compare_census
}

take() {
	banger --quiet vm snapshot create "$@" >/dev/null
}

# Of a VM: take a snapshot as the name given, with this in its files.
take_with() {
	in_vm "$1" sh -c "echo $3 >/root/what && echo $3 >/etc/what && echo $3 >/dev/shm/what && sync"
	take "$1" "$2"
}

# What is in its files, and in its memory.
has() {
	equal "$(in_vm "$1" cat /root/what /etc/what /dev/shm/what | xargs)" "$2 $2 $2"
}

restore() {
	banger --quiet vm snapshot restore "$@" >/dev/null
}

snapshot_get() {
	banger --json vm snapshot show "$1" "$2" | jq -r ".snapshot$3"
}

snapshots_of() {
	banger --json vm snapshot list "$1" | jq -c '[.snapshots[].name]'
}

# The VM's folder has nothing half done, and one folder for each snapshot.
is_tidy() {
	equal "$(find "$(folder_of "$1")" -name '.new-*' -o -name .restore)" ''
	equal "$(find "$(folder_of "$1")/snapshots" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)" "$2"
	equal "$(banger --json doctor --plan | jq -c .actions)" '[]'
}

@test "create, list, show, restore and delete as a user types them" {
	local id counter session
	run_vm box
	# A process that counts, and a session that stays open.
	in_vm box sh -c 'nohup sh -c "i=0; while :; do i=\$((i+1)); echo \$i >/dev/shm/count; sleep 0.1; done" >/dev/null 2>&1 & echo $! >/root/counter'
	start session "$BANGER" --quiet vm exec box -- sh -c 'echo begun; while [ ! -e /root/go ]; do sleep 0.1; done; echo done'
	session=$started
	wait_until 10 file_has "$BATS_TEST_TMPDIR/session.out" begun
	in_vm box sh -c 'echo before >/root/what'
	run_for 0 banger vm snapshot create box
	equal "$output" "box: snapshot snap0"
	matches "$stderr" "it stood still for [0-9]+ ms"
	clock_is_right box
	counter=$(in_vm box cat /dev/shm/count)
	run_for 0 banger vm snapshot create box mine
	equal "$output" "box: snapshot mine"
	id=$(snapshot_get box mine .id)
	run_for 0 banger vm snapshot list
	matches "${lines[0]}" '^VM +NAME +ID +VCPU +MEMORY +DISK +SIZE +CREATED$'
	matches "${lines[1]}" "^box +snap0 +[0-9a-f]{12} +1 +512 MiB +1 GiB +[0-9.]+ MiB"
	matches "${lines[2]}" "^box +mine +${id:0:12}"
	run_for 0 banger vm show box
	matches "$output" 'snapshots +snap0, mine'
	run_for 0 banger vm snapshot show box "${id:0:6}"
	matches "$output" 'name +mine'
	matches "$output" 'can be restored +yes'
	# What has happened since is gone; the process goes on where it was.
	in_vm box sh -c 'echo after >/root/what; kill $(cat /root/counter); touch /root/go; sync'
	wait_for_status "$session" 0
	equal "$(tail -n 1 "$BATS_TEST_TMPDIR/session.out")" "done"
	run_for 0 banger vm snapshot restore box snap0
	equal "$output" "box: running, as in snapshot snap0"
	clock_is_right box
	equal "$(in_vm box cat /root/what)" before
	in_vm box sh -c 'kill -0 $(cat /root/counter)'
	wait_until 5 counts_on "$counter"
	equal "$(in_vm box sh -c 'hostname; ls /root/go 2>&1 >/dev/null | wc -l' | xargs)" "box 1"
	run_for 0 banger vm snapshot delete box snap0 "$id"
	equal "$output" $'snap0: deleted\nmine: deleted'
	equal "$(snapshots_of box)" '[]'
	is_tidy box 0
	# It maps what is deleted, and can be kept again.
	equal "$(in_vm box sh -c 'find / -xdev -type f -size -50k -exec cat {} + >/dev/null; cat /root/what')" before
	take_with box again again
	in_vm box sh -c 'echo other >/root/what'
	restore box again
	has box again
}

counts_on() {
	[ "$(in_vm box cat /dev/shm/count)" -gt "$1" ]
}

@test "restored from every state, to its memory and disks of then; names, ports and address stay those of now" {
	local ip port
	run_vm box
	take_with box one 1
	take_with box two 2
	ip=$(vm_get box .ip)
	in_vm box sh -c 'echo 3 >/root/what'
	banger --quiet vm pause box >/dev/null
	restore box one
	vm_is box running
	has box 1
	stop_vm box
	banger --quiet vm set box --memory 768 --vcpu 2 --disk-size 2GiB --name cart >/dev/null
	restore cart two
	has cart 2
	equal "$(vm_get cart '| "\(.name) \(.state) \(.memory_bytes) \(.vcpu) \(.disk_bytes) \(.ip) \(.last_error)"')" \
		"cart running 536870912 1 1073741824 $ip null"
	equal "$(in_vm cart hostname)" cart
	clock_is_right cart
	# One that is paused stays so.
	banger --quiet vm pause cart >/dev/null
	take cart asleep
	vm_is cart paused
	restore cart asleep
	has cart 2
	# With what it had, it stops and boots.
	stop_vm cart
	start_vm cart
	equal "$(in_vm cart cat /root/what /etc/what | xargs)" '2 2'
	delete_vm cart
	# Published ports come back, and who listens there.
	banger --quiet vm run --name web -d -p 0:8080 >/dev/null
	port=$(vm_get web '.ports[0].host')
	serve_echo web 8080
	take web up
	restore web up
	run_for 0 through "$port" <<<"while it ran"
	equal "$output" "while it ran"
	stop_vm web
	restore web up
	equal "$(vm_get web '.ports[0] | "\(.open) \(.host)"')" "true $port"
	run_for 0 through "$port" <<<"when it was stopped"
	equal "$output" "when it was stopped"
}

@test "file systems of a snapshot are clean, and its files are the user's alone" {
	local folder disk
	run_vm box
	in_vm box sh -c 'dd if=/dev/urandom of=/root/big bs=1M count=20 2>/dev/null; cp /root/big /var/big'
	take box
	folder=$(snapshot_get box snap0 .directory)
	equal "$(stat -c %a "$folder" "$folder"/* | sort -u | xargs)" '600 700'
	for disk in system work; do
		qemu-img convert -f qcow2 -O raw \
			"json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"$folder/$disk.qcow2\"},\"backing\":{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"$(base_of "$disk")\"}}}" \
			"$BATS_TEST_TMPDIR/$disk" 2>/dev/null || cp --sparse=always "$folder/$disk".* "$BATS_TEST_TMPDIR/$disk"
		e2fsck -fn "$BATS_TEST_TMPDIR/$disk"
		rm "$BATS_TEST_TMPDIR/$disk"
	done
	# They go with the VM.
	delete_vm box
	assert_no_vms
	equal "$(change_database 'SELECT count(*) FROM snapshots')" '(0,)'
}

base_of() {
	if [ "$1" = system ]; then echo "$BANGER_CACHE/state/images/$IMAGE/root.ext4"; else echo "$BANGER_CACHE/state/images/$IMAGE/work-seed.ext4"; fi
}

# As many more snapshots of each VM as that, like its first, but with nothing in their folders: while no daemon runs.
pretend_snapshots() {
	/usr/bin/python3 -c '
import os, sqlite3, sys
state, count = sys.argv[1], int(sys.argv[2])
with sqlite3.connect(state + "/state.db") as database:
    database.row_factory = sqlite3.Row
    for first in [dict(row) for row in database.execute("SELECT * FROM snapshots")]:
        for number in range(count):
            row = first | {"seq": None, "id": f"{number:032x}", "name": f"more-{number}"}
            names, marks = ", ".join(row), ", ".join("?" * len(row))
            database.execute(f"INSERT INTO snapshots ({names}) VALUES ({marks})", list(row.values()))
            os.mkdir("{}/vms/{}/snapshots/{}".format(state, row["vm_id"], row["id"]), 0o700)
' "$BANGER_STATE_DIR" "$1"
}

@test "two restores at once, and a VM that is stopped or deleted while it is copied: one waits for the other" {
	local first what
	run_vm box
	take_with box one 1
	take_with box two 2
	start first "$BANGER" --quiet vm snapshot restore box one
	first=$started
	start second "$BANGER" --quiet vm snapshot restore box two
	wait_for_status "$started" 0
	wait_for_status "$first" 0
	vm_is box running
	what=$(in_vm box cat /root/what)
	matches "$what" '^[12]$'
	has box "$what"
	is_tidy box 2
	start taken "$BANGER" vm snapshot create box three
	wait_until 20 file_has "$BATS_TEST_TMPDIR/taken.err" 'snapshot: begun'
	stop_vm box
	wait_for_status "$started" 0
	assert_stopped box
	is_tidy box 3
	restore box three
	has box "$what"
	start fork "$BANGER" vm fork box --name copy
	wait_until 20 file_has "$BATS_TEST_TMPDIR/fork.err" 'snapshot: begun'
	delete_vm box
	wait_for_status "$started" 0
	has copy "$what"
	start taken "$BANGER" vm snapshot create copy
	wait_until 20 file_has "$BATS_TEST_TMPDIR/taken.err" 'snapshot: begun'
	delete_vm copy
	wait_for_status "$started" 0
	assert_no_vms
	equal "$(change_database 'SELECT count(*) FROM snapshots')" '(0,)'
	equal "$(ls -A "$BANGER_STATE_DIR/templates" 2>/dev/null)" ''
	equal "$(banger --json doctor --plan | jq -c .actions)" '[]'
}

@test "64 snapshots of a VM, and no more" {
	run_vm box
	take box
	banger --quiet daemon stop >/dev/null
	pretend_snapshots 62
	take box last
	equal "$(banger --json vm snapshot list box | jq '.snapshots | length')" 64
	run_for 1 banger vm snapshot create box
	contains "$stderr" "cannot take a snapshot of 'box': 'box' has 64 snapshots, which is the limit"
	contains "$stderr" "'banger vm snapshot delete box SNAPSHOT' makes room"
	lacks "$stderr" "snapshot: begun"
	banger --quiet vm snapshot delete box more-1 >/dev/null
	take box
	is_tidy box 64
}

@test "wrong inputs are told so" {
	run_vm box
	make_vm off
	take box one
	run_for 2 banger vm snapshot create
	run_for 2 banger vm snapshot create box a b
	run_for 2 banger vm snapshot create box 'Not one'
	contains "$stderr" "is no snapshot name"
	run_for 1 banger vm snapshot create box one
	contains "$stderr" "'box' has a snapshot named 'one' already"
	run_for 1 banger vm snapshot create off
	contains "$stderr" "cannot take a snapshot of 'off': it was never started"
	run_for 1 banger vm snapshot create nobody
	contains "$stderr" "there is no VM 'nobody'"
	run_for 2 banger vm snapshot restore box
	run_for 1 banger vm snapshot restore box onne
	contains "$stderr" "did you mean 'one'?"
	run_for 1 banger vm snapshot restore off one
	contains "$stderr" "'off' has no snapshot 'one'"
	run_for 1 banger vm snapshot show box two
	run_for 1 banger vm snapshot list nobody
	run_for 1 banger vm snapshot delete box two one
	contains "$stderr" "'box' has no snapshot 'two'"
	equal "$output" "one: deleted"
	run_for 0 banger completion words -- vm snapshot restore box ''
	equal "$output" ''
	take box one
	run_for 0 banger completion words -- vm snapshot restore box ''
	equal "$output" one
	vm_is box running
	# A guest that cannot be brought to rest.
	in_vm box fsfreeze --freeze /root
	run_for 1 banger vm snapshot create box
	contains "$stderr" "freeze /root: Device or resource busy"
	lacks "$stderr" "copying took too long"
	goes_on box
}

# Takes a snapshot with a daemon that stops while the VM stands still: $daemon and $vmm are the processes.
take_held() {
	banger --quiet daemon stop >/dev/null
	BANGER_FAILPOINT=vm.capture.paused:stop banger --quiet vm list >/dev/null
	daemon=$(daemon_pid) vmm=$(vm_get "$1" .pid)
	echo "$daemon $vmm" >"$BATS_TEST_TMPDIR/held"
	start taken env --default-signal=INT "$BANGER" vm snapshot create "$@"
	wait_until 30 is_held "$daemon"
}

kill_held() {
	kill -KILL "$daemon"
	wait_until 5 has_ended "$daemon"
}

is_held() {
	[[ $(ps -o stat= -p "$1") == T* ]]
}

# Whether somebody waits for the VMM's API.
is_asked() {
	[ "$(grep -c 'api\.sock$' /proc/net/unix)" -gt 1 ]
}

# It moves, its disks too, and it knows the time.
goes_on() {
	vm_is "$1" running
	timeout $((30 * PATIENCE)) "$BANGER" --quiet vm exec "$1" -- sh -c 'echo fine >/root/what && sync'
	clock_is_right "$1"
}

@test "however long it stands still: after Ctrl-C it goes on, there is no snapshot, and its clock is right" {
	local daemon vmm
	run_vm box
	take_held box
	# Its VMM takes longer than anybody waits for an answer.
	kill -STOP "$vmm"
	kill -CONT "$daemon"
	wait_until 10 is_asked
	kill -INT "$started"
	sleep 6
	kill -CONT "$vmm"
	wait_for_status "$started" 130
	goes_on box
	equal "$(snapshots_of box)" '[]'
	is_tidy box 0
	take_held box one
	sleep 3
	kill -CONT "$daemon"
	wait_for_status "$started" 0
	goes_on box
	equal "$(snapshots_of box)" '["one"]'
	is_tidy box 1
}

@test "killed while its VMM does not answer: the VM goes on when that does, and can be ended before" {
	local daemon vmm
	run_vm box
	take_held box
	kill -STOP "$vmm"
	kill_held
	recover "vm.capture.paused"
	kill -CONT "$vmm"
	take box
	goes_on box
	is_tidy box 1
	take_held box
	kill -STOP "$vmm"
	kill_held
	run_for 0 banger vm kill box
	vm_is box stopped
	start_vm box
	goes_on box
}

# Restoring is refused with these words, and the VM goes on as if nobody had asked.
refused() {
	run_for 1 banger vm snapshot restore box "$1"
	contains "$stderr" "$2"
	contains "$(banger --json vm snapshot show box "$1" | jq -r .problem)" "$2"
	has box now
	is_tidy box 2
}

@test "what is damaged, cut off, exchanged or missing is refused before the VM is touched" {
	local folder other kept=$BATS_TEST_TMPDIR/kept
	run_vm box
	take box one
	take box two
	in_vm box sh -c 'echo now >/root/what; cp /root/what /etc/what; cp /root/what /dev/shm/what'
	folder=$(snapshot_get box one .directory) other=$(snapshot_get box two .directory)
	cp -a --sparse=always "$folder" "$kept"
	printf '\xff' | dd of="$folder/state" bs=1 seek=3000 conv=notrunc status=none
	refused one "'$folder/state' is damaged"
	cp -a "$kept/state" "$folder/state"
	printf '\xff' | dd of="$folder/memory" bs=1 seek=3000 conv=notrunc status=none
	refused one "'$folder/memory' has been changed since it was made"
	truncate -s -4096 "$folder/memory"
	refused one "'$folder/memory' has another size"
	rm "$folder/memory"
	refused one "'$folder/memory' is missing"
	cp -a --reflink=auto --sparse=always "$other/memory" "$folder/memory"
	refused one "'$folder/memory' has been changed"
	cp -a --sparse=always "$kept/memory" "$folder/memory"
	mv "$folder"/work.* "$BATS_TEST_TMPDIR/"
	refused one "/work."
	mv "$BATS_TEST_TMPDIR"/work.* "$folder/"
	# Another VMM than the one that it was made with.
	touch -r "$PROGRAMS/banger-vmm" "$BATS_TEST_TMPDIR/as-it-was"
	touch "$PROGRAMS/banger-vmm"
	banger doctor >/dev/null 2>&1 || true # looks at the host
	refused one "it was made with another VMM"
	lacks "$stderr" "another VMM,"
	touch -r "$BATS_TEST_TMPDIR/as-it-was" "$PROGRAMS/banger-vmm"
	restore box one
	vm_is box running
	# One that was exchanged under a VM could not load what the old one writes.
	cp "$PROGRAMS/banger-vmm" "$PROGRAMS/new"
	mv "$PROGRAMS/new" "$PROGRAMS/banger-vmm"
	run_for 1 banger vm snapshot create box
	contains "$stderr" "cannot take a snapshot of 'box': it was started with another VMM: what is here now could not load a copy of it"
	banger --quiet vm restart box >/dev/null
	take box three
	banger --quiet vm snapshot delete box three >/dev/null
	# Without its folder it is forgotten, within a minute; a folder that no row knows goes.
	restart_daemon
	mv "$folder" "$(dirname "$folder")/00112233445566778899aabbccddeeff"
	run_for 1 banger vm snapshot restore box one
	contains "$stderr" "'$folder' is missing"
	contains "$stderr" "what is left is to delete it"
	restart_daemon
	equal "$(snapshots_of box)" '["two"]'
	is_tidy box 1
}

# A daemon for which this file is the host's QEMU; VMs that run go on.
restart_daemon_with_qemu() {
	banger --quiet daemon stop >/dev/null
	unshare --mount sh -euc 'mount --bind "$1" "$2"; shift 2; exec "$@"' sh \
		"$1" "$(readlink -f "$(command -v qemu-system-x86_64)")" "$BANGER" --quiet vm list >/dev/null
}

# Neither a snapshot nor a fork is made of it, with these words, and it goes on.
is_not_copied() {
	run_for 1 banger vm snapshot create box
	contains "$stderr" "cannot take a snapshot of 'box': it $1 load a copy of it"
	contains "$stderr" "'banger vm restart box' starts it with what is here now"
	lacks "$stderr" "snapshot: begun"
	run_for 1 banger vm fork box --name copy
	contains "$stderr" "cannot fork 'box': it $1 load a copy of it"
	lacks "$stderr" "snapshot: begun"
	equal "$(ls -A "$BANGER_STATE_DIR/templates" 2>/dev/null)" ''
	equal "$(banger --json vm list | jq -c '[.vms[] | {name, state}]')" '[{"name":"box","state":"running"}]'
	has box 1
	is_tidy box 1
}

@test "a VM that was started with another QEMU than there is now is neither kept nor forked" {
	local folder
	cp "$(command -v qemu-system-x86_64)" "$BATS_TEST_TMPDIR/qemu"
	run_vm box
	take_with box one 1
	restart_daemon_with_qemu "$BATS_TEST_TMPDIR/qemu"
	is_not_copied "was started with another QEMU: what is here now could not"
	banger --quiet vm restart box >/dev/null
	take_with box two 2
	run_for 1 banger vm snapshot restore box one
	contains "$stderr" "it was made with another QEMU"
	has box 2
	banger --quiet vm snapshot delete box two >/dev/null
	# The VM runs with the other one; the snapshot fits what is here.
	restart_daemon
	run_for 1 banger vm snapshot create box
	contains "$stderr" "it was started with another QEMU"
	restore box one
	has box 1
	# What a daemon before this one did not write down.
	folder=$(folder_of box)
	cp "$folder/handles.json" "$BATS_TEST_TMPDIR/"
	kill_daemon
	jq -c 'del(.machine_key)' "$BATS_TEST_TMPDIR/handles.json" >"$folder/handles.json"
	recover
	is_not_copied "is not known what it was started with: what is here now might not"
	kill_daemon
	cat "$BATS_TEST_TMPDIR/handles.json" >"$folder/handles.json"
	recover
	take box
}

@test "a restore that fails half way says what the VM has then" {
	local folder state
	run_vm box
	take_with box one 1
	folder=$(folder_of box) state=$(snapshot_get box one .directory)/state
	in_vm box sh -c 'echo now >/root/what; cp /root/what /etc/what; sync'
	# It ends, but its disks cannot be exchanged: a folder is in the way.
	mv "$folder/system.qcow2" "$BATS_TEST_TMPDIR/"
	mkdir "$folder/system.qcow2"
	run_for 1 banger vm snapshot restore box one
	contains "$stderr" "cannot restore 'box' to 'one': move"
	lacks "$stderr" "it has the snapshot's disks"
	rmdir "$folder/system.qcow2"
	restart_daemon
	contains "$(vm_get box .last_error)" "it has the disks of its snapshot 'one'"
	# What looks right and cannot be loaded.
	banger --quiet daemon stop >/dev/null
	echo nothing >"$state"
	change_database 'UPDATE snapshots SET state_sha256 = ?' "$(sha256sum <"$state" | cut -c 1-64)"
	run_for 1 banger vm snapshot restore box one
	contains "$stderr" "it has the snapshot's disks: 'banger vm start box' boots them"
	vm_is box stopped
	is_tidy box 1
	start_vm box
	equal "$(in_vm box cat /root/what /etc/what | xargs)" '1 1'
}

@test "a full disk: the VM goes on, and there is no snapshot" {
	banger --quiet daemon stop >/dev/null
	# What the memory has does not fit: files of 100 MiB at most, for the VMM that this daemon starts.
	(
		ulimit -f $((100 * 1024))
		trap '' XFSZ
		run_vm box
	)
	banger --quiet daemon stop >/dev/null
	in_vm box sh -c 'dd if=/dev/urandom of=/dev/shm/big bs=1M count=150 2>/dev/null; echo now >/root/what'
	run_for 1 banger vm snapshot create box
	contains "$stderr" "cannot take a snapshot of 'box'"
	contains "$stderr" "File too large"
	vm_is box running
	equal "$(in_vm box cat /root/what)" now
	equal "$(snapshots_of box)" '[]'
	is_tidy box 0
	in_vm box rm /dev/shm/big
	stop_vm box
	start_vm box
	take box
	equal "$(snapshots_of box)" '["snap0"]'
}

@test "killed at vm.snapshot.captured, vm.snapshot.renamed and vm.snapshot.stored: all of it or nothing" {
	local point wanted
	run_vm box
	take_with box one 1
	for point in vm.snapshot.captured vm.snapshot.renamed vm.snapshot.stored; do
		wanted='["one"]'
		crash_at "$point" banger vm snapshot create box new
		recover "$point"
		[ "$point" != vm.snapshot.stored ] || wanted='["one","new"]'
		equal "$point $(snapshots_of box)" "$point $wanted"
		vm_is box running
		has box 1
	done
	is_tidy box 2
	restore box new
	has box 1
	crash_at vm.snapshot.delete.row banger vm snapshot delete box new
	recover vm.snapshot.delete.row
	equal "$(snapshots_of box)" '["one"]'
	is_tidy box 1
}

@test "killed at vm.restore.intent and vm.restore.staged: nothing has happened" {
	local point
	run_vm box
	take_with box one 1
	in_vm box sh -c 'echo now >/root/what; cp /root/what /etc/what; cp /root/what /dev/shm/what'
	for point in vm.restore.intent vm.restore.staged; do
		crash_at "$point" banger vm snapshot restore box one
		recover "$point"
		vm_is box running
		has box now
		is_tidy box 1
	done
	restore box one
	has box 1
}

@test "killed at vm.restore.committed, vm.restore.ended, vm.restore.swapped and vm.restore.spec: it has the snapshot's disks" {
	local point
	run_vm box
	take_with box one 1
	for point in vm.restore.committed vm.restore.ended vm.restore.swapped vm.restore.spec; do
		in_vm box sh -c 'echo now >/root/what; cp /root/what /etc/what; sync'
		crash_at "$point" banger vm snapshot restore box one
		recover "$point"
		vm_is box stopped
		assert_stopped box
		contains "$(vm_get box .last_error)" "it has the disks of its snapshot 'one'"
		is_tidy box 1
		restore box one
		has box 1
	done
	stop_vm box
	start_vm box
	equal "$(in_vm box cat /root/what /etc/what | xargs)" '1 1'
}
