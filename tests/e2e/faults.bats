#!/usr/bin/env bats
# What goes wrong around bangerd: VMMs and guests that end or hang, full disks, a database or configuration that is not what it
# should be, something in the socket's place (FAULTS.md K3, DSK1, DSK5, RPC6, CFG1-4, CLI5).
# shellcheck disable=SC2154,SC2016,SC2030,SC2031 # bats sets status, output, stderr, lines; expressions for other shells; each
# test is a subshell

load helper
load crash_helper

setup_file() {
	record_image_tar "$BATS_FILE_TMPDIR/image.tar"
}

# --- VMMs and guests that end ---

# The daemon sees at once that the VM failed, tells why, and has tidied up.
assert_failed() {
	wait_until 20 vm_is box error
	contains "$(vm_get box .last_error)" "$1"
	contains "$(vm_get box .last_error)" "; console: "
	assert_stopped box
	run_for 1 banger vm exec box -- true
	contains "$stderr" "cannot run a command in 'box': it is in error ($1"
}

assert_powered_off() {
	wait_until 20 vm_is box stopped
	equal "$(vm_get box .last_error)" null
	assert_stopped box
}

# What the guest does to itself ends the command that does it.
do_in_guest() {
	run banger --quiet vm exec box -- sh -c "$1"
}

@test "the VMM is killed, then QEMU behind it, then that crashes: the VM failed, and can be started again" {
	local session
	run_vm box
	start session "$BANGER" --quiet vm exec box -- sh -c 'echo begun; sleep 1000'
	session=$started
	wait_until 20 file_has "$BATS_TEST_TMPDIR/session.out" begun
	kill -KILL "$(vm_get box .pid)"
	assert_failed "the VMM was killed by signal 9 (Killed)"
	wait_for_status "$session" 1
	contains "$(cat "$BATS_TEST_TMPDIR/session.err")" "banger: lost the session in 'box'"
	start_vm box
	equal "$(state_of box) $(vm_get box .last_error)" "running null"
	kill -KILL "$(pgrep -P "$(vm_get box .pid)" -x qemu-system-x86)"
	assert_failed "the VMM exited with status 1"
	contains "$(vm_get box .last_error)" "QEMU was killed by signal 9"
	disks_are_whole box
	start_vm box
	kill -SEGV "$(pgrep -P "$(vm_get box .pid)" -x qemu-system-x86)"
	assert_failed "the VMM exited with status 1"
	contains "$(vm_get box .last_error)" "QEMU was killed by signal 11"
	run_for 0 banger vm show box
	matches "$output" 'state +error'
	contains "$output" "QEMU was killed by signal 11"
	disks_are_whole box
	start_vm box
	in_vm box true
}

@test "the guest panics, powers itself off, and reboots" {
	run_vm box
	do_in_guest 'echo c >/proc/sysrq-trigger'
	wait_until 30 vm_is box error # the kernel waits a second of its own
	assert_failed "the guest's kernel panicked: "
	contains "$(vm_get box .last_error)" "Kernel panic - not syncing: sysrq triggered crash"
	start_vm box
	do_in_guest 'sync; echo o >/proc/sysrq-trigger'
	assert_powered_off
	start_vm box
	do_in_guest 'sync; echo b >/proc/sysrq-trigger'
	assert_powered_off
	disks_are_whole box
	start_vm box
	in_vm box true
}

@test "a VMM or a QEMU that hangs: clear errors, everything else goes on, and stop forces" {
	local vmm
	run_vm box
	make_vm other
	vmm=$(vm_get box .pid)
	kill -STOP "$vmm"
	run_for 1 banger vm exec box -- true
	contains "$stderr" "banger: cannot reach the agent of 'box': "
	contains "$stderr" "the agent did not answer in time"
	contains "$stderr" "hint: 'banger vm logs --console box' shows what the guest says"
	equal "$(state_of box) $(state_of other)" "running created"
	# Its successor does not know what is wrong either, and leaves it alone.
	restart_daemon "kill -9 beside a VMM that hangs"
	log_has 'leave VMM [0-9]*: it lives, but does not answer'
	equal "$(state_of box) $(vm_get box .pid)" "running $vmm"
	kill -CONT "$vmm"
	in_vm box true
	kill -STOP "$(pgrep -P "$vmm" -x qemu-system-x86)"
	run_for 0 banger --quiet vm stop box
	equal "$output" "box: stopped (forced)"
	assert_stopped box
}

