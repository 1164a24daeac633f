#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2154 # what the guest's shell is to expand; bats sets stderr
# The agent on a Unix socket of this machine, asked by a client that knows the protocol on its own
# (agent_client.py): commands, their ends, files, forwards, and hosts that misbehave. agent_boot.bats has the guest.

bats_require_minimum_version 1.5.0

load helper
load agent

# After every test: the supervisor lives, and no process of a request is left but those that wait out a grace time.
teardown() {
	kill -0 "$(cat "$BATS_FILE_TMPDIR/agent.pid")"
	wait_for no_children
}

no_children() {
	! pgrep -P "$(cat "$BATS_FILE_TMPDIR/agent.pid")" >"$BATS_FILE_TMPDIR/children"
}

client() {
	python3 "$BATS_TEST_DIRNAME/agent_client.py" "$SOCKET" "$@"
}

# A command without input.
agent_exec() {
	client exec "$@" </dev/null
}

status_of() {
	local status=0
	agent_exec -- "$@" >/dev/null 2>&1 || status=$?
	echo "$status"
}

@test "healthz and ports are plain HTTP" {
	run client http /healthz
	[ "$status" -eq 0 ]
	[[ $output == "HTTP/1.1 200 OK"* ]]
	body=$(tail -n 1 <<<"$output")
	[ "$(jq -r .status <<<"$body")" = ok ]
	[ "$(jq -r .protocol <<<"$body")" = 1 ]
	[ "$(jq -r .hostname <<<"$body")" = "$(uname -n)" ]
	[ "$(jq -c .stages <<<"$body")" = "[]" ]
	[ "$(jq -r 'keys | join(",")' <<<"$body")" = hostname,protocol,stages,status,uptime_ms,version ]

	python3 -m http.server --bind 127.0.0.1 0 >"$BATS_TEST_TMPDIR/http.log" 2>&1 3>&- &
	server=$!
	wait_for grep -q port "$BATS_TEST_TMPDIR/http.log" || wait_for listens "$server"
	run listens "$server"
	kill "$server"
	[ "$status" -eq 0 ]
}

listens() {
	client http /ports | tail -n 1 |
		jq -e --argjson pid "$1" '.ports[] | select(.pid == $pid and .protocol == "tcp" and .process == "python3")'
}

@test "HTTP that is not for us gets a status" {
	run client http /nothing
	[[ $output == "HTTP/1.1 404 Not Found"* ]]
	run client raw <<<$'POST /healthz HTTP/1.1\r\n\r'
	[[ $output == "HTTP/1.1 405 Method Not Allowed"* ]]
}

@test "what is no request is answered with a reason" {
	run client raw <<<"hello"
	[ "$(jq -r .error.kind <<<"$output")" = protocol ]
	run client raw <<<'{"op":"dance"}'
	[ "$(jq -r .error.kind <<<"$output")" = unsupported ]
	run client raw < <(head -c 65536 /dev/zero | tr '\0' x)
	[ "$(jq -r .error.kind <<<"$output")" = limit ]
	run client raw < <(printf '{"op"')
	[ "$(jq -r .error.kind <<<"$output")" = protocol ]
	run client raw </dev/null
	[ "$(jq -r .error.kind <<<"$output")" = protocol ]
}

@test "a request line may be 64 KiB and not one byte more" {
	line() { printf '{"op":"ping"%*s}\n' $(($1 - 14)) ''; }
	run client raw < <(line 65536)
	[ "$output" = '{"ok":true}' ]
	run client raw < <(line 65537)
	[ "$(jq -r .error.kind <<<"$output")" = limit ]
}

@test "an agent that did not boot the machine does not change or stop it" {
	run client request '{"op":"shutdown","mode":"poweroff"}'
	[ "$(jq -r .error.kind <<<"$output")" = unsupported ]
	run client request '{"op":"identity","identity":{"hostname":"other"}}'
	[ "$(jq -r .error.kind <<<"$output")" = unsupported ]
	[ "$(uname -n)" != other ]
}

@test "stats are numbers" {
	run client request '{"op":"stats"}'
	[ "$(jq '.stats | map(numbers) | length' <<<"$output")" -eq 10 ]
	[ "$(jq '.stats.memory_total_bytes > .stats.memory_available_bytes' <<<"$output")" = true ]
}

