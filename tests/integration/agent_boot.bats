#!/usr/bin/env bats
# shellcheck disable=SC2013,SC2016,SC2094 # pids are words; what the guest's shell is to expand
# The agent as /init of real guests (QEMU microvm, TCG) whose image has no init of its own: an ext4 with a shell, made
# here. The kernel is that of tests/prepare-cache, or else pulled. Images with systemd are tests/e2e's.

bats_require_minimum_version 1.5.0

setup_file() {
	export TOOL=$BANGER_BUILD/tests/integration/kernel_tool
	export KERNEL=$BATS_FILE_TMPDIR/kernels/debian-cloud
	mkdir -p "$BATS_FILE_TMPDIR/kernels"
	if [ -d "${BANGER_CACHE:-/nonexistent}/state/kernels/debian-cloud" ]; then
		cp -r --reflink=auto "$BANGER_CACHE/state/kernels/debian-cloud" "$KERNEL"
	else
		"$TOOL" pull "$BATS_FILE_TMPDIR/kernels" debian-cloud >/dev/null
	fi
	"$TOOL" initramfs "$BATS_FILE_TMPDIR/kernels" debian-cloud "$BANGER_BUILD/src/bin/banger-vsock-agent"
	make_root "$BATS_FILE_TMPDIR/root"
	make_disk "$BATS_FILE_TMPDIR/root.ext4" 64M 512M -d "$BATS_FILE_TMPDIR/root"
	make_disk "$BATS_FILE_TMPDIR/work.ext4" 16M 256M
	ssh-keygen -q -t ed25519 -N '' -C root@box -f "$BATS_FILE_TMPDIR/host_key"
}

# A shell and a few programs of this machine with their libraries: an image, and none with an init.
make_root() {
	local program file
	mkdir -p "$1"/{bin,etc,tmp,lib64}
	for program in sh bash cat cp ls df id stty sleep mkdir mount readlink date hostname ip; do
		cp "$(readlink -f "$(command -v "$program")")" "$1/bin/$program"
		ldd "$1/bin/$program" | grep -o '/[^ ]*' | while read -r file; do
			mkdir -p "$1$(dirname "$file")"
			[ -e "$1$file" ] || cp "$file" "$1$file"
		done
	done
	cp "$BANGER_BUILD/tests/integration/vsock_call" "$1/bin/"
	cp "$KERNEL/modules/kernel/net/vmw_vsock/vsock_loopback.ko" "$1/lib/"
	echo 'root:x:0:0:root:/root:/bin/bash' >"$1/etc/passwd"
	printf '127.0.0.1 localhost\n10.9.8.7 kept\n' >"$1/etc/hosts"
}

# make_disk FILE FILESYSTEM-SIZE DEVICE-SIZE [mke2fs options]
make_disk() {
	local file=$1 inner=$2 outer=$3
	shift 3
	truncate -s "$inner" "$file"
	mke2fs -q -t ext4 "$@" "$file"
	truncate -s "$outer" "$file"
}

setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
	cp --sparse=always "$BATS_FILE_TMPDIR/root.ext4" "$BATS_FILE_TMPDIR/work.ext4" .
	identity '{}'
}

teardown() {
	local pid
	for pid in $(cat qemu.pid bridge.pid 2>/dev/null); do
		kill "$pid" 2>/dev/null || true
	done
	[ -n "${BATS_TEST_COMPLETED:-}" ] || tail -n 20 console bridge.log 2>/dev/null
}

# Writes the VM's initrd; the argument is merged into the identity.
identity() {
	jq -nc --rawfile key "$BATS_FILE_TMPDIR/host_key" --rawfile pub "$BATS_FILE_TMPDIR/host_key.pub" \
		--arg entropy "$(head -c 64 /dev/urandom | base64 -w0)" --argjson more "$1" \
		'{hostname: "box", authorized_keys: ["ssh-ed25519 AAAA me"], ssh_host_key: $key, ssh_host_key_pub: $pub,
		  entropy: $entropy, boot_token: "token-1"} + $more' >identity.json
	"$TOOL" write-vm "$KERNEL/initramfs.img" initrd "$(cat identity.json)"
}

