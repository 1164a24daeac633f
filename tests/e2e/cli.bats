#!/usr/bin/env bats
# The command line against the real daemon: names and sizes, environment and configuration, the daemon's own life, what
# scripts read. Few of these need a guest.
# shellcheck disable=SC2154,SC2016,SC2030,SC2031 # bats sets status and the like, in tests that are subshells; many
# expressions are for another shell

load helper

no_daemon() {
	run_for 1 banger daemon status
	matches "$stderr" '^banger: bangerd is not running'
}

rpc() {
	python3 "$BATS_TEST_DIRNAME/rpc.py" "$@"
}

# The daemon refuses parameters as wrong by itself.
rpc_refuses() {
	run_for 0 rpc vm.create "$1"
	equal "$1 $(jq -c '[.error.code, .error.data.kind]' <<<"$output")" "$1 [-32602,null]" ||
		equal "$(jq -c '.error.data.kind' <<<"$output")" '"invalid"'
}

# One error line, one hint, and nothing that a terminal would obey.
is_one_error() {
	equal "$(grep -c '^banger: ' <<<"$stderr") $(grep -vc -e '^banger: ' -e '^hint: ' <<<"$stderr")" '1 0'
	lacks "$stderr" $'\033'
}

@test "names: the rule is told before anything is asked, and the daemon keeps it by itself" {
	local name bad=('' "$(printf 'a%.0s' {1..64})" -x x- a..b ../x A x.vm 'é' $'a\nb' $'a\e[31mb' 'a b' _ a_b)
	for name in "${bad[@]}"; do
		run_for 2 banger vm create --no-start --name="$name"
		contains "$stderr" "1 to 63 of a-z, 0-9 and '-'"
		is_one_error
	done
	no_daemon
	banger ps >/dev/null
	for name in "${bad[@]}"; do
		rpc_refuses "$(jq -nc --arg name "$name" '{name: $name, start: false}')"
	done
	equal "$(banger vm list -q)" ''
	for name in a 0 a-b "$(printf 'a%.0s' {1..63})"; do
		run_for 0 banger --quiet vm create --no-start --name "$name"
	done
}

@test "sizes and numbers: the range and the host's limit are told, and no row is left" {
	local value
	for value in 0 33 -1 1e3 ٣ 999999999999999999999 '' ' 1' 01 0x1; do
		run_for 2 banger vm create --no-start --vcpu="$value"
		matches "$stderr" "^banger: --vcpu '.*': must be .*1 to 32 \(this host has $(nproc)\)"
		is_one_error
	done
	for value in 0 1 8EiB 18446744073709551616 -5 1.5.5G x '' 1G2; do
		run_for 2 banger vm run --rm --memory="$value" -- true
		matches "$stderr" "^banger: --memory '.*': must be .*128 MiB to 1 TiB \(this host has .* GiB\)"
		is_one_error
	done
	for value in 0 1 8EiB 17TiB 18446744073709551616 -1G; do
		run_for 2 banger vm create --no-start --disk-size="$value"
		matches "$stderr" "^banger: --disk-size '.*': must be .*64 MiB to 16 TiB"
		run_for 2 banger vm create --no-start --system-overlay-size="$value"
		matches "$stderr" "^banger: --system-overlay-size '.*': must be .*64 MiB to 16 TiB"
	done
	no_daemon
	banger ps >/dev/null
	for value in '{"vcpu":0}' '{"vcpu":33}' '{"vcpu":-1}' '{"vcpu":1.5}' '{"vcpu":"2"}' '{"memory_bytes":0}' \
		'{"memory_bytes":134217727}' '{"memory_bytes":9223372036854775807}' '{"disk_bytes":1}' \
		'{"disk_bytes":17592186044417}' '{"system_overlay_bytes":-1}' '{"bogus":1}' '{"start":"yes"}'; do
		rpc_refuses "$value"
	done
	equal "$(banger vm list -q)" ''
	# 1.5G is 1536 MiB, a number alone is MiB, and K, M, G and T are powers of 1024.
	run_for 0 banger --quiet --json vm create --no-start --memory 1.5G --disk-size 1T --system-overlay-size 1536M
	equal "$(jq -c '.vm | [.memory_bytes, .disk_bytes, .system_overlay_bytes]' <<<"$output")" \
		"[$((3 << 29)),$((1 << 40)),$((3 << 29))]"
	run_for 0 banger --quiet --json vm create --no-start --memory 300
	equal "$(jq .vm.memory_bytes <<<"$output")" $((300 << 20))
}

