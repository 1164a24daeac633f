#!/usr/bin/env bats
# What bangerd does when there is no more of something: descriptors, threads, processes, addresses, names of devices, a
# network of its own (FAULTS.md X1, X2, X4). Each time: said, nobody else suffers, and over when there is some again.
# shellcheck disable=SC2154,SC2030,SC2031 # bats sets status, output, stderr, lines; each test is a subshell

load helper
load crash_helper

# Connects so many clients that say nothing, and prints a line for each that was refused, then "all"; until it is killed.
crowd() {
	exec /usr/bin/python3 -c '
import select, socket, sys, time
kept = []
for _ in range(int(sys.argv[2])):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(0.05)
    try:
        client.connect(sys.argv[1])
        text = client.recv(4096)
        print(text.decode().strip(), flush=True)
    except (TimeoutError, BlockingIOError):  # nobody says anything, or nobody accepts for now
        kept.append(client)
# Who is refused later than it had patience for finds the words all the same.
for client in select.select(kept, [], [], 10)[0]:
    print(client.recv(4096).decode().strip(), flush=True)
print("all", flush=True)
time.sleep(600)
' "$BANGER_RUNTIME_DIR/bangerd.sock" "$1"
}

processor_ticks() {
	cut -d ' ' -f 14,15 "/proc/$1/stat" | tr ' ' + | bc
}

lists() {
	banger --quiet vm list >/dev/null 2>&1
}

@test "64 descriptors: work goes on; a crowd is refused in words, without spinning, and forgotten when it leaves" {
	local daemon ticks crowd
	prlimit --nofile=64:64 "$BANGER" vm list
	run_vm box
	daemon=$(daemon_pid)
	start crowd crowd 90
	crowd=$started
	wait_until 30 file_has "$BATS_TEST_TMPDIR/crowd.out" all
	contains "$(grep -m 1 error "$BATS_TEST_TMPDIR/crowd.out")" 'Too many open files'
	ticks=$(processor_ticks "$daemon")
	sleep 2
	[ $(($(processor_ticks "$daemon") - ticks)) -le 60 ]
	kill "$crowd"
	wait_for_status "$crowd" 143
	wait_until 20 lists
	equal "$(daemon_pid) $(state_of box)" "$daemon running"
	in_vm box true
	stop_vm box
	assert_stopped box
}

# Runs a command while the daemon's system calls fail so: without CALL ERROR COMMAND...
without() {
	local call=$1 error=$2 tracer result=0
	shift 2
	: >"$BATS_TEST_TMPDIR/strace.err"
	start strace strace -f -p "$daemon" -o /dev/null -e "inject=$call:error=$error"
	tracer=$started
	wait_until 20 file_has "$BATS_TEST_TMPDIR/strace.err" attached
	"$@" || result=$?
	kill -INT "$tracer"
	wait_until 20 has_ended "$tracer"
	return "$result"
}

@test "no more threads or processes: what needs one fails and is undone, bangerd and its VMs go on" {
	local daemon
	run_vm box
	make_vm other
	daemon=$(daemon_pid)
	# A thread for each client.
	without clone3 EAGAIN run_for 1 timeout 20 "$BANGER" vm list
	contains "$stderr" 'Resource temporarily unavailable'
	wait_until 20 lists
	equal "$(daemon_pid) $(state_of box) $(state_of other)" "$daemon running created"
	without clone EAGAIN run_for 1 timeout 20 "$BANGER" --quiet vm start other
	contains "$stderr" 'Resource temporarily unavailable'
	equal "$(daemon_pid) $(state_of box) $(state_of other)" "$daemon running created"
	contains "$(vm_get other .last_error)" 'Resource temporarily unavailable'
	in_vm box true
	stop_vm box
	start_vm other
	in_vm other true
}

@test "no more addresses: said with their number, also with TAPs ready; one that is free again is given again" {
	sed -i -e 's/^tap_pool_size = 0/tap_pool_size = 4/' -e '1i cidr = 29' "$BANGER_CONFIG_DIR/config.toml"
	run_vm box
	for name in b c d e; do make_vm "$name"; done
	equal "$(vm_get e .ip)" 172.16.0.6
	run_for 1 banger --quiet vm create --no-start
	contains "$stderr" 'all 5 addresses of 172.16.0.1/29 are taken by VMs'
	contains "$stderr" "hint: delete VMs that are no longer needed, or set a smaller cidr"
	run_for 1 banger --quiet vm run -d
	contains "$stderr" 'all 5 addresses of 172.16.0.1/29 are taken by VMs'
	equal "$(banger --json vm list | jq '.vms | length')" 5
	banger --quiet vm delete c >/dev/null
	make_vm f
	equal "$(vm_get f .ip)" 172.16.0.4
	# No TAP is ready for an address that a VM has, and nobody keeps trying.
	lacks "$(cat "$BANGER_STATE_DIR/bangerd.log")" 'cannot keep TAP devices ready'
}

@test "the name of a TAP is taken: who needs it is told; the subnet is taken later, as by a VPN: doctor tells" {
	ip tuntap add bgr-2 mode tap
	make_vm box
	make_vm other
	run_for 1 banger --quiet vm start box
	contains "$stderr" "there is a network device 'bgr-2' already"
	contains "$stderr" "hint: "
	start_vm other
	equal "$(vm_get other .ip)" 172.16.0.3
	ip link show bgr-2 >/dev/null
	ip link del bgr-2
	start_vm box
	equal "$(banger --json doctor | jq -r '.checks[] | select(.name == "subnet") | .status')" pass
	ip link add vpn0 type veth peer name vpn1
	ip link set vpn0 up
	ip route add 172.16.0.0/16 dev vpn0
	equal "$(banger --json doctor | jq -r '.checks[] | select(.name == "subnet") | .status')" warn
	contains "$(banger --json doctor | jq -r '.checks[] | select(.name == "subnet") | .message')" '172.16.0.0/16'
	# The narrower route wins: the guests are where they were.
	ping -q -c 1 -W 10 172.16.0.2 >/dev/null
	ip link del vpn0
	equal "$(banger --json doctor | jq -r '.checks[] | select(.name == "subnet") | .status')" pass
}