# machine [further kernel arguments [further QEMU arguments]]: a guest without a way to its agent.
machine() {
	local arguments=${1:-}
	shift || true
	qemu-system-x86_64 -M microvm,acpi=on,pit=on,pic=on,rtc=on,isa-serial=on,x-option-roms=off \
		-accel tcg,thread=multi -cpu max -smp 1 -m 256 -kernel "$KERNEL/vmlinux" -initrd initrd \
		-append "console=ttyS0 reboot=k panic=1 quiet loglevel=4 tsc_early_khz=1000000 cryptomgr.notests banger.work=/dev/vdb root=/dev/vda rw $arguments" \
		-nodefaults -no-user-config -no-reboot -display none -serial file:console \
		-chardev socket,path=mon.sock,server=on,wait=off,id=mon -mon chardev=mon,mode=readline \
		-drive file=root.ext4,format=raw,if=none,id=root -device virtio-blk-device,drive=root \
		-drive file=work.ext4,format=raw,if=none,id=work -device virtio-blk-device,drive=work \
		"$@" </dev/null >qemu.log 2>&1 3>&- &
	echo $! >qemu.pid
}

# The same with the agent's virtio-serial port, as banger-vmm makes it: returns when the agent answers.
boot() {
	rm -f port.sock
	machine "${1:-}" -device virtio-serial-device -chardev socket,path=port.sock,server=on,wait=off,id=agent \
		-device virtserialport,chardev=agent,name=org.banger.agent "${@:2}"
	wait_for test -S port.sock
	bridge
	wait_for health
}

bridge() {
	rm -f vsock.sock
	"$BANGER_BUILD/tests/integration/agent_bridge" port.sock vsock.sock 2>>bridge.log 3>&- &
	echo $! >bridge.pid
	wait_for test -S vsock.sock
}

# The same with AF_VSOCK, as Firecracker makes it; the device is a program of ours, as /dev/vhost-vsock is not everywhere.
boot_with_vsock() {
	rm -f vhost.sock vsock.sock
	python3 "$BATS_TEST_DIRNAME/vsock_device.py" vhost.sock vsock.sock 2>>bridge.log 3>&- &
	echo $! >bridge.pid
	wait_for test -S vhost.sock
	machine "" -machine memory-backend=ram -object memory-backend-memfd,id=ram,size=256M,share=on \
		-chardev socket,path=vhost.sock,id=vhost -device vhost-user-vsock-device,chardev=vhost
	wait_for health
}

wait_for() {
	local tries
	for tries in {1..600}; do
		"$@" && return 0
		sleep 0.1
	done
	echo "still not, after $tries tries: $*"
	return 1
}

client() {
	python3 "$BATS_TEST_DIRNAME/agent_client.py" vsock:vsock.sock "$@"
}

health() {
	client http /healthz >health 2>/dev/null && tail -n 1 health | jq -e '.status == "ok"' >/dev/null
}

guest() {
	client exec -- sh -c "$1" </dev/null
}

off() {
	! kill -0 "$(cat qemu.pid)" 2>/dev/null
}

assert_clean_disks() {
	local disk
	for disk in root.ext4 work.ext4; do
		e2fsck -fn "$disk" >fsck.log 2>&1 || { cat fsck.log; return 1; }
	done
}

@test "a guest without init: identity, disks, commands, and a clean end" {
	boot
	health
	[ "$(tail -n 1 health | jq -c '[.hostname, .boot_token, .stages]')" = '["box","token-1",["root","work","identity","init"]]' ]
	[ "$(guest hostname)" = box ]
	[ "$(guest 'cat /etc/hostname')" = box ]
	[[ $(guest 'cat /etc/hosts') == *$'10.9.8.7 kept\n'*$'127.0.1.1\tbox' ]]
	[[ $(guest 'cat /etc/machine-id') =~ ^[0-9a-f]{32}$ ]]
	[ "$(guest 'cat /etc/ssh/ssh_host_ed25519_key')" = "$(cat "$BATS_FILE_TMPDIR/host_key")" ]
	[ "$(guest 'ls -ld /root/.ssh /root/.ssh/authorized_keys /etc/ssh/ssh_host_ed25519_key' | cut -c1-10 | tr '\n' ' ')" = "-rw------- drwx------ -rw------- " ]
	# Both file systems have grown to their devices.
	[ "$(guest 'df -m --output=size / ' | tail -n 1)" -gt 400 ]
	[ "$(guest 'df -m --output=size /root' | tail -n 1)" -gt 200 ]
	[[ $(guest mount) == *" on /run type tmpfs"*" on /sys/fs/cgroup type cgroup2"* ]]
	[[ $(guest 'ip -o address show lo') == *127.0.0.1/8* ]]
	[ "$(client exec --tty --rows 31 --cols 99 -- stty size </dev/null)" = $'31 99\r' ]
	# The agent is spared by the OOM killer, what it runs is not.
	[ "$(guest 'read -r p </proc/$$/stat; cat /proc/$PPID/oom_score_adj /proc/self/oom_score_adj' | tr '\n' ' ')" = "-1000 0 " ]

	head -c 3000000 /dev/urandom >in
	client exec -- cat <in | cmp - in
	client request '{"op":"stats"}' | jq -e '.stats.work_total_bytes > 200000000'

	# A new identity while it runs.
	[ "$(client request '{"op":"identity","identity":{"hostname":"other","boot_token":"token-2","wall_seconds":1900000000}}')" = '{"ok":true}' ]
	health
	[ "$(tail -n 1 health | jq -c '[.hostname, .boot_token]')" = '["other","token-2"]' ]
	[ "$(guest 'date -u +%Y')" = 2030 ]
	[[ $(guest 'cat /etc/hosts') == *$'127.0.1.1\tother' ]]

	# A shell that waits for its user does not hold the end up.
	client exec --tty --no-eof -- bash >/dev/null 2>&1 3>&- &
	[ "$(client request '{"op":"shutdown","mode":"poweroff"}')" = '{"ok":true}' ]
	wait_for off
	assert_clean_disks
}

