#!/usr/bin/env bats
# The program banger against a scripted bangerd (fake_bangerd.c, the real RPC server) and the real agent, which runs the
# "guest's" commands on this machine. terminal.py plays the user at a terminal.
# shellcheck disable=SC2016,SC1078,SC1079 # what is in single quotes is for the guest

setup() {
	export BANGER_STATE_DIR=$BATS_TEST_TMPDIR/state BANGER_RUNTIME_DIR=$BATS_TEST_TMPDIR/run
	export BANGER_CACHE_DIR=$BATS_TEST_TMPDIR/cache BANGER_CONFIG_DIR=$BATS_TEST_TMPDIR/config
	export FAKE_SCRIPT=$BATS_TEST_TMPDIR/script.json FAKE_LOG=$BATS_TEST_TMPDIR/requests
	export AGENT=$BATS_TEST_TMPDIR/agent.sock
	export PATH=$BATS_TEST_TMPDIR/bin:$PATH TERM=xterm
	unset NO_COLOR
	mkdir "$BATS_TEST_TMPDIR/bin"
	cp "$BANGER_BUILD/src/bin/banger" "$BATS_TEST_TMPDIR/bin/banger"
	cp "$BANGER_BUILD/tests/integration/fake_bangerd" "$BATS_TEST_TMPDIR/bin/bangerd"
	: >"$FAKE_LOG"
	script '{}'
}

teardown() {
	local pid
	# A hung or stopped one cannot be asked: each is ended by its number.
	for pid in $(daemon_pids) $(agent_pids); do
		kill -KILL "$pid" 2>/dev/null || true
	done
	wait_for all_are_gone
}

all_are_gone() {
	[[ -z $(daemon_pids)$(agent_pids) ]]
}

one_is_there() {
	[[ -n $(daemon_pids) ]]
}

# This test's agent and the processes that it forked, which have its arguments.
agent_pids() {
	pgrep -f -- "--listen-unix $AGENT" || true
}

# This test's daemons: those whose program is in its folder.
daemon_pids() {
	local exe
	for exe in /proc/[0-9]*/exe; do
		if [[ $(readlink "$exe" 2>/dev/null) == "$BATS_TEST_TMPDIR/bin/bangerd"* ]]; then
			basename "$(dirname "$exe")"
		fi
	done
}

# Writes the fake's script: what is given, with usual answers for what is not.
script() {
	jq -n --argjson given "$1" --arg agent "$AGENT" '
		def vm($id; $name; $state): {id: $id, name: $name, state: $state, image: "debian-bookworm",
			kernel: "debian-cloud", vcpu: 2, memory_bytes: 1073741824, disk_bytes: 8589934592,
			system_overlay_bytes: 8589934592, nat: false, ip: null, ephemeral: false,
			created_at: "2026-01-01T00:00:00Z", started_at: null, last_error: null, engine: null,
			accelerator: null, pid: null, workspace: null, disk_used_bytes: 0, directory: "/d",
			console_log: "/c", vmm_log: "/v"};
		vm("aa"; "box"; "running") as $box | vm("bb"; "web"; "stopped") as $web |
		{methods: {
			"vm.list": {result: {vms: [$box, $web]}},
			"vm.show": {error: {kind: "not_found", message: "there is no such VM", hint: "see banger ps"}},
			"vm.show box": {result: {vm: $box}}, "vm.show aa": {result: {vm: $box}},
			"vm.show web": {result: {vm: $web}},
			"vm.stop aa": {delay_ms: 300, result: {vm: ($box | .state = "stopped"), forced: true}},
			"vm.stop bb": {delay_ms: 100, result: {vm: $web, forced: false}},
			"vm.start aa": {result: {vm: $box, warnings: ["slow"]}},
			"vm.start bb": {result: {vm: $web, warnings: ["slow"]}},
			"vm.delete": {result: {id: "aa", name: "box"}},
			"vm.create": {result: {vm: $box, warnings: ["beware\u001b"]}},
			"vm.exec": {connect: $agent}, "vm.shell": {connect: $agent},
			"daemon.status": {result: {accelerator: "tcg", default_image: "debian-bookworm", operations: 0,
				defaults: {vcpu: 4, memory_bytes: 8589934592, disk_bytes: 8589934592,
					system_overlay_bytes: 8589934592}}}
		}} * $given' >"$FAKE_SCRIPT.new"
	mv "$FAKE_SCRIPT.new" "$FAKE_SCRIPT"
}

