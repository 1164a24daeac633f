#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2086 # what the guest's shell is to expand; a command that may be none
# banger-vmm's snapshots with real guests: the agent as init of an image with a shell. Everything is relative to the
# folder in which each banger-vmm runs, as bangerd does it: a clone has the same names in a folder of its own.
#
# BANGER_TEST_ACCEL: what runs the guests, tcg (or kvm, as in tests/kvm-host).
# Figures: BANGER_FIGURES=1 bats -f figures tests/integration/vmm_snapshot.bats
bats_require_minimum_version 1.5.0

setup_file() {
	export TOOL=$BANGER_BUILD/tests/integration/kernel_tool
	export KERNEL=$BATS_FILE_TMPDIR/kernels/debian-cloud
	mkdir -p "$BATS_FILE_TMPDIR/kernels"
	[ -d "${BANGER_CACHE:-/nonexistent}/state/kernels/debian-cloud" ] || return 0
	cp -r --reflink=auto "$BANGER_CACHE/state/kernels/debian-cloud" "$KERNEL"
	"$TOOL" initramfs "$BATS_FILE_TMPDIR/kernels" debian-cloud "$BANGER_BUILD/src/bin/banger-vsock-agent"
	make_root "$BATS_FILE_TMPDIR/root"
	truncate -s 64M "$BATS_FILE_TMPDIR/root.ext4"
	mke2fs -q -t ext4 -d "$BATS_FILE_TMPDIR/root" "$BATS_FILE_TMPDIR/root.ext4"
	"$TOOL" write-vm "$KERNEL/initramfs.img" "$BATS_FILE_TMPDIR/initrd" \
		"$(jq -nc --arg entropy "$(head -c 64 /dev/urandom | base64 -w0)" '{hostname: "box", entropy: $entropy}')"
}

make_root() {
	local program file
	mkdir -p "$1"/{bin,etc,tmp,lib64}
	for program in sh bash cat ls sleep date head wc sync dd seq mkdir; do
		cp "$(readlink -f "$(command -v "$program")")" "$1/bin/$program"
		ldd "$1/bin/$program" | grep -o '/[^ ]*' | while read -r file; do
			mkdir -p "$1$(dirname "$file")"
			[ -e "$1$file" ] || cp "$file" "$1$file"
		done
	done
	echo 'root:x:0:0:root:/root:/bin/bash' >"$1/etc/passwd"
}

setup() {
	[ -d "$KERNEL" ] || skip "no kernel (tests/prepare-cache)"
	command -v qemu-system-x86_64 >/dev/null || skip "no qemu-system-x86_64"
	VMM=$BANGER_BUILD/src/bin/banger-vmm
	CLIENT=$BATS_TEST_DIRNAME/vmm_client.py
	AGENT=$BATS_TEST_DIRNAME/agent_client.py
	ACCEL=${BANGER_TEST_ACCEL:-tcg}
	# Short: a socket's path has 107 bytes.
	DIR=$(mktemp -d /tmp/banger-snap-XXXXXX)
	MEMORY=192
	NETNS=banger-snap-$$
	HAS_NETNS=
	PREFIX=
	cd "$DIR" || return 1
}