@test "every exit status comes back" {
	for code in {0..255}; do
		echo "$code"
	done >"$BATS_TEST_TMPDIR/codes"
	run client exec -- sh -c 'while read -r code; do sh -c "exit $code"; echo $?; done' <"$BATS_TEST_TMPDIR/codes"
	[ "$output" = "$(cat "$BATS_TEST_TMPDIR/codes")" ]
	for code in 0 1 2 125 126 127 128 129 254 255; do
		[ "$(status_of sh -c "exit $code")" -eq "$code" ]
	done
}

@test "every signal that ends a command comes back as 128 + its number" {
	for number in 1 2 3 6 9 11 13 14 15 24 31 34 64; do
		[ "$(status_of sh -c "kill -$number \$\$")" -eq $((128 + number)) ] || { echo "signal $number"; return 1; }
	done
}

@test "stdout and stderr stay apart, stdin ends" {
	run --separate-stderr client exec -- sh -c 'cat; echo problem >&2; exit 3' <<<"line"
	[ "$status" -eq 3 ]
	[ "$output" = line ]
	[ "$stderr" = problem ]
}

@test "arguments and environment are bytes" {
	weird=$'a b\n\t"\'$(x)*\\ \xff\xfe \x01'
	run agent_exec --env "V=$weird" -- sh -c 'printf "%s|%s|%s" "$1" "$2" "$V"' sh "$weird" ""
	[ "$output" = "$weird||$weird" ]
}

@test "2 MiB of arguments arrive" {
	python3 - "$SOCKET" "$BATS_TEST_DIRNAME" <<'EOF'
import subprocess, sys
sys.path.insert(0, sys.argv[2])
import agent_client as client

stream = client.connect(sys.argv[1])
words = ["sh", "-c", "echo $#; printf %s \"$*\" | md5sum"] + ["x"]
each = "w" * 4095
limit = 2 * 1024 * 1024
while sum(len(word) + 1 for word in words) + 4096 <= limit:
    words.append(each)
rest = limit - sum(len(word) + 1 for word in words) - 1
words.append("r" * rest)
client.request(stream, op="exec")
for word in words:
    stream.sendall(client.string_frames(client.ARG, word.encode()))
stream.sendall(client.frame(client.START) + client.frame(client.STDIN_EOF))
client.reply(stream)
out = b""
while True:
    kind, payload = client.read_frame(stream)
    if kind == client.EXIT:
        assert payload == b"\x01\0\0\0\0\0\0\0", payload
        break
    assert kind == client.STDOUT, (kind, payload)
    out += payload
import hashlib
want = f"{len(words) - 4}\n{hashlib.md5(' '.join(words[4:]).encode()).hexdigest()}  -\n"
assert out.decode() == want, (out, want)

stream = client.connect(sys.argv[1])
client.request(stream, op="exec")
for word in words[:-1] + ["r" * (rest + 1)]:
    stream.sendall(client.string_frames(client.ARG, word.encode()))
answer = client.read_line(stream)
assert b'"limit"' in answer, answer
EOF
}

@test "megabytes pass through unchanged, both ways" {
	head -c 8000000 /dev/urandom >"$BATS_TEST_TMPDIR/in"
	client exec -- cat <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/out"
	cmp "$BATS_TEST_TMPDIR/in" "$BATS_TEST_TMPDIR/out"
}

@test "a command that closes its stdin does not hang the host" {
	run client exec -- sh -c 'exec <&-; sleep 0.2; echo done' < <(head -c 3000000 /dev/zero)
	[ "$status" -eq 0 ]
	[ "$output" = "done" ]
}

@test "output that nobody takes is not read from the command" {
	python3 - "$SOCKET" "$BATS_TEST_DIRNAME" "$BATS_TEST_TMPDIR/count" <<'EOF'
import os, sys, time
sys.path.insert(0, sys.argv[2])
import agent_client as client

stream = client.connect(sys.argv[1])
client.request(stream, op="exec")
program = f"""
import os
total = 0
while total < 50_000_000:
    total += os.write(1, b"x" * 65536)
    os.pwrite(9, str(total).encode(), 0)
"""
for word in ["sh", "-c", f"exec 9>{sys.argv[3]}; exec python3 -c \"$1\"", "sh", program]:
    stream.sendall(client.string_frames(client.ARG, word.encode()))
stream.sendall(client.frame(client.START))
command = client.reply(stream)["pid"]

def status(pid):
    with open(f"/proc/{pid}/stat") as file:
        state, parent = file.read().rpartition(")")[2].split()[:2]
    return state, int(parent)

def written():
    return int(open(sys.argv[3]).read() or 0) if os.path.exists(sys.argv[3]) else 0

# Everything is full when both the command, which does nothing but write, and its agent sleep.
deadline = time.monotonic() + 60
while written() == 0 or status(command)[0] != "S" or status(status(command)[1])[0] != "S":
    assert time.monotonic() < deadline, (written(), status(command))
    time.sleep(0.02)
assert written() < 2_000_000, written()
total = 0
while True:
    kind, payload = client.read_frame(stream)
    if kind == client.EXIT:
        break
    total += len(payload)
assert total >= 50_000_000, total
EOF
}

