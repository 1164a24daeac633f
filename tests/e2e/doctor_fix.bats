#!/usr/bin/env bats
# banger doctor --fix: what is safe to put right is put right, told, and nothing else is touched.
# shellcheck disable=SC2154 # bats sets status and the like

load helper

# The verdict of one check.
verdict() {
	jq -r --arg name "$1" '.checks[] | select(.name == $name) | .status' <<<"$output"
}

fixed() {
	jq -r '.fixed[] | "\(.name): \(.message)"' <<<"$output"
}

mode() {
	stat -c %a "$1"
}

@test "nothing is wrong: nothing is done, and without --fix nothing is ever done" {
	run_for 0 banger --json doctor --fix
	equal "$(jq -c .fixed <<<"$output")" '[]'
	equal "$(verdict permissions)" pass
	chmod 755 "$BANGER_STATE_DIR"
	run_for 0 banger --json doctor
	equal "$(jq -c .fixed <<<"$output") $(verdict permissions) $(mode "$BANGER_STATE_DIR")" '[] warn 755'
	chmod 700 "$BANGER_STATE_DIR"
}

@test "memory and disks of VMs and templates that others may read" {
	local dir=$BANGER_STATE_DIR/vms/mine/snapshots/one
	banger ps >/dev/null
	mkdir -p "$dir"
	touch "$dir"/{memory,state,system.raw}
	chmod -R go= "$BANGER_STATE_DIR/vms"
	ln -s /etc/passwd "$dir/work.raw" # not ours to judge
	run_for 0 banger --json doctor
	equal "$(verdict permissions)" pass
	chmod 755 "$BANGER_STATE_DIR/templates"
	chmod 644 "$dir"/*.raw
	chmod 660 "$dir/memory"
	chmod 640 "$dir/state"
	run_for 0 banger doctor
	matches "$output" "WARN +permissions +'/.*/vms/mine/snapshots/one/.*, and 1 more"
	contains "$output" "chmod go-rwx; a VM's memory and disks have its secrets"
	run_for 0 banger --json doctor --fix
	equal "$(fixed | sort)" "permissions: the file '$dir/memory' had mode 0660 and has 0600 now
permissions: the file '$dir/state' had mode 0640 and has 0600 now
permissions: the file '$dir/system.raw' had mode 0644 and has 0600 now
permissions: the folder '$BANGER_STATE_DIR/templates' had mode 0755 and has 0700 now"
	equal "$(verdict permissions) $(mode /etc/passwd)" 'pass 644'
	rm -r "$BANGER_STATE_DIR/vms/mine"
}

@test "a state folder on another machine: said by doctor, and in the log once" {
	mkdir "$HOME_DIR/far"
	# A real one, of this machine all the same: sshfs, with a pipe instead of ssh.
	# shellcheck disable=SC2016 # they are the inner shell's
	run_for 0 unshare --mount bash -euc '
		coproc server { exec /usr/lib/openssh/sftp-server; }
		exec 5<&"${server[0]}" 6>&"${server[1]}"
		sshfs ":$2" "$BANGER_STATE_DIR" -o passive <&5 >&6 &
		sshfs=$!
		trap "umount -l \"$BANGER_STATE_DIR\"; exec 5<&- 6>&-; wait $sshfs" EXIT
		until mountpoint -q "$BANGER_STATE_DIR"; do kill -0 "$sshfs"; sleep 0.05; done
		"$1" --json doctor >"$HOME_DIR/report"
		"$1" --json doctor >/dev/null
		"$1" --quiet daemon stop >/dev/null
		grep -c "another machine" "$BANGER_STATE_DIR/bangerd.log"
	' bash "$BANGER" "$HOME_DIR/far"
	equal "$output" 1
	equal "$(jq -r '.checks[] | select(.name == "storage") | "\(.status) \(.message)"' "$HOME_DIR/report")" \
		"warn '$BANGER_STATE_DIR' is on a file system of another machine (fuse.sshfs)"
	run_for 0 banger --json doctor
	equal "$(verdict storage)" pass
}

