#!/usr/bin/env bats
# A hundred generated worlds, each put right by one start of bangerd (FAULTS K5). BANGER_WORLDS_SEED chooses others.

bats_require_minimum_version 1.5.0
export BATS_TEST_TIMEOUT=400 # with sanitizers on a busy host
load helper

SEED=${BANGER_WORLDS_SEED:-1}

# Worlds from $1 to $1 + 24. What a failed one was made of, and bangerd's log, are printed.
worlds() {
	/usr/bin/python3 "$BATS_TEST_DIRNAME/worlds.py" "$SEED" "$1" 25 >"$BATS_TEST_TMPDIR/said"
	cat "$BATS_TEST_TMPDIR/said" >&3
	rm -r "$HOME_DIR/worlds"
}

@test "worlds 0 to 24 converge in one pass, and the second does nothing" {
	worlds 0
}

@test "worlds 25 to 49 converge in one pass, and the second does nothing" {
	worlds 25
}

@test "worlds 50 to 74 converge in one pass, and the second does nothing" {
	worlds 50
}

@test "worlds 75 to 99 converge in one pass, and the second does nothing" {
	worlds 75
}