# --- full disks ---

# The state folder on a file system of its own: a size, or more options, for a tmpfs.
small_state() {
	rm "$BANGER_STATE_DIR"/{images,kernels}
	mount -t tmpfs -o "mode=700,size=$1" banger-e2e "$BANGER_STATE_DIR"
	ln -s "$BANGER_CACHE/state/images" "$BANGER_STATE_DIR/images"
	ln -s "$BANGER_CACHE/state/kernels" "$BANGER_STATE_DIR/kernels"
}

release_state() {
	mountpoint -q "$BANGER_STATE_DIR" || return 0
	make_room
	banger --quiet vm list -q | xargs -r "$BANGER" --quiet vm delete >/dev/null
	assert_no_vms
	banger --quiet daemon stop >/dev/null
	umount -l "$BANGER_STATE_DIR" # the log is held open
}

fill_bytes() {
	cat /dev/zero >>"$BANGER_STATE_DIR/filler" 2>/dev/null || true
	equal "$(df --output=avail "$BANGER_STATE_DIR" | tail -n 1 | xargs)" 0
}

fill_inodes() {
	local i=0
	mkdir -p "$BANGER_STATE_DIR/fillers"
	while : >"$BANGER_STATE_DIR/fillers/$i"; do i=$((i + 1)); done 2>/dev/null
	equal "$(df --output=iavail "$BANGER_STATE_DIR" | tail -n 1 | xargs)" 0
}

make_room() {
	rm -rf "$BANGER_STATE_DIR"/{filler,fillers}
}

# Nothing can be made, and nothing is left of the attempt. $1 has to do with what is full.
nothing_can_be_made() {
	local rows folders
	rows=$(banger --quiet vm list -q | sort)
	folders=$(ls "$BANGER_STATE_DIR/vms")
	run_for 1 banger vm create --name more --no-start
	contains "$stderr" "banger: cannot create 'more': "
	contains "$stderr" "No space left on device"
	equal "$(banger --quiet vm list -q | sort)" "$rows"
	equal "$(ls "$BANGER_STATE_DIR/vms")" "$folders"
}

@test "no byte left: VMs go on, stop and delete work, bangerd can be killed and started, nothing is made" {
	local guest
	small_state 64m
	make_vm old
	run_vm box
	guest=$(boot_id box)
	fill_bytes
	nothing_can_be_made
	equal "$(boot_id box)" "$guest"
	restart_daemon "kill -9 on a full disk"
	fill_bytes
	equal "$(state_of box) $(boot_id box)" "running $guest"
	nothing_can_be_made
	fill_bytes
	banger --quiet vm stop --timeout 2s box >/dev/null # its guest may not be able to write what it wants to
	equal "$(state_of box)" stopped
	assert_stopped box
	fill_bytes
	run_for 1 banger vm start box
	contains "$stderr" "No space left on device"
	equal "$(state_of box)" stopped
	delete_vm old
	fill_bytes
	delete_vm box
	assert_no_vms
	make_room
	make_vm more
}

@test "no byte left when bangerd starts: it starts, and delete works" {
	small_state 16m
	make_vm box
	make_vm other
	banger --quiet daemon stop >/dev/null
	fill_bytes
	equal "$(banger --quiet vm list -q | wc -l)" 2
	nothing_can_be_made
	delete_vm box
	delete_vm other
	assert_no_vms
}

@test "no inode left: VMs go on, stop and delete work, also when bangerd starts; nothing is made" {
	local guest
	small_state 64m,nr_inodes=120
	make_vm old
	run_vm box
	guest=$(boot_id box)
	fill_inodes
	nothing_can_be_made
	banger --quiet daemon stop >/dev/null
	fill_inodes
	equal "$(state_of box) $(boot_id box)" "running $guest"
	fill_inodes
	nothing_can_be_made
	stop_vm box
	equal "$(state_of box)" stopped
	assert_stopped box
	delete_vm old
	delete_vm box
	assert_no_vms
	make_room
	make_vm more
}

