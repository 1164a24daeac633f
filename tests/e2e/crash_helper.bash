# What the crash and fault tests use beside helper.bash: daemons that die at a chosen step, what must be left of a VM,
# and a stand-in for mmdebstrap that serves a tar at once.
# shellcheck disable=SC2154 # bats sets stderr and lines

# As helper.bash has it, and no program may have complained to bangerd's log, where sanitizers write.
teardown() {
	local status=0 log
	: >>"$BANGER_STATE_DIR/bangerd.log"
	exec {log}<"$BANGER_STATE_DIR/bangerd.log"
	release_state
	end_home "$BATS_TEST_TMPDIR" || status=1
	! grep -E 'AddressSanitizer|LeakSanitizer|runtime error:' <&"$log" >&2 || status=1
	exec {log}<&-
	return "$status"
}

# Overridden by tests whose state folder is a mount.
release_state() { :; }

# --- the daemon ---

# A daemon with this failpoint in its environment runs the command, and dies of it.
crash_at() {
	local point=$1
	shift
	banger --quiet daemon stop >/dev/null
	BANGER_FAILPOINT=$point run_for 1 "$@"
	contains "$stderr" "the daemon went away before it answered"
	wait_until 20 daemon_is_gone
}

daemon_is_gone() {
	! pgrep -x -r R,S,D bangerd >/dev/null
}

# Gone, or waiting for its parent to take notice: the command that started bangerd may still run.
has_ended() {
	[[ $(ps -o stat= -p "$1") =~ ^(Z.*)?$ ]]
}

# kill -9, and until it is gone.
kill_daemon() {
	local pid
	pid=$(daemon_pid)
	kill -KILL "$pid"
	wait_until 20 has_ended "$pid"
}

# The next command finds no daemon, starts one, and that puts things right before it answers.
recover() {
	local began=${EPOCHREALTIME/./}
	banger --quiet vm list >/dev/null
	echo "# ${1:-kill -9}: bangerd is back after $(((${EPOCHREALTIME/./} - began) / 1000)) ms" >&3
}

restart_daemon() {
	kill_daemon
	recover "$@"
}

# What the daemon's log says must have this.
log_has() {
	file_has "$BANGER_STATE_DIR/bangerd.log" "$1"
}

# Changes the database while no daemon runs: an SQL statement, with the rest of the arguments for its question marks.
change_database() {
	/usr/bin/python3 -c '
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as database:
    print(*(row for row in database.execute(sys.argv[2], sys.argv[3:])), sep="\n")
' "$BANGER_STATE_DIR/state.db" "$@"
}

# --- VMs ---

folder_of() {
	vm_get "$1" .directory
}

# Where its sockets are.
runtime_of() {
	echo "$BANGER_RUNTIME_DIR/vm/$(vm_get "$1" .id | cut -c 1-12)"
}

boot_id() {
	in_vm "$1" cat /proc/sys/kernel/random/boot_id
}

# It does not run, and nothing is there that only a running one has.
assert_stopped() {
	wait_until 20 no_vmm_runs
	wait_until 20 test ! -e "$(folder_of "$1")/handles.json" # of a VM that has ended by itself, what goes last
	[ ! -e "$(runtime_of "$1")" ]
	equal "$(vm_get "$1" .pid)" null
}

# The host can tell of qcow2 overlays only whether their own tables are in order; the file systems are the guest's.
disks_are_whole() {
	local disk
	for disk in "$(folder_of "$1")"/{system,work}.qcow2; do
		qemu-img check -q -f qcow2 "$disk"
	done
}

make_vm() {
	banger --quiet vm create --name "$1" --no-start >/dev/null
}

run_vm() {
	banger --quiet vm run --name "$1" -d >/dev/null
}

start_vm() {
	banger --quiet vm start "$1" >/dev/null
}

stop_vm() {
	banger --quiet vm stop "$1" >/dev/null
}

delete_vm() {
	banger --quiet vm delete "$1" >/dev/null
}

# --- images and kernels of one's own ---

# Folders of this test alone instead of the shared ones.
own_artifacts() {
	rm "$BANGER_STATE_DIR"/{images,kernels}
	mkdir -m 700 "$BANGER_STATE_DIR"/{images,kernels}
}

