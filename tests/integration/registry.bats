#!/usr/bin/env bats
# The registry client against docker-registry: anonymous, with passwords, with tokens, over TLS, behind mirrors; and
# against a registry that lies. Images are made by umoci and pushed by skopeo.

setup_file() {
	export TOOL=$BANGER_BUILD/tests/integration/registry_tool
	export WORK=$BATS_FILE_TMPDIR
	unset http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
	cd "$WORK" || return
	make_certificates
	htpasswd -Bbn user s3cr3t >users
	start_liar
	start_registry open ""
	start_registry passwords "auth: {htpasswd: {realm: test, path: $WORK/users}}"
	start_registry tokens "auth: {token: {realm: \"http://127.0.0.1:$(<liar.port)/token\", service: registry, issuer: issuer, rootcertbundle: $WORK/token.pem}}"
	start_registry tls "" "tls: {certificate: $WORK/tls.pem, key: $WORK/tls.key}"
	make_image
	push open public/img && push open org/team/img
	push passwords org/img --dest-creds user:s3cr3t
	push tokens public/img --dest-creds pull:s3cr3t
	push tokens private/img --dest-creds pull:s3cr3t
	push tls org/img
}

teardown_file() {
	local pid
	while read -r pid; do
		kill "$pid" 2>/dev/null || true
	done <"$BATS_FILE_TMPDIR/pids"
}

make_certificates() {
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=token" -keyout token.key -out token.pem 2>/dev/null
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=127.0.0.1" -addext "subjectAltName=IP:127.0.0.1" \
		-keyout tls.key -out tls.pem 2>/dev/null
}

wait_for() { # FILE PATTERN
	local tries
	for tries in {1..100}; do
		grep -qs "$2" "$1" && return 0
		sleep 0.1
	done
	echo "no '$2' in $1 after $tries tries: $(<"$1")"
	return 1
}

start_liar() {
	: >liar.log
	python3 "$BATS_TEST_DIRNAME/registry_server.py" "$WORK/liar.log" "$WORK/liar.port" token.key token.pem 3>&- \
		>liar.out 2>&1 &
	echo $! >>pids
	wait_for liar.port .
}

start_registry() { # NAME AUTH [TLS]
	cat >"$1.yml" <<-END
		version: 0.1
		log: {level: warn, accesslog: {disabled: true}}
		storage:
		  filesystem: {rootdirectory: $WORK/$1.store}
		  maintenance: {uploadpurging: {enabled: false}}
		http:
		  addr: 127.0.0.1:0
		  secret: test
		  ${3-}
		$2
	END
	sed -i 's/level: warn/level: info/' "$1.yml"
	docker-registry serve "$1.yml" 3>&- >"$1.log" 2>&1 &
	echo $! >>pids
	wait_for "$1.log" 'listening on'
	grep -o 'listening on 127.0.0.1:[0-9]*' "$1.log" | grep -o '127.*' >"$1.host"
}

# An image with a layer of three megabytes and an index above it.
make_image() {
	umoci init --layout image
	umoci new --image image:v1
	python3 -c "import hashlib, sys
sys.stdout.buffer.write(b''.join(hashlib.sha256(b'%d' % i).digest() for i in range(100000)))" >content
	umoci insert --rootless --image image:v1 content /content 2>/dev/null
	manifest=$(jq -r '.manifests[0].digest' image/index.json)
	echo "$manifest" >digest
	jq -r '.layers[0].digest' "image/blobs/sha256/${manifest#*:}" >layer
	stat -c %s "image/blobs/sha256/$(cut -d: -f2 layer)" >size
}

push() { # REGISTRY NAME [OPTION...]
	local host=$1 name=$2
	host=$(<"$1.host")
	shift 2
	skopeo --insecure-policy copy -q --dest-tls-verify=false "$@" oci:image:v1 "docker://$host/$name:v1"
}

setup() {
	cd "$WORK" || return
	export HOME=$BATS_TEST_TMPDIR/home XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR/run
	unset XDG_CONFIG_HOME DOCKER_CONFIG REGISTRY_AUTH_FILE
	mkdir -p "$HOME/.docker"
	: >liar.log
	LIAR=127.0.0.1:$(<liar.port)
	DIGEST=$(<digest) LAYER=$(<layer) SIZE=$(<size)
}