@test "no byte left while an image or a kernel is pulled: nothing of it stays, and it works when there is room" {
	small_state 8m
	own_artifacts
	serve "$BATS_FILE_TMPDIR/image.tar"
	banger --quiet vm list >/dev/null
	head -c 3M /dev/zero >"$BANGER_STATE_DIR/filler"
	run_for 1 banger image pull "$IMAGE"
	contains "$stderr" "No space left on device"
	equal "$(images)" ""
	equal "$(names_in images)" ""
	record_kernel_tar "$HOME_DIR/kernel.tar"
	serve "$HOME_DIR/kernel.tar"
	run_for 1 banger kernel pull debian-cloud
	contains "$stderr" "No space left on device"
	equal "$(kernels)" ""
	equal "$(names_in kernels)" ""
	fill_bytes
	run_for 1 banger image pull "$IMAGE"
	contains "$stderr" "No space left on device"
	make_room
	mount -o remount,size=32m "$BANGER_STATE_DIR"
	serve "$BATS_FILE_TMPDIR/image.tar"
	banger --quiet image pull "$IMAGE" >/dev/null
	equal "$(images)" "$IMAGE ready"
	image_is_whole
}

@test "no byte left at the very first start: said, and over when there is room" {
	small_state 4m
	fill_bytes
	run_for 1 banger vm list
	contains "$stderr" "banger: cannot start bangerd: "
	contains "$stderr" "No space left on device"
	[ ! -e "$BANGER_STATE_DIR/state.db" ]
	make_room
	equal "$(banger --json vm list | jq -c .vms)" "[]"
}

# --- full disks: what runs, and is copied ---

# Leaves so many MiB.
leave_mib() {
	local available
	rm -f "$BANGER_STATE_DIR/filler"
	available=$(df --output=avail -B1 "$BANGER_STATE_DIR" | tail -n 1)
	fallocate -l "$((available - ($1 << 20)))" "$BANGER_STATE_DIR/filler"
}

# Starts a guest's command that writes more than there is room for, to this file. $started is its process. The VM has
# stood still so many times then.
overfill() {
	leave_mib 8
	start writer "$BANGER" --quiet vm exec box -- sh -c \
		"head -c 24M /dev/urandom >/dev/shm/big && cp /dev/shm/big $1 && sync && echo 3 >/proc/sys/vm/drop_caches && cmp /dev/shm/big $1"
	wait_until 30 stood_still "$2"
	equal "$(state_of box)" running
}

stood_still() {
	[ "$(grep -c 'the host has no room for what the guest writes' "$(vm_get box .vmm_log)")" = "$1" ]
}

@test "no byte left for what a guest writes: it stands still, says so, and goes on with all of it when there is room" {
	small_state 160m
	run_vm box
	overfill /root/big 1
	make_room
	wait_for_status "$started" 0
	wait_until 20 file_has "$(vm_get box .vmm_log)" 'there is room again: the guest goes on'
	# Paused meanwhile it stays so.
	overfill /var/big 2
	banger --quiet vm pause box >/dev/null
	make_room
	vm_is box paused
	banger --quiet vm resume box >/dev/null
	wait_for_status "$started" 0
	equal "$(in_vm box dmesg | grep -ciE 'I/O error|EXT4-fs error' || true)" 0
	stop_vm box
	disks_are_whole box
}

# It writes to its memory and to both its disks, and counts; on the host all of that has its place already.
write_heavily() {
	in_vm "$1" sh -c 'head -c 2M /dev/urandom >/root/busy; cp /root/busy /var/busy; cp /root/busy /dev/shm/busy; sync
		setsid sh -c "i=0; while :; do
			for file in /dev/shm/busy /root/busy /var/busy; do
				dd if=/bin/bash of=\$file bs=64k count=4 seek=\$((i % 8 * 4)) conv=notrunc,fsync
			done
			i=\$((i + 1)); echo \$i >/dev/shm/new; mv /dev/shm/new /dev/shm/n
		done" </dev/null >/dev/null 2>&1 &'
	wait_until 20 in_vm "$1" test -s /dev/shm/n
}

