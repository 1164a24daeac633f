# What every end-to-end test uses: folders of its own, the shared images, and a census before and after.
#
# BANGER_BUILD is the build to test, BANGER_CACHE where tests/prepare-cache put images and kernel. Each file runs in
# namespaces of its own, so nothing that it does can reach a network, and the census sees only what is its own:
#
#     BANGER_BUILD=... BANGER_CACHE=... tests/in-namespaces bats tests/e2e/exec.bats
#
# A file whose tests share one VM calls share_home and end_shared_home in setup_file and teardown_file; its setup and
# teardown are then watch_census and compare_census.

bats_require_minimum_version 1.5.0

if [ -z "${BANGER_TEST_NAMESPACES:-}" ]; then
	echo "these tests run in namespaces of their own: tests/in-namespaces bats ${BATS_TEST_FILENAME:-FILE}" >&2
	exit 1
fi

# On a slow machine everything may take this many times as long (tests/kvm-host sets it).
PATIENCE=${BANGER_TEST_PATIENCE:-1}

# What runs the guests: tcg, or kvm where that works (tests/kvm-host sets it, too).
export ACCEL=${BANGER_TEST_ACCEL:-tcg}

# A test that hangs is one that failed.
export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-$((600 * PATIENCE))}

PROGRAMS=$BANGER_BUILD/src/bin
export BANGER=$PROGRAMS/banger
IMAGE=debian-bookworm-slim

banger() {
	"$BANGER" "$@"
}

# --- homes ---

# Folders short enough for socket paths; images and kernels are the shared ones.
new_home() {
	HOME_DIR=$(mktemp -d /tmp/banger-e2e-XXXXXX)
	export HOME_DIR
	export BANGER_CONFIG_DIR=$HOME_DIR/config BANGER_STATE_DIR=$HOME_DIR/state
	export BANGER_CACHE_DIR=$HOME_DIR/cache BANGER_RUNTIME_DIR=$HOME_DIR/run
	mkdir -m 700 "$BANGER_CONFIG_DIR" "$BANGER_STATE_DIR"
	ln -s "$BANGER_CACHE/state/images" "$BANGER_STATE_DIR/images"
	ln -s "$BANGER_CACHE/state/kernels" "$BANGER_STATE_DIR/kernels"
	write_config
}

write_config() {
	cat >"$BANGER_CONFIG_DIR/config.toml" <<-TOML
		default_image_name = "$IMAGE"
		tap_pool_size = 0
		templates = false
		[vm_defaults]
		vcpu = 1
		memory_mib = 512
		disk_size = "1GiB"
		system_overlay_size = "2GiB"
	TOML
}

# A home with its census before, which goes into the folder given.
begin_home() {
	new_home
	wait_until 20 all_are_reaped
	census >"$1/census-before-home"
}

# Deletes all VMs, ends the daemon and removes the home. What is found then and was not there before is a failure.
end_home() {
	local ids status=0
	unset BANGER_FAILPOINT
	ids=$(banger vm list -q) || status=1
	# shellcheck disable=SC2086 # a list of ids
	[ -z "$ids" ] || banger --quiet vm delete $ids || status=1
	[ ! -d "$BANGER_STATE_DIR/vms" ] || assert_no_vms || status=1
	banger --quiet daemon stop --force || status=1
	wait_until 20 no_process_of_ours || status=1
	wait_until 20 census_is "$1/census-before-home" || status=1
	if [ "$status" -ne 0 ] || { [ -n "${BATS_TEST_NAME:-}" ] && [ -z "${BATS_TEST_COMPLETED:-}" ]; }; then
		census | diff -u "$1/census-before-home" - >&2 || true
		echo "# --- the end of bangerd's log" >&2
		tail -n 25 "$BANGER_STATE_DIR/bangerd.log" >&2 || true
	fi
	rm -rf "$HOME_DIR"
	return "$status"
}

setup() {
	begin_home "$BATS_TEST_TMPDIR"
}

# Runs also when the test failed; what it finds fails the test.
teardown() {
	end_home "$BATS_TEST_TMPDIR"
}

share_home() {
	begin_home "$BATS_FILE_TMPDIR"
}

end_shared_home() {
	end_home "$BATS_FILE_TMPDIR"
}

