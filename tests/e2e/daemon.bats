#!/usr/bin/env bats
# The real daemon behind every method that needs no guest: catalogs, what is in use, hostile numbers, its options.

load helper

# One JSON-RPC request on a connection of its own; prints the reply line.
rpc() {
	python3 - "$BANGER_RUNTIME_DIR/bangerd.sock" "$1" <<-'PYTHON'
		import socket, sys
		s = socket.socket(socket.AF_UNIX)
		s.settimeout(30)
		s.connect(sys.argv[1])
		s.sendall(sys.argv[2].encode() + b"\n")
		print(s.makefile().readline(), end="")
	PYTHON
}

call() {
	rpc "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"$1\",\"params\":$2}"
}

@test "images and kernels: list, show, catalog, and what is in use is neither deleted nor replaced" {
	banger vm create --no-start --name user
	[ "$(banger --json image list | jq -r ".images[] | select(.name == \"$IMAGE\") | .in_use")" = 1 ]
	banger image show "$IMAGE" | grep -q '^kernel  *debian-cloud$'
	banger --json image catalog | jq -e '.entries | map(.name) | contains(["debian-bookworm", "debian-bookworm-slim"])'
	banger --json kernel show debian-cloud | jq -e '.kernel | .present and .in_use == 1 and .modules > 100'
	banger --json kernel list --available | jq -e '.kernels | length == 1'

	for command in "image delete $IMAGE" "image pull $IMAGE" "kernel rm debian-cloud" "kernel pull debian-cloud"; do
		# shellcheck disable=SC2086 # words
		run -1 --separate-stderr banger $command
		# shellcheck disable=SC2154 # set by run
		[[ $stderr == *"1 VM"* ]] || { echo "$command: $stderr" >&2; return 1; }
	done
	banger --json image list | jq -e ".images[] | select(.name == \"$IMAGE\") | .state == \"ready\""
	[ -f "$BANGER_STATE_DIR/images/$IMAGE/root.ext4" ]
}

@test "vm.create refuses by itself what the CLI would: numbers, names, types; and leaves no row" {
	banger vm list
	for params in '{"vcpu":0}' '{"vcpu":33}' '{"vcpu":-1}' '{"vcpu":4294967297}' '{"vcpu":1.5}' '{"vcpu":"1"}' \
		'{"memory_bytes":0}' '{"memory_bytes":1}' '{"memory_bytes":9223372036854775807}' '{"disk_bytes":1}' \
		'{"disk_bytes":0}' '{"system_overlay_bytes":1}' '{"name":""}' '{"name":"-x"}' '{"name":"a..b"}' \
		'{"name":"../x"}' '{"name":"A"}' '{"name":"x.vm"}' '{"name":"\u00e9"}' '{"name":"a\nb"}' \
		'{"image":"../x"}' '{"kernel":".x"}' '{"nat":1}' '{"start":1}' '{"nosuch":1}' '[]'; do
		reply=$(call vm.create "$params")
		jq -e '.error.message | length > 10' <<<"$reply" >/dev/null || { echo "$params: $reply" >&2; return 1; }
	done
	[ "$(banger vm list -q)" = "" ]
	[ -z "$(ls "$BANGER_STATE_DIR/vms")" ]
}

@test "rpc.discover describes every method of docs/rpc.md, and unknown ones are refused" {
	banger vm list
	call rpc.discover '{}' | jq -r '.result.methods[].name' | grep -v '^rpc.discover$' | sort >"$HOME_DIR/told"
	# shellcheck disable=SC2016 # Markdown's own
	sed -n 's/^### `\(.*\)`$/\1/p' "$BATS_TEST_DIRNAME/../../docs/rpc.md" | sort >"$HOME_DIR/written"
	diff "$HOME_DIR/told" "$HOME_DIR/written"
	call vm.nosuch '{}' | jq -e '.error.code == -32601'
	call daemon.operations.cancel '{"id":4711}' | jq -e '.error.data.kind == "not_found"'
	call daemon.operations.list '{}' | jq -e '.result.operations == []'
}

@test "bangerd --check-migrations: 1 before there is a database, 0 with one, 2 with a newer one" {
	run -1 "$PROGRAMS/bangerd" --check-migrations
	banger vm list
	banger --quiet daemon stop
	run -0 "$PROGRAMS/bangerd" --check-migrations
	python3 - "$BANGER_STATE_DIR/state.db" <<-'PYTHON'
		import sqlite3, sys
		db = sqlite3.connect(sys.argv[1])
		db.execute("INSERT INTO schema_migrations SELECT * FROM schema_migrations WHERE 0")
		columns = [row[1] for row in db.execute("PRAGMA table_info(schema_migrations)")]
		rows = db.execute("SELECT * FROM schema_migrations ORDER BY 1 DESC LIMIT 1").fetchone()
		db.execute(f"INSERT INTO schema_migrations VALUES ({','.join('?' * len(columns))})", (99, *rows[1:]))
		db.commit()
	PYTHON
	run -2 "$PROGRAMS/bangerd" --check-migrations
	run -1 --separate-stderr banger vm list
	[[ $stderr == *"newer"* ]]
	rm "$BANGER_STATE_DIR"/state.db*
}

@test "BANGER_LOG_LEVEL wins over the file, and a wrong one is refused" {
	BANGER_LOG_LEVEL=error banger vm list
	[ ! -s "$BANGER_STATE_DIR/bangerd.log" ]
	banger --quiet daemon stop
	run -1 --separate-stderr env BANGER_LOG_LEVEL=loud "$BANGER" vm list
	[[ $stderr == *"BANGER_LOG_LEVEL is 'loud'"* ]]
	banger vm list
	banger daemon logs | grep -q 'listens on'
}

@test "ssh_key_path: made where it is absent, also below HOME; one without a public half is told" {
	printf 'ssh_key_path = "~/keys/mine"\n' >"$BANGER_CONFIG_DIR/config.toml"
	HOME=$HOME_DIR banger vm list
	ssh-keygen -y -f "$HOME_DIR/keys/mine" | diff - "$HOME_DIR/keys/mine.pub"
	[ "$(stat -c %a "$HOME_DIR/keys/mine")" = 600 ]
	rm "$HOME_DIR/keys/mine.pub"
	HOME=$HOME_DIR banger --quiet daemon stop
	HOME=$HOME_DIR banger --json doctor | jq -e '.checks[] | select(.name == "ssh key") | .status == "warn"'
	write_config
}

@test "daemon stop: when it comes back nothing of bangerd is left, so that its folders can go" {
	local pid
	banger --quiet vm list >/dev/null
	pid=$(daemon_pid)
	banger --quiet daemon stop >/dev/null
	[ ! -e "/proc/$pid/exe" ]
}