# The tool, its bytes in $OUT and what it says in $said.
ask() {
	local status=0
	OUT=$BATS_TEST_TMPDIR/out
	"$TOOL" "$@" >"$OUT" 2>"$BATS_TEST_TMPDIR/err" || status=$?
	said=$(<"$BATS_TEST_TMPDIR/err")
	return "$status"
}

gets_manifest() { # HOST REPOSITORY WANTED [OPTION...]
	ask manifest "$@" || { echo "$said"; return 1; }
	cmp "$OUT" "image/blobs/sha256/${DIGEST#*:}"
}

gets_blob() { # HOST REPOSITORY [OPTION...]
	local host=$1 repository=$2
	shift 2
	ask blob "$host" "$repository" "$LAYER" "$SIZE" "$@" || { echo "$said"; return 1; }
	cmp "$OUT" "image/blobs/sha256/${LAYER#*:}"
}

refused() { # ERROR ARGUMENT...
	local wanted=$1 status=0
	shift
	ask "$@" || status=$?
	[ "$status" -eq 1 ] || { echo "status $status: $said"; return 1; }
	[[ $said == *"$wanted"* ]] || { echo "it says '$said', wanted '$wanted'"; return 1; }
	[[ $said != *s3cr3t* ]] || { echo "a secret: $said"; return 1; }
}

login() { # HOST USER PASSWORD [FILE]
	local file=${4-$HOME/.docker/config.json}
	mkdir -p "${file%/*}"
	jq -n --arg host "$1" --arg auth "$(printf %s "$2:$3" | base64 -w0)" '{auths: {($host): {auth: $auth}}}' >"$file"
}

said_to_liar() { # FIELD
	jq -r ".$1 // \"-\"" liar.log
}

@test "anonymous: manifests by tag and by digest, blobs whole and in part" {
	host=$(<open.host)
	gets_manifest "$host" public/img v1
	[ "$said" = type=application/vnd.oci.image.manifest.v1+json ]
	gets_manifest "$host" org/team/img "$DIGEST"
	gets_blob "$host" public/img
	ask blob "$host" public/img "$LAYER" "$SIZE" offset=1000000
	cmp "$OUT" <(tail -c +1000001 "image/blobs/sha256/${LAYER#*:}")
	ask blob "$host" public/img "$LAYER" "$SIZE" offset="$SIZE"
	[ ! -s "$OUT" ]
}

@test "what is not there" {
	host=$(<open.host)
	refused "error not_found: '$host' has no manifest 'v2' of 'public/img' (MANIFEST_UNKNOWN: manifest unknown)" \
		manifest "$host" public/img v2
	refused "error not_found: '$host' has no manifest 'v1' of 'none' (MANIFEST_UNKNOWN" manifest "$host" none v1
	digest=sha256:$(printf 0%.0s {1..64})
	refused "error not_found: '$host' has no blob '$digest' of 'public/img' (BLOB_UNKNOWN: blob unknown" \
		blob "$host" public/img "$digest" 5
	refused "error not_found: " manifest 127.0.0.1:1 a v1
	refused "instead of $((SIZE + 1))" blob "$host" public/img "$LAYER" $((SIZE + 1))
	refused "instead of $((SIZE - 1))" blob "$host" public/img "$LAYER" $((SIZE - 1))
}

@test "a bad host is refused" {
	for host in "" alpine "a b.c" "u@h.io" "h.io/x" "H.IO" "[::1"; do
		refused "is no registry: HOST or HOST:PORT" manifest "$host" a v1
	done
	for mirror in ftp://x "https://u:p@x" "https://x/?q"; do
		refused "error invalid: the registry's mirror: " manifest h.io a v1 mirror="$mirror"
	done
	refused "is plain HTTP, which is for loopback only" manifest h.io a v1 mirror=http://192.0.2.1
}

