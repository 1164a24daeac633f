#!/usr/bin/env bats
# A guest with systemd as its init: the agent comes before it, lives beside it, and the VM ends with it. All tests share
# one booted VM.
# shellcheck disable=SC2154,SC2016 # bats sets status, output, stderr, lines; many expressions are for the guest's shell

load helper

# shellcheck disable=SC2034 # for write_config
IMAGE=debian-bookworm

setup_file() {
	share_home
	banger --quiet vm run --name sys -d --memory 1G --disk-size 3G --system-overlay-size 6G
	banger --quiet vm exec sys -- cat /proc/uptime >"$BATS_FILE_TMPDIR/first-answer"
}

teardown_file() {
	end_shared_home
}

setup() {
	watch_census
}

teardown() {
	compare_census
}

in_sys() {
	in_vm sys "$@"
}

# Waits for the end of systemd's boot: at first there is nobody who could be asked for it.
systemd_is_up() {
	[[ $(in_sys systemctl is-system-running --wait 2>/dev/null) =~ ^(running|degraded)$ ]]
}

@test "the agent answers before systemd is up, and goes on beside it" {
	[ "$(cut -d . -f 1 <"$BATS_FILE_TMPDIR/first-answer")" -lt 15 ]
	wait_until 100 systemd_is_up
	run in_sys systemctl is-system-running
	if [ "$output" != running ]; then
		in_sys systemctl --failed --no-legend --plain >&2
		in_sys journalctl -b -p err --no-pager >&2
	fi
	equal "$output" running
	equal "$(in_sys cat /proc/1/comm)" systemd
	run_for 0 banger vm health sys
	matches "$output" 'healthy +yes'
	equal "$(banger --json vm health sys | jq -c .stages)" '["root","work","identity","init"]'
	# It is in no service's cgroup that systemd would end.
	run_for 0 in_sys sh -c 'cat /proc/$PPID/cgroup; ps -o args= -p $PPID'
	equal "${lines[1]}" '@banger-agent'
}

# src/priv on a host as most are: cgroup v2 under systemd (docs/security.md).
@test "VMs' cgroups under systemd: below a unit that it delegates, at the root for root's own session" {
	[ -x "$BANGER_BUILD/tests/integration/priv_tool" ]
	wait_until 100 systemd_is_up
	banger --quiet vm exec sys -- sh -c 'cat >/usr/local/bin/priv_tool; chmod +x /usr/local/bin/priv_tool' \
		<"$BANGER_BUILD/tests/integration/priv_tool"
	local tool=(priv_tool run /state 0123456789abcdef0123456789abcdef 64 /bin/cat /proc/self/cgroup)
	local own=banger-7ac1387d11b1e002/0123456789abcdef0123456789abcdef
	run_for 0 in_sys systemd-run --quiet --scope --unit given -p Delegate=yes "${tool[@]}"
	equal "${lines[0]}" "0::/system.slice/given.scope/$own"
	contains "$output" "memory_max $((257 << 20))"
	contains "$output" "processes 0"
	run_for 0 in_sys systemd-run --quiet --pipe --wait --unit alone "${tool[@]}"
	equal "${lines[0]}" "0::/$own"
	contains "$output" "memory_max $((257 << 20))"
	# Not as root, what systemd has not given away stays as it is.
	run_for 0 in_sys systemd-run --quiet --pipe --wait --uid nobody "${tool[@]}"
	lacks "$output" "$own"
	run_for 0 in_sys systemd-run --quiet --pipe --wait --uid nobody priv_tool report /state
	contains "$output" "which was not delegated to it"
	equal "$(in_sys find /sys/fs/cgroup -name 'banger-*')" ""
	equal "$(in_sys systemctl --failed --no-legend --plain)" ""
}

@test "nothing failed that a user would miss" {
	equal "$(in_sys systemctl --failed --no-legend --plain)" ''
	equal "$(in_sys systemctl is-active dbus.service systemd-journald.service ssh.service | sort -u)" active
	run_for 0 in_sys sh -c 'dmesg | grep -Ec "EXT4-fs.*(error|recovery|recovered)|Call Trace|BUG:|Oops" || true'
	equal "$output" 0
}

@test "hostname, hosts and identity are this VM's" {
	equal "$(in_sys hostname)" sys
	equal "$(in_sys hostnamectl hostname)" sys
	equal "$(in_sys cat /etc/hostname)" sys
	run_for 0 in_sys getent hosts sys
	matches "$output" '^(127\.0\.1\.1|::1|127\.0\.0\.1) +sys'
	run_for 0 in_sys getent hosts localhost
	equal "$(in_sys cat /etc/machine-id)" "$(vm_get sys .id)"
	[ $(($(date +%s) - $(in_sys date +%s))) -le 10 ]
}

@test "disks have the sizes asked for; /root is the work disk, seeded" {
	local root work
	equal "$(in_sys findmnt -no SOURCE,FSTYPE /)" '/dev/vda ext4'
	equal "$(in_sys findmnt -no SOURCE,FSTYPE /root)" '/dev/vdb ext4'
	equal "$(in_sys cat /sys/block/vda/size /sys/block/vdb/size)" "$((6 << 21))"$'\n'"$((3 << 21))"
	root=$(in_sys df -B1 --output=size / | tail -n 1)
	work=$(in_sys df -B1 --output=size /root | tail -n 1)
	# The file system is as large as its disk but for its own tables.
	[ "$root" -gt $(((6 << 30) * 93 / 100)) ]
	[ "$work" -gt $(((3 << 30) * 93 / 100)) ]
	run_for 0 in_sys sh -c 'stat -c "%a %u %g" /root; ls -A /root'
	equal "${lines[0]}" '700 0 0'
	contains "$output" .bashrc
	# It can really be filled beyond what the seed had, to its end.
	in_sys sh -c 'cd /root && fallocate -l 2700M big && echo end | dd of=big bs=1M seek=2700 conv=notrunc,fsync status=none'
	equal "$(in_sys tail -c 4 /root/big)" end
	in_sys rm /root/big
}

