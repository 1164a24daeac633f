# A terminal of a given size, as a user sees it: tmux runs the command and tells what the screen shows.

# open_screen COLUMNSxROWS COMMAND...: TERM and the environment are the test's. The socket goes with the test's folder.
open_screen() {
	local size=$1
	shift
	SCREEN=$BATS_TEST_TMPDIR/screen
	tmux -S "$SCREEN" -f /dev/null new-session -d -x "${size%x*}" -y "${size#*x}" "$@" 3>&-
}

close_screen() {
	tmux -S "$SCREEN" kill-server 2>/dev/null || true
	wait_until 20 no_process_named tmux
}

no_process_named() {
	! pgrep -f "^tmux.*$SCREEN" >/dev/null
}

type_keys() {
	tmux -S "$SCREEN" send-keys "$@"
}

screen() {
	tmux -S "$SCREEN" capture-pane -pN
}

screen_has() {
	screen | grep -qE -- "$1"
}

# Waits until the screen matches; shows it if it never does.
see() {
	wait_until 20 screen_has "$1" && return
	echo "the screen never had: $1" >&2
	screen >&2
	return 1
}