# Bridge and rules come with a daemon's first VM and go with the daemon: between its tests they are no matter.
watch_census() {
	wait_until 20 all_are_reaped
	IS_WITHIN_HOME=1
	census >"$BATS_TEST_TMPDIR/census-before"
}

compare_census() {
	wait_until 20 census_is "$BATS_TEST_TMPDIR/census-before" && return
	census | diff -u "$BATS_TEST_TMPDIR/census-before" - >&2
}

# What a test made beside the VM that the file's tests share, if there is one: delete_vms_but [NAME]
delete_vms_but() {
	local name status=0
	for name in $(banger --json vm list | jq -r --arg kept "${1:-}" '.vms[] | select(.name != $kept).name'); do
		banger --quiet vm delete "$name" || status=1
	done
	return "$status"
}

# --- census ---

# All lines but what a daemon keeps for VMs to come.
within_home() {
	if [ -n "${IS_WITHIN_HOME:-}" ]; then grep -vx "$1" || true; else cat; fi
}

# Everything that a test could leave behind. Its own folder is not in it: that goes with the test. Processes, links,
# listeners and mounts are those of the file's namespaces.
census() {
	echo "processes:"
	ps -e -o comm=,args= |
		awk '$1 !~ /^(bats.*|bash|sh|dash|env|ps|cat|tee|awk|mawk|sed|sort|grep|find|diff|cmp|sleep)$/' | sort
	echo "links:"
	ip -o link | awk '{ print $2 }' | within_home br-fc: | sort
	echo "listeners:"
	awk '$4 == "00010000" { print $8 }' /proc/net/unix | sort
	awk 'FNR > 1 && ($4 == "0A" || $4 == "07") { print FILENAME, $2 }' /proc/net/{tcp,udp}{,6} | sort
	echo "packet rules:"
	[ -n "${IS_WITHIN_HOME:-}" ] || nft -s list ruleset
	sysctl -n net.ipv4.ip_forward
	echo "loops:"
	losetup -n -O BACK-FILE | grep -F "$HOME_DIR/" | sort || true
	echo "mounts:"
	cut -d ' ' -f 1-3 /proc/self/mounts
	echo "namespaces:"
	ip netns list | grep -F banger || true
	echo "cgroups:"
	find /sys/fs/cgroup -type d -path "*/$(cgroup_of_home)*" 2>/dev/null || true
	echo "files:"
	find /tmp /run /dev/shm -mindepth 1 -maxdepth 1 ! -path "$HOME_DIR" ! -name 'bats-run-*' | sort
	find "$BANGER_CACHE"/state/{images,kernels} -maxdepth 1 -name '.new-*' | sort
}

# The folder of our VMs' cgroups, in each hierarchy: others may run daemons, too.
cgroup_of_home() {
	echo "banger-$(printf %s "$BANGER_STATE_DIR" | sha256sum | cut -c 1-16)"
}

# What ended just now and has lost its parent is about to go, and must not be taken for something that was there.
all_are_reaped() {
	ps -e -o stat= | awk '/^Z/ { found = 1 } END { exit found }'
}

census_is() {
	census | cmp -s "$1" -
}

# Rows and folders of VMs: none may be left when all were deleted.
assert_no_vms() {
	equal "$(banger --json vm list | jq -c .vms)" "[]"
	equal "$(ls "$BANGER_STATE_DIR/vms")" ""
	equal "$(ls "$BANGER_RUNTIME_DIR/vm")" ""
}

has_no_vms() {
	assert_no_vms 2>/dev/null
}

no_process_of_ours() {
	! pgrep -f "$HOME_DIR" >/dev/null
}

# --- asking ---

daemon_pid() {
	banger --json daemon status | jq -r .pid
}

# A member of the VM object: vm_get VM .state
vm_get() {
	banger --json vm show "$1" | jq -r ".vm$2"
}

state_of() {
	vm_get "$1" .state
}

vm_is() {
	[ "$(state_of "$1")" = "$2" ]
}

# A command in a guest, without progress.
in_vm() {
	banger --quiet vm exec "$1" -- "${@:2}"
}

# --- ports of guests ---

