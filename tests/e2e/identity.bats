#!/usr/bin/env bats
# A running systemd guest becomes another machine, as a clone of its memory has to: everything that two machines must not
# share is looked at from inside. All tests share one booted VM, which is asked over its agent's socket as the daemon asks.
# shellcheck disable=SC2154,SC2016 # bats sets status, output, stderr, lines; many expressions are for the guest's shell

load helper

# shellcheck disable=SC2034 # for write_config
IMAGE=debian-bookworm

setup_file() {
	share_home
	banger --quiet vm run --name sys -d --memory 1G
	mkdir "$BATS_FILE_TMPDIR/one" "$BATS_FILE_TMPDIR/two"
	for name in one two; do
		ssh-keygen -q -t ed25519 -N '' -C "root@$name" -f "$BATS_FILE_TMPDIR/$name/key"
	done
	wait_until 100 is_quiet
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

# A request to the agent, as JSON.
ask() {
	python3 "$BATS_TEST_DIRNAME/../integration/agent_client.py" \
		"vsock:$BANGER_RUNTIME_DIR/vm/$(vm_get sys .id | cut -c 1-12)/vsock.sock" request "$1"
}

is_quiet() {
	[ "$(ask '{"op":"quiet"}')" = '{"ok":true,"quiet":true}' ]
}

# renew NAME LAST-DIGIT: the machine of that name, with an address and a machine-id that end so.
renew() {
	ask "$(jq -nc --arg name "$1" --arg digit "$2" --rawfile key "$BATS_FILE_TMPDIR/$1/key" \
		--rawfile pub "$BATS_FILE_TMPDIR/$1/key.pub" --arg entropy "$(head -c 64 /dev/urandom | base64 -w0)" \
		--arg now "$(date +%s.%N)" \
		'{op: "identity", renew: true, identity: {hostname: $name, machine_id: ("0123456789abcdef0123456789abcde" + $digit),
		  ssh_host_key: $key, ssh_host_key_pub: $pub, authorized_keys: ["ssh-ed25519 AAAA " + $name], entropy: $entropy,
		  wall_seconds: ($now | split(".")[0] | tonumber), wall_nanoseconds: ($now | split(".")[1] | ltrimstr("0") | tonumber),
		  network: {mac: ("02:00:00:00:00:0" + $digit), address: ("172.16.77." + $digit), prefix: 24,
		    gateway: "172.16.77.254", dns: ["172.16.77.254"]}}}')" >"$BATS_FILE_TMPDIR/answer"
	jq .machine "$BATS_FILE_TMPDIR/answer" >"$BATS_FILE_TMPDIR/$1/machine"
	equal "$(jq .ok "$BATS_FILE_TMPDIR/answer")" true
}

# Everything that differs between machines, a line each.
facts() {
	in_sys bash -c 'hostname; hostnamectl --static; cat /etc/machine-id /var/lib/dbus/machine-id /proc/sys/kernel/random/boot_id
		ip -o -4 address show dev eth0 | tr -s " " | cut -d " " -f 4; cat /sys/class/net/eth0/address
		ip -o -6 address show dev eth0 scope link | tr -s " " | cut -d " " -f 4
		sha256sum </var/lib/systemd/random-seed; head -c 16 /dev/urandom | base64; openssl rand -hex 16; cat /proc/sys/kernel/random/uuid
		cut -d " " -f 2 /etc/ssh/ssh_host_ed25519_key.pub; ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null | cut -d " " -f 3
		grep -v "^#" /root/.ssh/authorized_keys'
}

sshd_greets_with() {
	[ "$(in_sys ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null | cut -d ' ' -f 2,3)" = "$(cut -d ' ' -f 1,2 <"$1")" ]
}

journal_is_of() {
	in_sys logger "written for $1"
	in_sys journalctl --no-pager -b -o json --output-fields=_MACHINE_ID,MESSAGE | jq -se --arg id "$1" --arg text "written for $1" \
		'any(.[]; .MESSAGE == $text and ._MACHINE_ID == $id)' >/dev/null
}

@test "a guest is quiet when systemd has finished, and not before" {
	matches "$(in_sys systemctl is-system-running)" '^(running|degraded)$'
	equal "$(in_sys systemctl list-jobs --no-legend)" ""
	in_sys systemd-run --quiet --no-block --property Type=oneshot sleep $((3 * PATIENCE))
	matches "$(ask '{"op":"quiet"}' | jq -r .why)" '^systemd has 1 jobs to do$'
	wait_until 30 is_quiet
}