start_agent() {
	"$BANGER_BUILD/src/bin/banger-vsock-agent" --listen-unix "$AGENT" >/dev/null 2>&1 3>&- &
	wait_for test -S "$AGENT"
}

# Waits until a command succeeds.
wait_for() {
	local deadline=$((SECONDS + 30))
	until "$@"; do
		if ((SECONDS > deadline)); then
			echo "did not come: $*" >&2
			return 1
		fi
		sleep 0.02
	done
}

logged() {
	grep -q "$1" "$FAKE_LOG"
}

terminal() {
	python3 "$BATS_TEST_DIRNAME/terminal.py" "$@"
}

# run, with standard error in $errors apart from $output.
run_apart() {
	local status_of=0
	output=$("$@" 2>"$BATS_TEST_TMPDIR/errors") || status_of=$?
	status=$status_of
	errors=$(cat "$BATS_TEST_TMPDIR/errors")
}

expect() {
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
		printf 'got:      %s\nwith this: %s\n' "$1" "$2" >&2
		return 1
	fi
}

@test "wrong usage: the mistake, what was meant, where help is, status 2, and nothing is asked" {
	run_apart banger vm strat box
	expect "$status" 2
	expect "$errors" "banger: unknown command 'vm strat'; did you mean 'vm start'?
hint: see 'banger vm --help'"
	run_apart banger vm run --nmae x
	expect "$status" 2
	expect "$errors" "banger: unknown option '--nmae'; did you mean '--name'?
hint: see 'banger vm run --help'"
	run_apart banger vm exec box ls -l
	expect "$status" 2
	expect "$errors" "banger: unknown option '-l'
hint: a command for the guest, with its options, goes after '--'"
	# The mistake is elsewhere: no word about '--'.
	run_apart banger vm run ./x --mode bogus
	expect "$status" 2
	expect "$errors" "banger: --mode: 'bogus' is neither shallow_overlay nor full_copy
hint: see 'banger vm run --help'"
	for words in "" "vm" "frobnicate" "vm stop" "vm exec box" "vm exec box true" \
		"vm run -p 80:x" "vm show a b" "doctor x" "vm run --vcpu 0" "vm run --memory 8EiB" "vm run --name A" \
		"vm run -d --rm" "vm run -d -- true" "completion tcsh" "vm kill -s NOPE box" "image pull .x"; do
		# shellcheck disable=SC2086 # words are words
		run_apart banger $words
		expect "$words: $status" "$words: 2"
		expect "$output" ""
		contains "$errors" "hint: see 'banger "
	done
	run_apart banger image pull ../x
	expect "$status" 2
	contains "$errors" "hint: a folder with an OCI layout is oci:../x, an archive docker-archive:../x"
	expect "$(cat "$FAKE_LOG")" ""
	expect "$(daemon_pids)" ""
}

@test "--json makes errors one object on standard error" {
	run_apart banger --json vm show nope
	expect "$status" 1
	expect "$output" ""
	expect "$errors" '{"error":{"kind":"not_found","message":"there is no such VM","hint":"see banger ps"}}'
	run_apart banger vm --json strat
	expect "$status" 2
	expect "$(jq -r .error.kind <<<"$errors")" invalid
}

@test "ps: a table, ids, JSON; and it starts the daemon, once" {
	run_apart banger ps
	expect "$status" 0
	expect "$errors" ""
	contains "$output" "ID  NAME  STATE    IMAGE            IP  VCPU    MEM   DISK  WORKSPACE  CREATED"
	contains "$output" "aa  box   running  debian-bookworm  -      2  1 GiB  8 GiB  -"
	lacks "$output" $'\e'
	run_apart banger vm list -q
	expect "$output" $'aa\nbb'
	run_apart banger ps --json
	expect "$(jq -r '.vms[].name' <<<"$output")" $'box\nweb'
	expect "$(daemon_pids | wc -l)" 1
	run_apart banger vm show box
	contains "$output" "name                box"
	run_apart banger vm show box --json
	expect "$(jq -r .vm.name <<<"$output")" box
}