@test "the host's side may go and come back; its commands are hung up" {
	boot
	client exec --no-eof --close-after ready -- sh -c 'trap "echo hup >/root/first; exit" HUP; echo ready; while :; do sleep 0.1; done'
	client exec --no-eof -- sh -c 'trap "echo hup >/root/second; exit" HUP; echo ready >/root/ready; while :; do sleep 0.1; done' >/dev/null 2>&1 3>&- &
	wait_for guest 'cat /root/ready'
	for _ in 1 2 3; do
		kill "$(cat bridge.pid)"
		bridge
		wait_for health
	done
	wait_for guest 'cat /root/first /root/second'
	# Garbage on the port is no reason to give up either.
	kill "$(cat bridge.pid)"
	python3 -c 'import os,socket; s = socket.socket(socket.AF_UNIX); s.connect("port.sock"); s.sendall(os.urandom(200000))'
	bridge
	wait_for health
}

@test "an agent that dies is started again where init is ours" {
	boot
	guest 'read -r line </proc/$PPID/stat; set -- ${line#*) }; kill -9 $2' || true
	wait_for health
	grep -aq 'the agent has died: starting it again' console
	[ "$(guest 'echo fine')" = fine ]
}

@test "SIGTERM to init ends the machine cleanly, SIGINT as Ctrl-Alt-Del sends it too" {
	boot
	guest 'kill -INT 1' || true
	wait_for off
	assert_clean_disks
	boot
	guest 'kill -TERM 1' || true # it may not live to tell
	wait_for off
	assert_clean_disks
}

@test "a second start keeps what must stay, and the network is configured" {
	boot
	id=$(guest 'cat /etc/machine-id')
	guest 'echo mine >>/root/.ssh/authorized_keys'
	[ "$(client request '{"op":"shutdown","mode":"poweroff"}')" = '{"ok":true}' ]
	wait_for off
	identity '{"authorized_keys":["ssh-ed25519 BBBB new"],
		"network":{"mac":"02:00:00:00:00:09","address":"10.77.0.9","prefix":24,"gateway":"10.77.0.1","dns":["10.77.0.1"]}}'
	boot "" -netdev hubport,id=net,hubid=0 -device virtio-net-device,netdev=net
	[ "$(guest 'cat /etc/machine-id')" = "$id" ]
	[ "$(guest 'cat /root/.ssh/authorized_keys')" = $'mine\n# banger: keys below are replaced at every start\nssh-ed25519 BBBB new\n# banger: end' ]
	[ "$(guest 'cat /etc/resolv.conf')" = "nameserver 10.77.0.1" ]
	[[ $(guest 'ip -o -4 address show; ip route; ip link') == *"10.77.0.9/24"*"default via 10.77.0.1"*"02:00:00:00:00:09"* ]]
}

@test "what makes a VM useless is one line on the console and the end" {
	boot_fails() {
		boot "$@" >/dev/null 2>&1 &
		wait_for test -e qemu.pid
		wait_for off
		kill $! 2>/dev/null || true
	}
	truncate -s 0 root.ext4
	truncate -s 64M root.ext4
	boot_fails ""
	grep -a 'banger-init: mount /dev/vda: Invalid argument' console
	rm qemu.pid
	boot_fails "root=/dev/nonsense"
	grep -a 'banger-init: /dev/nonsense: the device did not appear' console
}