@test "a signal reaches the command, also behind input that it does not take" {
	run --separate-stderr client exec --no-eof --signal-after ready 15 -- sh -c 'trap "echo got; exit 9" TERM; echo ready; while :; do sleep 0.05; done'
	[ "$status" -eq 9 ]
	[ "$output" = $'ready\ngot' ]
	run client exec --signal-after ready 2 -- sh -c 'echo ready; exec sleep 60' < <(head -c 100000 /dev/zero; sleep 3)
	[ "$status" -eq 130 ]
}

@test "what cannot be executed is refused with the reason" {
	run agent_exec -- no-such-program
	[ "$status" -eq 125 ]
	[[ $output == "not_found: exec 'no-such-program':"* ]]
	run agent_exec -- /etc/passwd
	[[ $output == "unsupported: exec '/etc/passwd': "*ermission* ]]
	run agent_exec --cwd /no/such/folder -- true
	[[ $output == "system: cwd '/no/such/folder':"* ]]
	run agent_exec --user no-such-user -- true
	[[ $output == "not_found: user 'no-such-user':"* ]]
	run agent_exec --cwd relative -- true
	[[ $output == "invalid: cwd 'relative' is not absolute"* ]]
}

@test "the environment is a login's, and PATH of the request finds the program" {
	run agent_exec -- env
	[[ $output == *"HOME=/root"* && $output == *"USER=root"* && $output == *"LOGNAME=root"* ]]
	[[ $output == *"SHELL=/"* && $output == *"PATH=/usr/local/sbin:"* && $output == *"LANG=C.UTF-8"* ]]
	[[ $output != *"TERM="* ]]
	mkdir "$BATS_TEST_TMPDIR/bin"
	printf '#!/bin/sh\necho mine\n' >"$BATS_TEST_TMPDIR/bin/own-program"
	chmod +x "$BATS_TEST_TMPDIR/bin/own-program"
	run agent_exec --env "PATH=$BATS_TEST_TMPDIR/bin:/bin" -- own-program
	[ "$output" = mine ]
}

@test "a command starts clean: no descriptors, no ignored signals, its own session" {
	run agent_exec -- ls /proc/self/fd
	[ "$output" = $'0\n1\n2\n3' ] # 3 is the folder itself
	run agent_exec -- grep -E '^Sig(Blk|Ign)' /proc/self/status
	[ "$output" = $'SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000' ] || {
		echo "got: $output" >&2
		return 1
	}
	run agent_exec -- sh -c 'ps -o pid=,sid=,pgid= -p $$'
	read -r pid sid pgid <<<"$output"
	[ "$pid" = "$sid" ] && [ "$pid" = "$pgid" ]
}

@test "another user" {
	[ "$(id -u)" -eq 0 ] || skip "only root can become somebody else"
	run agent_exec --user nobody --cwd / -- sh -c 'id -un; id -Gn; echo $HOME; cat /proc/self/oom_score_adj'
	[ "$status" -eq 0 ]
	[ "$(sed -n 1p <<<"$output")" = nobody ]
	[ "$(sed -n 2p <<<"$output")" = nogroup ]
	[ "$(sed -n 3p <<<"$output")" = /nonexistent ]
}

@test "a user as OCI images have it: a number, a group, neither in passwd" {
	[ "$(id -u)" -eq 0 ] || skip "only root can become somebody else"
	who() {
		agent_exec --user "$1" --cwd / -- sh -c 'echo "$(id -u) $(id -g) $(id -G) $HOME"'
	}
	[ "$(who 65534)" = "65534 65534 65534 /nonexistent" ]
	[ "$(who nobody:daemon)" = "65534 1 1 /nonexistent" ]
	[ "$(who 1234:2345)" = "1234 2345 2345 /" ]
	[ "$(who 1234)" = "1234 0 0 /" ]
	[ "$(who 0:2345)" = "0 2345 2345 /root" ]
	[ "$(who :daemon)" = "0 1 1 /root" ]
	for user in nobody:nosuch nosuch 4294967295 1:4294967295 -1; do
		run who "$user"
		[ "$status" -eq 125 ]
		[[ $output == *"no such"* ]]
	done
}