# Puts a program called mmdebstrap in front of the real one: it serves what the file "$HOME_DIR/served.tar" holds, with the
# messages that bangerd shows as progress. With "$HOME_DIR/hold" it stops in the middle until that is gone.
serve() {
	mkdir -p "$HOME_DIR/bin"
	ln -sf "$1" "$HOME_DIR/served.tar"
	cat >"$HOME_DIR/bin/mmdebstrap" <<-SCRIPT
		#!/bin/bash
		echo "I: extracting archives..." >&2
		head -c 20000 "$HOME_DIR/served.tar"
		if [ -e "$HOME_DIR/hold" ]; then
			touch "$HOME_DIR/held"
			while [ -e "$HOME_DIR/hold" ]; do sleep 0.1; done
		fi
		echo "I: creating tarball..." >&2
		exec tail -c +20001 "$HOME_DIR/served.tar"
	SCRIPT
	chmod +x "$HOME_DIR/bin/mmdebstrap"
	export PATH=$HOME_DIR/bin:$PATH
}

# A tar as mmdebstrap would send it, of files of this host: folders, links, thousands of small files.
record_image_tar() {
	local tree=$BATS_FILE_TMPDIR/tree
	mkdir -p "$tree/usr/share" "$tree/usr/bin" "$tree/root"
	cp -a /usr/share/zoneinfo "$tree/usr/share/"
	cp -a /usr/bin/env /usr/bin/true "$tree/usr/bin/"
	ln -s usr/bin "$tree/bin"
	echo 'umask 022' >"$tree/root/.profile"
	echo "${2:-1}" >"$tree/version"
	tar -C "$tree" --sort=name -cf "$1" .
	rm -r "$tree"
}

# The package of the shared kernel, with few of its modules.
record_kernel_tar() {
	local kernel=$BANGER_CACHE/state/kernels/debian-cloud release
	release=$(jq -r .release "$kernel/kernel.json")
	tar -C "$kernel" -cf "$1" \
		--transform "s,^vmlinuz\$,./boot/vmlinuz-$release," --transform "s,^modules,./lib/modules/$release," \
		vmlinuz modules/modules.builtin modules/modules.order modules/kernel/fs/overlayfs modules/kernel/drivers/virtio
}

# The names in a state folder of images or kernels.
names_in() {
	find "$BANGER_STATE_DIR/$1" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | xargs
}

images() {
	banger --json image list | jq -r '.images[] | "\(.name) \(.state)"'
}

kernels() {
	banger --json kernel list | jq -r '.kernels[] | "\(.name) \(.state)"'
}

image_version() {
	debugfs -R 'cat /version' "$BANGER_STATE_DIR/images/$IMAGE/root.ext4" 2>/dev/null
}

# Both file systems of the image are in order.
image_is_whole() {
	local file
	for file in "$BANGER_STATE_DIR/images/$IMAGE"/{root,work-seed}.ext4; do
		e2fsck -fn "$file" >/dev/null 2>&1 || { e2fsck -fn "$file" >&2; return 1; }
	done
}

# --- single system calls ---

# Attaches strace to the daemon with these options, and waits until it has all its threads.
trace_daemon() {
	local said=$BATS_TEST_TMPDIR/strace
	: >"$said"
	strace -f -p "$(daemon_pid)" "$@" 2>"$said" 3>&- &
	tracer=$!
	wait_until 20 file_has "$said" attached
}

# strace that has killed a process with threads does not always see the end of it, hence SIGKILL. Only SIGTERM completes
# what it writes.
end_trace() {
	kill "-${1:-KILL}" "$tracer" 2>/dev/null || true
	wait "$tracer" 2>/dev/null || true
}

# The system calls of one thread in the order of a trace, each as NAME COUNT: which of those with that name it is. The
# thread is the one that has a call like the pattern given.
calls_of_thread() {
	awk -v pattern="$2" '
		FNR == NR { if (!thread && $0 ~ pattern) thread = $1; next }
		$1 == thread && match($2, /^[a-z0-9_]+\(/) {
			name = substr($2, 1, RLENGTH - 1)
			print name, ++count[name]
		}' "$1" "$1"
}

# --- a client that stays connected ---

# Starts one: CLIENT has its descriptors, $CLIENT_PID its process.
connect_client() {
	banger --quiet vm list >/dev/null # there is somebody to connect to
	# bats waits for whoever has its descriptor 3.
	coproc CLIENT { exec /usr/bin/python3 "$BATS_TEST_DIRNAME/rpc.py" - 3>&-; }
}

# What it asks: a method, and parameters as JSON. $reply is what it is told.
client_asks() {
	echo "$@" >&"${CLIENT[1]}"
	read -r -t 100 reply <&"${CLIENT[0]}"
}

# The same, and the answer is no error.
client_does() {
	client_asks "$@"
	jq -e .result <<<"$reply" >/dev/null || { echo "$*: $reply" >&2; return 1; }
}

end_client() {
	local pid=$CLIENT_PID
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null || true
}