@test "a running system becomes another machine, and then a third" {
	local name digit sleeper
	facts >"$BATS_TEST_TMPDIR/before"
	# What was running goes on.
	in_sys sh -c 'echo $$ >/root/pid; exec sleep 1000' 3>&- &
	sleeper=$!
	wait_until 20 in_sys test -s /root/pid

	for name in one two; do
		case $name in one) digit=1 ;; two) digit=2 ;; esac
		renew "$name" "$digit"
		# The old key is not shown any more, from the answer on.
		matches "$(in_sys ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null | cut -d ' ' -f 3)" "^($(cut -d ' ' -f 2 <"$BATS_FILE_TMPDIR/$name/key.pub"))?$"
		equal "$(jq -r '[.hostname, .machine_id, .address, .prefix, .mac, .addresses] | join(" ")' "$BATS_FILE_TMPDIR/$name/machine")" \
			"$name 0123456789abcdef0123456789abcde$digit 172.16.77.$digit 24 02:00:00:00:00:0$digit 1"
		wait_until 20 sshd_greets_with "$BATS_FILE_TMPDIR/$name/key.pub"
		wait_until 20 journal_is_of "0123456789abcdef0123456789abcde$digit"
		facts >"$BATS_TEST_TMPDIR/$name"
		equal "$(head -n 4 "$BATS_TEST_TMPDIR/$name")" "$name
$name
0123456789abcdef0123456789abcde$digit
0123456789abcdef0123456789abcde$digit"
		equal "$(sed -n 5p "$BATS_TEST_TMPDIR/$name")" "$(jq -r .boot_id "$BATS_FILE_TMPDIR/$name/machine")"
		equal "$(in_sys ip route show default)" "default via 172.16.77.254 dev eth0 "
		run_for 0 in_sys getent hosts "$name"
	done
	# No line is the same in two of them.
	equal "$(for name in before one two; do sort -u "$BATS_TEST_TMPDIR/$name"; done | sort | uniq -d)" ""
	[ "$(wc -l <"$BATS_TEST_TMPDIR/two")" -ge 14 ]

	run_for 0 in_sys sh -c 'kill -0 $(cat /root/pid) && kill $(cat /root/pid)'
	wait_for_status "$sleeper" 143
	equal "$(in_sys systemctl --failed --no-legend --plain)" ""
	matches "$(in_sys systemctl is-system-running)" '^running$'
	# The journal of before is still there, as another boot of this machine.
	run_for 0 in_sys journalctl --no-pager -q -o cat -g 'Linux version'
	contains "$output" 'Linux version'
	equal "$(in_sys ps -o nice= -C sshd | sort -u | tr -d ' ')" 0
}

@test "asked again it is the same machine, and nothing is begun anew" {
	local pids=(systemctl show -p MainPID --value ssh systemd-journald)
	facts | sed '10,12d' >"$BATS_TEST_TMPDIR/before"
	in_sys "${pids[@]}" >"$BATS_TEST_TMPDIR/pids"
	renew two 2
	facts | sed '10,12d' | diff -u "$BATS_TEST_TMPDIR/before" -
	in_sys "${pids[@]}" | diff -u "$BATS_TEST_TMPDIR/pids" -
}

@test "systemd-networkd takes the new address, and does not bring the old one back" {
	has_address() {
		[ "$(in_sys ip -o -4 address show dev eth0 | tr -s ' ' | cut -d ' ' -f 4)" = "172.16.77.$1/24" ]
	}
	in_sys systemctl start systemd-networkd
	wait_until 20 is_quiet
	has_address 2
	renew one 1
	has_address 1
	wait_until 20 is_quiet
	wait_until 20 has_address 1
	in_sys networkctl reconfigure eth0
	wait_until 20 has_address 1
	equal "$(in_sys ip route show default | cut -d ' ' -f 1-5)" "default via 172.16.77.254 dev eth0"
	in_sys systemctl stop systemd-networkd systemd-networkd.socket
}

@test "file systems stand still, and the VM ends in order afterwards" {
	equal "$(ask '{"op":"freeze"}' | jq -c '.frozen | sort')" '["/","/root"]'
	equal "$(ask '{"op":"thaw"}')" '{"ok":true,"held":true}'
	in_sys sh -c 'echo kept >/root/kept'
	run_for 0 banger --quiet vm stop sys
	banger --quiet vm start sys
	equal "$(in_sys cat /root/kept)" kept
	equal "$(in_sys hostname)" sys
	# It is another process now.
	watch_census
}