@test "no arguments at all are a login shell" {
	run client exec <<<'echo "$0"; exit 6'
	[ "$status" -eq 6 ]
	[ "$output" = "-$(basename "$(getent passwd root | cut -d: -f7)")" ]
}

@test "a terminal: size, resize, control, end of file, one output" {
	run agent_exec --tty --rows 40 --cols 120 -- sh -c 'stty size; tty; test -t 0 && test -t 2; echo $?; echo e >&2; echo $TERM'
	[ "$status" -eq 0 ]
	[[ $output == $'40 120\r\n/dev/pts/'*$'\r\n0\r\ne\r\nxterm\r' ]]
	run client exec --tty --no-eof --resize-after ready 33 77 -- sh -c 'trap "stty size; exit 4" WINCH; echo ready; while :; do sleep 0.05; done'
	[ "$status" -eq 4 ]
	[[ $output == *"33 77"* ]]
	run client exec --tty --no-eof --signal-after ready 2 -- sh -c 'echo ready; exec sleep 60'
	[ "$status" -eq 130 ]
	run client exec --tty -- cat <<<"typed"
	[ "$status" -eq 0 ]
	[ "$output" = $'typed\r\ntyped\r' ]
}

@test "output written just before the end is never lost" {
	for _ in {1..20}; do
		run agent_exec --tty -- sh -c 'head -c 30000 /dev/zero | tr "\0" x'
		[ "${#output}" -eq 30000 ]
		run agent_exec -- sh -c 'head -c 60000 /dev/zero | tr "\0" y'
		[ "${#output}" -eq 60000 ]
	done
}

@test "what a command leaves behind does not hold its end back" {
	start=$SECONDS
	run agent_exec -- sh -c 'sleep 30 & echo $!; exit 5'
	[ "$status" -eq 5 ]
	[ $((SECONDS - start)) -lt 20 ]
	kill "$output"
	[ "$(status_of sh -c 'yes & while [ "$(cat /proc/$!/comm)" != yes ]; do :; done; exit 7')" -eq 7 ] # yes ends with the pipe
}

@test "a host that goes away hangs the command up" {
	client exec --no-eof --close-after ready -- \
		sh -c "trap 'echo bye; echo hup >$BATS_TEST_TMPDIR/hup; exit' HUP; echo ready; while :; do sleep 0.05; done"
	wait_for test -s "$BATS_TEST_TMPDIR/hup"
	client exec --tty --no-eof --close-after ready -- \
		sh -c "trap 'echo hup >$BATS_TEST_TMPDIR/hup-tty; exit' HUP; echo ready; while :; do sleep 0.05; done"
	wait_for test -s "$BATS_TEST_TMPDIR/hup-tty"
}

@test "a command that ignores the hang-up is killed after the grace time" {
	client exec --no-eof --close-after ready -- sh -c "trap '' HUP; echo \$\$ >$BATS_TEST_TMPDIR/pid; echo ready; while :; do sleep 0.05; done"
	pid=$(cat "$BATS_TEST_TMPDIR/pid")
	kill -0 "$pid"
	wait_for eval "! kill -0 $pid 2>/dev/null"
}

@test "frames that break the protocol end the command with a reason" {
	python3 - "$SOCKET" "$BATS_TEST_DIRNAME" <<'EOF'
import sys
sys.path.insert(0, sys.argv[2])
import agent_client as client

def run(*frames):
    stream = client.connect(sys.argv[1])
    client.request(stream, op="exec")
    stream.sendall(client.frame(client.ARG, b"sleep") + client.frame(client.ARG, b"60") + client.frame(client.START))
    client.reply(stream)
    for data in frames:
        stream.sendall(data)
    while True:
        kind, payload = client.read_frame(stream)
        if kind != client.STDIN_TAKEN:
            break
    assert kind == client.ERROR, (kind, payload)
    return payload.decode()

assert "after STDIN_EOF" in run(client.frame(client.STDIN_EOF), client.frame(client.STDIN, b"x"))
assert "START" in run(client.frame(client.START))
assert "DATA" in run(client.frame(client.DATA, b"x"))
assert "SIGNAL" in run(client.frame(client.SIGNAL, b"\0"))
assert "SIGNAL" in run(client.frame(client.SIGNAL, b"\x41"))
run(b"\xff\0\0\0\0\0\0\0")
run(client.frame(client.STDIN, b"x")[:1] + b"\1\0\0\0\0\0\1x")
run(b"\x05\0\0\0\xff\xff\xff\xff")
assert "ahead" in run(*[client.frame(client.STDIN, b"x" * 65536)] * 5)
EOF
}

