# What every end-to-end test uses: folders of its own, the shared images, and a census before and after.
#
# BANGER_BUILD is the build to test, BANGER_CACHE where tests/prepare-cache put images and kernel. Each file runs in
# a network namespace of its own (see setup_file), so nothing it does can reach a network.

bats_require_minimum_version 1.5.0

PROGRAMS=$BANGER_BUILD/src/bin
IMAGE=debian-bookworm-slim

banger() {
	"$PROGRAMS/banger" "$@"
}

# Folders short enough for socket paths; images and kernels are the shared ones.
new_home() {
	HOME_DIR=$(mktemp -d /tmp/banger-e2e-XXXXXX)
	export BANGER_CONFIG_DIR=$HOME_DIR/config BANGER_STATE_DIR=$HOME_DIR/state
	export BANGER_CACHE_DIR=$HOME_DIR/cache BANGER_RUNTIME_DIR=$HOME_DIR/run
	mkdir -m 700 "$BANGER_CONFIG_DIR" "$BANGER_STATE_DIR"
	ln -s "$BANGER_CACHE/state/images" "$BANGER_STATE_DIR/images"
	ln -s "$BANGER_CACHE/state/kernels" "$BANGER_STATE_DIR/kernels"
	cat >"$BANGER_CONFIG_DIR/config.toml" <<-TOML
		default_image_name = "$IMAGE"
		[vm_defaults]
		vcpu = 1
		memory_mib = 512
		disk_size = "1GiB"
		system_overlay_size = "2GiB"
	TOML
}

daemon_pid() {
	banger --json daemon status | jq -r .pid
}

# Everything that a test could leave behind. Its own folder is not in it: that goes with the test.
census() {
	echo "processes:"
	pgrep -a -f 'banger(d|-vmm)|qemu-system' | sed 's/^[0-9]* //' | sort || true
	echo "links:"
	ip -o link | awk '{ print $2 }' | sort
	echo "loops:"
	losetup -a
	echo "mounts:"
	wc -l </proc/self/mounts
	echo "namespaces:"
	ip netns list
	echo "cgroups:"
	find /sys/fs/cgroup -type d -name '*banger*' 2>/dev/null || true
	echo "files:"
	find /tmp /run /dev/shm -maxdepth 1 -name '*banger*' ! -path "$HOME_DIR" ! -path '/tmp/bats-run-*' | sort
}

# Rows and folders of VMs: none may be left when all were deleted.
assert_no_vms() {
	[ "$(banger --json vm list | jq '.vms | length')" -eq 0 ]
	[ -z "$(ls "$BANGER_STATE_DIR/vms")" ]
	[ -z "$(ls "$BANGER_RUNTIME_DIR/vm")" ]
}

setup() {
	new_home
	census >"$BATS_TEST_TMPDIR/before"
}

# Runs also when the test failed; what it finds fails the test.
teardown() {
	local ids status=0
	unset BANGER_FAILPOINT
	ids=$(banger vm list -q) || status=1
	# shellcheck disable=SC2086 # a list of ids
	[ -z "$ids" ] || banger --quiet vm delete $ids || status=1
	[ ! -d "$BANGER_STATE_DIR/vms" ] || assert_no_vms || status=1
	banger --quiet daemon stop --force || status=1
	wait_until 10 no_process_of_ours || status=1
	census >"$BATS_TEST_TMPDIR/after"
	diff -u "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/after" || status=1
	if [ "$status" -ne 0 ] || [ -z "${BATS_TEST_COMPLETED:-}" ]; then
		echo "# --- the end of bangerd's log" >&2
		tail -n 25 "$BANGER_STATE_DIR/bangerd.log" >&2 || true
	fi
	rm -rf "$HOME_DIR"
	return "$status"
}

no_process_of_ours() {
	! pgrep -f "$HOME_DIR" >/dev/null
}

# Waits for a condition, at most so many seconds, and says what it waited for.
wait_until() {
	local deadline=$((SECONDS + $1))
	shift
	until "$@"; do
		if [ "$SECONDS" -ge "$deadline" ]; then
			echo "gave up waiting for: $*" >&2
			return 1
		fi
		sleep 0.1
	done
}

state_of() {
	banger --json vm show "$1" | jq -r .vm.state
}

vm_is() {
	[ "$(state_of "$1")" = "$2" ]
}