@test "over AF_VSOCK: what the host asks is answered, and nobody in the guest is" {
	boot_with_vsock
	[ "$(guest 'hostname; test -e /dev/virtio-ports && echo port')" = box ]
	head -c 3000000 /dev/urandom >in
	client exec -- cat <in | cmp - in
	[ "$(client exec --tty --rows 31 --cols 99 -- stty size </dev/null)" = $'31 99\r' ]
	run client exec --no-eof --signal-after ready 15 -- sh -c 'trap "exit 9" TERM; echo ready; while :; do sleep 0.1; done'
	[ "$status" -eq 9 ]
	[ "${lines[0]}" = ready ] # its shell may say that the sleep was terminated, too

	# Over loopback any user of the guest could reach the agent.
	run guest 'printf "GET /healthz HTTP/1.0\r\n\r\n" | vsock_call /lib/vsock_loopback.ko 2>&1'
	[ "$status" -eq 0 ]
	[ "$output" = connected ]
	health

	[ "$(client request '{"op":"shutdown","mode":"poweroff"}')" = '{"ok":true}' ]
	wait_for off
	assert_clean_disks
}

# renew MORE [FILTER]: asks for another identity; MORE is merged into a whole one, which then goes through the filter.
renew() {
	jq -nc --rawfile key "$BATS_FILE_TMPDIR/host_key" --rawfile pub "$BATS_FILE_TMPDIR/host_key.pub" \
		--arg entropy "$(head -c 64 /dev/urandom | base64 -w0)" --argjson now "$(date +%s)" --argjson more "$1" \
		'{op: "identity", renew: true, identity: ({hostname: "clone", machine_id: "00112233445566778899aabbccddeeff",
		  ssh_host_key: $key, ssh_host_key_pub: $pub, entropy: $entropy, wall_seconds: $now, wall_nanoseconds: 0,
		  boot_token: "token-3", network: {mac: "02:00:00:00:00:0b", address: "10.78.0.3", prefix: 20, gateway: "10.78.0.1",
		  dns: ["10.78.0.1"]}} + $more)} | '"${2:-.}" >renewal.json
	client request "$(cat renewal.json)"
}

said() {
	jq -r "$1" machine.json
}