@test "what excludes itself or does not exist here is wrong usage, and makes nothing" {
	local words
	while read -r words; do
		# shellcheck disable=SC2086 # words are words
		run_for 2 banger $words
		is_one_error
		contains "$stderr" 'hint: '
	done <<-'WORDS'
		vm run -d --rm
		vm run -d -- true
		vm create --no-such-flag
		vm frobnicate
		frobnicate
		vm show
		vm show a b
		vm stop
		vm logs
		image pull .x
		vm run --image ../x
		vm run --env A
		completion tcsh
		vm stop --timeout x a
	WORDS
	run_for 2 banger
	no_daemon
	run_for 1 banger --quiet vm create --no-start --image no-such-image
	contains "$stderr" "'no-such-image'"
	run_for 1 banger --quiet vm create --no-start --kernel no-such-kernel
	contains "$stderr" "'no-such-kernel'"
	equal "$(banger vm list -q)" ''
}

@test "help and versions need no daemon" {
	run_for 0 banger --help
	contains "$output" 'vm run'
	run_for 0 banger vm run --help
	contains "$output" '--system-overlay-size'
	matches "$output" '--memory +512 MiB \(config\)'
	for program in banger bangerd banger-vmm banger-vsock-agent; do
		run_for 0 "$PROGRAMS/$program" --version
		contains "$output" "$("$PROGRAMS/banger" --json version | jq -r .version)"
	done
	run_for 0 banger --json version
	equal "$(jq -c .daemon <<<"$output")" null
	no_daemon
}

@test "help explains nouns, groups of verbs, and commands without verbs" {
	local words
	while read -r words; do
		# shellcheck disable=SC2086 # words are words
		run_for 0 banger help $words
		equal "$(head -n 1 <<<"$output" | cut -d ' ' -f 1-$((2 + $(wc -w <<<"$words"))))" "usage: banger $words"
		local explained=$output
		# shellcheck disable=SC2086
		run_for 0 banger $words --help
		equal "$output" "$explained"
	done <<-'WORDS'
		vm
		image
		doctor
		version
		completion
		ssh-config
		help
		vm run
		vm workspace
		vm workspace export
		image cache
		image cache prune
		daemon operations
	WORDS
	run_for 0 banger help ps
	equal "$(head -n 1 <<<"$output")" 'usage: banger vm list [flags]'
	run_for 0 banger help vm workspace
	matches "$output" $'\n  prepare +bring a git checkout'
	lacks "$output" 'create'
	run_for 2 banger vm workspace
	equal "$stderr" "banger: 'vm workspace' needs a verb"$'\n'"hint: see 'banger vm workspace --help'"
	run_for 2 banger help vm workspace xport
	contains "$stderr" "did you mean 'vm workspace export'?"
	run_for 2 banger help doctor vm
	contains "$stderr" "unknown command 'doctor vm'"
	no_daemon
}

@test "the first command starts the daemon, and only one, whoever comes at once" {
	local n
	local -a clients
	no_daemon
	for n in 1 2 3 4 5 6; do
		start "ps$n" "$BANGER" --json ps
		clients[n]=$started
	done
	for n in 1 2 3 4 5 6; do
		wait_for_status "${clients[n]}" 0
		equal "$(cat "$BATS_TEST_TMPDIR/ps$n.out" "$BATS_TEST_TMPDIR/ps$n.err")" '{"vms":[]}'
	done
	equal "$(pgrep -cx bangerd)" 1
	equal "$(stat -c '%a %U' "$BANGER_RUNTIME_DIR/bangerd.sock")" '600 root'
	run_for 0 banger daemon stop
	no_daemon
	run_for 0 banger daemon stop
}