make_tree() {
	mkdir -p "$1/folder/deep"
	echo content >"$1/file"
	printf '\001\377' >"$1/folder/deep/bytes"
	ln "$1/file" "$1/folder/hard"
	ln -s ../file "$1/folder/soft"
	ln -s /no/where "$1/dangling"
	chmod 6751 "$1/file"
	chmod 1777 "$1/folder/deep"
	: >"$1/empty"
	truncate -s 20M "$1/sparse"
	echo end >>"$1/sparse"
	echo x >"$1/"$'name \377\n\303\274'
	echo y >"$1/ümlaut"
	mkfifo "$1/fifo"
	python3 -c 'import os,sys; os.setxattr(sys.argv[1], b"user.note", b"\0\xff")' "$1/file"
	[ "$(id -u)" -ne 0 ] || chown 1234:4321 "$1/empty"
	find "$1" -exec touch -h -d '2001-02-03 04:05:06.789' {} +
}

# Everything that a tar keeps about a tree.
describe() {
	(cd "$1" && find . -mindepth 1 ! -name fifo -printf '%p %y %m %U %G %s %l %n %T@\n' | LC_ALL=C sort
		find . -type f -exec md5sum {} + | LC_ALL=C sort)
}

@test "put extracts owners, modes, times, xattrs, links and holes" {
	make_tree "$BATS_TEST_TMPDIR/from"
	run client put "$BATS_TEST_TMPDIR/new/to" < <(tar -C "$BATS_TEST_TMPDIR/from" --format=pax --xattrs -cSf - .)
	[ "$status" -eq 0 ]
	[ "$(jq .bytes <<<"$output")" -gt 20000000 ]
	diff <(describe "$BATS_TEST_TMPDIR/from") <(describe "$BATS_TEST_TMPDIR/new/to")
	[ -p "$BATS_TEST_TMPDIR/new/to/fifo" ]
	[ "$(du -k "$BATS_TEST_TMPDIR/new/to/sparse" | cut -f1)" -lt 1000 ]
	python3 -c 'import os,sys; assert os.getxattr(sys.argv[1], b"user.note") == b"\0\xff"' "$BATS_TEST_TMPDIR/new/to/file"
	[ -z "$(find "$BATS_TEST_TMPDIR/new/to" -name '.banger*')" ]
	for format in ustar gnu; do
		run client put "$BATS_TEST_TMPDIR/$format" < <(tar -C "$BATS_TEST_TMPDIR/from/folder" --format=$format -cf - .)
		[ "$status" -eq 0 ]
		cmp "$BATS_TEST_TMPDIR/from/folder/deep/bytes" "$BATS_TEST_TMPDIR/$format/deep/bytes"
	done
}

@test "get sends the same, and put takes what get sends" {
	make_tree "$BATS_TEST_TMPDIR/from"
	client get "$BATS_TEST_TMPDIR/from" >"$BATS_TEST_TMPDIR/got.tar"
	[ "$(stat -c %s "$BATS_TEST_TMPDIR/got.tar")" -lt 1000000 ]
	client put "$BATS_TEST_TMPDIR/to" <"$BATS_TEST_TMPDIR/got.tar"
	diff <(describe "$BATS_TEST_TMPDIR/from") <(describe "$BATS_TEST_TMPDIR/to/from")
	python3 -c 'import os,sys; assert os.getxattr(sys.argv[1], b"user.note") == b"\0\xff"' "$BATS_TEST_TMPDIR/to/from/file"
	mkdir "$BATS_TEST_TMPDIR/tar"
	tar -C "$BATS_TEST_TMPDIR/tar" --warning=no-unknown-keyword -xf "$BATS_TEST_TMPDIR/got.tar"
	diff -r --no-dereference "$BATS_TEST_TMPDIR/to/from" "$BATS_TEST_TMPDIR/tar/from"
}