@test "passwords: of docker, of podman, of a helper" {
	host=$(<passwords.host)
	refused "error state: '$host' does not give us 'org/img': it does not exist, or needs credentials, of which none are kept (UNAUTHORIZED" \
		manifest "$host" org/img v1
	[[ $said == *"; hint: log in with 'docker login $host' or 'podman login $host'" ]]
	login "$host" user s3cr3t
	gets_manifest "$host" org/img v1
	gets_blob "$host" org/img
	login "$host" user s3cr3t-wrong
	refused "it refuses the credentials that are kept for it" manifest "$host" org/img v1
	login "$host" user s3cr3t "$XDG_RUNTIME_DIR/containers/auth.json"
	gets_manifest "$host" org/img v1
	rm "$XDG_RUNTIME_DIR/containers/auth.json"

	mkdir -p "$BATS_TEST_TMPDIR/bin"
	# shellcheck disable=SC2016 # for the script
	printf '#!/bin/sh\n[ "$1" = get ] && [ "$(cat)" = %s ] && echo \x27{"Username":"user","Secret":"s3cr3t"}\x27\n' "$host" \
		>"$BATS_TEST_TMPDIR/bin/docker-credential-test"
	chmod +x "$BATS_TEST_TMPDIR/bin/docker-credential-test"
	echo "{\"credHelpers\": {\"$host\": \"test\"}}" >"$HOME/.docker/config.json"
	PATH=$BATS_TEST_TMPDIR/bin:$PATH gets_manifest "$host" org/img v1
	refused "docker-credential-test" manifest "$host" org/img v1 # it is not there without PATH
}

@test "passwords: what docker login and podman's tools write is understood" {
	host=$(<passwords.host)
	skopeo login --tls-verify=false --authfile "$XDG_RUNTIME_DIR/containers/auth.json" -u user -p s3cr3t "$host"
	gets_manifest "$host" org/img v1
	[ "$("$TOOL" credentials "$host" org/img)" = user ]
	skopeo login --tls-verify=false --authfile "$BATS_TEST_TMPDIR/only.json" -u user -p s3cr3t "$host/org"
	rm "$XDG_RUNTIME_DIR/containers/auth.json"
	REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/only.json gets_manifest "$host" org/img v1
	REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/only.json refused "none are kept" manifest "$host" other/img v1
}

@test "tokens: anonymous, with a password, with an identity" {
	host=$(<tokens.host)
	gets_manifest "$host" public/img v1
	[ "$(said_to_liar path)" = "/token?service=registry&scope=repository%3Apublic%2Fimg%3Apull" ]
	[ "$(said_to_liar authorization)" = - ]
	gets_blob "$host" public/img
	refused "needs credentials, of which none are kept (UNAUTHORIZED" manifest "$host" private/img v1
	login "$host" pull s3cr3t
	gets_manifest "$host" private/img v1
	gets_blob "$host" private/img
	login "$host" pull s3cr3t-wrong
	refused "error state: get a token with the credentials that are kept: 'http://$LIAR/token' answers with status 401" manifest "$host" private/img v1
	[[ $said == *"hint: log in with"* ]]

	: >liar.log
	echo "{\"auths\": {\"$host\": {\"identitytoken\": \"s3cr3t-identity\"}}}" >"$HOME/.docker/config.json"
	gets_manifest "$host" private/img v1
	[ "$(said_to_liar method)" = POST ]
	[[ $(said_to_liar body) == *"service=registry&scope=repository%3Aprivate%2Fimg%3Apull"* ]]
	echo "{\"auths\": {\"$host\": {\"identitytoken\": \"wrong-s3cr3t\"}}}" >"$HOME/.docker/config.json"
	refused "answers with status 401" manifest "$host" private/img v1
}