@test "a second daemon refuses, and harms nobody" {
	local pid
	banger ps >/dev/null
	pid=$(daemon_pid)
	run_for 1 "$PROGRAMS/bangerd"
	contains "$stderr" "$BANGER_RUNTIME_DIR/bangerd.sock"
	equal "$(daemon_pid)" "$pid"
	# With other sockets, but the same state.
	run_for 1 env BANGER_RUNTIME_DIR="$HOME_DIR/other-run" "$BANGER" ps
	matches "$stderr" "^banger: cannot start bangerd: .*$pid"
	equal "$(daemon_pid)" "$pid"
	run_for 0 "$PROGRAMS/bangerd" --check-migrations
}

@test "a daemon that is dead, deaf, or not one at all" {
	local pid
	banger ps >/dev/null
	pid=$(daemon_pid)
	kill -KILL "$pid"
	wait_until 20 process_is_gone "$pid"
	test -S "$BANGER_RUNTIME_DIR/bangerd.sock"
	run_for 0 banger --json ps
	equal "$output" '{"vms":[]}'

	pid=$(daemon_pid)
	kill -STOP "$pid"
	run_for 1 banger ps
	contains "$stderr" "bangerd does not answer on '$BANGER_RUNTIME_DIR/bangerd.sock'"
	contains "$stderr" "kill -9 $pid"
	kill -CONT "$pid"
	run_for 0 banger ps

	# A file where the socket belongs is not ours to remove.
	banger --quiet daemon stop
	wait_until 20 process_is_gone "$pid"
	rm -f "$BANGER_RUNTIME_DIR/bangerd.sock"
	echo precious >"$BANGER_RUNTIME_DIR/bangerd.sock"
	run_for 1 banger ps
	is_one_error
	equal "$(cat "$BANGER_RUNTIME_DIR/bangerd.sock")" precious
	rm "$BANGER_RUNTIME_DIR/bangerd.sock"
}

# A second installation, of another version: what is patched are the same bytes at the same length.
make_older() {
	local program
	mkdir "$1"
	for program in banger bangerd; do
		sed 's/0\.1\.0/0.0.9/g' "$PROGRAMS/$program" >"$1/$program"
		chmod +x "$1/$program"
	done
	ln -s "$PROGRAMS/banger-vmm" "$PROGRAMS/banger-vsock-agent" "$1/"
	matches "$("$1/bangerd" --version)" '^bangerd 0\.0\.9 '
}

has_operations() {
	[ "$("$1" --json daemon status | jq .operations)" -ge 1 ]
}

@test "a daemon of another version is restarted when it is idle; running VMs go on" {
	local old=$BATS_TEST_TMPDIR/old boot_id pid
	make_older "$old"
	start create "$old/banger" vm run --name box -d
	wait_until 20 file_has "$BATS_TEST_TMPDIR/create.err" '^boot: '
	pid=$(pgrep -x bangerd)
	run_for 1 banger ps
	matches "$stderr" '^banger: bangerd is 0\.0\.9 \(.*\), this is banger 0\.1\.0 \(.*\), and bangerd is busy'
	wait_for_status "$started" 0
	boot_id=$("$old/banger" --quiet vm exec box -- cat /proc/sys/kernel/random/boot_id)
	run_for 0 banger ps
	matches "$stderr" '^note: bangerd was 0\.0\.9 \(.*\) and is restarted as 0\.1\.0 \(.*\); running VMs go on$'
	wait_until 20 process_is_gone "$pid"
	run_for 0 banger vm exec box -- cat /proc/sys/kernel/random/boot_id
	equal "$output" "$boot_id"
	equal "$stderr" ''
	# Half an update: the bangerd beside this banger is no more of its version than the one that runs.
	rm "$old/banger"
	cp "$BANGER" "$old/banger"
	banger --quiet daemon stop
	run_for 0 "$old/banger" ps
	run_for 0 "$old/banger" ps
	matches "$stderr" '^warning: bangerd is 0\.0\.9 \(.*\), but this is banger 0\.1\.0 \(.*\): install both of one version$'
	contains "$output" box
}