@test "sshd listens, with the key that the host made, and lets in banger's key alone" {
	local host_key
	run_for 0 in_sys ss -Hltn 'sport = :22'
	matches "$output" ':22 '
	host_key=$(vm_get sys .directory)/host_key
	equal "$(in_sys ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub | cut -d ' ' -f 2)" \
		"$(ssh-keygen -lf "$host_key.pub" | cut -d ' ' -f 2)"
	# What it really serves, as a client sees it.
	equal "$(in_sys ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null | cut -d ' ' -f 2,3)" "$(cut -d ' ' -f 1,2 "$host_key.pub")"
	equal "$(stat -c %a "$host_key")" 600
	equal "$(in_sys stat -c '%a %u' /etc/ssh/ssh_host_ed25519_key)" '600 0'
	equal "$(in_sys grep -v '^#' /root/.ssh/authorized_keys)" "$(cat "$BANGER_STATE_DIR/ssh/id_ed25519.pub")"
	equal "$(in_sys stat -c '%a %u' /root/.ssh /root/.ssh/authorized_keys)" $'700 0\n600 0'
	# The key does open the door: over a pipe through the agent, as there is no network.
	printf 'sys %s\n' "$(cut -d ' ' -f 1,2 "$host_key.pub")" >"$BATS_TEST_TMPDIR/known-hosts"
	run_for 0 timeout 60 ssh -F none -i "$BANGER_STATE_DIR/ssh/id_ed25519" -o IdentitiesOnly=yes -o BatchMode=yes \
		-o UserKnownHostsFile="$BATS_TEST_TMPDIR/known-hosts" -o StrictHostKeyChecking=yes \
		-o "ProxyCommand=$BANGER --quiet vm exec sys -- /usr/sbin/sshd -i" root@sys 'hostname; id -un; pwd'
	equal "$output" $'sys\nroot\n/root'
}

@test "what the image promises is there" {
	run_for 0 in_sys sh -c 'for program in git curl jq tmux sudo less vim ssh; do command -v "$program" || echo "no $program"; done'
	lacks "$output" 'no '
	run_for 0 in_sys sh -c 'test -s /etc/ssl/certs/ca-certificates.crt'
	run_for 0 in_sys bash -c 'diff <(echo same) <(echo same) && echo equal'
	equal "$output" equal
	run_for 0 in_sys systemd-run --wait --pipe --quiet echo by-systemd
	equal "$output" by-systemd
}

# Each session has a process of its own below it.
agent_process() {
	in_sys sh -c 'ps -o ppid= -p $PPID'
}

@test "systemd that executes itself anew, or reads everything again, leaves agent and VM as they are" {
	local agent verb
	wait_until 100 systemd_is_up
	agent=$(agent_process)
	for verb in daemon-reexec daemon-reload daemon-reexec; do
		run_for 0 in_sys systemctl "$verb"
		equal "$(banger --json vm health sys | jq -c '[.healthy, .stages]')" '[true,["root","work","identity","init"]]'
		equal "$(in_sys cat /proc/1/comm)" systemd
	done
	wait_until 30 systemd_is_up
	equal "$(agent_process)" "$agent"
	equal "$(state_of sys)" running
}

@test "another VM of the same image is another machine" {
	banger --quiet vm run --name other -d
	[ "$(in_sys cat /etc/machine-id)" != "$(in_vm other cat /etc/machine-id)" ]
	[ "$(in_sys cat /proc/sys/kernel/random/boot_id)" != "$(in_vm other cat /proc/sys/kernel/random/boot_id)" ]
	[ "$(in_sys cat /etc/ssh/ssh_host_ed25519_key.pub)" != "$(in_vm other cat /etc/ssh/ssh_host_ed25519_key.pub)" ]
	equal "$(in_vm other sh -c 'ls /etc/ssh/ssh_host_*_key')" /etc/ssh/ssh_host_ed25519_key
	# It is stopped long before systemd is up.
	run_for 0 banger --quiet vm delete other
}

@test "stop ends it in order, start finds it again, a reboot inside ends the VM" {
	local id
	id=$(in_sys cat /etc/machine-id)
	in_sys sh -c 'echo "ssh-ed25519 mine" >>/root/.ssh/authorized_keys; echo kept >/root/kept; echo kept >/etc/kept; systemd-run --quiet --unit=busy sleep 1000'
	run_for 0 banger --quiet vm stop sys
	equal "$output" 'sys: stopped'
	contains "$(banger vm logs --console sys)" 'Power down'

	run_for 0 banger --quiet vm start sys
	equal "$(in_sys cat /root/kept /etc/kept)" $'kept\nkept'
	# The user's own keys stay beside banger's, which is not there twice.
	equal "$(in_sys grep -v '^#' /root/.ssh/authorized_keys | sort)" \
		"$(cat "$BANGER_STATE_DIR/ssh/id_ed25519.pub" - <<<'ssh-ed25519 mine' | sort)"
	equal "$(in_sys cat /etc/machine-id)" "$id"
	equal "$(in_sys sh -c 'dmesg | grep -Ec "EXT4-fs.*(recovery|recovered|orphan|error)" || true')" 0
	wait_until 100 systemd_is_up
	run in_sys systemctl reboot
	wait_until 30 vm_is sys stopped
	equal "$(vm_get sys .last_error)" null
	banger --quiet vm start sys
	equal "$(in_sys hostname)" sys
	# It is another process now.
	watch_census
}