@test "tokens: one for all threads, and a new one when it ends" {
	host=$(<tokens.host)
	ask blob "$host" public/img "$LAYER" "$SIZE" threads=16 times=3 || { echo "$said"; false; }
	[ "$(wc -l <liar.log)" -eq 1 ]
	: >liar.log
	ask manifest "$LIAR" short-token/a v1 times=3 pause_ms=1100
	[ "$(said_to_liar path | grep -c '^/short-token')" -eq 3 ]
	[ "$(said_to_liar authorization | grep -c Bearer)" -eq 3 ]
	# One that ends in the middle of a blob: the rest is asked for with another.
	digest=sha256:$(printf 0%.0s {1..64})
	ask blob "$LIAR" ending-token/a "$digest" 320000 retries=5 || { echo "$said"; false; }
	cmp "$OUT" <(python3 -c "import sys; sys.path.insert(0, '$BATS_TEST_DIRNAME')
import registry_server; sys.stdout.buffer.write(registry_server.BLOB)")
	jq -r 'select(.path | contains("ending-token")) | .range' liar.log | grep -qx "bytes=160000-"
}

@test "TLS: verified, by an authority that the configuration names" {
	host=$(<tls.host)
	gets_manifest "$host" org/img v1 ca="$WORK/tls.pem"
	gets_blob "$host" org/img ca="$WORK/tls.pem"
	refused "SSL certificate problem" manifest "$host" org/img v1
	[[ $said == *"; hint: name its authority's certificate as 'ca'"* ]]
	refused "SSL certificate problem" manifest "$host" org/img v1 ca="$WORK/token.pem"
	gets_manifest "$host" org/img v1 insecure=yes
	# An authority of its own means that it speaks TLS, on loopback too.
	refused "error protocol: download 'https://$(<open.host)/v2/" manifest "$(<open.host)" public/img v1 ca="$WORK/tls.pem"
	gets_manifest "$(<open.host)" public/img v1 insecure=yes
}

@test "a mirror is asked first, and the registry where it fails" {
	host=$(<open.host) other=$(<tls.host)
	# What only the mirror has, and what only the registry has.
	gets_manifest "$LIAR" public/img v1 mirror="http://$host"
	gets_manifest "$host" public/img v1 mirror="http://$LIAR/"
	[ "$(said_to_liar path)" = /v2/public/img/manifests/v1 ]
	gets_blob "$LIAR" public/img mirror="http://$host"
	gets_manifest "$host" public/img v1 mirror=http://127.0.0.1:1
	gets_blob "$host" public/img mirror="http://$LIAR/below"
	[ "$(said_to_liar path | tail -n 1)" = "/below/v2/public/img/blobs/$LAYER" ]
	gets_manifest "$host" public/img v1 mirror="https://$other" # its certificate is not trusted
	gets_blob "$host" public/img mirror="http://$LIAR/v2/silent/x" stall_ms=300 retries=0
	refused "'$host' has no manifest 'v9'" manifest "$host" public/img v9 mirror="http://$LIAR"
	refused "error cancelled" manifest "$host" public/img v1 mirror="http://$LIAR/v2/silent/x" cancel_after_ms=200
}

@test "a mirror that stops in the middle of a blob, or lies about a manifest" {
	digest=sha256:$(printf 0%.0s {1..64})
	# The mirror is asked for /v2/half-blob/..., the registry for the same: only one of them can be whole.
	ask blob "$LIAR" blob/a "$digest" 320000 mirror="http://$LIAR/v2/half-blob" || { echo "$said"; false; }
	cmp "$OUT" <(python3 -c "import sys; sys.path.insert(0, '$BATS_TEST_DIRNAME')
import registry_server; sys.stdout.buffer.write(registry_server.BLOB)")
	jq -r 'select(.path | startswith("/v2/blob/a")) | .range' liar.log | grep -qx "bytes=160000-"
	gets_manifest "$(<open.host)" public/img "$DIGEST" mirror="http://$LIAR/v2/types"
	[ "$(said_to_liar path | tail -n 1)" = "/v2/types/v2/public/img/manifests/$DIGEST" ]
}

@test "a mirror does not get the registry's credentials, nor the registry the mirror's" {
	host=$(<passwords.host)
	login "$host" user s3cr3t
	gets_manifest "$host" org/img v1 mirror="http://$LIAR/v2/basic-loop"
	[ "$(said_to_liar authorization)" = - ]
	gets_blob "$host" org/img mirror="http://$LIAR/v2/basic-loop"
	[ "$(said_to_liar authorization | sort -u)" = - ]
	login "$LIAR" pull s3cr3t
	refused "none are kept" manifest "$host" org/img v1 mirror="http://$LIAR/v2/basic-loop"
	[ "$(said_to_liar authorization | grep -c Basic)" -eq 1 ]
}

@test "challenges without end" {
	login "$LIAR" pull s3cr3t
	refused "error state: '$LIAR' does not give us 'bearer-loop/a': it refuses the credentials" manifest "$LIAR" bearer-loop/a v1
	[ "$(said_to_liar path | grep -c '^/v2/bearer-loop')" -eq 3 ]
	refused "error state: '$LIAR' does not give us 'basic-loop/a'" manifest "$LIAR" basic-loop/a v1
	[ "$(said_to_liar path | grep -c '^/v2/basic-loop')" -eq 2 ]
	refused "does not give us 'strange-scheme/a'" manifest "$LIAR" strange-scheme/a v1
	refused "does not give us 'bad-challenge/a'" manifest "$LIAR" bad-challenge/a v1
	refused "'forbidden/a': it forbids it, and asks for no credentials that we could have (DENIED: requested" \
		manifest "$LIAR" forbidden/a v1
}

@test "credentials go only where a challenge may lead" {
	login "$LIAR" pull s3cr3t
	refused "error protocol: the registry's token server: 'http://192.0.2.1/token' is plain HTTP" manifest "$LIAR" plain-realm/a v1
	refused "error protocol: the registry's token server: 'http://192.0.2.1/token' is plain HTTP" \
		manifest "$LIAR" plain-realm/a v1 insecure=yes
	refused "error protocol: get a token: 'https://169.254.169.254/token' is named by a server outside: refused" \
		manifest "$LIAR" inner-realm/a v1
	refused "error protocol: the registry's token server: cannot ask for the URL 'file:///etc/passwd'" manifest "$LIAR" file-realm/a v1
	# A token server may move to another path, but a form with a secret is not sent on.
	: >liar.log
	refused "it refuses the credentials" manifest "$LIAR" moved-realm/a v1
	echo "{\"auths\": {\"$LIAR\": {\"identitytoken\": \"s3cr3t-identity\"}}}" >"$HOME/.docker/config.json"
	refused "error protocol: get a token: 'http://$LIAR/moved-token' redirects what has credentials: refused" \
		manifest "$LIAR" moved-realm/a v1
}

@test "a host that a blob is redirected to gets no credentials, whatever it asks for" {
	login "$LIAR" pull s3cr3t
	digest=sha256:$(printf 0%.0s {1..64})
	refused "does not give us 'elsewhere/a'" blob "$LIAR" elsewhere/a "$digest" 100
	[ "$(said_to_liar path | grep -c stolen)" -eq 1 ] # asked once, and what it wants is not fetched
	[ "$(said_to_liar authorization | sort -u)" = - ]
	refused "redirects to a link-local address, 'https://169.254.169.254/latest/meta-data': refused" blob "$LIAR" inward/a "$digest" 100
}

@test "tokens that are none" {
	refused "error protocol: the token server 'http://$LIAR/bad-token' sent no token" manifest "$LIAR" bad-token/a v1
	refused "error protocol: the token server 'http://$LIAR/no-token' did not send a JSON object" manifest "$LIAR" no-token/a v1
}

@test "manifests that are none" {
	refused "error unsupported: '$LIAR' has manifest 'v1' of 'schema1/a' only in schema 1, which is too old" manifest "$LIAR" schema1/a v1
	refused "error limit: " manifest "$LIAR" big/a 1
	ask manifest "$LIAR" big/a 0
	[ "$(stat -c %s "$OUT")" -eq 4194304 ]
	refused "error protocol: manifest '$DIGEST' of 'types/a' at '$LIAR': " manifest "$LIAR" types/a "$DIGEST"
	refused '(MANIFEST_UNKNOWN: no \x1b[31m\u{202e}v1)' manifest "$LIAR" unknown/a v1
	refused "error busy: '$LIAR' wants to be asked less often (TOOMANYREQUESTS: slow down)" manifest "$LIAR" busy/a v1
}

@test "media types" {
	ask manifest "$LIAR" types/a parameters
	[ "$said" = type=application/vnd.oci.image.index.v1+json ]
	for tag in plain json octets odd none; do
		ask manifest "$LIAR" types/a "$tag"
		[ "$said" = type= ]
	done
	jq -c 'select(.path | contains("/types/")) | .accept' liar.log | sort -u >accept
	[ "$(jq length accept)" -eq 4 ]
	jq -r '.[]' accept | grep -qx application/vnd.docker.distribution.manifest.list.v2+json
}

@test "cancelled at once" {
	began=$(date +%s%N)
	refused "error cancelled" manifest "$LIAR" silent/a v1 cancel_after_ms=300
	[ $((($(date +%s%N) - began) / 1000000)) -lt 8000 ]
}