@test "daemon stop refuses while something is in flight; --force cancels it" {
	local pid
	banger ps >/dev/null
	start create "$BANGER" vm create --name box
	wait_until 20 file_has "$BATS_TEST_TMPDIR/create.err" '^boot: '
	has_operations "$BANGER"
	run_for 1 banger daemon stop
	contains "$stderr" 'hint: '
	pid=$(daemon_pid)
	run_for 0 banger daemon stop --force
	wait_for_status "$started" 1
	matches "$(cat "$BATS_TEST_TMPDIR/create.err")" 'banger: cannot create .box.: '
	wait_until 20 process_is_gone "$pid"
	equal "$(banger vm list -q)" ''
	wait_until 20 no_vmm_runs
}

@test "a mistake in the configuration is shown with file, line and column" {
	local file=$BANGER_CONFIG_DIR/config.toml
	printf 'log_level = "info"\nvmmm = "auto"\n' >"$file"
	run_for 1 banger ps
	equal "${stderr%%$'\n'*}" \
		"banger: cannot start bangerd: $file:2:1: unknown key 'vmmm': did you mean 'vmm'?"
	printf '[vm_defaults]\nvcpu = 33\n' >"$file"
	run_for 1 banger ps
	matches "$stderr" "$file:2:[0-9]+: .*vcpu.* 1 to 32"
	printf 'log_level = "info\n' >"$file"
	run_for 1 banger ps
	matches "$stderr" "$file:1:[0-9]+: "
	write_config
	chmod 666 "$file"
	run_for 1 banger ps
	contains "$stderr" "$file"
	rm "$file"
	mkfifo -m 600 "$file"
	run_for 1 banger ps
	contains "$stderr" "$file"
	rm "$file"
	# None is needed; and one that goes bad while the daemon runs changes nothing but doctor's word.
	run_for 0 banger ps
	write_config
	echo 'vmmm = 1' >>"$file"
	run_for 0 banger ps
	run_for 1 banger doctor
	matches "$output" 'FAIL +config .*vmmm'
	write_config
}

@test "folders: from HOME or not at all, and never somebody else's" {
	local unset=(env -u BANGER_CONFIG_DIR -u BANGER_STATE_DIR -u BANGER_CACHE_DIR -u BANGER_RUNTIME_DIR
		-u XDG_CONFIG_HOME -u XDG_STATE_HOME -u XDG_CACHE_HOME -u XDG_RUNTIME_DIR)
	local place=$BATS_TEST_TMPDIR/place

	run_for 1 "${unset[@]}" -u HOME "$BANGER" ps
	contains "$stderr" 'HOME is not set'
	is_one_error
	run_for 1 "${unset[@]}" HOME=relative "$BANGER" ps
	contains "$stderr" "HOME is 'relative': it must be an absolute path"
	mkdir "$place"
	chown 65534 "$place"
	run_for 1 "${unset[@]}" HOME="$place" "$BANGER" ps
	contains "$stderr" "'$place' belongs to user 65534"
	is_one_error
	run_for 1 "${unset[@]}" HOME="$HOME_DIR" XDG_RUNTIME_DIR="$place" "$BANGER" ps
	contains "$stderr" "XDG_RUNTIME_DIR '$place' belongs to user 65534"
	run_for 1 env BANGER_STATE_DIR="$place" "$BANGER" ps
	contains "$stderr" "'$place'"
	run_for 1 env BANGER_RUNTIME_DIR="$HOME_DIR/$(printf 'r%.0s' {1..100})" "$BANGER" ps
	matches "$stderr" '^banger: .*(long|80|107)'
	equal "$(ls -A "$place")" ''
	rmdir "$place"

	mkdir "$place"
	mount -t tmpfs -o ro tmpfs "$place"
	run_for 1 "${unset[@]}" HOME="$place" XDG_RUNTIME_DIR="$HOME_DIR" "$BANGER" ps
	contains "$stderr" 'Read-only file system'
	is_one_error
	umount "$place"

	# Where the shell stands does not matter.
	cd "$place"
	rmdir "$place"
	run_for 0 banger ps
	cd /
	# Everything below HOME, with the modes that others' eyes need.
	run_for 0 "${unset[@]}" HOME="$HOME_DIR" XDG_RUNTIME_DIR="$HOME_DIR" "$BANGER" ps
	equal "$(stat -c '%a %n' "$HOME_DIR/.local/state/banger" "$HOME_DIR/banger")" \
		"700 $HOME_DIR/.local/state/banger"$'\n'"700 $HOME_DIR/banger"
	run_for 0 "${unset[@]}" HOME="$HOME_DIR" XDG_RUNTIME_DIR="$HOME_DIR" "$BANGER" daemon stop
}