has_written_more() {
	[ "$(in_vm "$1" cat /dev/shm/n)" -gt "$2" ]
}

# It runs, its guest writes, the old snapshot is whole, and there is nothing else.
is_as_before() {
	local count
	count=$(in_vm box cat /dev/shm/n)
	equal "$(state_of box)" running
	wait_until 20 has_written_more box "$count"
	equal "$(banger --json vm snapshot list box | jq -c '[.snapshots[].name]')" '["old"]'
	equal "$(banger --json vm snapshot show box old | jq .problem)" null
	equal "$(ls -A "$(folder_of box)/snapshots")" "$old"
	equal "$(ls -A "$BANGER_STATE_DIR/templates" 2>/dev/null)" ''
}

# with_mib COUNT COMMAND...: runs it with so many left, for $status and $stderr; then the guest needs some for itself.
with_mib() {
	leave_mib "$1"
	status=0
	stderr=$("${@:2}" 2>&1 >/dev/null) || status=$?
	make_room
}

had_no_room() {
	equal "$status" 1
	contains "$stderr" 'No space left on device'
	echo "$stderr" >>"$BATS_TEST_TMPDIR/failures"
	is_as_before
}

@test "no byte left at any step of a snapshot or fork of a guest that writes: it goes on, the old snapshot stays, there is no half of one" {
	local old left memory
	small_state 1g
	run_vm box
	write_heavily box
	in_vm box sh -c 'echo old >/root/what; echo old >/dev/shm/what; sync'
	banger --quiet vm snapshot create box old >/dev/null
	old=$(banger --json vm snapshot show box old | jq -r .snapshot.id)
	memory=$(du -sB1M "$(folder_of box)/snapshots/$old/memory" | cut -f 1)
	with_mib $((memory / 2)) "$BANGER" --quiet vm fork box --name copy
	had_no_room
	# In its memory, then in the rest, until there is enough of them.
	for left in 2 $((memory / 2)) $(seq $((memory - 1)) 4 $((memory + 100))); do
		with_mib "$left" "$BANGER" --quiet vm snapshot create box new
		[ "$status" -ne 0 ] || break
		had_no_room
	done
	file_has "$BATS_TEST_TMPDIR/failures" 'write the memory file: '
	file_has "$BATS_TEST_TMPDIR/failures" "copy to '.*/.new-system"
	file_has "$BATS_TEST_TMPDIR/failures" "copy to '.*/.new-work"
	make_room
	banger --quiet vm snapshot restore box old >/dev/null
	equal "$(in_vm box cat /root/what /dev/shm/what | xargs)" 'old old'
	banger --quiet vm snapshot restore box new >/dev/null
}

@test "no byte left when a template is begun, or written down: none is there, and no VM" {
	local left
	small_state 64m
	sed -i '/^templates = /d' "$BANGER_CONFIG_DIR/config.toml"
	banger --quiet vm list >/dev/null
	for left in 0 30; do
		leave_mib "$left"
		run_for 1 banger --quiet template build
		contains "$stderr" "No space left on device"
		assert_no_vms
		equal "$(ls -A "$BANGER_STATE_DIR/templates")" ''
		equal "$(banger --json doctor --plan | jq -c .actions)" '[]'
	done
}

@test "a state folder that is read-only: said at each start, nothing is changed, and over when it is not" {
	small_state 16m
	make_vm box
	banger --quiet daemon stop >/dev/null
	wait_until 20 daemon_is_gone # its log is open to the last
	mount -o remount,ro "$BANGER_STATE_DIR"
	for _ in 1 2; do
		run_for 1 banger vm list
		equal "$output" ''
		contains "$stderr" "banger: cannot start bangerd: "
		contains "$stderr" "Read-only file system"
		[ ! -e "$BANGER_RUNTIME_DIR/bangerd.sock" ]
	done
	mount -o remount,rw "$BANGER_STATE_DIR"
	equal "$(state_of box)" created
	disks_are_whole box
}

# --- the database ---

