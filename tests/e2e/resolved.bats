#!/usr/bin/env bats
# bangerd beside a real systemd-resolved, which wants systemd and D-Bus: in a guest of Debian that has both. The VM there
# only pretends to run (fake_qemu.c); its bridge, its TAP, bangerd and its names are real. All tests share one guest.
# shellcheck disable=SC2154,SC2016 # bats sets status, output, stderr, lines; many expressions are for the guest's shell

load helper

# shellcheck disable=SC2034 # for write_config
IMAGE=debian-bookworm

# Guest and all, under emulation.
export BATS_TEST_TIMEOUT=300

setup_file() {
	share_home
	sed -i '1i network = "none"' "$BANGER_CONFIG_DIR/config.toml"
	banger --quiet vm run --name sys -d --memory 1G --disk-size 3G --system-overlay-size 6G
	bring_programs
	bring_kernel
	wait_until 150 systemd_is_up
	bring_resolved
	bring_home
	in_sys b vm run -d --name box --image fs
}

teardown_file() {
	end_shared_home
}

setup() {
	watch_census
}

teardown() {
	local status=0
	compare_census || status=1
	[ -n "${BATS_TEST_COMPLETED:-}" ] || in_sys sh -c 'resolvectl status; tail -n 20 /opt/banger/state/bangerd.log' >&2 || true
	return "$status"
}

in_sys() {
	in_vm sys "$@"
}

systemd_is_up() {
	[[ $(in_sys systemctl is-system-running --wait 2>/dev/null) =~ ^(running|degraded)$ ]]
}

# With the libraries that the guest lacks.
bring_programs() {
	local tree=$BATS_FILE_TMPDIR/banger
	local programs=("$PROGRAMS"/{banger,bangerd,banger-vmm,banger-vsock-agent} "$BANGER_BUILD/tests/integration/fake_qemu" "$(command -v qemu-img)")
	mkdir -p "$tree/lib"
	cp "${programs[@]}" "$tree/"
	mv "$tree/fake_qemu" "$tree/fake_qemu.healthy"
	ldd "${programs[@]}" 2>/dev/null | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u | xargs cp -L -t "$tree/lib"
	tar -c -C "$BATS_FILE_TMPDIR" --mode=go+rX banger | in_sys tar -x -C /opt --no-same-owner
	in_sys sh -ec '
		mv /opt/banger/qemu-img /usr/local/bin/
		cd /opt/banger/lib
		for file in *; do
			[ -e "/usr/lib/x86_64-linux-gnu/$file" ] || mv "$file" /usr/lib/x86_64-linux-gnu/
		done
		ldconfig'
}

# For the VM, and its modules for the guest's own kernel, which is the same.
bring_kernel() {
	local folder=/opt/banger/state/kernels/debian-cloud
	in_sys mkdir -p -m 700 $folder
	tar -c -C "$BANGER_CACHE/state/kernels/debian-cloud" initramfs.img initramfs.json kernel.json modules modules.dep vmlinux vmlinuz |
		in_sys tar -x -C $folder --no-same-owner
	in_sys sh -ec '
		mkdir -p /lib/modules
		ln -s "$0/modules" "/lib/modules/$(uname -r)"
		depmod -a
		modprobe tun' $folder
}

# The package starts it before the bus has heard of its user.
bring_resolved() {
	in_sys sh -c 'cat >/root/systemd-resolved.deb' <"$BANGER_CACHE/debs/systemd-resolved.deb"
	in_sys dpkg -i --force-depends /root/systemd-resolved.deb
	in_sys systemctl restart systemd-resolved
}