@test "a full disk below HOME: one line, nothing half written, and all is well once there is room" {
	local place=$BATS_TEST_TMPDIR/place user_file=$BATS_TEST_TMPDIR/place/user/config
	local at_place=(env -u BANGER_CONFIG_DIR -u BANGER_STATE_DIR -u BANGER_CACHE_DIR -u XDG_CONFIG_HOME -u XDG_STATE_HOME
		-u XDG_CACHE_HOME HOME="$place" "$BANGER")
	fill() {
		run ! dd if=/dev/zero of="$place/filler" bs=4k status=none
	}

	mkdir "$place"
	mount -t tmpfs -o size=8m,mode=700 tmpfs "$place"
	mkdir "${user_file%/*}"
	printf 'Host a\n\tUser b\n' >"$user_file"
	cp "$user_file" "$BATS_TEST_TMPDIR/before"
	# Before there is anything of banger's.
	fill
	run_for 1 "${at_place[@]}" ps
	matches "$stderr" "^banger: cannot start bangerd: .*'$place/.*: No space left on device"
	is_one_error
	run_for 1 "${at_place[@]}" ssh-config --install --file "$user_file"
	is_one_error
	run_for 0 "${at_place[@]}" version
	run_for 0 "${at_place[@]}" vm run --help
	rm "$place/filler"
	run_for 0 "${at_place[@]}" ps
	# Afterwards: reading goes on, writing is refused, the user's file is as it was.
	fill
	run_for 0 "${at_place[@]}" ps
	run_for 1 "${at_place[@]}" --quiet vm create --no-start --name box
	matches "$stderr" '^banger: cannot create .*No space left on device'
	contains "$stderr" "hint: make room: "
	is_one_error
	run_for 1 "${at_place[@]}" ssh-config --install --file "$user_file"
	equal "$stderr" "banger: write '$user_file': No space left on device"
	equal "$(ls -A "${user_file%/*}")" config
	cmp "$user_file" "$BATS_TEST_TMPDIR/before"
	run_for 1 "${at_place[@]}" doctor
	matches "$output" 'FAIL +space +0 B free'
	run_for 0 "${at_place[@]}" daemon stop
	run_for 0 "${at_place[@]}" ps
	rm "$place/filler"
	run_for 0 "${at_place[@]}" ssh-config --install --file "$user_file"
	fill
	run_for 1 "${at_place[@]}" ssh-config --uninstall --file "$user_file"
	contains "$stderr" 'No space left on device'
	contains "$(<"$user_file")" 'Include '
	rm "$place/filler"
	run_for 0 "${at_place[@]}" ssh-config --uninstall --file "$user_file"
	cmp "$user_file" "$BATS_TEST_TMPDIR/before"
	run_for 0 "${at_place[@]}" daemon stop
	umount "$place"
}

@test "a configuration that cannot be written is read" {
	run_for 0 banger ps
	mount --bind "$BANGER_CONFIG_DIR" "$BANGER_CONFIG_DIR"
	mount -o remount,bind,ro "$BANGER_CONFIG_DIR"
	run_for 0 banger daemon stop
	run_for 0 banger ps
	equal "$(banger --json daemon status | jq -r .default_image)" "$IMAGE"
	umount "$BANGER_CONFIG_DIR"
}

# The members of an object in jq's path must be these.
members() {
	equal "$(jq -r "$1 | keys_unsorted | sort | join(\" \")" <<<"$output")" "$(tr ' ' '\n' <<<"$2" | sort | paste -sd ' ')"
}

@test "--json: one line, the documented members, for everything that lists or shows" {
	local documented words
	banger --quiet vm create --no-start --name box >/dev/null
	documented=$(sed -n '/^`daemon.status`/,$p; /A \*\*VM object\*\*/,/^$/p' "$BATS_TEST_DIRNAME/../../docs/rpc.md" |
		sed -n '/A \*\*VM object\*\*/,/^$/p' | tr '\n' ' ' | sed 's/.*VM object\*\* has//; s/([^)]*)//g' |
		grep -o '`[a-z_]*`' | tr -d '`' | paste -sd ' ')
	for words in 'ps' 'vm list'; do
		# shellcheck disable=SC2086 # words are words
		run_for 0 banger --json $words
		equal "${#lines[@]}$stderr" 1
		members '.vms[0]' "$documented"
	done
	run_for 0 rpc vm.list '{"brief":true}'
	members '.result.vms[0]' 'id name state image ip vcpu memory_bytes disk_bytes workspace created_at'
	run_for 0 banger vm show --json box
	members .vm "$documented"
	run_for 0 banger --json image list
	members '.images[0]' 'name state kind recipe kernel source digest size_bytes used_bytes has_init built_at in_use'
	equal "$(jq -c '[.images[] | {(.name): .in_use}] | add' <<<"$output")" '{"debian-bookworm":0,"debian-bookworm-slim":1}'
	run_for 0 banger --json image show debian-bookworm
	members .image 'name state kind recipe kernel source digest size_bytes used_bytes has_init built_at in_use config'
	run_for 0 banger --json image catalog
	members '[.entries[] | select(.kind == "recipe")][0]' 'name kind description kernel default users present'
	members '[.entries[] | select(.kind == "oci")][0]' 'name kind description kernel default users present reference'
	run_for 0 banger --json kernel list --available
	members '.kernels[0]' 'name state kind package version release formats modules size_bytes pulled_at in_use present'
	run_for 0 banger --json kernel show debian-cloud
	members .kernel 'name state kind package version release formats modules size_bytes pulled_at in_use present source has_initrd vmlinux_sha256 vmlinuz_sha256 initrd_sha256'
	equal "$(jq -c '.kernel | [.formats, .in_use, .present]' <<<"$output")" '[["elf","bzimage"],1,true]'
	run_for 0 banger --json daemon status
	members . "$(rpc rpc.discover | jq -r '.result.methods[] | select(.name == "daemon.status").result[].name' | paste -sd ' ')"
	run_for 0 banger --json doctor
	members '.checks[0]' 'name status message hint'
	equal "$(jq -c '.ok, ([.checks[].status] | unique - ["pass", "warn"])' <<<"$output")" $'true\n[]'
	run_for 0 banger --json version
	members . 'version commit built daemon'
	run_for 0 banger --json vm delete box
	members '.results[0].result' 'id name'
	# Failures too, and then standard output is empty.
	for words in 'vm show nobody' 'image show nothing' 'kernel show nothing' 'vm logs nobody' 'vm exec nobody -- true'; do
		# shellcheck disable=SC2086 # words are words
		run_for 1 banger --json $words
		equal "$output" ''
		equal "$(jq -c '.error | [.kind, (.message | type)]' <<<"$stderr")" '["not_found","string"]'
	done
	run_for 2 banger --json vm create --vcpu 0
	equal "$(jq -r .error.kind <<<"$stderr")" invalid
}

