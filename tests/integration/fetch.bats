#!/usr/bin/env bats
# src/fetch against a server that lies, stalls and breaks off, over HTTP and over TLS with certificates of our own.

setup_file() {
	export TOOL=$BANGER_BUILD/tests/integration/fetch_tool
	export WORK=$BATS_FILE_TMPDIR
	unset http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
	make_certificates
	start_server plain
	start_server other
	start_server tls "$WORK/good.pem" "$WORK/good.key"
	start_server expired "$WORK/expired.pem" "$WORK/expired.key"
	start_server wrong "$WORK/wrong.pem" "$WORK/wrong.key"
	start_server self "$WORK/self.pem" "$WORK/self.key"
	export PLAIN OTHER_PORT TLS_PORT
	PLAIN=http://127.0.0.1:$(<"$WORK/plain.port")
	OTHER_PORT=$(<"$WORK/other.port")
	TLS_PORT=$(<"$WORK/tls.port")
	python3 -c "import sys; sys.path.insert(0, '$BATS_TEST_DIRNAME')
import fetch_server; sys.stdout.buffer.write(fetch_server.DATA)" >"$WORK/data"
	export DATA_SHA256
	DATA_SHA256=$(sha256sum <"$WORK/data" | cut -d' ' -f1)
}

teardown_file() {
	local pid
	while read -r pid; do
		kill "$pid" 2>/dev/null || true
	done <"$BATS_FILE_TMPDIR/pids"
}

# An authority, and what it signs: good for 127.0.0.1 and localhost, one that has ended, one for another host.
make_certificates() {
	cd "$WORK" || return
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=test authority" \
		-keyout ca.key -out ca.pem 2>/dev/null
	mkdir -p ca
	: >ca/index.txt
	certificate good "IP:127.0.0.1,DNS:localhost" -days 2
	certificate expired "IP:127.0.0.1,DNS:localhost" -startdate 20200101000000Z -enddate 20200102000000Z
	certificate wrong "DNS:elsewhere.example" -days 2
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=127.0.0.1" \
		-addext "subjectAltName=IP:127.0.0.1" -keyout self.key -out self.pem 2>/dev/null
}

certificate() { # NAME ALTERNATIVE_NAMES TIME...
	local name=$1 names=$2
	shift 2
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$name.key" \
		-out "$name.csr" 2>/dev/null
	cat >"$name.cnf" <<-END
		[ca]
		default_ca = a
		[a]
		database = ca/index.txt
		new_certs_dir = ca
		rand_serial = yes
		default_md = sha256
		policy = p
		x509_extensions = x
		[p]
		commonName = supplied
		[x]
		subjectAltName = $names
	END
	openssl ca -batch -config "$name.cnf" -cert ca.pem -keyfile ca.key -in "$name.csr" -out "$name.pem" -notext "$@" 2>/dev/null
}

start_server() { # NAME [CERTIFICATE KEY]
	local name=$1 tries
	shift
	: >"$WORK/$name.log"
	python3 "$BATS_TEST_DIRNAME/fetch_server.py" "$WORK/$name.log" "$WORK/$name.port" "$@" 3>&- \
		>"$WORK/$name.out" 2>&1 &
	echo $! >>"$WORK/pids"
	for tries in {1..100}; do
		[ -s "$WORK/$name.port" ] && return 0
		sleep 0.1
	done
	echo "the server $name does not start, after $tries tries: $(<"$WORK/$name.out")"
	return 1
}

