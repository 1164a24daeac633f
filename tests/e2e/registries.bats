#!/usr/bin/env bats
# Registries of one's own, through the configuration and bangerd: authorities, mirrors, plain HTTP; passwords and tokens with
# the files of docker and podman; and what a user is told when that fails.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154 # bats sets status, output, stderr, lines; each test is a subshell

load helper
load registry

setup_file() {
	[ "$EUID" -eq 0 ] || skip "only root can give hosts names"
	cd "$BATS_FILE_TMPDIR" || return
	export WORK=$PWD LAYOUTS=$PWD/layouts
	: >pids
	make_layouts "$LAYOUTS" >umoci.log 2>&1
	make_hosts
	make_certificates
	serve_all
	share_home
	rm "$BANGER_STATE_DIR/images"
	mkdir -m 700 "$BANGER_STATE_DIR/images"
	cp "$BANGER_CONFIG_DIR/config.toml" config.toml
}

teardown_file() {
	[ "$EUID" -eq 0 ] || return 0
	end_shared_home
	local pid
	while read -r pid; do
		kill "$pid"
	done <"$BATS_FILE_TMPDIR/pids"
	umount /etc/hosts
}

setup() {
	cd "$WORK" || return
	export HOME=$BATS_TEST_TMPDIR/home XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR/run
	unset XDG_CONFIG_HOME DOCKER_CONFIG REGISTRY_AUTH_FILE
	mkdir -p "$HOME/.docker" "$XDG_RUNTIME_DIR/containers"
	watch_census
}

teardown() {
	banger --quiet image delete it >/dev/null 2>&1 || true
	equal "$(ls -A "$BANGER_STATE_DIR/images")" ""
	equal "$(find "$BANGER_CACHE_DIR/partial" -type f 2>/dev/null)" ""
	banger --quiet daemon stop --force
	rm -rf "$BANGER_CACHE_DIR"
	wait_until 20 no_process_of_ours
	compare_census
}

# Names that are not loopback's, of addresses that are only here.
make_hosts() {
	ip address add 192.0.2.1/24 dev lo
	ip address add 192.0.2.2/24 dev lo
	printf '127.0.0.1 localhost\n192.0.2.1 registry.test token.test\n192.0.2.2 mirror.test\n' >hosts
	mount --bind hosts /etc/hosts
}

# An authority, and what it says of registry.test: good, expired, and of another name.
make_certificates() {
	new_key authority
	openssl req -x509 -new -key authority.key -days 2 -subj "/CN=An authority" -out authority.pem
	new_key other
	openssl req -x509 -new -key other.key -days 2 -subj "/CN=Another authority" -out other.pem
	certify good registry.test "$(date -d tomorrow +%y%m%d000000Z)"
	certify expired registry.test 220101000000Z
	certify misnamed elsewhere.test "$(date -d tomorrow +%y%m%d000000Z)"
	new_key token
	openssl req -x509 -new -key token.key -days 2 -subj "/CN=token" -out token.pem
}

new_key() {
	openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
	[ "$1" != token ] || openssl genrsa -out token.key 2048
}

certify() {
	new_key "$1"
	: >index
	printf '[ca]\ndatabase = index\nnew_certs_dir = .\ndefault_md = sha256\npolicy = any\nrand_serial = yes\n[any]\ncommonName = supplied\n' >ca.cnf
	openssl req -new -key "$1.key" -subj "/CN=$2" -out request
	openssl ca -batch -config ca.cnf -name ca -cert authority.pem -keyfile authority.key -in request -out "$1.pem" -notext \
		-startdate 210101000000Z -enddate "$3" -extfile <(echo "subjectAltName = DNS:$2")
}

# serve NAME HOST [TLS [AUTH]]: its address is in the file NAME.host.
serve() {
	start_registry "$WORK/$1" "${@:2}"
	echo "$registry_pid" >>pids
	echo "$REGISTRY" >"$1.host"
}

serve_all() {
	local name
	for name in expired misnamed good; do
		serve $name registry.test "tls: { certificate: $WORK/$name.pem, key: $WORK/$name.key }"
		push tiny:1 org/tiny:1
	done
	push tiny:1 org/origin:1
	serve plain registry.test
	push tiny:1 org/tiny:1
	serve mirror mirror.test
	push tiny:1 org/tiny:1
	push tiny:2 org/only:1
	htpasswd -Bbn user s3cr3t >users
	serve passwords 127.0.0.1 "" "auth: { htpasswd: { realm: test, path: $WORK/users } }"
	push tiny:1 org/tiny:1 --dest-creds user:s3cr3t
	serve_tokens
}