@test "a name that is nearly right: the hint has the right one" {
	banger --quiet vm create --no-start --name box >/dev/null
	while IFS='|' read -r words meant; do
		# shellcheck disable=SC2086 # words are words
		run_for 1 banger --quiet $words
		contains "$stderr" "hint: did you mean '$meant'?"
		is_one_error
	done <<-'ROWS'
		vm show bxo|box
		vm start bxo|box
		vm exec bxo -- true|box
		vm cp /etc/hostname bxo:/|box
		vm logs boxx|box
		vm create --no-start --image debian-bokworm|debian-bookworm
		vm create --no-start --kernel debian-clod|debian-cloud
		image show debian-bookwrm|debian-bookworm
		image delete debian-bookwrm|debian-bookworm
		image promote debian-bookwrm|debian-bookworm
		image pull debian-bokworm|debian-bookworm
		kernel show debian-clod|debian-cloud
		kernel rm debian-clod|debian-cloud
		kernel pull debian-clod|debian-cloud
	ROWS
	# A name that is near nothing gets no guess.
	run_for 1 banger image show zzzzzz
	lacks "$stderr" 'did you mean'
}

@test "--quiet says nothing but errors; in a pipe nothing has colour" {
	run_for 0 banger --quiet vm create --no-start --name box
	equal "$stderr" ''
	run_for 1 banger --quiet vm create --no-start --name box
	is_one_error
	run_for 0 env TERM=xterm "$BANGER" vm create --no-start --name other
	contains "$stderr" 'spec: 1 vcpu'
	for words in ps 'vm show box' 'image list' 'kernel list' 'daemon status' doctor version --help; do
		# shellcheck disable=SC2086 # words are words
		run_for 0 env TERM=xterm "$BANGER" $words
		lacks "$output$stderr" $'\033'
		lacks "$output$stderr" $'\r'
	done
}