@test "many VMs: side by side, told in order, repeats dropped, one failure does not stop the others" {
	run_apart banger vm stop box nope aa web box
	expect "$status" 1
	expect "$output" $'box: stopped (forced)\nweb: stopped'
	expect "$errors" "banger: cannot stop 'nope': there is no such VM
hint: see banger ps"
	# Both had begun before the first was done.
	expect "$(grep 'vm.stop' "$FAKE_LOG" | cut -d' ' -f1)" $'vm.stop\nvm.stop\ndone\ndone'
	run_apart banger vm start box web
	expect "$errors" "warning: slow"
	run_apart banger vm stop --timeout 3s box
	expect "$status" 0
	logged 'vm.stop {"vm":"aa","timeout_ms":3000}'
	run_apart banger --json vm stop box nope web
	expect "$status" 1
	expect "$errors" ""
	expect "$(jq -c '[.results[] | [.reference, (.result.vm.state // .error.kind)]]' <<<"$output")" \
		'[["box","stopped"],["nope","not_found"],["web","stopped"]]'
}

@test "many more VMs than connections" {
	script '{"methods": {"vm.show": {"error": null}, "vm.start": {"result": {"vm": {"state": "running"}}}}}'
	names=$(seq -f 'vm-%g' 1 100)
	jq --arg names "$names" '.methods += ($names | split("\n") | map({key: ("vm.show " + .), value:
		{result: {vm: {id: ("id-" + .), name: .}}}}) | from_entries)' "$FAKE_SCRIPT" >"$FAKE_SCRIPT.new"
	mv "$FAKE_SCRIPT.new" "$FAKE_SCRIPT"
	# shellcheck disable=SC2086
	run_apart banger vm start $names
	expect "$errors" ""
	expect "$status" 0
	expect "$output" "$(seq -f 'vm-%g: running' 1 100)"
}

@test "a daemon that cannot start says why" {
	script '{"start_error": {"message": "open state.db: no space left on device", "hint": "make room"}}'
	run_apart banger ps
	expect "$status" 1
	expect "$errors" "banger: cannot start bangerd: open state.db: no space left on device
hint: make room"
	printf '#!/bin/sh\necho broken >&2\nexit 7\n' >"$BATS_TEST_TMPDIR/bin/bangerd"
	run_apart banger ps
	expect "$status" 1
	expect "$errors" "banger: cannot start bangerd: bangerd ended before it was ready
hint: see '$BANGER_STATE_DIR/bangerd.log'"
	contains "$(cat "$BANGER_STATE_DIR/bangerd.log")" "broken"
	rm "$BATS_TEST_TMPDIR/bin/bangerd"
	run_apart banger ps
	expect "$status" 1
	contains "$errors" "banger: cannot start bangerd: there is no bangerd in '$BATS_TEST_TMPDIR/bin'"
	run_apart banger doctor
	expect "$status" 1
	contains "$output" "FAIL  daemon"
}

@test "a daemon that is never ready is given up by Ctrl-C and leaves nothing" {
	script '{"start_silent": true}'
	env --default-signal=INT banger ps 2>"$BATS_TEST_TMPDIR/errors" 3>&- &
	local pid=$!
	wait_for one_is_there
	kill -INT $pid
	local status=0
	wait $pid || status=$?
	expect "$status" 130
	contains "$(cat "$BATS_TEST_TMPDIR/errors")" "cancelled while bangerd started"
	expect "$(daemon_pids)" ""
}

@test "several commands at once start one daemon" {
	local i
	for i in 1 2 3 4 5 6; do
		banger ps >"$BATS_TEST_TMPDIR/ps.$i" 2>&1 3>&- &
		echo $! >>"$BATS_TEST_TMPDIR/ps.list"
	done
	while read -r pid; do
		wait "$pid"
	done <"$BATS_TEST_TMPDIR/ps.list"
	for i in 1 2 3 4 5 6; do
		contains "$(cat "$BATS_TEST_TMPDIR/ps.$i")" "box"
	done
	expect "$(daemon_pids | wc -l)" 1
}

@test "another version: replaced when idle, both versions told when busy" {
	script '{"version": "9.9.9", "commit": "cafe"}'
	banger version >"$BATS_TEST_TMPDIR/none"
	"$BATS_TEST_TMPDIR/bin/bangerd" >/dev/null 2>&1 3>&- &
	wait_for test -S "$BANGER_RUNTIME_DIR/bangerd.sock"
	old=$(daemon_pids)
	run_apart banger version
	contains "$output" "bangerd 9.9.9 (commit cafe"

	script '{"version": "9.9.9", "commit": "cafe", "methods": {"daemon.stop": {"error":
		{"kind": "busy", "message": "2 operations in flight"}}}}'
	run_apart banger ps
	expect "$status" 1
	contains "$errors" "banger: bangerd is 9.9.9 (cafe), this is banger "
	contains "$errors" "hint: try again when its operations have ended"
	expect "$(daemon_pids)" "$old"

	script '{"version": "9.9.9", "commit": "cafe", "is_half_updated": true}'
	run_apart banger ps
	expect "$status" 0
	contains "$errors" "warning: bangerd is 9.9.9 (cafe), but this is banger "
	expect "$(daemon_pids)" "$old"

	# The script changes as the old one stops, so that the new one tells the right version.
	script '{"version": "9.9.9", "commit": "cafe", "methods": {"daemon.stop": {"delay_ms": 500}}}'
	banger ps >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/errors" 3>&- &
	local pid=$!
	wait_for logged '^daemon.stop'
	script '{}'
	wait $pid
	contains "$(cat "$BATS_TEST_TMPDIR/errors")" "note: bangerd was 9.9.9 (cafe) and is restarted as "
	contains "$(cat "$BATS_TEST_TMPDIR/out")" "box"
	lacks "$(daemon_pids)" "$old"
}