@test "a running machine becomes another one, twice the same, and says what it is" {
	local before now after
	identity '{"network":{"mac":"02:00:00:00:00:09","address":"10.77.0.9","prefix":24,"gateway":"10.77.0.1","dns":["10.77.0.1"]}}'
	boot "" -netdev hubport,id=net,hubid=0 -device virtio-net-device,netdev=net -rtc base=2001-02-03T04:05:06
	guest 'mkdir -p /var/lib/systemd /var/lib/dhcp /var/log/journal
		cd /var/lib; echo seed >systemd/random-seed; echo secret >systemd/credential.secret; echo lease >dhcp/dhclient.eth0.leases
		mkdir /var/log/journal/$(cat /etc/machine-id); echo rsa >/etc/ssh/ssh_host_rsa_key; echo rsa >/etc/ssh/ssh_host_rsa_key.pub
		mkdir -p /var/lib/dbus; cp /etc/machine-id /var/lib/dbus/; echo user >>/root/.ssh/authorized_keys
		ip address add 10.77.0.99/24 dev eth0; ip address add 192.168.7.7/32 dev eth0 label eth0:more
		ip route add 10.99.0.0/16 via 10.77.0.3; ip neigh replace 10.77.0.3 lladdr 02:00:00:00:00:03 dev eth0'
	[ "$(guest 'date -u +%Y')" = 2001 ]
	before=$(guest 'cat /proc/sys/kernel/random/boot_id')
	now=$(date +%s%3N)
	renew '{}' >answer
	after=$(date +%s%3N)
	jq -e .ok answer
	jq .machine answer >machine.json
	[ "$(said '[.hostname, .machine_id, .mac, .address, .prefix, .gateway, .addresses, .boot_token] | join(" ")')" = \
		"clone 00112233445566778899aabbccddeeff 02:00:00:00:00:0b 10.78.0.3 20 10.78.0.1 1 token-3" ]
	[ "$(said .ssh_host_key_pub)" = "$(cat "$BATS_FILE_TMPDIR/host_key.pub")" ]
	[ $(($(said .wall_ms) - now)) -ge -1000 ] # the time given has no milliseconds
	[ "$(said .wall_ms)" -le $((after + 1000)) ]
	[ "$(said .boot_id)" != "$before" ]
	[ "$(guest 'cat /proc/sys/kernel/random/boot_id')" = "$(said .boot_id)" ]
	[[ $(said .boot_id) =~ ^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$ ]]

	[ "$(guest 'hostname; cat /etc/hostname /etc/machine-id /var/lib/dbus/machine-id')" = \
		$'clone\nclone\n00112233445566778899aabbccddeeff\n00112233445566778899aabbccddeeff' ]
	[[ $(guest 'cat /etc/hosts') == *$'127.0.1.1\tclone' ]]
	[ "$(guest 'ip -o -4 address show dev eth0' | awk '{ print $4 }')" = 10.78.0.3/20 ]
	[ "$(guest 'ip route; ip neigh' | grep -c 10.77)" -eq 0 ]
	[[ $(guest 'ip route; ip link show eth0') == *"default via 10.78.0.1"*"UP"*"02:00:00:00:00:0b"* ]]
	[ "$(guest 'cat /etc/resolv.conf')" = "nameserver 10.78.0.1" ]
	# The host's keys are gone as none were given, the user's stay.
	[ "$(guest 'cat /root/.ssh/authorized_keys')" = user ]
	[ "$(guest 'ls /etc/ssh /var/lib/dhcp /var/log/journal; ls /var/lib/systemd')" = \
		$'/etc/ssh:\nssh_host_ed25519_key\nssh_host_ed25519_key.pub\n\n/var/lib/dhcp:\n\n/var/log/journal:\n00112233445566778899aabbccddeeff\nrandom-seed' ]
	[ "$(guest 'while read -r line; do [ "$line" = seed ] && echo old; done </var/lib/systemd/random-seed')" = "" ]
	health
	[ "$(tail -n 1 health | jq -c '[.hostname, .boot_token]')" = '["clone","token-3"]' ]

	# The hardware clock follows. (The guest's own clock runs at another pace here.)
	hardware_clock_is_right() {
		[[ $(guest 'cat /sys/class/rtc/rtc0/date') == $(date -u +%Y-)* ]]
	}
	wait_for hardware_clock_is_right

	# Once more: nothing changes that need not, and what it has made since then stays.
	guest 'echo mine >/etc/ssh/ssh_host_rsa_key; ip neigh replace 10.78.0.3 lladdr 02:00:00:00:00:03 dev eth0; ip neigh; echo s >/var/lib/systemd/random-seed'
	renew '{}' >answer
	before=$(jq -c 'del(.random, .wall_ms, .took_us)' machine.json)
	jq .machine answer >machine.json
	[ "$(jq -c 'del(.random, .wall_ms, .took_us)' machine.json)" = "$before" ]
	[ "$(guest 'cat /etc/ssh/ssh_host_rsa_key /var/lib/systemd/random-seed')" = $'mine\ns' ]
	[[ $(guest 'ip neigh') == *02:00:00:00:00:03* ]]

	# And another one again, without a network.
	before=$(said .boot_id)
	renew '{"machine_id":"00112233445566778899aabbccddee00","hostname":"third","network":null}' >answer
	jq .machine answer >machine.json
	[ "$(said '[.hostname, .machine_id, .addresses, .address, .gateway] | @json')" = \
		'["third","00112233445566778899aabbccddee00",0,null,null]' ]
	[ "$(said .boot_id)" != "$before" ]
	[ "$(guest 'cat /proc/sys/kernel/random/boot_id')" = "$(said .boot_id)" ]
	# What shows it is one mount, however often.
	[ "$(guest mount | grep -c boot_id)" -eq 1 ]
	[[ $(guest 'ip route') == "" && $(guest 'ip link show eth0') != *"<"*UP* ]]
	# Drawn anew each time.
	[[ $(said .random) =~ ^[0-9a-f]{32}$ ]]
	client request '{"op":"shutdown","mode":"poweroff"}'
	wait_for off
	assert_clean_disks
}