teardown() {
	local file
	for file in "$DIR"/*/pid; do
		[ ! -e "$file" ] || kill -9 "$(cat "$file")" 2>/dev/null || true
	done
	[ -n "${BATS_TEST_COMPLETED:-}" ] || tail -n 12 "$DIR"/*/log "$DIR"/*/console 2>/dev/null
	[ -z "$HAS_NETNS" ] || ip netns del "$NETNS"
	rm -rf "$DIR"
}

wait_for() {
	local tries
	for ((tries = 600 * ${BANGER_TEST_PATIENCE:-1}; tries > 0; tries--)); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.025
	done
	echo "still not: $*"
	return 1
}

# vmm NAME [options]: banger-vmm in the folder NAME, which is made.
vmm() {
	local name=$1
	shift
	mkdir -p "$name"
	(cd "$name" && exec $PREFIX "$VMM" --accel "$ACCEL" --api-sock api --id "$name" --log-path log "$@" >out 2>&1 3>&-) &
	echo $! >"$name/pid"
	wait_for test -S "$name/api"
	wait_for api "$name" GET /version
}

api() {
	"$CLIENT" "$DIR/$1/api" "${@:2}"
}

# expect NAME STATUS TEXT METHOD PATH [BODY]
expect() {
	local name=$1 wanted=$2 text=$3
	shift 3
	run api "$name" "$@"
	if [ "$status" -ne 0 ] || [[ "$output" != "$wanted "*"$text"* ]]; then
		echo "$name: $*: wanted $wanted $text, got $output"
		return 1
	fi
}

# cold NAME [options]: a guest whose agent answers.
cold() {
	local name=$1
	vmm "$@"
	cp --sparse=always "$BATS_FILE_TMPDIR/root.ext4" "$name/system.raw"
	expect "$name" 204 "" PUT /machine-config "{\"vcpu_count\": 1, \"mem_size_mib\": $MEMORY}"
	expect "$name" 204 "" PUT /boot-source "{\"kernel_image_path\": \"$KERNEL/vmlinux\", \"initrd_path\": \"$BATS_FILE_TMPDIR/initrd\",
		\"boot_args\": \"console=ttyS0 reboot=k panic=1 quiet loglevel=4 cryptomgr.notests\"}"
	expect "$name" 204 "" PUT /drives/root '{"drive_id": "root", "is_root_device": true, "is_read_only": false, "path_on_host": "system.raw"}'
	expect "$name" 204 "" PUT /vsock '{"guest_cid": 3, "uds_path": "v"}'
	expect "$name" 204 "" PUT /entropy '{}'
	expect "$name" 204 "" PUT /serial '{"serial_out_path": "console"}'
	expect "$name" 204 "" PUT /actions '{"action_type": "InstanceStart"}'
	wait_for guest "$name" true || { guest "$name" true; return 1; }
}

# guest NAME COMMAND: a shell's line in the guest.
guest() {
	(cd "$DIR/$1" && python3 "$AGENT" vsock:v exec -- /bin/sh -c "$2" </dev/null)
}

# guest_says NAME TEXT COMMAND
guest_says() {
	[ "$(guest "$1" "$3")" = "$2" ]
}

pause() {
	expect "$1" 204 "" PATCH /vm '{"state": "Paused"}'
}

resume() {
	expect "$1" 204 "" PATCH /vm '{"state": "Resumed"}'
}

# create NAME FOLDER: a snapshot of NAME's guest, and its disk.
create() {
	mkdir -p "$2"
	pause "$1"
	expect "$1" 204 "" PUT /snapshot/create "{\"snapshot_path\": \"$DIR/$2/state\", \"mem_file_path\": \"$DIR/$2/memory\"}"
	cp --sparse=always "$1/system.raw" "$2/system.raw"
}

body() {
	jq -nc --arg folder "$DIR/$1" --argjson more "${2:-{\}}" \
		'{snapshot_path: ($folder + "/state"), mem_backend: {backend_type: "File", backend_path: ($folder + "/memory")}} + $more'
}

# rewrite FILE STATEMENT: changes `facts` or `state` of a snapshot, and makes the checksum right.
rewrite() {
	python3 - "$@" <<-'PY'
		import json, struct, sys
		data = open(sys.argv[1], "rb").read()
		facts_len, state_len = struct.unpack(">IQ", data[12:24])
		facts = json.loads(data[32:32 + facts_len])
		state = data[32 + facts_len:-8]
		exec(sys.argv[2])
		text = json.dumps(facts).encode()
		data = data[:12] + struct.pack(">IQ", len(text), len(state)) + data[24:32] + text + state
		crc = 0
		for byte in data:
		    crc ^= byte << 56
		    for _ in range(8):
		        crc = (crc << 1 ^ (0x42F0E1EBA9EA3693 if crc >> 63 else 0)) & 0xFFFFFFFFFFFFFFFF
		open(sys.argv[1], "wb").write(data + struct.pack(">Q", crc))
	PY
}

# clone FOLDER NAME [options]: a guest from the snapshot in FOLDER.
clone() {
	local from=$1 name=$2
	shift
	vmm "$@"
	cp --sparse=always "$from/system.raw" "$name/system.raw"
	expect "$name" 204 "" PUT /snapshot/load "$(body "$from" '{"resume_vm": true}')"
}

ended() {
	local pid
	pid=$(cat "$1/pid")
	kill "$pid" 2>/dev/null || true
	wait_for test ! -d "/proc/$pid"
	rm "$1/pid"
}

qemu_of() {
	pgrep -P "$(cat "$1/pid")"
}

@test "create, load, exec: four clones, none changes the memory file or the others" {
	cold source
	guest source 'echo before >/tmp/word; sync'
	create source t
	resume source
	[ "$(stat -c %s t/memory)" -eq $((MEMORY * 1024 * 1024)) ]
	[ "$(stat -c %a t/memory) $(stat -c %a t/state)" = "600 600" ]
	[ "$(ls -A t)" = "$(printf 'memory\nstate\nsystem.raw')" ]
	local sum name
	sum=$(sha256sum t/memory t/state)
	guest source 'echo after >/tmp/word; sync'
	ended source
	for name in a b c d; do
		clone t "$name"
		wait_for guest "$name" true
		[ "$(guest "$name" 'cat /tmp/word')" = before ]
		grep -qx $'THP_enabled:\t0' "/proc/$(qemu_of "$name")/status"
		guest "$name" "echo $name >/tmp/word; dd if=/dev/urandom of=/tmp/noise bs=1M count=8 2>/dev/null; sync"
	done
	for name in a b c d; do
		[ "$(guest "$name" 'cat /tmp/word')" = "$name" ]
		ended "$name"
		e2fsck -fn "$name/system.raw"
	done
	[ "$(sha256sum t/memory t/state)" = "$sum" ]
}

@test "QEMU cannot write a clone's memory file, even with a user of its own that may not read it" {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	local options=(--uid 64123) qemu
	cold source "${options[@]}"
	create source t
	ended source
	clone t a "${options[@]}"
	wait_for guest a true
	qemu=$(qemu_of a)
	grep -q '^Uid:.64123' "/proc/$qemu/status"
	grep -q '^Seccomp_filters:.[2-9]' "/proc/$qemu/status"
	local fd flags found=0
	for fd in "/proc/$qemu/fd/"*; do
		[ "$(readlink "$fd")" = "$DIR/t/memory" ] || continue
		found=$((found + 1))
		flags=$(awk '$1 == "flags:" { print $2 }' "/proc/$qemu/fdinfo/${fd##*/}")
		[ $((8#$flags & 3)) -eq 0 ]
	done
	[ "$found" -ge 1 ]
	# A private map: "rw-p".
	grep -q "rw-p .*$DIR/t/memory" "/proc/$qemu/maps"
	create a u
	resume a
	guest a true
	ended a
	clone u b "${options[@]}"
	wait_for guest b true
	ended b
}

@test "a clone is forked: its own pages and its template's, and open sessions of the source survive" {
	cold source
	guest source 'echo one >/dev/shm-a 2>/dev/null; mkdir -p /run/x; echo template >/run/x/word'
	create source t
	ended source
	clone t a
	wait_for guest a true
	# In memory only: /run is a tmpfs.
	guest a 'echo mine >/run/x/own; for i in $(seq 200); do echo $i; done >/run/x/many'
	(cd a && python3 "$AGENT" vsock:v exec -- /bin/sh -c 'read line; echo "got $line"' < <(wait_for test -e "$DIR/resumed"; echo hello) >"$DIR/session") &
	local session=$!
	wait_for guest a 'read -r line </proc/uptime'
	create a u
	guest_sum=$(sha256sum t/memory)
	resume a
	touch resumed
	wait "$session"
	[ "$(cat session)" = "got hello" ]
	guest a 'echo later >/run/x/own'
	clone u b
	wait_for guest b true
	[ "$(guest b 'cat /run/x/word /run/x/own; wc -l </run/x/many')" = "$(printf 'template\nmine\n200')" ]
	# A third generation.
	create b v
	ended b
	clone v c
	wait_for guest c true
	[ "$(guest c 'cat /run/x/own')" = mine ]
	[ "$(sha256sum t/memory)" = "$guest_sum" ]
}

@test "resume_vm: without it the guest is paused until it is resumed" {
	cold source
	create source t
	ended source
	vmm a
	cp --sparse=always t/system.raw a/system.raw
	expect a 204 "" PUT /snapshot/load "$(body t)"
	expect a 200 '"state":"Paused"' GET /
	expect a 200 '"path_on_host":"system.raw"' GET /vm/config
	expect a 400 "not supported after starting" PUT /snapshot/load "$(body t)"
	resume a
	expect a 200 '"state":"Running"' GET /
	wait_for guest a true
	ended a
	# The deprecated field for the memory, and another place for the socket.
	vmm b
	cp --sparse=always t/system.raw b/system.raw
	expect b 204 "" PUT /snapshot/load "{\"snapshot_path\": \"$DIR/t/state\", \"mem_file_path\": \"$DIR/t/memory\", \"resume_vm\": true,
		\"vsock_override\": {\"uds_path\": \"$DIR/b/other\"}}"
	[ -S b/other ]
	ln -s other b/v
	wait_for guest b true
}

@test "what cannot be loaded is refused before QEMU starts, and the next load works" {
	cold source
	create source t
	ended source
	vmm a
	cp --sparse=always t/system.raw a/system.raw
	local load='Load snapshot error: Failed to restore from snapshot: '
	local from="${load}Failed to get snapshot state from file: "
	local memory="${load}Failed to load guest memory: Error creating guest memory from file: "
	mkdir bad
	fresh() { cp --sparse=always t/memory t/state bad/; }
	refused() {
		expect a 400 "$1" PUT /snapshot/load "$(body bad "${2:-{\}}")"
		expect a 200 '"state":"Not started"' GET /
		run ! qemu_of a
		[ ! -e a/v ]
	}
	refused "${from}Failed to open snapshot file: No such file or directory (os error 2)"
	fresh
	printf 'x' | dd of=bad/state conv=notrunc bs=1 seek=0 status=none
	refused "${from}Failed to load snapshot state from file: Magic value does not match arch"
	fresh
	printf '\x02' | dd of=bad/state conv=notrunc bs=1 seek=11 status=none
	refused "${from}Failed to load snapshot state from file: Invalid data version: 2"
	fresh
	truncate -s -1 bad/state
	refused "${from}Failed to load snapshot state from file: Snapshot file has"
	truncate -s 20 bad/state
	refused "${from}Failed to load snapshot state from file: Snapshot file is smaller than"
	fresh
	local at
	for at in 40 2000 "$(($(stat -c %s bad/state) - 1))"; do
		fresh
		python3 -c "import sys; f = open('bad/state', 'r+b'); f.seek($at); b = f.read(1)[0]; f.seek($at); f.write(bytes([b ^ 4]))"
		refused "${from}Failed to load snapshot state from file: CRC64 validation failed"
	done
	fresh
	truncate -s -1 bad/memory
	refused "${memory}Failed to restore guest memory: the file has $((MEMORY * 1048576 - 1)) bytes"
	truncate -s +2 bad/memory
	refused "${memory}Failed to restore guest memory: the file has $((MEMORY * 1048576 + 1)) bytes"
	rm bad/memory
	refused "${memory}Failed to load guest memory: No such file or directory (os error 2)"
	fresh
	refused "${from}Unknown Network Device." '{"network_overrides": [{"iface_id": "eth9", "host_dev_name": "x"}]}'
	mv a/system.raw a/gone
	refused "Failed to build microVM from snapshot: Drive config error"
	mv a/gone a/system.raw
	expect a 204 "" PUT /snapshot/load "$(body bad '{"resume_vm": true}')"
	wait_for guest a true
	ended a
	# Another QEMU: it has started, and has loaded nothing.
	rewrite bad/state 'facts["qemu"] = "7.2.0 (another)"'
	vmm b
	cp --sparse=always t/system.raw b/system.raw
	expect b 400 "it was made with QEMU 7.2.0 (another), this is" PUT /snapshot/load "$(body bad)"
	expect b 200 '"state":"Not started"' GET /
	# Device state that QEMU finds wrong, behind a right checksum.
	local what="${load}Failed to build microVM from snapshot: QEMU ended with status 1: "
	cp t/state bad/state
	rewrite bad/state 'state = state[:len(state) // 2]'
	expect b 400 "$what" PUT /snapshot/load "$(body bad)"
	cp t/state bad/state
	rewrite bad/state 'state = b"garbage"'
	expect b 400 "$what" PUT /snapshot/load "$(body bad)"
	cp t/state bad/state
	# KVM keeps the counter's rate itself.
	if [ "$ACCEL" = tcg ]; then
		rewrite bad/state 'facts["tsc_khz"] = facts["tsc_khz"] * 2'
		expect b 400 "kHz of the time stamp counter, this host has" PUT /snapshot/load "$(body bad)"
	fi
	rewrite bad/state 'facts["accel"] = "another"'
	expect b 400 "Invalid snapshot state: it was made with another, this is $ACCEL" PUT /snapshot/load "$(body bad)"
	truncate -s -4096 b/system.raw
	expect b 400 "Invalid snapshot state: drive 'root' had 67108864 bytes, its file has 67104768" PUT /snapshot/load "$(body t)"
	truncate -s +4096 b/system.raw
	expect b 200 '"state":"Not started"' GET /
	expect b 204 "" PUT /snapshot/load "$(body t '{"resume_vm": true}')"
	wait_for guest b true
	ended b
	# After a configuration of any kind but logger, metrics and serial.
	vmm c
	expect c 204 "" PUT /serial '{"serial_out_path": "mine"}'
	expect c 204 "" PUT /logger '{"level": "Debug"}'
	cp --sparse=always t/system.raw c/system.raw
	expect c 204 "" PUT /snapshot/load "$(body t)"
	[ -e c/mine ]
	[ ! -e c/console ]
	ended c
	vmm d
	expect d 204 "" PUT /entropy '{}'
	expect d 400 "Load snapshot error: Loading a microVM snapshot not allowed after configuring boot-specific resources." \
		PUT /snapshot/load "$(body t)"
}

@test "what cannot be made is refused, and leaves no file and a guest that goes on" {
	cold source
	local create='Create snapshot error: '
	mkdir t
	local paths="\"snapshot_path\": \"$DIR/t/state\", \"mem_file_path\": \"$DIR/t/memory\""
	expect source 400 "${create}Cannot save the microVM state: Operation not allowed: save/restore unavailable while running" \
		PUT /snapshot/create "{$paths}"
	pause source
	expect source 400 "a diff snapshot is not supported by banger-vmm" PUT /snapshot/create "{$paths, \"snapshot_type\": \"Diff\"}"
	expect source 400 "are the same file" PUT /snapshot/create "{\"snapshot_path\": \"$DIR/t/state\", \"mem_file_path\": \"$DIR/t/state\"}"
	expect source 400 "${create}Cannot perform open on the memory backing file: No such file or directory (os error 2)" \
		PUT /snapshot/create "{\"snapshot_path\": \"$DIR/t/state\", \"mem_file_path\": \"$DIR/nowhere/memory\"}"
	expect source 400 "${create}Cannot perform open on the snapshot backing file: No such file or directory (os error 2)" \
		PUT /snapshot/create "{\"snapshot_path\": \"$DIR/nowhere/state\", \"mem_file_path\": \"$DIR/t/memory\"}"
	mkdir t/folder
	expect source 400 "${create}Cannot serialize the microVM state: name the snapshot file" \
		PUT /snapshot/create "{\"snapshot_path\": \"$DIR/t/folder\", \"mem_file_path\": \"$DIR/t/memory\"}"
	rmdir t/folder
	[ -z "$(ls -A t)" ]
	resume source
	guest source true
}

# begin_create NAME FOLDER: asks for a snapshot of a paused guest whose banger-vmm stops in the middle of writing it.
begin_create() {
	mkdir -p "$2"
	"$CLIENT" "$DIR/$1/api" PUT /snapshot/create "{\"snapshot_path\": \"$DIR/$2/state\", \"mem_file_path\": \"$DIR/$2/memory\"}" >"$1/answer" 2>&1 3>&- &
	echo $! >"$1/client"
	wait_for is_held "$1"
}

is_held() {
	[[ $(ps -o stat= -p "$(cat "$1/pid")") == T* ]]
}

go_on() {
	kill -CONT "$(cat "$1/pid")"
}

# A request that waits for a banger-vmm that does not run: its answer goes into the file "answer".
ask_held() {
	rm -f answer asked
	"$CLIENT" sent "$DIR/$1/api" "${@:2}" >answer 2>asked 3>&- &
	wait_for grep sent asked
}

@test "while one is written it can be asked how the guest is; a resume, or nobody waiting for it, ends it" {
	grep -q BANGER_FAILPOINT "$VMM" || skip "this build has no failpoints"
	local held=vmm.snapshot.chunk@5:stop
	BANGER_FAILPOINT=$held cold source
	pause source
	begin_create source t
	ask_held source GET /
	go_on source
	wait_for test -s answer
	wait_for test -s source/answer
	[[ $(cat answer) == 200*'"state":"Paused"'* ]]
	[[ $(cat source/answer) == 204* ]]
	# It did not wait for its turn.
	[ "$(grep -o 'GET /: 200\|snapshot: at rest' source/log | xargs)" = "GET /: 200 snapshot: at rest" ]
	cp --sparse=always source/system.raw t/
	ended source

	BANGER_FAILPOINT=$held clone t resumed
	wait_for guest resumed true
	pause resumed
	begin_create resumed none
	ask_held resumed PATCH /vm '{"state": "Resumed"}'
	go_on resumed
	wait_for test -s answer
	wait_for test -s resumed/answer
	[[ $(cat answer) == 204* ]]
	[[ $(cat resumed/answer) == 400*"Cannot write memory file: given up: the guest is to go on"* ]]
	guest resumed true
	ended resumed

	BANGER_FAILPOINT=$held clone t deserted
	wait_for guest deserted true
	pause deserted
	begin_create deserted none
	kill "$(cat deserted/client)"
	wait_for test ! -d "/proc/$(cat deserted/client)"
	go_on deserted
	wait_for grep 'given up: its client has gone' deserted/log
	expect deserted 200 '"state":"Paused"' GET /
	[ -z "$(ls -A none)" ]
	resume deserted
	guest deserted true
}

@test "a full disk: no file, and the guest is paused and can be resumed" {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	mkdir small
	# A small disk that only this banger-vmm sees.
	printf '#!/bin/sh\nmount -t tmpfs -o size=24m small "%s/small" && exec "$@"\n' "$DIR" >mounted
	chmod +x mounted
	unshare --mount true || skip "no mount namespaces"
	PREFIX="unshare --mount --propagation private $DIR/mounted"
	inside() { nsenter --mount --target "$(cat source/pid)" "$@"; }
	cold source
	local before size
	before=$(inside df --output=avail "$DIR/small" | tail -1)
	for size in 0 1 4 9; do
		[ "$size" -eq 0 ] || inside fallocate -l "${size}M" "$DIR/small/filler"
		pause source
		expect source 400 "No space left on device" PUT /snapshot/create "{\"snapshot_path\": \"$DIR/small/state\", \"mem_file_path\": \"$DIR/small/memory\"}"
		expect source 200 '"state":"Paused"' GET /
		inside rm -f "$DIR/small/filler"
		[ -z "$(inside ls -A "$DIR/small")" ]
		resume source
		guest source true
	done
	[ "$(inside df --output=avail "$DIR/small" | tail -1)" -eq "$before" ]
	create source t
}

@test "killed at each step: nothing half, and an older snapshot is whole" {
	"$VMM" --version | head -1
	local step
	cold source
	create source old
	ended source
	local disk
	disk=$(sha256sum <old/memory)
	for step in vmm.snapshot.opened vmm.snapshot.saved vmm.snapshot.chunk@5 vmm.snapshot.written vmm.snapshot.memory \
		vmm.snapshot.published; do
		echo "$step"
		rm -rf "kill"
		mkdir -p t
		cp --sparse=always old/memory old/state t/
		local sum
		sum=$(sha256sum <t/state)
		BANGER_FAILPOINT=$step vmm "kill"
		cp --sparse=always old/system.raw kill/system.raw
		expect "kill" 204 "" PUT /snapshot/load "$(body old)"
		api "kill" PUT /snapshot/create "{\"snapshot_path\": \"$DIR/t/state\", \"mem_file_path\": \"$DIR/t/memory\"}" >/dev/null 2>&1 || true
		wait_for test ! -d "/proc/$(cat kill/pid)"
		[ "$(ls -A t)" = "$(printf 'memory\nstate')" ]
		case $step in
		*.published) [ "$(sha256sum <t/state)" != "$sum" ] ;;
		*) [ "$(sha256sum <t/state)" = "$sum" ] ;;
		esac
		rm kill/pid
	done
	for step in vmm.load.prepared vmm.load.loaded; do
		echo "$step"
		rm -rf "kill"
		BANGER_FAILPOINT=$step vmm "kill"
		cp --sparse=always old/system.raw kill/system.raw
		api "kill" PUT /snapshot/load "$(body t)" >/dev/null 2>&1 || true
		wait_for test ! -d "/proc/$(cat kill/pid)"
		rm kill/pid
	done
	[ "$(sha256sum <old/memory)" = "$disk" ]
	vmm a
	cp --sparse=always old/system.raw a/system.raw
	expect a 204 "" PUT /snapshot/load "$(body t '{"resume_vm": true}')"
	wait_for guest a true
}