@test "standard output that is closed, full, or left" {
	banger ps >/dev/null
	run_for 1 sh -c 'exec "$BANGER" ps >&-'
	matches "$stderr" '^banger: write standard output: '
	run_for 1 sh -c 'exec "$BANGER" ps >/dev/full'
	equal "$stderr" 'banger: write standard output: No space left on device'
	# A pipe whose reader has left before the first byte.
	mkfifo "$BATS_TEST_TMPDIR/pipe"
	exec 7<>"$BATS_TEST_TMPDIR/pipe"
	exec 8>"$BATS_TEST_TMPDIR/pipe"
	exec 7>&-
	run_for 141 sh -c 'exec "$BANGER" ps >&8'
	equal "$stderr" ''
	exec 8>&-
	run_for 0 sh -c 'exec "$BANGER" ps <&- 2>&-'
}

@test "completion: subcommands, flags and live names; silent when the daemon is down" {
	complete_words() {
		bash -c 'PATH=${BANGER%/*}:$PATH; source <(banger completion bash)
			COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _banger; printf "%s\n" "${COMP_REPLY[@]}" "${COMPREPLY[@]}"' bash "$@" |
			sed '/^$/d; s/ *$//'
	}
	run_for 0 complete_words banger vm show ''
	equal "$output$stderr" ''
	no_daemon
	banger --quiet vm create --no-start --name box >/dev/null
	banger --quiet vm create --no-start --name web >/dev/null
	run_for 0 complete_words banger vm show ''
	equal "$(sort <<<"$output")" $'box\nweb'
	run_for 0 complete_words banger vm stop box w
	equal "$output" web
	run_for 0 complete_words banger im
	equal "$output" image
	run_for 0 complete_words banger vm run --system
	equal "$output" --system-overlay-size
	run_for 0 complete_words banger vm run --image debian-bookworm-
	equal "$output" debian-bookworm-slim
	for shell in bash zsh fish; do
		run_for 0 banger completion "$shell"
		contains "$output" banger
	done
}

