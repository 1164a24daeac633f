# One agent of this machine for all tests of a file, with this build's sanitizers: on $SOCKET, its process in the file
# agent.pid.

setup_file() {
	export AGENT=$BANGER_BUILD/tests/integration/agent_checked SOCKET=$BATS_FILE_TMPDIR/agent.sock
	"$AGENT" --listen-unix "$SOCKET" 3>&- &
	echo $! >"$BATS_FILE_TMPDIR/agent.pid"
	wait_for test -S "$SOCKET"
}

teardown_file() {
	kill "$(cat "$BATS_FILE_TMPDIR/agent.pid")"
	wait_for test ! -e "$SOCKET"
}