@test "modes that keep the daemon from starting" {
	banger --quiet daemon stop
	mkdir -p "$BANGER_CACHE_DIR" "$BANGER_RUNTIME_DIR"
	chmod 777 "$BANGER_STATE_DIR" "$BANGER_CACHE_DIR" "$BANGER_RUNTIME_DIR"
	chmod 666 "$BANGER_CONFIG_DIR/config.toml"
	run_for 1 banger doctor
	matches "$output" "FAIL +daemon +cannot start bangerd: others may write the state folder"
	contains "$output" "chmod go-w '$BANGER_STATE_DIR', or 'banger doctor --fix'"
	run_for 0 banger --json doctor --fix
	equal "$(fixed)" "permissions: the state folder '$BANGER_STATE_DIR' had mode 0777 and has 0700 now
permissions: the cache folder '$BANGER_CACHE_DIR' had mode 0777 and has 0700 now
permissions: the runtime folder '$BANGER_RUNTIME_DIR' had mode 0777 and has 0700 now
config: the configuration '$BANGER_CONFIG_DIR/config.toml' had mode 0666 and has 0644 now"
	equal "$(verdict permissions) $(verdict config)" 'pass pass'
	run_for 0 banger doctor --fix
	lacks "$output" FIXED
}

@test "banger's own ssh key: its mode, and its public half from the private one" {
	local key=$BANGER_STATE_DIR/ssh/id_ed25519 before
	banger ps >/dev/null
	before=$(cut -d ' ' -f 1-2 "$key.pub")
	chmod 644 "$key"
	run_for 0 banger --json doctor
	equal "$(verdict 'ssh key')" warn
	rm "$key.pub"
	run_for 0 banger --json doctor
	equal "$(verdict 'ssh key')" warn
	run_for 0 banger --json doctor --fix
	equal "$(fixed)" "ssh key: banger's ssh key '$key' had mode 0644 and has 0600 now
ssh key: made '$key.pub' from the private key"
	equal "$(verdict 'ssh key') $(cut -d ' ' -f 1-2 "$key.pub") $(mode "$key")" "pass $before 600"
}

@test "a dead socket is no obstacle, with --fix or without" {
	local pid
	banger ps >/dev/null
	pid=$(daemon_pid)
	kill -KILL "$pid"
	wait_until 20 process_is_gone "$pid"
	test -S "$BANGER_RUNTIME_DIR/bangerd.sock"
	run_for 0 banger --json doctor --fix
	equal "$(jq -c .fixed <<<"$output") $(verdict daemon)" '[] pass'
}

@test "what is not ours, or may not be what it seems, is left alone" {
	local other=$HOME_DIR/other
	# Somebody else's folder behind our variable: refused, and not changed.
	banger --quiet daemon stop
	mkdir -m 777 "$other"
	chown 65534 "$other"
	run_for 1 env BANGER_CACHE_DIR="$other" "$BANGER" --json doctor --fix
	equal "$(mode "$other")" 777
	rm -r "$other"
	# A FIFO where the configuration belongs neither hangs it nor is changed.
	rm "$BANGER_CONFIG_DIR/config.toml"
	mkfifo -m 666 "$BANGER_CONFIG_DIR/config.toml"
	chmod 666 "$BANGER_CONFIG_DIR/config.toml"
	run_for 1 timeout 20 "$BANGER" --json doctor --fix
	equal "$(jq -c .fixed <<<"$output") $(mode "$BANGER_CONFIG_DIR/config.toml")" '[] 666'
	matches "$(jq -r '.checks[0].message' <<<"$output")" 'it must be a regular file'
	rm "$BANGER_CONFIG_DIR/config.toml"
	write_config
	# Disks of no VM that is known are the user's to judge: told, and kept.
	umask 077
	mkdir -p "$BANGER_STATE_DIR/vms/0123456789abcdef0123456789abcdef"
	echo data >"$BANGER_STATE_DIR/vms/0123456789abcdef0123456789abcdef/work.qcow2"
	run_for 0 banger --json doctor --fix
	equal "$(jq -c .fixed <<<"$output") $(verdict folders)" '[] warn'
	equal "$(cat "$BANGER_STATE_DIR/vms/0123456789abcdef0123456789abcdef/work.qcow2")" data
	rm -r "$BANGER_STATE_DIR/vms/0123456789abcdef0123456789abcdef"
	run_for 2 banger doctor --fixx
	contains "$stderr" "did you mean '--fix'?"
}