# A server in the guest that sends back what it gets, and ends when that ends.
serve_echo() {
	# shellcheck disable=SC2016 # perl's
	in_vm "$1" perl -MIO::Socket::INET -e '
		my $server = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => shift, Listen => 64, ReuseAddr => 1) or die "$!";
		exit 0 if fork;
		open STDIN, "</dev/null"; open STDOUT, ">/dev/null"; open STDERR, ">/dev/null";
		$SIG{CHLD} = "IGNORE";
		while (my $client = $server->accept) {
			next if fork;
			while (sysread $client, my $bytes, 65536) { my $at = 0; $at += syswrite $client, $bytes, 65536, $at while $at < length $bytes; }
			exit 0;
		}' "$2"
}

# Sends standard input to a port of this host, half-closes, and prints what comes back.
through() {
	python3 -c '
import socket, sys, threading
stream = socket.create_connection((sys.argv[2], int(sys.argv[1])), timeout=60)
def send():
    stream.sendall(sys.stdin.buffer.read())
    stream.shutdown(socket.SHUT_WR)
sender = threading.Thread(target=send)
sender.start()
try:
    while data := stream.recv(65536):
        sys.stdout.buffer.write(data)
except ConnectionResetError:
    sys.exit("reset")
sender.join()' "$1" "${2:-127.0.0.1}"
}

# --- clocks ---

# A guest's clock is the host's, within a second: asking takes a while, too.
clock_is_right() {
	local before guest after
	before=$(date +%s%3N)
	guest=$(in_vm "$1" date +%s%3N)
	after=$(date +%s%3N)
	if [ "$guest" -lt $((before - 1000)) ] || [ "$guest" -gt $((after + 1000)) ]; then
		echo "the clock of '$1' says $guest ms, between $before and $after" >&2
		return 1
	fi
}

# --- waiting ---

# Waits for a condition, at most so many seconds, and says what it waited for.
wait_until() {
	local deadline=$((SECONDS + $1 * PATIENCE))
	shift
	until "$@"; do
		if [ "$SECONDS" -ge "$deadline" ]; then
			echo "gave up waiting for: $*" >&2
			return 1
		fi
		sleep 0.1
	done
}

file_has() {
	grep -q -- "$2" "$1"
}

# QEMU follows its VMM, which bangerd waits for.
no_vmm_runs() {
	! pgrep -x banger-vmm >/dev/null && ! pgrep -x qemu-system-x86 >/dev/null
}

process_is_gone() {
	! kill -0 "$1" 2>/dev/null
}

# Starts a command in a process group of its own, as a shell does for a user (so that Ctrl-C and Ctrl-Z reach it), with
# its output in $BATS_TEST_TMPDIR/NAME.out and .err; $started is its process. wait_for_status waits for it.
start() {
	local name=$1
	shift
	set -m
	"$@" >"$BATS_TEST_TMPDIR/$name.out" 2>"$BATS_TEST_TMPDIR/$name.err" </dev/null 3>&- &
	set +m
	# shellcheck disable=SC2034 # the tests' to read
	started=$!
}

# The exit status of a child must be so.
wait_for_status() {
	local status=0
	wait "$1" || status=$?
	equal "status $status" "status $2"
}

# --- asserting ---

equal() {
	if [[ $1 != "$2" ]]; then
		printf 'got:    %s\nwanted: %s\n' "$1" "$2" >&2
		return 1
	fi
}

contains() {
	if [[ $1 != *"$2"* ]]; then
		printf 'got:          %s\nwithout this: %s\n' "$1" "$2" >&2
		return 1
	fi
}

lacks() {
	if [[ $1 == *"$2"* ]]; then
		printf 'got:       %s\nwith this: %s\n' "$1" "$2" >&2
		return 1
	fi
}

matches() {
	if [[ ! $1 =~ $2 ]]; then
		printf 'got:            %s\ndoes not match: %s\n' "$1" "$2" >&2
		return 1
	fi
}

# Runs a command that must end with the status given. $output is its standard output, $lines that output's lines,
# $stderr its standard error.
run_for() {
	local wanted=$1
	shift
	# shellcheck disable=SC2034 # all of them are the tests' to read
	status=0 lines=()
	output=$("$@" 2>"$BATS_TEST_TMPDIR/stderr") || status=$?
	stderr=$(<"$BATS_TEST_TMPDIR/stderr")
	# shellcheck disable=SC2034
	[ -z "$output" ] || mapfile -t lines <<<"$output"
	if [ "$status" -ne "$wanted" ]; then
		printf 'status %s, wanted %s: %s\nstdout: %s\nstderr: %s\n' "$status" "$wanted" "$*" "$output" "$stderr" >&2
		return 1
	fi
}
