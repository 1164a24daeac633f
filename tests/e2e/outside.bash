# shellcheck disable=SC2016 # an expression for the guest's shell
# What the host reaches over a link of its own: 203.0.113.2, where port 80 answers with who asks.

PEERS=()

# Answers on port 80 of all addresses: serve_peer NAME [COMMAND...], in what the command leads to.
serve_peer() {
	local name=$1
	shift
	: >"$BATS_TEST_TMPDIR/$name"
	"$@" "$BATS_TEST_DIRNAME/../integration/net_peer.py" serve 0.0.0.0 80 >"$BATS_TEST_TMPDIR/$name" 3>&- &
	PEERS+=("$!")
	wait_until 20 file_has "$BATS_TEST_TMPDIR/$name" ready
}

make_outside() {
	ip netns add banger-out
	ip link add up0 type veth peer name eth0 netns banger-out
	ip addr add 203.0.113.1/24 dev up0
	ip link set up0 up
	ip -n banger-out addr add 203.0.113.2/24 dev eth0
	ip -n banger-out addr add 169.254.169.254/32 dev eth0
	ip -n banger-out link set eth0 up
	ip route add default via 203.0.113.2
	serve_peer out ip netns exec banger-out
}

end_outside() {
	kill "${PEERS[@]}"
	ip link del up0
	ip netns del banger-out
}

# Who a server says that the guest is: asks VM ADDRESS PORT. ASK_SECONDS: how long it waits
asks() {
	in_vm "$1" timeout "${ASK_SECONDS:-20}" bash -c 'exec 3<>"/dev/tcp/$0/$1" && head -n 1 <&3' "$2" "$3"
}