@test "a dead daemon's socket is no obstacle, a hung one is told within a second or so" {
	banger ps >/dev/null
	local pid
	pid=$(daemon_pids)
	kill -KILL "$pid"
	wait_for all_are_gone
	test -S "$BANGER_RUNTIME_DIR/bangerd.sock"
	run_apart banger ps
	expect "$status" 0
	pid=$(daemon_pids)
	kill -STOP "$pid"
	run_apart banger ps
	expect "$status" 1
	expect "$errors" "banger: bangerd does not answer on '$BANGER_RUNTIME_DIR/bangerd.sock'
hint: end it with 'kill -9 $pid'; running VMs go on, and the next command starts a new one"
}

@test "a daemon that dies in the middle of a request" {
	script '{"methods": {"vm.list": {"die": true}}}'
	run_apart banger ps
	expect "$status" 1
	contains "$errors" "the daemon went away before it answered 'vm.list'"
}

@test "daemon status, stop and logs start no daemon" {
	run_apart banger daemon status
	expect "$status" 1
	expect "$errors" "banger: bangerd is not running
hint: commands that need it start it, such as 'banger ps'"
	run_apart banger daemon stop
	expect "$status" 0
	expect "$output" "bangerd was not running"
	run_apart banger daemon logs
	expect "$status" 1
	contains "$errors" "bangerd.log': No such file"
	expect "$(daemon_pids)" ""
	banger ps >/dev/null
	run_apart banger daemon status
	contains "$output" "default image       debian-bookworm"
	run_apart banger daemon stop
	expect "$status" 0
	expect "$(daemon_pids)" ""
}

@test "vm run -d: the spec line, the warnings, the name alone on standard output" {
	run_apart banger vm run -d --name box --memory 512 --disk-size 1GiB --vcpu 3
	expect "$status" 0
	expect "$output" box
	contains "$errors" "spec: 3 vcpu · 512 MiB · 1 GiB disk · debian-bookworm"
	contains "$errors" 'warning: beware\x1b'
	logged 'vm.create {"name":"box","vcpu":3,"memory_bytes":536870912,"disk_bytes":1073741824,"start":true,"ephemeral":false}'
	run_apart banger --quiet vm run -d
	expect "$errors" ""
	run_apart banger --json vm create --no-start
	expect "$(jq -r .vm.name <<<"$output")" box
	logged 'vm.create {"start":false}'
}

@test "help shows the defaults of this host, asking a daemon only when one runs" {
	run_apart banger vm run --help
	contains "$output" "--vcpu                          3 (config)"
	contains "$output" "--image                         tiny"
	expect "$(daemon_pids)" ""
	banger ps >/dev/null
	run_apart banger help vm run
	contains "$output" "--vcpu                          4"
}

@test "progress: plain lines into a pipe, nothing with --quiet, nothing on standard output" {
	script '{"methods": {"vm.create": {"progress": [{"stage": "image", "detail": "fetch\u001b[31m"},
		{"stage": "boot"}]}}}'
	run_apart banger vm create
	contains "$errors" 'image: fetch\x1b[31m'
	contains "$errors" "image: done in "
	contains "$errors" "boot: begun"
	lacks "$output" "fetch"
	run_apart banger vm create --quiet
	expect "$errors" ""
}

@test "progress: one live line on a terminal, gone at the end" {
	script '{"methods": {"vm.create": {"progress_gap_ms": 200, "progress": [
		{"stage": "image", "detail": "fetch", "done": 10000000, "total": 100000000},
		{"stage": "image", "detail": "fetch", "done": 90000000, "total": 100000000}], "delay_ms": 200}}}'
	run terminal --show --size 24x100 "expect:image: fetch [==>" "expect:95.3 MiB" 'expect:\r\x1b[K' -- banger vm create
	contains "$output" "exit 0 cooked"
	# shellcheck disable=SC2016
	contains "$output" $'\e[32mrunning\e[0m'
	NO_COLOR=1 run terminal --show -- banger ps
	lacks "$output" $'\e'
}