# bangerd refuses what it finds in the database's place, with these words, and leaves it as it is.
database_refused() {
	local state=$BANGER_STATE_DIR before after
	before=$(find "$state/state.db" -printf '%y %m %s %i %T@\n')$(find "$state/state.db" -type f -exec sha256sum {} +)
	run_for 1 banger vm list
	equal "${lines[*]}" ""
	contains "$stderr" "banger: cannot start bangerd: "
	contains "$stderr" "the state database '$state/state.db' $1"
	contains "$stderr" "hint: "
	after=$(find "$state/state.db" -printf '%y %m %s %i %T@\n')$(find "$state/state.db" -type f -exec sha256sum {} +)
	equal "$after" "$before"
	rm -rf "$state/state.db"
	rm -f "$state"/state.db-*
	cp -p "$BATS_TEST_TMPDIR/state.db" "$state/state.db"
}

@test "a database that is garbage, cut off, empty, foreign, newer, read-only or no file is refused and left alone" {
	local database=$BANGER_STATE_DIR/state.db schema
	make_vm box
	banger --quiet daemon stop >/dev/null
	cp -p "$database" "$BATS_TEST_TMPDIR/state.db"
	head -c 8192 /dev/urandom >"$database"
	database_refused "is no SQLite database"
	truncate -s 20000 "$database"
	database_refused "is damaged: "
	truncate -s 50 "$database"
	database_refused "is damaged: "
	: >"$database"
	database_refused "is empty"
	schema=$(change_database "INSERT INTO schema_migrations SELECT max(version) + 1, 'later', 'later' FROM schema_migrations
		RETURNING version" | tr -dc 0-9)
	database_refused "was made by a newer version of banger (schema $schema, this one knows $((schema - 1)))"
	chmod 0444 "$database"
	database_refused "is read-only (mode 0444)"
	rm "$database"
	change_database 'CREATE TABLE photos (name TEXT)'
	database_refused "is a database, but not banger's"
	rm "$database"
	mkdir "$database"
	database_refused "is no regular file"
	rm "$database"
	mkfifo "$database"
	database_refused "is no regular file"
	rm "$database"
	touch "$BATS_TEST_TMPDIR/elsewhere"
	ln -s "$BATS_TEST_TMPDIR/elsewhere" "$database"
	run_for 1 banger vm list
	contains "$stderr" "open the state database '$database': Too many levels of symbolic links"
	equal "$(cat "$BATS_TEST_TMPDIR/elsewhere")" ""
	rm "$database"
	echo log >"$database-wal"
	run_for 1 banger vm list
	contains "$stderr" "is missing, but its log (-wal) is there"
	[ ! -e "$database" ]
	rm "$database-wal"
	cp -p "$BATS_TEST_TMPDIR/state.db" "$database"
	equal "$(state_of box)" created
}

@test "a lost database: a new one is made, images and kernels are known again, no disk is removed" {
	local folder
	make_vm box
	folder=$(folder_of box)
	banger --quiet daemon stop >/dev/null
	rm "$BANGER_STATE_DIR/state.db"
	equal "$(banger --json vm list | jq -c .vms)" "[]"
	equal "$(images)" "$(jq -r '"\(.name) ready"' "$BANGER_CACHE"/state/images/*/image.json | sort)"
	equal "$(kernels)" "debian-cloud ready"
	qemu-img check -q -f qcow2 "$folder/system.qcow2"
	log_has "leave .*$(basename "$folder"): the folder has disks, but belongs to no VM of the database"
	run banger --json doctor
	equal "$(jq -c '.checks[] | select(.name == "folders") | [.status, .message]' <<<"$output")" \
		"[\"warn\",\"in '$(dirname "$folder")', disks of no VM that the database knows: $(basename "$folder")\"]"
	rm -r "$folder"
}

@test "a second bangerd: refused by the socket's lock, and by the state folder's, which names the first" {
	local pid
	banger --quiet vm list >/dev/null
	pid=$(daemon_pid)
	run_for 1 timeout 10 "$PROGRAMS/bangerd"
	contains "$stderr" "another process listens on '$BANGER_RUNTIME_DIR/bangerd.sock'"
	BANGER_RUNTIME_DIR=$HOME_DIR/other run_for 1 banger vm list
	contains "$stderr" "cannot start bangerd: the state folder '$BANGER_STATE_DIR' is in use by process $pid"
	equal "$(daemon_pid)" "$pid"
}

# --- the socket and its folder ---

@test "what is in the socket's place stays, and is said" {
	local socket=$BANGER_RUNTIME_DIR/bangerd.sock before
	mkdir -m 700 "$BANGER_RUNTIME_DIR"
	echo precious >"$BATS_TEST_TMPDIR/precious"
	for way in 'echo precious >"$1"' 'ln -s "$2" "$1"' 'ln -s /nowhere "$1"' 'mkdir "$1"' 'mkfifo "$1"'; do
		bash -euc "$way" - "$socket" "$BATS_TEST_TMPDIR/precious"
		before=$(find "$socket" -printf '%y %i %s %l\n')
		run_for 1 timeout 10 "$BANGER" vm list
		contains "$stderr" "banger: cannot start bangerd: '$socket' is in the way and is no socket"
		equal "$(find "$socket" -printf '%y %i %s %l\n')" "$before"
		equal "$(cat "$BATS_TEST_TMPDIR/precious")" precious
		rm -r "$socket"
	done
	/usr/bin/python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$socket"
	if [ "$EUID" -eq 0 ] && chown 1234 "$socket" 2>/dev/null; then
		run_for 1 banger vm list
		contains "$stderr" "'$socket' is a socket of user 1234"
		[ -S "$socket" ]
		chown 0 "$socket"
	fi
	# One of our own that nobody listens on is what a killed daemon leaves.
	banger --quiet vm list >/dev/null
}

@test "a runtime folder that others own or may write, or whose path is too long" {
	local long=$HOME_DIR/x
	mkdir -m 700 "$BANGER_RUNTIME_DIR"
	chmod 0770 "$BANGER_RUNTIME_DIR"
	run_for 1 banger vm list
	contains "$stderr" "others may write the runtime folder '$BANGER_RUNTIME_DIR' (mode 0770)"
	equal "$(stat -c %a "$BANGER_RUNTIME_DIR")" 770
	chmod 0700 "$BANGER_RUNTIME_DIR"
	if [ "$EUID" -eq 0 ] && chown 1234 "$BANGER_RUNTIME_DIR" 2>/dev/null; then
		run_for 1 banger vm list
		contains "$stderr" "'$BANGER_RUNTIME_DIR' belongs to user 1234, not to you (0)"
		chown 0 "$BANGER_RUNTIME_DIR"
	fi
	while [ ${#long} -lt 81 ]; do long+=x; done
	BANGER_RUNTIME_DIR=$long run_for 1 banger vm list
	contains "$stderr" "the runtime folder '$long' has 81 characters: sockets in it need at most 80"
	[ ! -e "$long" ]
}

# --- the configuration ---

# bangerd does not start with the configuration as it is, for this reason.
config_refused() {
	run_for 1 timeout 10 "$BANGER" vm list
	contains "$stderr" "banger: cannot start bangerd: "
	contains "$stderr" "$BANGER_CONFIG_DIR/config.toml$1"
	rm -rf "$BANGER_CONFIG_DIR/config.toml"
}

@test "a configuration that is wrong is refused, with file, line and column" {
	local config=$BANGER_CONFIG_DIR/config.toml
	echo 'vmm = ' >"$config"
	config_refused ':1:7: '
	printf 'vmm = "auto"\nvmm = "qemu"\n' >"$config"
	config_refused ":2:7: Error while parsing key-value pair: cannot redefine existing string 'vmm'"
	echo 'log_level = 3' >"$config"
	config_refused ":1:13: 'log_level' must be a string, not an integer"
	printf '\n\nlog_leval = "info"\n' >"$config"
	config_refused ":3:1: unknown key 'log_leval': did you mean 'log_level'?"
	printf '[vm_defaults]\nvcpu = -1\n' >"$config"
	config_refused ':2:8: vm_defaults.vcpu is -1: it must be an integer, 1 to 32'
	echo 'cidr = 33' >"$config"
	config_refused ':1:8: cidr is 33: it must be an integer, 8 to 30'
	echo 'tap_pool_size = 9223372036854775808' >"$config"
	config_refused ':1:36: '
	printf 'log_level = "in\0fo"\n' >"$config"
	config_refused ':1:16: '
	printf 'log_level = "\xff"\n' >"$config"
	config_refused ':1:13: '
	printf 'x = %s\n' "$(printf '[%.0s' {1..10000})" >"$config"
	config_refused ':1:37: brackets are nested too deeply'
	head -c 1048577 /dev/zero | tr '\0' '#' >"$config"
	config_refused ': it is larger than 1048576 bytes'
}

@test "a configuration that is a FIFO, a folder, a loop, or writable by others is refused" {
	local config=$BANGER_CONFIG_DIR/config.toml
	rm "$config"
	mkfifo "$config"
	config_refused ': it must be a regular file'
	mkdir "$config"
	config_refused ': it must be a regular file'
	ln -s config.toml "$config"
	config_refused "': Too many levels of symbolic links"
	write_config
	chmod 0666 "$config"
	config_refused ': others may write it (mode 0666)'
	write_config
	if [ "$EUID" -eq 0 ] && chown 1234 "$config" 2>/dev/null; then
		config_refused ': it belongs to user 1234, not to you or root'
	fi
	rm -f "$config"
	banger --quiet vm list >/dev/null # none is needed
}

@test "a configuration that is broken while bangerd runs: the old one holds, and doctor tells" {
	banger --quiet vm list >/dev/null
	echo 'vmm = ' >"$BANGER_CONFIG_DIR/config.toml"
	make_vm box
	equal "$(vm_get box .memory_bytes)" 536870912
	run banger --json doctor
	jq -e --arg config "$BANGER_CONFIG_DIR/config.toml:1:7: " \
		'.checks[] | select(.name == "config") | .status == "fail" and (.message | startswith($config))' <<<"$output"
	write_config
}

# --- HOME and its like ---

# banger with nothing in its environment but this.
bare() {
	run --separate-stderr timeout 10 env -i PATH="$PATH" ASAN_OPTIONS="${ASAN_OPTIONS:-}" "$@" "$BANGER" vm list
}

bare_refused() {
	local wanted=$1
	shift
	bare "$@"
	equal "$status $output" "1 "
	equal "$stderr" "banger: $wanted"
}

@test "HOME and XDG_RUNTIME_DIR that are missing, relative or another's; a working folder that is gone" {
	local home=$HOME_DIR/home before
	mkdir -m 700 "$home" "$home/run"
	before=$(ls -A /tmp)
	bare_refused 'find the configuration folder: HOME is not set'
	bare_refused 'find the configuration folder: HOME is not set' HOME=
	bare_refused "find the configuration folder: HOME is 'relative': it must be an absolute path" HOME=relative
	bare_refused "find the configuration folder: look at HOME '/nonexistent': No such file or directory" HOME=/nonexistent
	bare_refused "XDG_RUNTIME_DIR is 'relative': it must be an absolute path" HOME="$home" XDG_RUNTIME_DIR=relative
	if [ "$EUID" -eq 0 ] && chown 1234 "$home/run" 2>/dev/null; then
		bare_refused "XDG_RUNTIME_DIR '$home/run' belongs to user 1234, not to you (0)" HOME="$home" XDG_RUNTIME_DIR="$home/run"
		chown 0 "$home/run"
		chown 1234 "$home"
		bare_refused "find the configuration folder: HOME '$home' belongs to user 1234, not to you (0)" HOME="$home"
		chown 0 "$home"
	fi
	equal "$(find "$home" -mindepth 1)" "$home/run"
	equal "$(ls -A /tmp)" "$before"
	mkdir "$home/gone"
	cd "$home/gone"
	rmdir "$home/gone"
	bare HOME="$home" XDG_RUNTIME_DIR="$home/run"
	equal "$status $stderr" "0 "
	env HOME="$home" XDG_RUNTIME_DIR="$home/run" env -u BANGER_STATE_DIR -u BANGER_CONFIG_DIR -u BANGER_CACHE_DIR \
		-u BANGER_RUNTIME_DIR "$BANGER" --quiet daemon stop >/dev/null
	cd "$BATS_TEST_DIRNAME"
}