@test "get of one file, one link, and of what is not there" {
	make_tree "$BATS_TEST_TMPDIR/from"
	[ "$(client get "$BATS_TEST_TMPDIR/from/file" | tar -tf - 2>/dev/null)" = file ]
	[[ $(client get "$BATS_TEST_TMPDIR/from/dangling" | tar -tvf - 2>/dev/null) == *"dangling -> /no/where" ]]
	run client get "$BATS_TEST_TMPDIR/from/none"
	[[ $output == "not_found: open '$BATS_TEST_TMPDIR/from/none'"* ]]
	run client get "$BATS_TEST_TMPDIR/none/none"
	[[ $output == "not_found: "* ]]
	run client get "$BATS_TEST_TMPDIR/from/fifo"
	[ "$status" -eq 125 ]
	[[ $output == *"is no file, link or folder"* ]]
}

@test "put replaces files, keeps folders, and never leaves its folder" {
	mkdir -p "$BATS_TEST_TMPDIR/to/kept" "$BATS_TEST_TMPDIR/outside"
	echo old >"$BATS_TEST_TMPDIR/to/file"
	ln "$BATS_TEST_TMPDIR/to/file" "$BATS_TEST_TMPDIR/other-name"
	ln -s ../outside "$BATS_TEST_TMPDIR/to/out"
	ln -s ../outside/victim "$BATS_TEST_TMPDIR/to/link"
	chmod 0700 "$BATS_TEST_TMPDIR/to"
	python3 - "$BATS_TEST_TMPDIR" <<'EOF'
import io, sys, tarfile
def make(name, *entries):
    with tarfile.open(f"{sys.argv[1]}/{name}.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for entry, kind, target in entries:
            info = tarfile.TarInfo(entry)
            info.type = kind
            info.linkname = target
            info.mode = 0o755
            content = b"new\n" if kind == tarfile.REGTYPE else b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
F, D, S, L = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
make("good", ("./", D, ""), ("file", F, ""), ("kept/", D, ""), ("link", F, ""), ("a/b/c", F, ""))
make("dotdot", ("a/../../outside/x", F, ""))
make("absolute", ("/tmp/banger-absolute", F, ""))
make("through", ("out/x", F, ""))
make("planted", ("way", S, "../outside"), ("way/x", F, ""))
make("hardlink", ("hard", L, "../outside/secret"))
make("hardlink2", ("hard", L, "out/secret"))
EOF
	echo secret >"$BATS_TEST_TMPDIR/outside/secret"
	run client put "$BATS_TEST_TMPDIR/to" <"$BATS_TEST_TMPDIR/good.tar"
	[ "$status" -eq 0 ]
	[ "$(cat "$BATS_TEST_TMPDIR/to/file" "$BATS_TEST_TMPDIR/to/link" "$BATS_TEST_TMPDIR/to/a/b/c")" = $'new\nnew\nnew' ]
	[ "$(cat "$BATS_TEST_TMPDIR/other-name")" = old ]
	[ ! -L "$BATS_TEST_TMPDIR/to/link" ]
	[ "$(stat -c %a "$BATS_TEST_TMPDIR/to")" = 700 ]
	for bad in dotdot absolute through planted hardlink hardlink2; do
		run client put "$BATS_TEST_TMPDIR/to" <"$BATS_TEST_TMPDIR/$bad.tar"
		[ "$status" -eq 125 ] || { echo "$bad: $output"; return 1; }
		[[ $output == *"entry '"* ]] || { echo "$bad: $output"; return 1; }
	done
	[ "$(ls "$BATS_TEST_TMPDIR/outside")" = secret ]
	[ ! -e /tmp/banger-absolute ]
	[ ! -e "$BATS_TEST_TMPDIR/to/hard" ]
}

@test "put of nothing, of garbage and of half a tar" {
	run client put "$BATS_TEST_TMPDIR/empty" </dev/null
	[ "$status" -eq 0 ]
	[ "$(jq .entries <<<"$output")" -eq 0 ]
	run client put "$BATS_TEST_TMPDIR/garbage" < <(head -c 20000 /dev/urandom)
	[ "$status" -eq 125 ]
	[[ $output == *"the tar stream is damaged"* ]]
	head -c 100000 /dev/urandom >"$BATS_TEST_TMPDIR/big"
	run client put "$BATS_TEST_TMPDIR/half" < <(tar -C "$BATS_TEST_TMPDIR" -cf - big | head -c 50000)
	[ "$status" -eq 125 ]
	[ "$(ls -A "$BATS_TEST_TMPDIR/half")" = "" ]
}

@test "a staged put is all or nothing, merges folders and stays beneath its target" {
	local to=$BATS_TEST_TMPDIR/to from=$BATS_TEST_TMPDIR/from
	mkdir -p "$from/kept/new" "$from/link" "$to/kept" "$to/real" "$BATS_TEST_TMPDIR/outside"
	echo new >"$from/file"
	echo new >"$from/kept/file"
	echo new >"$from/kept/new/deep"
	echo new >"$from/link/through"
	chmod 711 "$from/kept" "$from/kept/new"
	chmod 750 "$to/kept"
	echo old >"$to/kept/theirs"
	echo old >"$to/kept/file"
	ln -s real "$to/link"
	tar -C "$from" -cf "$BATS_TEST_TMPDIR/all.tar" .
	run client put-staged "$to" <"$BATS_TEST_TMPDIR/all.tar"
	[ "$status" -eq 0 ]
	[ "$(cat "$to"/{file,kept/file,kept/theirs,kept/new/deep,real/through})" = $'new\nnew\nold\nnew\nnew' ]
	[ "$(stat -c %a "$to/kept" "$to/kept/new")" = $'750\n711' ]
	[ -L "$to/link" ]
	[ -z "$(find "$to" -name ".banger*")" ]

	# Something is in the way of the last entry, or the stream ends early: then nothing has changed.
	state() { (cd "$to" && find . -mindepth 1 -printf '%P %y %m %l %T@\n' | sort && cat file kept/file); }
	echo newer >"$from/file"
	echo newer >"$from/kept/file"
	mkdir "$to/zz"
	echo file >"$from/zz"
	tar -C "$from" -cf "$BATS_TEST_TMPDIR/way.tar" file kept zz
	state >"$BATS_TEST_TMPDIR/before"
	run client put-staged "$to" <"$BATS_TEST_TMPDIR/way.tar"
	[ "$status" -eq 125 ]
	[[ $output == *"'zz' is a folder there"* ]]
	run client put-staged "$to" < <(head -c 3000 "$BATS_TEST_TMPDIR/way.tar")
	[ "$status" -eq 125 ]
	rm -r "$from/zz" "$to/zz"
	touch "$to/yy"
	mkdir "$from/yy"
	tar -C "$from" -cf "$BATS_TEST_TMPDIR/way.tar" file yy
	state >"$BATS_TEST_TMPDIR/before"
	run client put-staged "$to" <"$BATS_TEST_TMPDIR/way.tar"
	[ "$status" -eq 125 ]
	[[ $output == *"open the folder 'yy'"* ]]
	rm "$to/yy"
	for target in ../outside /etc none; do
		ln -sfn "$target" "$to/out"
		mkdir -p "$from/out"
		touch "$from/out/x"
		tar -C "$from" -cf "$BATS_TEST_TMPDIR/way.tar" file out
		state >"$BATS_TEST_TMPDIR/before"
		run client put-staged "$to" <"$BATS_TEST_TMPDIR/way.tar"
		[ "$status" -eq 125 ] || { echo "$target: $output"; return 1; }
		[[ $output == *"open the folder 'out'"* ]]
		state | diff "$BATS_TEST_TMPDIR/before" -
	done
	[ -z "$(ls -A "$BATS_TEST_TMPDIR/outside")" ]
	# What a put that was killed left is no obstacle; a link is no target.
	rm "$to/out"
	mkdir -p "$to/.banger-staged.$(sh -c 'echo $$')/junk" "$to/.banger-staged.$$"
	run client put-staged "$to" <"$BATS_TEST_TMPDIR/all.tar"
	[ "$status" -eq 0 ]
	[ "$(cd "$to" && echo .banger-staged*)" = ".banger-staged.$$" ]
	ln -s to "$BATS_TEST_TMPDIR/other"
	run client put-staged "$BATS_TEST_TMPDIR/other" <"$BATS_TEST_TMPDIR/all.tar"
	[[ $output == *"open '$BATS_TEST_TMPDIR/other'"* ]]
}

@test "exec goes through mise where folder and guest have it" {
	local folder=$BATS_TEST_TMPDIR/folder bin=$BATS_TEST_TMPDIR/bin
	mkdir "$folder" "$bin"
	cat >"$bin/mise" <<-'SH'
		#!/bin/sh
		echo "mise $1 $2 [$MISE_TRUSTED_CONFIG_PATHS] $MISE_YES"
		shift 2
		exec "$@"
	SH
	chmod 755 "$bin/mise"
	through() { agent_exec --mise --cwd "$folder" --env "PATH=$bin:/usr/bin:/bin" -- "$@"; }
	[ "$(through echo plain)" = plain ]
	for file in .mise.toml mise.toml .tool-versions; do
		touch "$folder/$file"
		[ "$(through printf '<%s>' 'a b' $'\xff' '')" = "mise exec -- [$folder] 1"$'\n<a b><\xff><>' ]
		rm "$folder/$file"
	done
	touch "$folder/.mise.toml"
	run through sh -c 'exit 7'
	[ "$status" -eq 7 ]
	# Unasked, itself, and where the guest has none.
	[ "$(agent_exec --cwd "$folder" --env "PATH=$bin:/usr/bin:/bin" -- echo plain)" = plain ]
	[ "$(through mise a b echo once)" = $'mise a b [] \nonce' ]
	[ "$(agent_exec --mise --cwd "$folder" -- echo plain)" = plain ]
	chmod 644 "$bin/mise"
	[ "$(through echo plain)" = plain ]
}

@test "forward reaches TCP and Unix sockets with half-close" {
	cat >"$BATS_TEST_TMPDIR/echo.py" <<'EOF'
import socket, sys
kind = sys.argv[1]
listener = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET6 if kind == "v6" else socket.AF_INET)
listener.bind(sys.argv[2] if kind == "unix" else ("::1" if kind == "v6" else "127.0.0.1", 0))
listener.listen()
if kind != "unix":
    print(listener.getsockname()[1], file=open(sys.argv[2], "w"))
stream, _ = listener.accept()
data = b""
while part := stream.recv(65536):
    data += part
stream.sendall(data[::-1])
EOF
	head -c 300000 /dev/urandom >"$BATS_TEST_TMPDIR/in"
	python3 -c 'import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])' <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/want"
	python3 "$BATS_TEST_TMPDIR/echo.py" unix "$BATS_TEST_TMPDIR/echo.sock" 3>&- &
	wait_for test -S "$BATS_TEST_TMPDIR/echo.sock"
	client forward unix "$BATS_TEST_TMPDIR/echo.sock" <"$BATS_TEST_TMPDIR/in" | cmp - "$BATS_TEST_TMPDIR/want"
	for kind in v4 v6; do
		python3 "$BATS_TEST_TMPDIR/echo.py" "$kind" "$BATS_TEST_TMPDIR/$kind" 3>&- &
		wait_for test -s "$BATS_TEST_TMPDIR/$kind"
		client forward tcp "$(cat "$BATS_TEST_TMPDIR/$kind")" <"$BATS_TEST_TMPDIR/in" | cmp - "$BATS_TEST_TMPDIR/want"
	done
	run client forward unix "$BATS_TEST_TMPDIR/none.sock"
	[[ $output == "not_found: connect to '$BATS_TEST_TMPDIR/none.sock'"* ]]
	run client forward tcp 1
	[[ $output == "not_found: connect to port 1"* ]]
}