@test "Ctrl-Z while something is made: the terminal as it was, then the live line again, as wide as the window is now" {
	local words
	script '{"methods": {"vm.create": {"progress_gap_ms": 50, "progress": [
		{"stage": "image", "detail": "fetch", "done": 10000000, "total": 100000000}], "delay_ms": 60000}}}'
	jq '.methods["image.pull"] = .methods["vm.create"]' "$FAKE_SCRIPT" >"$FAKE_SCRIPT.new"
	mv "$FAKE_SCRIPT.new" "$FAKE_SCRIPT"
	for words in 'vm run' 'image pull one'; do
		# shellcheck disable=SC2086 # words are words
		run terminal --show --size 24x100 'expect:image: fetch [==>' 'send:\x1a' stopped cooked signal:CONT \
			'expect:\r\x1b[Kimage: fetch [==>' resize:24x60 'expect:\r\x1b[Kimage: fetch 9.5 MiB/95.3 MiB' \
			'send:\x1a' stopped resize:24x100 signal:CONT 'expect:\r\x1b[Kimage: fetch [==>' \
			'send:\x03' 'expect:\r\x1b[K' 'expect: cancelled' -- banger $words
		contains "$output" "exit 130 cooked"
	done
	wait_for logged '^cancelled vm.create'
	wait_for logged '^cancelled image.pull'
}

@test "Ctrl-Z for so long that the answer comes meanwhile: it is there afterwards" {
	script '{"methods": {"vm.create": {"progress_gap_ms": 50, "progress": [{"stage": "image"}], "delay_ms": 400}}}'
	run terminal --show 'expect:image  0 s' 'send:\x1a' stopped "until:grep -q ^done.vm.create '$FAKE_LOG'" signal:CONT \
		'expect:\r\x1b[K' 'expect:debian-bookworm' -- banger vm create
	contains "$output" "exit 0 cooked"
}

@test "Ctrl-Z while bangerd starts, and while it is asked" {
	script '{"start_silent": true}'
	run terminal --show "until:[[ -e '$BANGER_STATE_DIR/bangerd.log' ]]" 'send:\x1a' stopped cooked signal:CONT \
		'send:\x03' 'expect:cancelled while bangerd started' -- banger ps
	contains "$output" "exit 130 cooked"
	expect "$(daemon_pids)" ""
	script '{"methods": {"vm.list": {"delay_ms": 300}}}'
	: >"$FAKE_LOG"
	run terminal --show "until:grep -q ^vm.list '$FAKE_LOG'" 'send:\x1a' stopped cooked "until:grep -q ^done.vm.list '$FAKE_LOG'" \
		signal:CONT 'expect:box' -- banger ps
	contains "$output" "exit 0 cooked"
}

@test "Ctrl-C cancels what is being made, and says so" {
	script '{"methods": {"vm.create": {"delay_ms": 60000}}}'
	env --default-signal=INT banger vm run -d 2>"$BATS_TEST_TMPDIR/errors" 3>&- &
	local pid=$! status=0
	wait_for logged '^vm.create'
	kill -INT $pid
	wait $pid || status=$?
	expect "$status" 130
	contains "$(cat "$BATS_TEST_TMPDIR/errors")" "banger: cancelled; bangerd undoes what was begun of the VM"
	wait_for logged 'cancelled vm.create'
}