setup() {
	BODY=$BATS_TEST_TMPDIR/body
	ERR=$BATS_TEST_TMPDIR/err
	for log in "$WORK"/*.log; do : >"$log"; done
}

# The tool, its body in $BODY and what it says in $said.
fetch() {
	"$TOOL" "$@" >"$BODY" 2>"$ERR"
	local status=$?
	said=$(<"$ERR")
	return $status
}

gets_all() {
	fetch "$@" || { echo "$said"; return 1; }
	cmp "$BODY" "$WORK/data"
}

# The request fails with an error that begins so.
refused() { # ERROR ARGUMENT...
	local wanted=$1 status=0
	shift
	fetch "$@" || status=$?
	[ "$status" -eq 1 ] || { echo "status $status: $said"; return 1; }
	[[ $said == *"$wanted"* ]] || { echo "it says '$said', wanted '$wanted'"; return 1; }
}

requests() { # SERVER: how many it got
	wc -l <"$WORK/$1.log"
}

@test "a whole body, and the headers that matter" {
	gets_all get "$PLAIN/data"
	[ "$said" = 'status=200 place=loopback content-type=text/Plain etag="e1"' ]
	gets_all bytes "$PLAIN/data" size_max=300000
	gets_all get "$PLAIN/data" size=300000
	gets_all get "$PLAIN/chunked"
	gets_all get "$PLAIN/until-close"
	gets_all get "$PLAIN/interim"
	[[ $said == *'etag="e1"'* ]]
	gets_all get "http://localhost:${PLAIN##*:}/data"
}

@test "requests say who asks, and nothing that was not wanted" {
	fetch get "$PLAIN/data?q" header="Accept: a/b" header="Accept: c/d" authorization="Bearer x"
	run jq -r '.headers | keys | join(" ")' "$WORK/plain.log"
	[ "$output" = "Accept Authorization Host User-Agent" ]
	jq -re '.headers["User-Agent"]' "$WORK/plain.log" | grep -qx "banger/[0-9.]*"
}

@test "from an offset" {
	fetch get "$PLAIN/data" offset=1000 size=300000
	cmp "$BODY" <(tail -c +1001 "$WORK/data")
	[ "$(jq -r .range "$WORK/plain.log")" = "bytes=1000-" ]
	# A server that knows no ranges sends all; what we had is dropped.
	fetch get "$PLAIN/status?code=500&times=0" offset=1000
	cmp "$BODY" <(tail -c +1001 "$WORK/data")
}

@test "what breaks off goes on where it was" {
	gets_all get "$PLAIN/cut?piece=150000" size=300000
	[ "$(jq -r .range "$WORK/plain.log" | paste -sd' ')" = "null bytes=150000-" ]
	gets_all get "$PLAIN/cut?piece=100000"
	gets_all get "$PLAIN/no-range?one" size=300000
	gets_all get "$PLAIN/stall-once?one" size=300000 stall_ms=300
	gets_all bytes "$PLAIN/no-range?bytes" size_max=1000000
	[ "$(jq -r 'select(.path=="/no-range?bytes") | .range' "$WORK/plain.log" | paste -sd' ')" = "null null" ]
	gets_all get "$PLAIN/chunked?end=no" size=300000
	gets_all get "$PLAIN/until-close" size=300000
}

@test "what breaks off for ever ends" {
	refused "error protocol: download '$PLAIN/cut': " get "$PLAIN/cut?piece=10" size=300000
	[ "$(requests plain)" -eq 4 ]
	refused "error protocol: download '$PLAIN/cut-at-start': " get "$PLAIN/cut-at-start"
	refused "error protocol: '$PLAIN/until-close' ended after 500 of 300000 bytes" \
		get "$PLAIN/until-close?size=500" size=300000
}

@test "lengths that lie" {
	refused "error protocol: '$PLAIN/long-length' says it has 300010 bytes instead of 300000" \
		get "$PLAIN/long-length" size=300000
	refused "error protocol: download '$PLAIN/long-length': " get "$PLAIN/long-length"
	refused "error protocol: '$PLAIN/short-length' says it has 299990 bytes instead of 300000" \
		get "$PLAIN/short-length" size=300000
	fetch get "$PLAIN/short-length" # nobody knows better
	[ "$(stat -c %s "$BODY")" -eq 299990 ]
	refused "error protocol: '$PLAIN/chunked' is longer than the 299999 bytes" get "$PLAIN/chunked" size=299999
	refused "error protocol: '$PLAIN/two-lengths' says two different lengths" get "$PLAIN/two-lengths"
	[ "$(jq -c 'select(.path=="/short-length")' "$WORK/plain.log" | wc -l)" -eq 2 ] # nothing here is tried again
}

@test "ranges that lie" {
	refused "answers with another range than was asked for" get "$PLAIN/wrong-range" size=300000
	cmp "$BODY" <(head -c 1000 "$WORK/data")
	refused "says it has 300001 bytes instead of 300000" get "$PLAIN/grown?known" size=300000
	refused "says it has 300001 bytes instead of 300000" get "$PLAIN/grown?unknown"
	refused "error protocol: '$PLAIN/not-satisfiable' answers with status 416" get "$PLAIN/not-satisfiable"
	refused "answers with another range than was asked for" get "$PLAIN/uninvited-206"
}

@test "bodies have an end" {
	refused "error limit: '$PLAIN/data' is longer than 299999 bytes" get "$PLAIN/data" size_max=299999
	[ ! -s "$BODY" ] # the length was enough to know
	refused "error limit: '$PLAIN/endless' is longer than 1000000 bytes" bytes "$PLAIN/endless" size_max=1000000
	gets_all bytes "$PLAIN/chunked" size_max=300000
	refused "error limit: '$PLAIN/chunked' is longer than 299999 bytes" bytes "$PLAIN/chunked" size_max=299999
	refused "error not_found: '$PLAIN/endless-error' answers with status 404: '" get "$PLAIN/endless-error"
}

@test "headers have an end" {
	refused "error limit: the answer of '$PLAIN/many-headers' has more than 65536 bytes of headers" \
		get "$PLAIN/many-headers"
	refused "bytes of headers" get "$PLAIN/big-header"
	refused "bytes of headers" get "$PLAIN/many-interim"
	[ "$(requests plain)" -eq 3 ]
}

@test "what is not HTTP" {
	refused "error protocol: download '$PLAIN/garbage': " get "$PLAIN/garbage"
	refused "error protocol: download '$PLAIN/half-status': " get "$PLAIN/half-status"
}

@test "slow is not the same as stalled" {
	gets_all get "$PLAIN/data" stall_ms=1000 rate=1000
	began=$(date +%s%N)
	refused "error timeout: download '$PLAIN/drip': the server has stalled" \
		get "$PLAIN/drip" size=300000 stall_ms=400 rate=100 retries=1
	refused "the server has stalled" get "$PLAIN/drip-headers" stall_ms=400 rate=1000 retries=0
	refused "the server has stalled" get "$PLAIN/silent" stall_ms=400 retries=0
	[ $((($(date +%s%N) - began) / 1000000)) -lt 20000 ]
	[ "$(jq -r 'select(.path=="/drip") | .range' "$WORK/plain.log" | grep -c bytes=)" -eq 1 ]
	# 20 bytes a second are enough for who wants no more.
	refused "error cancelled: " get "$PLAIN/drip" stall_ms=300 rate=5 cancel_after_ms=1500
	[ "$(stat -c %s "$BODY")" -gt 10 ]
}

@test "cancelling ends a transfer, a wait and a silence at once" {
	for arguments in "$PLAIN/silent" "$PLAIN/drip" "$PLAIN/status?code=503 backoff_ms=30000" \
		"$PLAIN/status?code=429&after=20"; do
		began=$(date +%s%N)
		# shellcheck disable=SC2086 # two arguments in one
		refused "error cancelled: the download of '$PLAIN/" get $arguments cancel_after_ms=300
		took=$((($(date +%s%N) - began) / 1000000))
		[ "$took" -ge 300 ] && [ "$took" -lt 8000 ] || { echo "$arguments: $took ms"; false; }
	done
}

@test "waiting costs no processor" {
	refused "error cancelled" get "$PLAIN/silent" cancel_after_ms=50
	ticks_before=$(awk '{ print $14 + $15 }' /proc/self/stat)
	"$TOOL" get "$PLAIN/silent" cancel_after_ms=2000 2>/dev/null &
	pid=$!
	sleep 1.5
	ticks=$(awk '{ print $14 + $15 }' "/proc/$pid/stat")
	wait "$pid" || true
	[ "$ticks" -lt 50 ] || { echo "$ticks ticks in 1.5 s, after $ticks_before"; false; }
}

@test "busy servers are asked again, later" {
	gets_all get "$PLAIN/status?code=500&times=2&id=1"
	[ "$(requests plain)" -eq 3 ]
	gets_all get "$PLAIN/status?code=429&times=1&after=1&id=2"
	jq -s 'map(select(.path | endswith("id=2")).time) | .[1] - .[0] >= 1' "$WORK/plain.log" | grep -qx true
	refused "error busy: '$PLAIN/status' answers with status 429: 'busy'" get "$PLAIN/status?code=429&id=3"
	[ "$(jq -c 'select(.path | endswith("id=3"))' "$WORK/plain.log" | wc -l)" -eq 4 ]
	refused "error protocol: '$PLAIN/status' answers with status 502" get "$PLAIN/status?code=502&id=4" retries=0
	# Who wants us to wait for a day is taken at his word: not now.
	refused "error busy: " get "$PLAIN/status?code=503&after=86400&id=5"
	[ "$(jq -c 'select(.path | endswith("id=5"))' "$WORK/plain.log" | wc -l)" -eq 1 ]
	refused "error busy: " get "$PLAIN/status?code=503&id=6&after=Wed,+21+Oct+2099+07:28:00+GMT"
}

@test "waits grow" {
	refused "error busy: " get "$PLAIN/status?code=503&id=grow" retries=4 backoff_ms=100
	jq -s 'map(.time) | [.[1:], .[:-1]] | transpose | map(.[0] - .[1]) |
		(.[0] >= 0.05 and .[1] >= 0.1 and .[2] >= 0.2 and .[3] >= 0.4)' "$WORK/plain.log" | grep -qx true
}

@test "waits differ, so that many clients do not come back together" {
	local i pids=()
	for i in {0..9}; do
		"$TOOL" get "$PLAIN/status?code=503&id=$i" retries=1 backoff_ms=1000 >/dev/null 2>&1 3>&- &
		pids+=($!)
	done
	for i in "${pids[@]}"; do wait "$i" || true; done
	# Between half a second and a whole one: not all of the ten within a tenth of that.
	jq -s 'group_by(.path) | map(.[1].time - .[0].time) | length == 10 and min >= 0.5 and max - min > 0.05' "$WORK/plain.log" |
		grep -qx true
}

@test "statuses that stay are not asked again" {
	refused "error not_found: '$PLAIN/none' answers with status 404: 'no such \\x1b[31mpath\\x0a" get "$PLAIN/none"
	refused "error state: '$PLAIN/status' answers with status 403" get "$PLAIN/status?code=403"
	refused "error state: '$PLAIN/challenge' answers with status 401" get "$PLAIN/challenge"
	[[ $said == *'challenge=Bearer realm="https://r/t",service="s" challenge=Basic realm=x'* ]]
	refused "answers with status 204" get "$PLAIN/status?code=204"
	refused "answers with status 501" get "$PLAIN/status?code=501"
	[ "$(requests plain)" -eq 5 ]
}

@test "redirects" {
	for code in 301 302 303 307 308; do
		gets_all get "$PLAIN/redirect?code=$code&to=/data"
	done
	gets_all get "$PLAIN/redirect?to=data"
	gets_all get "$PLAIN/redirect?to=//127.0.0.1:${PLAIN##*:}/data"
	refused "error protocol: '$PLAIN/loop' redirects more than 5 times" get "$PLAIN/loop"
	[ "$(jq -c 'select(.path=="/loop")' "$WORK/plain.log" | wc -l)" -eq 6 ]
	refused "redirects more than 0 times" get "$PLAIN/loop" redirects=0
	refused "redirects without saying where" get "$PLAIN/redirect-nowhere"
	refused "redirects to a URL that is refused: it is neither http nor https" get "$PLAIN/redirect?to=file:///etc/passwd"
	refused "redirects to a URL that is refused: it has a user name" get "$PLAIN/redirect?to=http://u:p@127.0.0.1/"
	refused "redirects to a URL that is refused: it is malformed" get "$PLAIN/redirect?to=http://%5B::1/"
	refused "redirects to a URL that is refused: it is malformed" get "$PLAIN/redirect?to=/a%20b"
}

@test "credentials go to their own host and port, nowhere else" {
	secret="Basic c2VjcmV0OnNlY3JldA=="
	gets_all get "$PLAIN/redirect?to=/data" authorization="$secret"
	run jq -r .authorization "$WORK/plain.log"
	[ "$output" = "$secret"$'\n'"$secret" ]
	gets_all get "$PLAIN/redirect?to=http://127.0.0.1:$OTHER_PORT/data" authorization="$secret"
	gets_all get "$PLAIN/redirect?to=http://localhost:${PLAIN##*:}/data?name" authorization="$secret"
	[ "$(jq -r .authorization "$WORK/other.log")" = null ]
	[ "$(jq -r 'select(.path=="/data?name").authorization' "$WORK/plain.log")" = null ]
	# From http to https is another origin, too.
	gets_all get "$PLAIN/redirect?to=https://127.0.0.1:$TLS_PORT/data" authorization="$secret" ca="$WORK/ca.pem"
	[ "$(jq -r .authorization "$WORK/tls.log")" = null ]
}

@test "credentials are in no message" {
	for path in none "redirect?to=http://10.0.0.1/?X-Signature=s3cr3t" "status?code=503" garbage; do
		fetch get "$PLAIN/$path" authorization="Basic s3cr3t" retries=0 && false
		[[ $said != *s3cr3t* ]] || { echo "$said"; false; }
	done
	fetch get "https://user:s3cr3t@127.0.0.1:$TLS_PORT/" && false
	[[ $said == "error invalid: "*"it has a user name" && $said != *s3cr3t* ]]
	fetch post "$PLAIN/moved" form="password=s3cr3t" && false
	[[ $said == *"redirects what has credentials: refused"* && $said != *s3cr3t* ]]
}

@test "forms are posted" {
	fetch get "$PLAIN/post" form="a=b&c=d"
	[ "$(<"$BODY")" = poste ]
	[ "$(jq -r '.method + .body + .headers["Content-Type"]' "$WORK/plain.log")" = \
		"POSTa=b&c=dapplication/x-www-form-urlencoded" ]
}

@test "no server leads nearer to us than it is" {
	for address in 169.254.169.254 '[fe80::1]' '[::ffff:169.254.169.254]'; do
		refused "to plain HTTP, 'http://$address/': refused" get "$PLAIN/redirect?to=http://$address/" insecure=yes
		refused "to a link-local address, 'https://$address/': refused" get "$PLAIN/redirect?to=https://$address/"
	done
	refused "error protocol: 'http://127.0.0.1:1/' is named by a server outside: refused" \
		get http://127.0.0.1:1/ led_from=public
	refused "named by a server outside" get "https://169.254.169.254/" led_from=private
	refused "named by a server outside" get "https://10.1.2.3/" led_from=public
	refused "named by a server outside" get "$PLAIN/data" led_from=private
	gets_all get "$PLAIN/data" led_from=loopback
	[ "$(requests other)" -eq 0 ]
}

# The tool sees some names, and nothing else does.
make_names() {
	printf '%s\n' "127.0.0.1 localhost loop.example" "169.254.169.254 meta.example" "10.0.0.1 inner.example" \
		>"$BATS_TEST_TMPDIR/hosts"
	# shellcheck disable=SC2016 # for the script
	printf '#!/bin/bash\nexec unshare --map-root-user --mount bash -c \x27mount --bind "$0" /etc/hosts && exec "$@"\x27 "%s" "%s" "$@"\n' \
		"$BATS_TEST_TMPDIR/hosts" "$TOOL" >"$BATS_TEST_TMPDIR/tool"
	chmod +x "$BATS_TEST_TMPDIR/tool"
	TOOL=$BATS_TEST_TMPDIR/tool
}

@test "names are judged by the address that is connected to" {
	make_names
	refused "error protocol: 'https://loop.example/' is at a loopback address, where a redirect from outside is not followed" \
		get https://loop.example/ led_from=public
	refused "'https://meta.example/' is at a link-local address" get https://meta.example/ led_from=loopback
	refused "'https://inner.example/' is at a private address" get https://inner.example/ led_from=public
	refused "'https://meta.example/' is at a link-local address" get "$PLAIN/redirect?to=https://meta.example/"
	refused "'http://loop.example/' is plain HTTP" get http://loop.example/
	gets_all get "http://loop.example:${PLAIN##*:}/data" insecure=yes
	gets_all get "$PLAIN/redirect?to=https://localhost:$TLS_PORT/data" ca="$WORK/ca.pem"
}

@test "a server out there leads nowhere near us" {
	# A network of its own, where a public address is ours.
	# shellcheck disable=SC2016 # for the script
	run unshare --map-root-user --net bash -c 'set -e
		ip link set lo up
		ip address add 198.51.100.1/32 dev lo
		: >"$2.log"
		LISTEN=0.0.0.0 python3 "$1" "$2.log" "$2.port" >"$2.out" 2>&1 3>&- &
		trap "kill $!" EXIT
		for _ in {1..100}; do [ ! -s "$2.port" ] || break; sleep 0.1; done
		port=$(<"$2.port")
		from=http://198.51.100.1:$port
		"$3" get "$from/data" insecure=yes 2>&1 >/dev/null
		for to in "http://127.0.0.1:$port" "http://localhost:$port" "http://[::1]:$port" https://127.1 https://169.254.169.254 https://10.0.0.1; do
			"$3" get "$from/redirect?to=$to/data" insecure=yes 2>&1 && exit 1
		done
		cut -d , -f 1 "$2.log" | grep -c /redirect
		grep -c "\"/data\"" "$2.log"' - "$BATS_TEST_DIRNAME/fetch_server.py" "$BATS_TEST_TMPDIR/public" "$TOOL"
	[ "$status" -eq 0 ] || { echo "$output"; false; }
	[[ ${lines[0]} == "status=200 place=public "* ]]
	[[ ${lines[1]} == "error protocol: 'http://198.51.100.1:"*"/redirect' redirects to a loopback address, 'http://127.0.0.1:"*"/data': refused" ]]
	[[ ${lines[2]} == *" redirects to a loopback address, 'http://localhost:"* ]]
	[[ ${lines[3]} == *" redirects to a loopback address, 'http://[::1]:"* ]]
	[[ ${lines[4]} == *" redirects to a loopback address, 'https://127.0.0.1/data': refused" ]]
	[[ ${lines[5]} == *" redirects to a link-local address, 'https://169.254.169.254/data': refused" ]]
	[[ ${lines[6]} == *" redirects to a private address, 'https://10.0.0.1/data': refused" ]]
	[ "${lines[7]}" = 6 ]
	[ "${lines[8]}" = 1 ]
}

@test "plain HTTP is for loopback" {
	refused "error invalid: 'http://192.0.2.1/x' is plain HTTP, which is for loopback only" get "http://192.0.2.1/x?y"
	refused "error invalid: 'http://localhost.example/' is plain HTTP" get http://localhost.example/
	refused "redirects to plain HTTP, 'http://192.0.2.1/': refused" get "$PLAIN/redirect?to=http://192.0.2.1/"
	# Insecure is said of one host, not of those that it leads to.
	refused "redirects to plain HTTP, 'http://192.0.2.1/': refused" get "$PLAIN/redirect?to=http://192.0.2.1/" insecure=yes
	refused "error invalid: cannot ask for the URL 'ftp://127.0.0.1/': it is neither" get ftp://127.0.0.1/
	refused "error invalid: cannot ask for the URL '/etc/passwd': it is malformed" get /etc/passwd
}

@test "a host without a server is told at once" {
	began=$(date +%s%N)
	refused "error not_found: download 'http://127.0.0.1:1/': Failed to connect" get http://127.0.0.1:1/ backoff_ms=20000
	[ $((($(date +%s%N) - began) / 1000000)) -lt 8000 ]
}

@test "TLS: an authority of our own, and only for who knows it" {
	gets_all get "https://127.0.0.1:$TLS_PORT/data" ca="$WORK/ca.pem"
	gets_all get "https://localhost:$TLS_PORT/data" ca="$WORK/ca.pem"
	refused "error protocol: download 'https://127.0.0.1:$TLS_PORT/data': SSL certificate problem: unable to get local" \
		get "https://127.0.0.1:$TLS_PORT/data"
	refused "SSL certificate problem" get "https://127.0.0.1:$TLS_PORT/data" ca="$WORK/self.pem"
	refused "error invalid: download 'https://127.0.0.1:$TLS_PORT/data': " \
		get "https://127.0.0.1:$TLS_PORT/data" ca="$WORK/none.pem"
	[ "$(requests tls)" -eq 2 ]
}

@test "TLS: expired, for another host, self-signed" {
	refused "certificate has expired" get "https://127.0.0.1:$(<"$WORK/expired.port")/data" ca="$WORK/ca.pem"
	refused "SSL: no alternative certificate subject name matches target host name '127.0.0.1'" \
		get "https://127.0.0.1:$(<"$WORK/wrong.port")/data" ca="$WORK/ca.pem"
	refused "self-signed certificate" get "https://127.0.0.1:$(<"$WORK/self.port")/data" ca="$WORK/ca.pem"
	[ "$(cat "$WORK"/{expired,wrong,self}.log | wc -l)" -eq 0 ]
}

@test "TLS: unverified only for the host that is marked so" {
	gets_all get "https://127.0.0.1:$(<"$WORK/self.port")/data" insecure=yes
	gets_all get "https://127.0.0.1:$(<"$WORK/wrong.port")/data" insecure=yes
	refused "SSL certificate problem" get "$PLAIN/redirect?to=https://localhost:$TLS_PORT/data" insecure=yes
	[ "$(requests tls)" -eq 0 ]
}

@test "TLS: nothing in the environment turns verification off" {
	for variable in CURL_INSECURE=1 SSL_CERT_FILE="$WORK/ca.pem" CURL_CA_BUNDLE="$WORK/ca.pem" \
		SSL_CERT_DIR="$WORK" GIT_SSL_NO_VERIFY=1 CURL_SSL_BACKEND=none HOME="$BATS_TEST_TMPDIR"; do
		echo insecure >"$BATS_TEST_TMPDIR/.curlrc"
		export "${variable?}"
		refused "error protocol: download 'https://127.0.0.1:$TLS_PORT/data': SSL certificate problem" \
			get "https://127.0.0.1:$TLS_PORT/data"
		unset "${variable%%=*}"
	done
	echo "machine 127.0.0.1 login u password p" >"$BATS_TEST_TMPDIR/.netrc"
	HOME=$BATS_TEST_TMPDIR gets_all get "$PLAIN/data"
	[ "$(jq -r .authorization "$WORK/plain.log")" = null ]
}

@test "TLS: never back to HTTP" {
	refused "error protocol: 'https://127.0.0.1:$TLS_PORT/redirect' redirects from https to '$PLAIN/data': refused" \
		get "https://127.0.0.1:$TLS_PORT/redirect?to=$PLAIN/data" ca="$WORK/ca.pem"
	refused "redirects from https to" get "https://127.0.0.1:$TLS_PORT/redirect?to=$PLAIN/data" insecure=yes
	refused "error protocol: download 'https://127.0.0.1:${PLAIN##*:}/data': " get "https://127.0.0.1:${PLAIN##*:}/data" retries=0
	gets_all get "https://127.0.0.1:$TLS_PORT/redirect?to=https://localhost:$TLS_PORT/data" ca="$WORK/ca.pem"
}

@test "a proxy of the environment is asked, but not for loopback" {
	http_proxy=http://127.0.0.1:1 all_proxy=http://127.0.0.1:1 gets_all get "$PLAIN/data"
	# The other server plays the proxy: it sees the whole URL.
	http_proxy=http://127.0.0.1:$OTHER_PORT refused "answers with status 404" get http://registry.example/v2/ insecure=yes
	[ "$(jq -r .path "$WORK/other.log")" = "http://registry.example/v2/" ]
	HTTP_PROXY=http://127.0.0.1:1 refused "error not_found: download 'http://registry.invalid/': Could not resolve" \
		get http://registry.invalid/ insecure=yes
}

@test "what no_proxy has is asked directly, and judged by its address" {
	make_names
	export https_proxy=http://127.0.0.1:$OTHER_PORT http_proxy=http://127.0.0.1:$OTHER_PORT
	local variable exceptions
	for variable in no_proxy NO_PROXY; do
		for exceptions in "loop.example,meta.example,inner.example" "x .example" "*"; do
			export "$variable=$exceptions"
			refused "error protocol: 'https://loop.example/' is at a loopback address, where a redirect from outside is not followed" \
				get https://loop.example/ led_from=public
			refused "'https://inner.example/' is at a private address" get https://inner.example/ led_from=public
			refused "'https://meta.example/' is at a link-local address" get "$PLAIN/redirect?to=https://meta.example/"
			gets_all get "http://loop.example:${PLAIN##*:}/data" insecure=yes
			[[ $said == "status=200 place=loopback "* ]]
		done
		unset "$variable"
	done
	[ "$(requests other)" -eq 0 ]
	# Who is not in it is the proxy's to find.
	no_proxy=loop.example refused "answers with status 404" get http://inner.example/ insecure=yes led_from=public
	no_proxy=op.example refused "answers with status 404" get http://loop.example/ insecure=yes
	[ "$(jq -r .path "$WORK/other.log" | paste -sd' ')" = "http://inner.example/ http://loop.example/" ]
}

@test "the sink may stop it" {
	refused "error busy: the sink is full" get "$PLAIN/data" stop_after=100000
	[ "$(requests plain)" -eq 1 ]
}

@test "a file is verified while it streams" {
	file=$BATS_TEST_TMPDIR/file
	fetch file "$PLAIN/cut?piece=150000" "$file" 300000 "$DATA_SHA256"
	cmp "$file" "$WORK/data"
	[ "$said" = progress=300000 ]
	refused "error protocol: '$PLAIN/data' is not what it should be: it has sha256 $DATA_SHA256 instead of ${DATA_SHA256/[0-9]/f}" \
		file "$PLAIN/data?x" "$file" 300000 "${DATA_SHA256/[0-9]/f}"
	refused "error protocol: '$PLAIN/data' says it has 300000 bytes instead of 299999" \
		file "$PLAIN/data" "$file" 299999 "$DATA_SHA256"
	refused "error protocol: '$PLAIN/data' says it has 300000 bytes instead of 300001" \
		file "$PLAIN/data" "$file" 300001 "$DATA_SHA256"
	refused "error not_found: '$PLAIN/none' answers with status 404" file "$PLAIN/none" "$file" 300000 "$DATA_SHA256"
	refused "error cancelled" file "$PLAIN/drip" "$file" 300000 "$DATA_SHA256" cancel_after_ms=100
	refused "error system: write what was downloaded: No space left on device" \
		file "$PLAIN/data" /dev/full 300000 "$DATA_SHA256"
}
