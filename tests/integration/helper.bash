# What several integration tests use.
# shellcheck disable=SC2154 # bats sets status, output, stderr

# Waits for a condition, at most $WAIT_SECONDS, and says what it waited for.
wait_for() {
	local deadline=$((SECONDS + ${WAIT_SECONDS:-30}))
	until "$@"; do
		if [ "$SECONDS" -ge "$deadline" ]; then
			echo "gave up waiting for: $*" >&2
			return 1
		fi
		sleep 0.05
	done
}

# What was run with `run --separate-stderr`.
succeeds() {
	[ "$status" -eq 0 ] || { echo "status $status: $output $stderr"; return 1; }
}

fails_with() {
	[ "$status" -eq 1 ] || { echo "status $status: $output $stderr"; return 1; }
	[[ $stderr == *"$1"* ]] || { echo "does not say '$1': $stderr"; return 1; }
}