@test "many at once, and hosts that say nothing" {
	python3 - "$SOCKET" "$BATS_TEST_DIRNAME" <<'EOF'
import sys
sys.path.insert(0, sys.argv[2])
import agent_client as client

silent = [client.connect(sys.argv[1]) for _ in range(50)]
streams = []
for number in range(50):
    stream = client.connect(sys.argv[1])
    client.request(stream, op="exec")
    for word in ["sh", "-c", f"cat; exit {number}"]:
        stream.sendall(client.string_frames(client.ARG, word.encode()))
    stream.sendall(client.frame(client.START))
    streams.append(stream)
for number, stream in enumerate(streams):
    client.reply(stream)
    stream.sendall(client.frame(client.STDIN, b"%d" % number) + client.frame(client.STDIN_EOF))
for number, stream in enumerate(streams):
    out = b""
    while True:
        kind, payload = client.read_frame(stream)
        if kind == client.EXIT:
            break
        if kind == client.STDOUT:
            out += payload
    assert out == b"%d" % number and payload[-1] == number, (number, out, payload)
silent[0].settimeout(30)
answer = client.read_line(silent[0])
assert b'"timeout"' in answer, answer
EOF
}

@test "the program says what it is" {
	run "$AGENT" --version
	[[ $output == "banger-vsock-agent "* ]]
	run "$AGENT" --help
	[[ $output == usage:* ]]
	run "$AGENT" --nonsense
	[ "$status" -eq 2 ]
	AGENT=$BANGER_BUILD/src/bin/banger-vsock-agent
	run file -b "$AGENT"
	[[ $output == *"statically linked"* && $output == *stripped* ]]
	[ "$(stat -c %s "$AGENT")" -lt 1310720 ]
}