# A state folder, `b` to ask its bangerd, and an image that nobody reads.
bring_home() {
	in_sys sh -ec '
		cat >/usr/local/bin/b <<-"END"
		#!/bin/sh
		export BANGER_STATE_DIR=/opt/banger/state BANGER_CONFIG_DIR=/opt/banger/config
		export BANGER_CACHE_DIR=/opt/banger/cache BANGER_RUNTIME_DIR=/run/banger
		exec /opt/banger/banger --quiet "$@"
		END
		chmod +x /usr/local/bin/b
		chmod 700 /opt/banger/state
		mkdir -m 700 /opt/banger/config
		printf "%s\n" "qemu_bin = \"/opt/banger/fake_qemu.healthy\"" "tap_pool_size = 0" >/opt/banger/config/config.toml
		truncate -s 64M /opt/banger/fs
		mke2fs -q -F -t ext4 /opt/banger/fs
		b image register fs --rootfs /opt/banger/fs'
}

# What resolved finds for a name: "" when nothing
resolved_finds() {
	in_sys resolvectl query --legend=no "$1" 2>/dev/null | sed -n 's/^[^ ]*: \([0-9.]*\).*/\1/p'
}

resolved_finds_it() {
	[ "$(resolved_finds box.vm)" = "$1" ]
}

answers() {
	in_sys b --json daemon status | jq .dns_answers
}

# As they stand in docs/network.md: the commands that say it by hand.
by_hand() {
	awk '/^### / { is_in = $0 == "### systemd-resolved" } is_in && /^    resolvectl / { print substr($0, 5) }' \
		"$BATS_TEST_DIRNAME/../../docs/network.md"
}

@test "programs find a VM's name through systemd-resolved, which asks for nothing else" {
	local before
	wait_until 90 resolved_finds_it 172.16.0.2
	run_for 0 in_sys getent hosts box.vm
	matches "$output" '^172\.16\.0\.2 +box\.vm$'
	equal "$(in_sys resolvectl dns br-fc)" "$(in_sys resolvectl status br-fc | sed -n 's/^Link \([0-9]*\).*/Link \1 (br-fc): 127.0.0.1:42069/p')"
	matches "$(in_sys resolvectl domain br-fc)" ': ~vm$'
	equal "$(in_sys b --json doctor | jq -r '.checks[] | select(.name == "names") | .status + " " + .message')" \
		'pass programs of this host find NAME.vm, through systemd-resolved'
	equal "$(resolved_finds nobody.vm)" ''
	before=$(answers)
	run_for 1 in_sys resolvectl query example.com
	run_for 2 in_sys getent hosts example.com
	equal "$(answers)" "$before"
}

@test "it follows the VM, another run of resolved, and bangerd's end" {
	in_sys b vm kill box
	equal "$(resolved_finds box.vm)" ''
	in_sys b vm start box
	wait_until 30 resolved_finds_it 172.16.0.2
	in_sys systemctl restart systemd-resolved
	wait_until 30 resolved_finds_it 172.16.0.2
	in_sys ip link del br-fc
	wait_until 60 resolved_finds_it 172.16.0.2
	# The VM goes on, and its bridge, but nobody answers.
	in_sys b daemon stop --force
	in_sys ip link show br-fc
	matches "$(in_sys resolvectl dns br-fc)" '\(br-fc\): *$'
	matches "$(in_sys resolvectl domain br-fc)" '\(br-fc\): *$'
	equal "$(resolved_finds box.vm)" ''
	in_sys b vm list
	wait_until 60 resolved_finds_it 172.16.0.2
}

@test "the recipe for saying it by hand" {
	[ "$(by_hand | wc -l)" -ge 3 ]
	in_sys resolvectl revert br-fc
	equal "$(resolved_finds box.vm)" ''
	by_hand | in_sys sh -e
	equal "$(resolved_finds box.vm)" 172.16.0.2
}

@test "dns_listen on the bridge" {
	in_sys sed -i '1i dns_listen = "172.16.0.1:53"' /opt/banger/config/config.toml
	in_sys b daemon stop --force
	in_sys b vm list
	wait_until 60 resolved_finds_it 172.16.0.2
	matches "$(in_sys resolvectl dns br-fc)" '\(br-fc\): 172\.16\.0\.1(:53)?$'
}