@test "snapshots while bytes flow and disks are written: nothing is lost, each clone's disk is whole" {
	cold source
	head -c 3000000 /dev/urandom >bytes
	(cd source && python3 "$AGENT" vsock:v exec -- /bin/cat <"$DIR/bytes" >"$DIR/echo") &
	local session=$! round
	guest source '(i=0; while [ $i -lt 120 ]; do i=$((i + 1)); mkdir -p /tmp/d$((i % 7)); echo $i >/tmp/d$((i % 7))/f$i; [ $((i % 20)) -ne 0 ] || sync; done; echo done >/tmp/end) >/dev/null 2>&1 &'
	for round in 1 2 3; do
		create source "t$round"
		resume source
		guest source true
	done
	wait "$session"
	cmp bytes echo
	grep 'at rest' source/log
	wait_for guest source 'cat /tmp/end'
	ended source
	for round in 1 2 3; do
		clone "t$round" "c$round"
		wait_for guest "c$round" true
		wait_for guest "c$round" 'cat /tmp/end'
		[ "$(guest "c$round" 'cat /tmp/d*/f* | wc -l')" -eq 120 ]
		guest "c$round" sync
		ended "c$round"
		# The journal first, then there is nothing to put right.
		e2fsck -p "c$round/system.raw" || [ "$?" -eq 1 ]
		e2fsck -fn "c$round/system.raw"
		# So is the copy of the moment itself, with its guest's memory thrown away.
		e2fsck -p "t$round/system.raw" || [ "$?" -eq 1 ]
		e2fsck -fn "t$round/system.raw"
	done
}