@test "standard output: closed, full, or a reader that leaves" {
	run_apart bash -c 'banger ps >&-'
	expect "$status" 1
	contains "$errors" "banger: write standard output: Bad file descriptor"
	run_apart bash -c 'banger ps >/dev/full'
	expect "$status" 1
	contains "$errors" "banger: write standard output: No space left on device"
	mkfifo "$BATS_TEST_TMPDIR/fifo"
	# The reader goes before a byte is written.
	bash -c 'exec 4<>"$1"; exec 5>"$1" 4>&-; banger ps >&5 2>"$2"; echo $? >"$3"' - \
		"$BATS_TEST_TMPDIR/fifo" "$BATS_TEST_TMPDIR/errors" "$BATS_TEST_TMPDIR/status"
	expect "$(cat "$BATS_TEST_TMPDIR/status")" 141
	expect "$(cat "$BATS_TEST_TMPDIR/errors")" ""
	run_apart bash -c 'banger ps <&- 2>&-'
	expect "$status" 0

	printf 'a line\n' >"$BATS_TEST_TMPDIR/log"
	script "{\"methods\": {\"vm.logs\": {\"pass\": \"$BATS_TEST_TMPDIR/log\"}, \"doctor\": {\"result\": {\"ok\": true, \"checks\": []}}}}"
	start_agent
	local words
	for words in --help help 'vm run --help' version '--json version' 'completion fish' '--json ps' 'ps -q' 'vm show box' \
		'vm logs box' 'vm start box' 'vm create' 'vm run -d' 'daemon status' 'doctor --json' \
		'vm exec box -- seq 100000'; do
		run_apart bash -c "banger --quiet $words >/dev/full"
		expect "$words: $status" "$words: 1"
		contains "$errors" "No space left on device"
		run_apart bash -c "banger --quiet $words >&-"
		expect "$words: $status" "$words: 1"
		contains "$errors" "Bad file descriptor"
	done
}

@test "folders: no HOME, a relative one, a foreign runtime folder, a working folder that is gone" {
	run_apart env -u BANGER_STATE_DIR -u HOME -u XDG_STATE_HOME banger ps
	expect "$status" 1
	contains "$errors" "HOME"
	expect "$(wc -l <<<"$errors")" 1
	run_apart env BANGER_RUNTIME_DIR=relative banger ps
	expect "$status" 1
	contains "$errors" "BANGER_RUNTIME_DIR"
	mkdir "$BATS_TEST_TMPDIR/gone"
	cd "$BATS_TEST_TMPDIR/gone"
	rmdir "$BATS_TEST_TMPDIR/gone"
	run_apart banger ps
	expect "$status" 0
}

@test "logs: safe for terminals, raw on request" {
	printf 'one\r\n\e[1;32mgreen\e[0m\n\e]0;evil\a\n' >"$BATS_TEST_TMPDIR/log"
	script "{\"methods\": {\"vm.logs\": {\"pass\": \"$BATS_TEST_TMPDIR/log\"}}}"
	run_apart banger vm logs box
	expect "$output" $'one\ngreen\n\\x1b]0;evil\\x07'
	logged 'vm.logs {"vm":"box","console":false}'
	run_apart banger vm logs box --console --raw
	expect "$output" $'one\r\n\e[1;32mgreen\e[0m\n\e]0;evil\a'
	logged 'vm.logs {"vm":"box","console":true}'
}

@test "logs -f: what is appended, a truncated file, a file in its place, until Ctrl-C" {
	local log=$BATS_TEST_TMPDIR/vm/log out=$BATS_TEST_TMPDIR/out status=0
	mkdir "$BATS_TEST_TMPDIR/vm"
	echo first >"$log"
	script "{\"methods\": {\"vm.logs\": {\"pass\": \"$log\"}}}"
	env --default-signal=INT banger vm logs -f box >"$out" 2>"$BATS_TEST_TMPDIR/errors" 3>&- &
	local pid=$!
	wait_for grep -q first "$out"
	echo second >>"$log"
	wait_for grep -q second "$out"
	: >"$log"
	echo 3rd >>"$log"
	wait_for grep -q 3rd "$out"
	echo fourth >"$log.new"
	mv "$log.new" "$log"
	wait_for grep -q fourth "$out"
	echo fifth >>"$log"
	wait_for grep -q fifth "$out"
	kill -INT $pid
	wait $pid || status=$?
	expect "$status" 130
	expect "$(cat "$out")" $'first\nsecond\n3rd\nfourth\nfifth'
	expect "$(cat "$BATS_TEST_TMPDIR/errors")" ""
}

@test "logs -f ends when its reader does" {
	echo first >"$BATS_TEST_TMPDIR/log"
	script "{\"methods\": {\"vm.logs\": {\"pass\": \"$BATS_TEST_TMPDIR/log\"}}}"
	run timeout 30 bash -c 'banger vm logs -f box | head -1'
	expect "$status" 0
	expect "$output" first
}

