#!/usr/bin/env bats
# NAME.vm: what the daemon answers as VMs come, are renamed, and go.

load helper

LISTEN=127.0.0.1:42069

ask() { # DIG'S ARGUMENTS
	dig +tries=1 +time=5 -p 42069 @127.0.0.1 "$@"
}

status_of() {
	ask "$1" | sed -n 's/.*status: \([A-Z]*\).*/\1/p'
}

answers() {
	ask vm SOA | grep -q 'status: NOERROR'
}

check_of() { # NAME: doctor's check
	banger --json doctor | jq -r ".checks[] | select(.name == \"$1\") | .status + \" \" + .message"
}

@test "a name is known from the VM's creation to its deletion, and after the daemon was killed" {
	banger vm list
	equal "$(status_of box.vm)" NXDOMAIN
	banger --quiet vm create --no-start --name box >/dev/null
	equal "$(status_of box.vm)" NOERROR
	equal "$(status_of BOX.VM)" NOERROR
	equal "$(status_of ox.vm)" NXDOMAIN
	equal "$(status_of box.example)" REFUSED
	kill -KILL "$(daemon_pid)"
	banger vm list
	equal "$(status_of box.vm)" NOERROR
	banger --quiet vm delete box
	equal "$(status_of box.vm)" NXDOMAIN
}

@test "daemon status and doctor tell where names are answered" {
	banger vm list
	ask vm SOA >/dev/null
	banger --json daemon status | jq -e ".dns_listen == \"$LISTEN\" and .dns_listening and .dns_answers >= 1"
	banger daemon status | grep -qE "^dns +$LISTEN, [0-9]+ answers$"
	equal "$(check_of dns)" "pass NAME.vm is answered on $LISTEN"
}

@test "a port that is taken: VMs work, doctor names it, and the names are answered once it is free" {
	python3 -c 'import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 42069))
time.sleep(600)' 3>&- &
	taker=$!
	wait_until 10 grep -q ':A455 ' /proc/net/udp
	banger --quiet vm create --no-start --name box >/dev/null
	equal "$(check_of dns)" "warn answer DNS on $LISTEN: Address already in use"
	run_for 0 banger daemon status
	[[ $output == *"$LISTEN, not answering: see 'banger doctor'"* ]]
	kill "$taker"
	wait "$taker" || true
	banger --quiet daemon stop
	banger vm list
	equal "$(status_of box.vm)" NOERROR
}

@test "an address that others could reach is refused by name" {
	echo 'dns_listen = "0.0.0.0:53"' >"$BANGER_CONFIG_DIR/config.toml"
	run_for 1 banger vm list
	# shellcheck disable=SC2154 # set by run_for
	[[ $stderr == *"config.toml:1:1: dns_listen is '0.0.0.0:53': it must be a loopback address or bridge_ip (172.16.0.1)"* ]]
	write_config
}