@test "images and kernels that a VM uses stay; then they can be deleted" {
	rm "$BANGER_STATE_DIR/images" "$BANGER_STATE_DIR/kernels"
	mkdir -m 700 "$BANGER_STATE_DIR/images"
	cp -a --sparse=always "$BANGER_CACHE/state/images/$IMAGE" "$BANGER_STATE_DIR/images/"
	cp -a "$BANGER_CACHE/state/kernels" "$BANGER_STATE_DIR/kernels"
	banger --quiet vm create --no-start --name box >/dev/null
	run_for 1 banger image delete "$IMAGE"
	matches "$stderr" "^banger: cannot delete image '$IMAGE': .*in use by 1 VM"
	run_for 1 banger kernel rm debian-cloud
	matches "$stderr" "^banger: cannot delete kernel 'debian-cloud': .*in use"
	banger --quiet vm delete box
	run_for 0 banger image delete "$IMAGE"
	run_for 0 banger kernel rm debian-cloud
	equal "$(banger --json image list | jq -c .images) $(banger --json kernel list | jq -c .kernels)" '[] []'
	equal "$(find "$BANGER_STATE_DIR/images" "$BANGER_STATE_DIR/kernels" -mindepth 1)" ''
	run_for 1 banger image delete "$IMAGE"
}

@test "doctor knows git, and where each default comes from" {
	run_for 0 banger --json doctor
	matches "$(jq -r '.checks[] | select(.name == "git") | "\(.status) \(.message)"' <<<"$output")" '^pass git version [0-9]'
	local defaults
	defaults=$(jq -r '.checks[] | select(.name == "defaults").message' <<<"$output")
	matches "$defaults" 'vmm [a-z]+ \((config|built in)\), network [a-z]+ \((config|built in)\), image debian-[a-z-]+ \((config|built in)\), kernel debian-cloud \(built in\)'
	matches "$defaults" 'vcpu [0-9]+ \((config|host: .*)\), memory [0-9.]+ .iB \(.*\), disk .* \(.*\), root file system .* \('
	# Only who asks needs git: bangerd runs already, and goes on without.
	sed -i 's/^default_image_name.*/default_image_name = "mine"/' "$BANGER_CONFIG_DIR/config.toml"
	banger --quiet daemon stop
	banger ps >/dev/null
	run_for 0 env PATH=/nonexistent "$BANGER" doctor
	matches "$output" "WARN +git +git is not installed"
	contains "$(tr -s ' \n' ' ' <<<"$output")" "need it on this host: apt-get install git"
	contains "$(tr -s ' \n' ' ' <<<"$output")" 'image mine (config)'
	mkdir "$BATS_TEST_TMPDIR/checkout"
	git -C "$BATS_TEST_TMPDIR/checkout" init -q
	run_for 1 env PATH=/nonexistent "$BANGER" vm run "$BATS_TEST_TMPDIR/checkout" --dry-run
	equal "$(head -n 1 <<<"$stderr")" 'banger: git is not installed'
	contains "$stderr" 'apt-get install git'
}

@test "without QEMU: doctor fails with what to do, and a VM is refused without leaving anything" {
	echo "qemu_bin = \"/nonexistent/qemu\"" | cat - "$BANGER_CONFIG_DIR/config.toml" >"$BANGER_CONFIG_DIR/new"
	chmod 600 "$BANGER_CONFIG_DIR/new"
	mv "$BANGER_CONFIG_DIR/new" "$BANGER_CONFIG_DIR/config.toml"
	run_for 1 banger doctor
	matches "$output" 'FAIL +qemu .*/nonexistent/qemu'
	run_for 1 banger --quiet vm run --rm -- true
	contains "$stderr" '/nonexistent/qemu'
	is_one_error
	assert_no_vms
}