@test "prune asks, and takes no for an answer" {
	script '{"methods": {"vm.prune": {"result": {"deleted": [{"id": "bb", "name": "web"}],
		"failed": [{"id": "cc", "name": "old", "message": "it is busy"}]}}}}'
	run_apart banger vm prune </dev/null
	expect "$status" 1
	contains "$errors" "hint: 'banger vm prune --force' deletes without asking"
	run terminal --show "expect:delete 1 VM with their disks: web? [y/N] " 'send:n\n' -- banger vm prune
	contains "$output" "exit 0"
	run terminal "expect:[y/N]" 'send:\x03' -- banger vm prune
	contains "$output" "exit 130"
	if logged vm.prune; then return 1; fi
	run terminal --show "expect:[y/N]" 'send:y\n' "expect:web: deleted" -- banger vm prune
	contains "$output" "banger:"
	contains "$output" "cannot delete 'old': it is busy"
	contains "$output" "exit 1"
	run_apart banger vm prune --force
	expect "$output" "web: deleted"
}

@test "exec: streams, environment, folder, every status" {
	start_agent
	run_apart banger vm exec box -e A='b c' -w /tmp -- sh -c 'echo "$A"; pwd; echo err >&2; exit 3'
	expect "$status" 3
	expect "$output" $'b c\n/tmp'
	expect "$errors" err
	local n
	for n in 0 1 2 42 127 255; do
		run_apart banger vm exec box -- sh -c "exit $n"
		expect "$status" "$n"
	done
	for n in 2 9 15; do
		run_apart banger vm exec box -- sh -c "kill -$n \$\$"
		expect "$status" $((128 + n))
	done
	run_apart banger vm exec box -- no-such-program
	expect "$status" 127
	contains "$errors" "no-such-program"
	run_apart banger vm exec nobody -- true
	expect "$status" 1
	contains "$errors" "there is no such VM"
	script '{"methods": {"vm.exec": {"error": {"kind": "state", "message": "it is stopped", "hint": "start it"}}}}'
	run_apart banger vm exec box -- true
	expect "$status" 1
	expect "$errors" "banger: it is stopped
hint: start it"
}

@test "exec: arguments and input arrive byte for byte" {
	start_agent
	# shellcheck disable=SC2016
	run_apart banger vm exec box -- printf '<%s>' "it's" 'a"b' $'new\nline' '$HOME' '' '--' '-x' $'\xff\x01' 'é'
	expect "$output" "<it's><a\"b><new
line><\$HOME><><--><-x><"$'\xff\x01'"><é>"
	head -c 3000000 /dev/urandom >"$BATS_TEST_TMPDIR/data"
	banger vm exec box -- cat <"$BATS_TEST_TMPDIR/data" >"$BATS_TEST_TMPDIR/back"
	cmp "$BATS_TEST_TMPDIR/data" "$BATS_TEST_TMPDIR/back"
	# 2 MiB of arguments: 17 of 120 KB, each under what the kernel allows for one.
	local big=()
	for _ in $(seq 17); do
		big+=("$(head -c 90000 /dev/urandom | base64 -w 0)")
	done
	banger vm exec box -- printf '%s' "${big[@]}" >"$BATS_TEST_TMPDIR/back"
	printf '%s' "${big[@]}" | cmp - "$BATS_TEST_TMPDIR/back"
	run_apart banger vm exec box -- sh -c 'cat; echo end' </dev/null
	expect "$output" end
	run_apart bash -c 'banger vm exec box -- sh -c "cat; echo end" <&-'
	expect "$output" end
}

@test "exec: a reader that leaves ends the command" {
	start_agent
	run timeout 30 bash -c 'banger vm exec box -- yes | head -1; echo ${PIPESTATUS[0]}'
	expect "$output" $'y\n141'
	run timeout 30 bash -c 'yes | banger vm exec box -- head -1'
	expect "$output" y
}

@test "exec: signals go to the command, a second one ends banger" {
	start_agent
	local out=$BATS_TEST_TMPDIR/out pid signal
	for signal in INT TERM; do
		status=0
		env --default-signal=INT banger vm exec box -- sh -c "trap 'exit 7' $signal; echo ready; while :; do sleep 0.05; done" >"$out" 3>&- &
		pid=$!
		wait_for grep -q ready "$out"
		kill -$signal $pid
		wait $pid || status=$?
		expect "$signal $status" "$signal 7"
		: >"$out"
	done
	status=0
	env --default-signal=INT banger vm exec box -- sh -c "trap 'echo got' TERM; echo ready; while :; do sleep 0.05; done" >"$out" 3>&- &
	pid=$!
	wait_for grep -q ready "$out"
	kill -TERM $pid
	wait_for grep -q got "$out"
	kill -TERM $pid
	wait $pid || status=$?
	expect "$status" 143
}

