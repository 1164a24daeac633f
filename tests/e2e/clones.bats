#!/usr/bin/env bats
# Clones of one template, as many as BANGER_CLONES says: no two of them have anything in common that two machines must not
# share. The guests are systemd's, with a real Python, OpenSSL and sshd.
# shellcheck disable=SC2154,SC2016 # bats sets status, output, stderr, lines; many expressions are for the guest's shell

CLONES=${BANGER_CLONES:-20}
AT_ONCE=3
export BATS_TEST_TIMEOUT=$((150 + 5 * CLONES))

load helper
load outside

# shellcheck disable=SC2034 # for write_config
IMAGE=clones

setup_file() {
	# The first namespace leaves a folder and a mount, which are no test's.
	ip netns add banger-out
	ip netns del banger-out
	share_home
	# Addresses for more machines than a /24 has room for.
	sed -i -e '/^templates = /d' -e '1i cidr = 20' "$BANGER_CONFIG_DIR/config.toml"
	register_image
	banger --quiet template build >/dev/null
}

teardown_file() {
	end_shared_home
}

setup() {
	watch_census
}

teardown() {
	delete_vms_but
	[ "${#PEERS[@]}" -eq 0 ] || end_outside
	compare_census
}

# debian-bookworm, with this host's Python in /root, and a program in Python that begins to run before the template is
# made: whoever opens /run/witness is told what it draws then.
register_image() {
	local files=$BATS_FILE_TMPDIR rootfs=$HOME_DIR/root.ext4 seed=$HOME_DIR/seed.ext4 stdlib
	stdlib=$(/usr/bin/python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
	mkdir -p "$files/seed/python/bin" "$files/seed/python/lib"
	cp --dereference /usr/bin/python3 "$files/seed/python/bin"
	tar -C "$(dirname "$stdlib")" --exclude='config-*' --exclude=test -c "$(basename "$stdlib")" | tar -C "$files/seed/python/lib" -x
	cat >"$files/seed/witness.py" <<-'PYTHON'
		import os, random, uuid
		os.mkfifo("/run/witness")
		while True:
		    with open("/run/witness", "w") as asker:
		        asker.write(f"{random.getrandbits(128)}\n{uuid.uuid4()}\n{os.urandom(16).hex()}\n")
	PYTHON
	printf '%s\n' '[Service]' 'Environment=PYTHONHOME=/root/python' 'ExecStart=/root/python/bin/python3 /root/witness.py' \
		>"$files/witness.service"
	mke2fs -q -t ext4 -d "$files/seed" "$seed" 256M >/dev/null
	cp --sparse=always "$BANGER_CACHE/state/images/debian-bookworm/root.ext4" "$rootfs"
	printf '%s\n' "write $files/witness.service /etc/systemd/system/witness.service" \
		'symlink /etc/systemd/system/multi-user.target.wants/witness.service /etc/systemd/system/witness.service' |
		debugfs -w -f - "$rootfs" >/dev/null 2>&1
	# Among images of this file's own.
	rm "$BANGER_STATE_DIR/images"
	mkdir -m 700 "$BANGER_STATE_DIR/images"
	banger --quiet image register clones --rootfs "$rootfs" --work-seed "$seed"
}

# --- many of them ---

# What may be in no two machines, as the guest has it, in one line: name, machine-id, MAC, address, SSH host key, seed for the
# next boot, boot_id, 16 bytes of randomness; and its clock.
ABOUT='printf "%s " $(
	hostname; cat /etc/machine-id /sys/class/net/eth0/address; ip -o -4 address show dev eth0 | tr -s " " | cut -d " " -f 4
	cut -d " " -f 2 /etc/ssh/ssh_host_ed25519_key.pub; sha256sum </var/lib/systemd/random-seed | cut -d " " -f 1
	cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | od -An -v -tx1 | tr -d " "; date +%s)'

# The key that sshd shows to whoever connects.
greets_with() {
	[ "$(ssh-keyscan -t ed25519 "$1" 2>/dev/null | cut -d ' ' -f 3)" = "$2" ]
}

# make_and_ask NAME: a clone says who it is, and the host knows it by that. Then it ends, but keeps its address.
make_and_ask() {
	local before after about id ip
	banger vm create --name "$1" >/dev/null 2>"$BATS_TEST_TMPDIR/$1.err"
	contains "$(<"$BATS_TEST_TMPDIR/$1.err")" 'template: '
	lacks "$(<"$BATS_TEST_TMPDIR/$1.err")" 'boot: begun'
	before=$(date +%s)
	read -ra about <<<"$(in_vm "$1" sh -c "$ABOUT" 2>/dev/null)"
	after=$(date +%s)
	read -r id ip <<<"$(banger --json vm show "$1" | jq -r '.vm | .id + " " + .ip')"
	equal "${about[0]} ${about[1]} ${about[3]}" "$1 $id $ip/20"
	wait_until 20 greets_with "$ip" "${about[4]}"
	if [ "${about[8]}" -lt $((before - 1)) ] || [ "${about[8]}" -gt $((after + 1)) ]; then
		echo "the clock of $1 is at ${about[8]}, asked from $before to $after" >&2
		return 1
	fi
	banger --quiet vm kill "$1" >/dev/null
	# Its disks are not needed any more.
	rm "$BANGER_STATE_DIR/vms/$id"/{system,work}.*
	echo "${about[*]:0:8}" >"$BATS_TEST_TMPDIR/about.$1"
}