@test "an overlay over another base, a larger disk, and a TAP device of its own" {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	ip netns add "$NETNS" || skip "no network namespaces"
	HAS_NETNS=1
	PREFIX="ip netns exec $NETNS"
	vmm source --drive-overlay "root=$BATS_FILE_TMPDIR/root.ext4"
	qemu-img create -q -f qcow2 source/system.qcow2 64M
	expect source 204 "" PUT /machine-config "{\"vcpu_count\": 2, \"mem_size_mib\": $MEMORY}"
	expect source 204 "" PUT /boot-source "{\"kernel_image_path\": \"$KERNEL/vmlinux\", \"initrd_path\": \"$BATS_FILE_TMPDIR/initrd\",
		\"boot_args\": \"console=ttyS0 reboot=k panic=1 quiet loglevel=4 cryptomgr.notests\"}"
	expect source 204 "" PUT /drives/root '{"drive_id": "root", "is_root_device": true, "is_read_only": false, "path_on_host": "system.qcow2"}'
	truncate -s 16M source/work.raw
	expect source 204 "" PUT /drives/work '{"drive_id": "work", "is_root_device": false, "is_read_only": false, "path_on_host": "work.raw"}'
	expect source 204 "" PUT /network-interfaces/eth0 '{"iface_id": "eth0", "host_dev_name": "snaptap0", "guest_mac": "06:00:ac:10:00:02"}'
	expect source 204 "" PUT /vsock '{"guest_cid": 3, "uds_path": "v"}'
	expect source 204 "" PUT /balloon '{"amount_mib": 0, "deflate_on_oom": true, "stats_polling_interval_s": 1}'
	expect source 204 "" PUT /actions '{"action_type": "InstanceStart"}'
	wait_for guest source true
	guest source 'echo template >/tmp/word; sync'
	mkdir t
	pause source
	expect source 204 "" PUT /snapshot/create "{\"snapshot_path\": \"$DIR/t/state\", \"mem_file_path\": \"$DIR/t/memory\"}"
	cp source/system.qcow2 source/work.raw t/
	resume source
	local tap='{"resume_vm": true, "network_overrides": [{"iface_id": "eth0", "host_dev_name": "snaptap1"}]}'
	vmm a
	cp t/system.qcow2 t/work.raw a/
	expect a 400 "Invalid snapshot state: drive 'root' was an overlay, --drive-overlay says otherwise" PUT /snapshot/load "$(body t "$tap")"
	# The source has its TAP device still.
	expect a 400 "Open tap device failed" PUT /snapshot/load "$(body t)"
	ended a
	cp --sparse=always "$BATS_FILE_TMPDIR/root.ext4" other-base
	rm -r a
	vmm a --drive-overlay "root=$DIR/other-base"
	cp t/system.qcow2 a/
	truncate -s 40M a/work.raw
	expect a 204 "" PUT /snapshot/load "$(body t "$tap")"
	wait_for guest a true
	[ "$(guest a 'cat /tmp/word')" = template ]
	ip -n "$NETNS" -o link show dev snaptap1 >links
	wait_for guest_says a "$((40 * 2048))" 'cat /sys/block/vdb/size'
	expect a 200 '"actual_mib":0' GET /balloon/statistics
	guest source true
	ended a
	ended source
	[ -z "$(ip -n "$NETNS" -o link show type tun)" ]
}