@test "a renewal that lacks something, or is wrong, changes nothing" {
	local field
	boot
	id=$(guest 'cat /etc/machine-id /etc/hostname')
	for field in machine_id ssh_host_key entropy wall_seconds network network.mac; do
		run renew '{}' "del(.identity.$field)"
		[ "$(jq -r .error.kind <<<"$output")" = invalid ]
		# One half of a key pair, or of a time, is wrong in itself.
		[[ $(jq -r .error.message <<<"$output") =~ a\ renewal\ needs\ \'$field\'|go\ together|goes\ with ]]
	done
	run renew '{"machine_id":"XY112233445566778899aabbccddeeff"}'
	[ "$(jq -r .error.kind <<<"$output")" = invalid ]
	run renew '{"machine_id":"00000000000000000000000000000000"}'
	[ "$(jq -r .error.kind <<<"$output")" = invalid ]
	[ "$(guest 'cat /etc/machine-id /etc/hostname')" = "$id" ]
}

@test "file systems stand still when asked, and go on by themselves" {
	boot
	wait_for quiet
	[ "$(client request '{"op":"freeze"}' | jq -c '.frozen | sort')" = '["/","/root"]' ]
	[ "$(client request '{"op":"freeze"}' | jq -r .error.kind)" = state ]
	# Both disks are clean as they lie there.
	assert_clean_disks
	guest 'echo waits >/root/waits' 3>&- &
	sleep 0.5
	kill -0 $!
	[ "$(client request '{"op":"thaw"}')" = '{"ok":true,"held":true}' ]
	wait_for guest 'cat /root/waits'
	[ "$(client request '{"op":"thaw"}')" = '{"ok":true,"held":false}' ]

	[ "$(client request '{"op":"freeze","timeout_ms":700}' | jq .ok)" = true ]
	guest 'echo later >/root/later'
	[ "$(client request '{"op":"thaw"}')" = '{"ok":true,"held":false}' ]
	# A renewal ends it, too.
	[ "$(client request '{"op":"freeze"}' | jq .ok)" = true ]
	[ "$(renew '{"network":null}' | jq .ok)" = true ]
	[ "$(client request '{"op":"thaw"}')" = '{"ok":true,"held":false}' ]
	for wrong in 0 60001 '"x"'; do
		[ "$(client request "{\"op\":\"freeze\",\"timeout_ms\":$wrong}" | jq -r .error.kind)" = invalid ]
	done
	# A guest that works is not quiet.
	client exec -- sh -c 'while [ ! -e /root/enough ]; do :; done' </dev/null >/dev/null 2>&1 3>&- &
	wait_for busy
	guest 'echo >/root/enough'
	wait_for quiet
}

# How many bytes a second the work disk takes; 0: all that come.
set_pace() {
	python3 -c 'import socket, sys
monitor = socket.socket(socket.AF_UNIX)
monitor.connect("mon.sock")
monitor.sendall(f"block_set_io_throttle work 0 0 {sys.argv[1]} 0 0 0\n".encode())
answer = b""
while answer.count(b"(qemu)") < 2:
    answer += monitor.recv(4096)' "$1"
}

# A process is in the system call sync().
writes_out() {
	guest 'for each in /proc/[0-9]*/syscall; do read -r number rest <$each && [ "$number" = 162 ] && exit 0; done 2>/dev/null; exit 1'
}

@test "a thaw that overtakes a freeze which still writes out: nothing stands still afterwards" {
	boot
	# Its buffers go to a disk that takes more than a minute for them.
	set_pace 65536
	guest 'cat /bin/bash /bin/bash /bin/bash /bin/bash >/root/much'
	client request '{"op":"freeze","timeout_ms":60000}' >frozen 3>&- &
	wait_for writes_out
	[ ! -s frozen ]
	[ "$(client request '{"op":"thaw"}')" = '{"ok":true,"held":false}' ]
	set_pace 0
	wait_for test -s frozen
	[ "$(jq -c .error frozen)" = '{"kind":"state","message":"a thaw came before the file systems stood still"}' ]
	timeout 20 python3 "$BATS_TEST_DIRNAME/agent_client.py" vsock:vsock.sock exec -- sh -c 'echo on >/on; echo on >/root/on' </dev/null
	# It can be asked again.
	[ "$(client request '{"op":"freeze"}' | jq -c '.frozen | sort')" = '["/","/root"]' ]
	[ "$(client request '{"op":"thaw"}')" = '{"ok":true,"held":true}' ]
}

quiet() {
	client request '{"op":"quiet"}' | jq -e '.quiet == true' >/dev/null
}

busy() {
	client request '{"op":"quiet"}' | jq -e '.quiet == false and (.why | test("processors are busy"))' >/dev/null
}