serve_tokens() {
	/usr/bin/python3 "$BATS_TEST_DIRNAME/../integration/registry_server.py" "$WORK/tokens.log" "$WORK/tokens.port" \
		token.key token.pem >tokens.out 2>&1 3>&- &
	echo $! >>pids
	wait_until 20 test -s tokens.port
	local name
	for name in token old-token; do
		serve $name 127.0.0.1 "" "auth: { token: { realm: \"http://127.0.0.1:$(<tokens.port)/$name\", service: registry, issuer: issuer,
			rootcertbundle: $WORK/token.pem } }"
	done
	REGISTRY=$(<token.host)
	push tiny:1 private/tiny:1 --dest-creds pull:s3cr3t
	push tiny:1 public/tiny:1 --dest-creds pull:s3cr3t
}

# The configuration with an [[registry]] entry at its end, for the next command: configure HOST MEMBER...
configure() {
	banger --quiet daemon stop --force
	{
		cat config.toml
		printf '[[registry]]\nhost = "%s"\n' "$1"
		printf '%s\n' "${@:2}"
	} >"$BANGER_CONFIG_DIR/config.toml"
}

# The image of that version comes, whole.
pulls() {
	run_for 0 banger --quiet image pull "$1" --name it
	equal "$(debugfs -R 'cat /version' "$BANGER_STATE_DIR/images/it/root.ext4" 2>/dev/null)" "${2:-1}"
	equal "$(banger --json image show it | jq -r .image.source)" "$1"
	banger --quiet image delete it >/dev/null
	banger --quiet image cache prune >/dev/null
}

# refuses REFERENCE ERROR [HINT]; the password is in nothing that anybody sees.
refuses() {
	run_for 1 banger image pull "$1" --name it
	contains "$stderr" "banger: pull '$1': "
	contains "$stderr" "$2"
	if [ -n "${3:-}" ]; then contains "$stderr" "hint: $3"; else lacks "$stderr" hint:; fi
	lacks "$stderr" s3cr3t
	! grep -q s3cr3t "$BANGER_STATE_DIR/bangerd.log"
}

# log_in HOST USER:PASSWORD [FILE]
log_in() {
	jq -n --arg host "$1" --arg auth "$(printf %s "$2" | base64)" '{auths: {($host): {auth: $auth}}}' \
		>"${3:-$HOME/.docker/config.json}"
}

ENTRY="the registry's entry of the configuration"

@test "TLS: an authority of one's own, and what there is to say of certificates" {
	local host name
	host=$(<good.host)
	refuses "$host/org/tiny:1" "SSL certificate problem: unable to get local issuer certificate" \
		"name its authority's certificate as 'ca' in $ENTRY"
	configure "$host" "ca = \"$WORK/other.pem\""
	refuses "$host/org/tiny:1" "SSL certificate problem" "name its authority's certificate as 'ca' in $ENTRY"
	for name in missing.pem hosts; do
		configure "$host" "ca = \"$WORK/$name\""
		refuses "$host/org/tiny:1" "error setting certificate file" "'$WORK/$name' is its 'ca' in $ENTRY"
	done
	configure "$host" "ca = \"$WORK/authority.pem\""
	pulls "$host/org/tiny:1"
	host=$(<expired.host)
	configure "$host" "ca = \"$WORK/authority.pem\""
	refuses "$host/org/tiny:1" "certificate has expired"
	host=$(<misnamed.host)
	configure "$host" "ca = \"$WORK/authority.pem\""
	refuses "$host/org/tiny:1" "no alternative certificate subject name matches target host name 'registry.test'"
}

@test "insecure: plain HTTP and bad certificates, only where the configuration says so" {
	local host name
	host=$(<plain.host)
	refuses "$host/org/tiny:1" "download 'https://$host/" "if it speaks plain HTTP, 'insecure = true' in $ENTRY allows it"
	for name in plain good expired misnamed; do
		host=$(<$name.host)
		configure "$host" "insecure = true"
		pulls "$host/org/tiny:1"
	done
	refuses "$(<plain.host)/org/tiny:1" "download 'https://" "if it speaks plain HTTP"
}