@test "figures: pause for a snapshot, time to load, private memory of a clone" {
	MEMORY=512
	cold source
	guest source 'dd if=/dev/zero of=/dev/null bs=1M count=64 2>/dev/null; cat /bin/* >/dev/null; sync'
	local round began ended_at figures=()
	pause source
	for round in 1 2 3; do
		began=$(date +%s%3N)
		expect source 204 "" PUT /snapshot/create "{\"snapshot_path\": \"$DIR/state\", \"mem_file_path\": \"$DIR/memory\"}"
		ended_at=$(date +%s%3N)
		figures+=("cold VM, PUT /snapshot/create: $((ended_at - began)) ms with the client")
	done
	rm -f memory state
	mkdir t
	expect source 204 "" PUT /snapshot/create "{\"snapshot_path\": \"$DIR/t/state\", \"mem_file_path\": \"$DIR/t/memory\"}"
	cp --sparse=always source/system.raw t/system.raw
	ended source
	for round in a b c; do
		vmm "$round"
		cp --sparse=always t/system.raw "$round/system.raw"
		began=$(date +%s%3N)
		expect "$round" 204 "" PUT /snapshot/load "$(body t '{"resume_vm": true}')"
		ended_at=$(date +%s%3N)
		wait_for guest "$round" true
		figures+=("clone, PUT /snapshot/load: $((ended_at - began)) ms with the client")
		figures+=("clone, private memory of QEMU: $(awk '/^Private/ { sum += $2 } END { print sum }' "/proc/$(qemu_of "$round")/smaps_rollup") kB")
	done
	pause a
	mkdir u
	for round in 1 2 3; do
		began=$(date +%s%3N)
		expect a 204 "" PUT /snapshot/create "{\"snapshot_path\": \"$DIR/u/state\", \"mem_file_path\": \"$DIR/u/memory\"}"
		ended_at=$(date +%s%3N)
		figures+=("clone, PUT /snapshot/create: $((ended_at - began)) ms with the client")
	done
	figures+=("$(grep -h 'snapshot' source/log a/log | grep -o 'snapshot.*ms.*')")
	[ -z "${BANGER_FIGURES:-}" ] || printf '# %s\n' "${figures[@]}" >&3
	[ "$(stat -c %b u/memory)" -lt $((MEMORY * 2048)) ]
}