@test "shell: reads commands from a pipe" {
	start_agent
	run_apart bash -c 'printf "echo one\nexit 4\n" | banger vm shell box'
	expect "$status" 4
	expect "$output" one
	run_apart bash -c 'printf "echo two\n" | banger --quiet vm run'
	expect "$status" 0
	expect "$output" two
	if logged vm.delete; then return 1; fi
}

@test "shell on a terminal: size, resize, Ctrl-C as a byte, the status, the terminal put back" {
	start_agent
	export PS1='ready> '
	run terminal --size 30x90 raw 'send:stty size\n' 'expect:30 90' resize:40x100 'send:stty size\n' 'expect:40 100' \
		'send:sleep 1000\n' 'expect:sleep 1000' 'send:\x03' 'expect:^C' expect:# \
		'send:echo $((40+2))\n' expect:42 'send:exit 5\n' -- banger vm shell box
	expect "$output" "exit 5 cooked"
	run terminal --show 'send:exit\n' "expect:'box' still runs" -- banger vm run
	contains "$output" "'banger vm stop box'"
	contains "$output" "exit 0 cooked"
}

@test "shell on a terminal: every way out puts the terminal back" {
	start_agent
	local signal number
	for signal in TERM HUP INT; do
		number=$(kill -l $signal)
		run terminal --show raw 'send:echo $((40+2))\n' expect:42 signal:$signal -- banger vm shell box
		contains "$output" "exit $((128 + number)) cooked"
	done
	run terminal raw 'send:echo $((40+2))\n' expect:42 signal:TSTP stopped cooked signal:CONT raw \
		'send:echo $((40+3))\n' expect:43 'send:exit\n' -- banger vm shell box
	expect "$output" "exit 0 cooked"
	# The guest goes away.
	run terminal --show raw 'send:echo $((40+2))\n' expect:42 'send:kill -9 $PPID\n' -- banger vm shell box
	contains "$output" "cooked"
	lacks "$output" "exit 0"
}

@test "exec --tty gives a terminal, without it there is none" {
	start_agent
	run terminal --show --size 30x90 'expect:30 90' -- banger vm exec -t box -- sh -c 'test -t 1 && stty size; echo $TERM'
	contains "$output" "xterm"
	run terminal --show 'expect:none' -- banger vm exec box -- sh -c 'test -t 1 || echo none'
	contains "$output" "exit 0 cooked"
	run_apart banger vm exec -t box -- sh -c 'test -t 0 && echo yes' </dev/null
	contains "$output" "yes"
}

@test "run --rm deletes afterwards, also when the command fails, and exits with its status" {
	start_agent
	run_apart banger vm run --rm -e A=b -- sh -c 'echo $A; exit 9'
	expect "$status" 9
	expect "$output" b
	logged 'vm.create {"start":true,"ephemeral":true}'
	logged 'vm.delete {"vm":"aa"}'
	script '{"methods": {"vm.delete": {"error": {"kind": "busy", "message": "it is busy"}}}}'
	run_apart banger vm run --rm -- true
	expect "$status" 1
	contains "$errors" "banger: cannot delete 'aa': it is busy"
}

@test "completion: scripts for three shells; words without a daemon, names with one" {
	local shell
	for shell in bash zsh fish; do
		run_apart banger completion $shell
		expect "$status" 0
		contains "$output" "completion words -- "
	done
	run_apart banger completion words -- vm stop ''
	expect "$status" 0
	expect "$output" ""
	expect "$errors" ""
	expect "$(daemon_pids)" ""
	banger ps >/dev/null
	run_apart banger completion words -- vm stop ''
	expect "$output" $'box\nweb'
	run bash -c 'source <(banger completion bash); COMP_WORDS=(banger vm sto); COMP_CWORD=2; _banger; echo "${COMPREPLY[*]}"'
	expect "$output" stop
}

@test "doctor: its verdicts and its status" {
	script '{"methods": {"doctor": {"result": {"ok": false, "checks": [
		{"name": "kvm", "status": "warn", "message": "useless", "hint": "use another host"},
		{"name": "qemu", "status": "fail", "message": "absent", "hint": "install it"},
		{"name": "store", "status": "pass", "message": "fine", "hint": null}]}}}}'
	run_apart banger doctor
	expect "$status" 1
	# The last line is the program's own.
	expect "$output" "WARN  kvm            useless
                     use another host
FAIL  qemu           absent
                     install it
PASS  store          fine
PASS  git            $(git version)"
	run_apart banger doctor --json
	expect "$status" 1
	expect "$(jq -r '.checks[1].status' <<<"$output")" fail
}