@test "clones of one template: no two have a value in common, and the clock is right" {
	local n column failed pids=()
	for ((n = 1; n <= CLONES; n++)); do
		make_and_ask "clone-$n" 3>&- &
		pids+=("$!")
		if [ "${#pids[@]}" -eq "$AT_ONCE" ] || [ "$n" -eq "$CLONES" ]; then
			for pid in "${pids[@]}"; do
				wait_for_status "$pid" 0 || failed=1
			done
			[ -z "$failed" ]
			pids=()
		fi
	done
	cat "$BATS_TEST_TMPDIR"/about.* >"$BATS_TEST_TMPDIR/all"
	for column in 1 2 3 4 5 6 7 8; do
		equal "$column: $(cut -d ' ' -f "$column" "$BATS_TEST_TMPDIR/all" | sort -u | grep -c .)" "$column: $CLONES"
	done
}

# --- two at once ---

# What programs draw that are started now, each a process of its own; then what one draws that ran already.
DRAW='export PYTHONHOME=/root/python
	head -c 16 /dev/urandom | od -An -v -tx1
	openssl rand -hex 16
	/root/python/bin/python3 -c "import random; print(random.getrandbits(128))"
	/root/python/bin/python3 -c "import uuid; print(uuid.uuid4(), uuid.uuid1(), sep=\"\n\")"
	/root/python/bin/python3 -c "import ssl; print(ssl.RAND_bytes(16).hex(), hash(\"text\"), sep=\"\n\")"
	head -n 3 /run/witness'

@test "two clones started at once: /dev/urandom, Python's random and uuid, and OpenSSL give each other bytes" {
	local name pids=()
	for name in one two; do
		start "$name" "$BANGER" vm run --rm --name "$name" -- sh -c "$DRAW"
		pids+=("$started")
	done
	for pid in "${pids[@]}"; do
		wait_for_status "$pid" 0
	done
	for name in one two; do
		contains "$(<"$BATS_TEST_TMPDIR/$name.err")" 'template: '
		lacks "$(<"$BATS_TEST_TMPDIR/$name.err")" 'boot: begun'
		equal "$(wc -l <"$BATS_TEST_TMPDIR/$name.out")" 10
	done
	# The state of a program that ran before is in both, and nobody can change that (docs/templates.md); what it asks the kernel
	# for is not the same.
	equal "$(cat "$BATS_TEST_TMPDIR"/{one,two}.out | sort | uniq -d)" "$(sed -n 8p "$BATS_TEST_TMPDIR/one.out")"
	equal "$(sed -n 8p "$BATS_TEST_TMPDIR/one.out")" "$(sed -n 8p "$BATS_TEST_TMPDIR/two.out")"
}

serves() {
	[ "$(python3 -c 'import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode(), end="")' \
		"http://127.0.0.1:$1/text" 2>/dev/null)" = "$2" ]
}

@test "a clone with a checkout, a published port and NAT; and one with other memory boots, and says why" {
	local port
	make_outside
	git init -q "$BATS_TEST_TMPDIR/repo"
	echo tracked >"$BATS_TEST_TMPDIR/repo/file"
	git -C "$BATS_TEST_TMPDIR/repo" add file
	git -C "$BATS_TEST_TMPDIR/repo" -c user.name=test -c user.email=test@example.org commit -q -m first
	run_for 0 banger vm run "$BATS_TEST_TMPDIR/repo" --name box --nat -p 0:80 -- sh -c 'cat file; git status --porcelain; pwd'
	contains "$stderr" 'template: '
	lacks "$stderr" 'boot: begun'
	equal "$output" $'tracked\n/root/repo'
	port=$(vm_get box '.ports[0].host')
	in_vm box sh -c 'echo served >/srv/text; cd /srv; PYTHONHOME=/root/python setsid /root/python/bin/python3 -m http.server 80 >/dev/null 2>&1 &'
	wait_until 30 serves "$port" served
	equal "$(asks box 203.0.113.2 80)" 203.0.113.1
	banger --quiet vm delete box
	run_for 0 banger vm create --name other --memory 640
	contains "$stderr" 'cold: no template yet'
	contains "$stderr" 'boot: begun'
	banger --quiet daemon stop >/dev/null # what is being built now is not wanted
}