@test "a mirror: asked first, and only then the registry" {
	local host mirror
	host=$(<good.host) mirror=$(<mirror.host)
	configure "$host" "ca = \"$WORK/authority.pem\"" "mirror = \"http://$mirror\""
	refuses "$host/org/tiny:1" "'http://$mirror/' is plain HTTP, which is for loopback only" "'insecure = true' in $ENTRY allows it"
	configure "$host" "ca = \"$WORK/authority.pem\"" "mirror = \"http://$mirror\"" "insecure = true"
	pulls "$host/org/only:1" 2
	: >good/log
	pulls "$host/org/tiny:1"
	equal "$(<good/log)" ""
	pulls "$host/org/origin:1"
	refuses "$host/org/none:1" "'$host' has no manifest '1' of 'org/none'"
	# A mirror that is away costs nothing but the attempt; where the registry is away it does for it.
	configure "$host" "ca = \"$WORK/authority.pem\"" 'mirror = "https://mirror.test:1"'
	pulls "$host/org/tiny:1"
	configure registry.test:1 "mirror = \"http://$mirror\"" "insecure = true"
	pulls registry.test:1/org/tiny:1
	refuses registry.test:1/org/none:1 "Failed to connect to registry.test port 1"
}

@test "a password: of docker, of podman, of the file in the environment; a wrong one" {
	local host log_in
	host=$(<passwords.host)
	log_in="log in with 'docker login $host' or 'podman login $host'"
	refuses "$host/org/tiny:1" "needs credentials, of which none are kept (UNAUTHORIZED" "$log_in"
	skopeo login -u user -p s3cr3t --tls-verify=false --authfile "$HOME/.docker/config.json" "$host"
	pulls "$host/org/tiny:1"
	rm "$HOME/.docker/config.json"
	refuses "$host/org/tiny:1" "none are kept" "$log_in"
	skopeo login -u user -p s3cr3t --tls-verify=false "$host"
	[ -s "$XDG_RUNTIME_DIR/containers/auth.json" ]
	pulls "$host/org/tiny:1"
	rm "$XDG_RUNTIME_DIR/containers/auth.json"
	# What bangerd was started with counts.
	log_in "$host" user:s3cr3t "$HOME/mine.json"
	export REGISTRY_AUTH_FILE=$HOME/mine.json
	refuses "$host/org/tiny:1" "none are kept" "$log_in"
	banger --quiet daemon stop >/dev/null
	pulls "$host/org/tiny:1"
	log_in "$host" user:s3cr3t-wrong "$HOME/mine.json"
	refuses "$host/org/tiny:1" "it refuses the credentials that are kept for it (UNAUTHORIZED" "$log_in"
	echo '{' >"$HOME/mine.json"
	refuses "$host/org/tiny:1" "'$HOME/mine.json' is no JSON object"
}

@test "a credential helper: what it says, and what it does not" {
	local host helper=$BATS_TEST_TMPDIR/bin/docker-credential-test
	host=$(<passwords.host)
	mkdir "${helper%/*}"
	export PATH=${helper%/*}:$PATH
	echo '{"credsStore": "test"}' >"$HOME/.docker/config.json"
	refuses "$host/org/tiny:1" "run 'docker-credential-test': No such file or directory" \
		"it is looked for in the PATH that bangerd was started with"
	printf '#!/bin/sh\n[ "$1 $(cat)" = "get %s" ] || exit 9\n. "%s"\n' "$host" "$HOME/says" >"$helper"
	chmod +x "$helper"
	echo "echo 'the vault is locked' >&2; exit 3" >"$HOME/says"
	refuses "$host/org/tiny:1" "'docker-credential-test' ended with status 3: the vault is locked"
	echo 'echo s3cr3t' >"$HOME/says"
	refuses "$host/org/tiny:1" "'docker-credential-test' did not print a JSON object"
	echo "echo '{\"Username\": \"user\", \"Secret\": \"s3cr3t\"}'" >"$HOME/says"
	pulls "$host/org/tiny:1"
	equal "$(banger --json image list | jq -c .images)" "[]"
}

@test "tokens: without a name, with a password, with a wrong one; one that is over" {
	local host log_in
	host=$(<token.host)
	log_in="log in with 'docker login $host' or 'podman login $host'"
	pulls "$host/public/tiny:1"
	refuses "$host/private/tiny:1" "needs credentials, of which none are kept (UNAUTHORIZED" "$log_in"
	log_in "$host" pull:s3cr3t
	pulls "$host/private/tiny:1"
	log_in "$host" pull:s3cr3t-wrong
	refuses "$host/private/tiny:1" \
		"get a token with the credentials that are kept: 'http://127.0.0.1:$(<tokens.port)/token' answers with status 401" "$log_in"
	host=$(<old-token.host)
	log_in "$host" pull:s3cr3t
	refuses "$host/public/tiny:1" "'$host' does not give us 'public/tiny': it refuses the credentials that are kept for it" \
		"log in with 'docker login $host'"
	# It gave up soon.
	[ "$(grep -c '"/old-token' tokens.log)" -le 4 ]
}
