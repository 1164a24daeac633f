#!/usr/bin/env bats
# Images of a real registry, of layouts and of archives: pulled, booted, entered, replaced, deleted; files of one's own; and
# what must be left when that fails.
# shellcheck disable=SC2154,SC2016 # bats sets status, output, stderr, lines; expressions for other shells

load helper
load crash_helper
load registry

setup_file() {
	export LAYOUTS=$BATS_FILE_TMPDIR/layouts
	make_layouts "$LAYOUTS" >"$BATS_FILE_TMPDIR/umoci.log" 2>&1
	start_registry "$BATS_FILE_TMPDIR/registry"
	export REGISTRY registry_pid
	push tiny:1 library/tiny:3.20
	push tiny:1 tiny:moving
	push bare:1 org/bare:1
	push distroless:1 org/distroless:1
	make_slow >>"$BATS_FILE_TMPDIR/umoci.log" 2>&1
	start_slow
	share_home
	printf '[[registry]]\nhost = "%s"\nmirror = "http://127.0.0.1:%s/slow"\n' \
		"$SLOW" "$(cat "$BATS_FILE_TMPDIR/slow.port")" >>"$BANGER_CONFIG_DIR/config.toml"
	# Kernels are imported, too: what is half made is swept when a daemon starts, also that of another test.
	rm "$BANGER_STATE_DIR"/{images,kernels}
	mkdir -m 700 "$BANGER_STATE_DIR/images"
	cp -a "$BANGER_CACHE/state/kernels" "$BANGER_STATE_DIR/kernels"
}

teardown_file() {
	end_shared_home
	kill "$registry_pid" "$slow_pid"
}

# An image with two more layers, of 3 and of 6 MiB.
make_slow() {
	local size
	cp -r "$LAYOUTS/tiny" "$LAYOUTS/slow"
	for size in 3 6; do
		head -c "${size}M" /dev/urandom >"$LAYOUTS/random-$size"
		umoci insert --image "$LAYOUTS/slow:1" "$LAYOUTS/random-$size" "/random-$size"
	done
}

# Nobody listens there but its mirror, which gives the largest layer at two MiB a second.
SLOW=127.0.0.1:2

start_slow() {
	: >"$BATS_FILE_TMPDIR/slow.log"
	/usr/bin/python3 "$BATS_TEST_DIRNAME/../integration/mirror_server.py" "$BATS_FILE_TMPDIR/slow.log" \
		"$BATS_FILE_TMPDIR/slow.port" "$LAYOUTS/slow" >"$BATS_FILE_TMPDIR/slow.out" 2>&1 3>&- &
	export slow_pid=$!
	wait_until 20 test -s "$BATS_FILE_TMPDIR/slow.port"
}

setup() {
	watch_census
}

# Nothing of a VM, a worker or a staging folder is left.
teardown() {
	local ids
	ids=$(banger vm list -q)
	# shellcheck disable=SC2086 # a list of ids
	[ -z "$ids" ] || banger --quiet vm delete $ids
	equal "$(find "$BANGER_STATE_DIR/images" -name '.*' -mindepth 1)" ""
	banger --quiet daemon stop --force
	wait_until 20 no_process_of_ours
	compare_census
}

images_json() {
	banger --json image list | jq -c "$1"
}

# Those of banger, not of skopeo.
requests_of_banger() {
	grep -c "GET /v2/$1.*banger/" "$BATS_FILE_TMPDIR/registry/log" || true
}

layers_of() { # LAYOUT TAG
	local manifest
	manifest=$(jq -r --arg tag "$2" '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == $tag) | .digest' \
		"$LAYOUTS/$1/index.json")
	jq -r '.layers[].digest' "$LAYOUTS/$1/blobs/sha256/${manifest#*:}"
}

requests_for() {
	grep -c "GET /v2/$1" "$BATS_FILE_TMPDIR/registry/log" || true
}

@test "pull of a registry: name, config, digest; the VM runs it" {
	run_for 0 banger image pull "$REGISTRY/library/tiny:3.20"
	contains "$output" "tiny-3.20"
	contains "$output" "$REGISTRY/library/tiny:3.20"
	banger --json image show tiny-3.20 >"$BATS_TEST_TMPDIR/show"
	equal "$(jq -c .image.config.entrypoint[0] "$BATS_TEST_TMPDIR/show")" '"/bin/sh"'
	equal "$(jq -c .image.config.cmd "$BATS_TEST_TMPDIR/show")" '["from","the image"]'
	equal "$(jq -r .image.config.user "$BATS_TEST_TMPDIR/show")" app
	equal "$(jq -r .image.config.working_dir "$BATS_TEST_TMPDIR/show")" /srv/data
	[[ $(jq -r .image.digest "$BATS_TEST_TMPDIR/show") == sha256:* ]]
	equal "$(jq -r '.image | "\(.state) \(.kind) \(.has_init)"' "$BATS_TEST_TMPDIR/show")" "ready managed false"
	run_for 0 banger --quiet vm run --image tiny-3.20 --rm -- cat /etc/os-release
	equal "$output" $'NAME=Tiny\nVERSION_ID=3.20'
	e2fsck -fn "$BANGER_STATE_DIR/images/tiny-3.20/root.ext4"
}

@test "vm run of a reference pulls it first; the second time at once" {
	run_for 0 banger --quiet vm run --image "$REGISTRY/tiny:moving" --rm -- cat /version
	equal "$output" 1
	local before
	before=$(requests_for tiny/blobs)
	run_for 0 banger --quiet vm run --image "$REGISTRY/tiny:moving" --rm -- ls /srv/data
	equal "$output" ""
	equal "$(requests_for tiny/blobs)" "$before"
}

@test "--entrypoint: the image's program, environment, user and folder; arguments in place of Cmd" {
	banger --quiet image pull "$REGISTRY/library/tiny:3.20" >/dev/null
	run_for 0 banger --quiet vm run --image tiny-3.20 --entrypoint --rm
	equal "$output" $'1234\n2345\n/srv/data\nhello  world\nfrom the image'
	run_for 0 banger --quiet vm run --image tiny-3.20 --entrypoint --rm -e GREETING=mine -- 'my own'
	equal "$output" $'1234\n2345\n/srv/data\nmine\nmy own'
	run_for 2 banger vm run --image tiny-3.20 --entrypoint -d
	contains "$stderr" "--detach and --entrypoint exclude each other"
}

@test "an image with one program and nothing else: it runs, and that there is no shell is said" {
	run_for 7 banger --quiet vm run --image "$REGISTRY/org/bare:1" --entrypoint --rm -- x
	equal "$output" "bare 2 x"
	run_for 7 banger --quiet vm run --image bare-1 --rm -- /hello
	run_for 1 banger --quiet vm run --image bare-1 --name bare --rm </dev/null
	contains "$stderr" "banger: cannot open a shell in 'bare': exec '/bin/sh': No such file or directory"
	contains "$stderr" "hint: an image without a shell runs programs of its own"
}

@test "distroless: no init, no sshd, no shell; it is entered, and Entrypoint, Cmd, Env, User and WorkingDir hold" {
	run_for 0 banger --quiet image pull "$REGISTRY/org/distroless:1"
	contains "$output" $'entrypoint          ["report"]\ncmd                 ["--verbose","two words"]'
	contains "$output" $'user                nonroot\nfolder              /var/lib/data'
	equal "$(banger --json image show distroless-1 | jq -c .image.config)" '{"entrypoint":["report"],"cmd":["--verbose","two words"],"env":["PATH=/app","SSL_CERT_FILE=/etc/ssl/certs.pem"],"user":"nonroot","working_dir":"/var/lib/data"}'
	run_for 0 banger --quiet vm run --image distroless-1 --entrypoint --rm -e MINE=1
	equal "${lines[0]}" "ids 65532 65532 777 65532"
	equal "${lines[1]}" "folder /var/lib/data"
	equal "${lines[2]}" "arguments '--verbose' 'two words'"
	for wanted in PATH=/app SSL_CERT_FILE=/etc/ssl/certs.pem HOME=/home/nonroot MINE=1; do
		contains "$output" $'\n'"env $wanted"
	done
	# Without --entrypoint nothing of it holds.
	run_for 0 banger --quiet vm run --image distroless-1 --name d -d
	run_for 0 banger vm exec d -- /app/report one
	equal "${lines[0]%% 0*} ${lines[1]} ${lines[2]}" "ids folder /root arguments 'one'"
	lacks "$output" SSL_CERT_FILE
	run_for 127 banger vm exec d -- report
	contains "$stderr" "exec 'report': No such file or directory"
	run_for 1 banger vm shell d </dev/null
	contains "$stderr" "banger: cannot open a shell in 'd': exec '/sbin/nologin': No such file or directory"
	contains "$stderr" "hint: an image without a shell"
	banger --quiet vm delete d
	banger --quiet image pull "oci:$LAYOUTS/distroless:nobody" --name nobody >/dev/null
	run_for 127 banger --quiet vm run --image nobody --entrypoint --rm
	contains "$stderr" "user 'stranger': no such user"
}

@test "pulled again: the same stays, another replaces it, one in use is not touched" {
	local built
	banger --quiet image pull "$REGISTRY/tiny:moving" >/dev/null
	built=$(images_json '.images[] | select(.name == "tiny-moving") | .built_at + .digest')
	sleep 1.1 # the time has whole seconds
	banger --quiet image pull "$REGISTRY/tiny:moving" >/dev/null
	equal "$(images_json '.images[] | select(.name == "tiny-moving") | .built_at + .digest')" "$built"
	push tiny:2 tiny:moving
	banger --quiet vm create --name user --image tiny-moving --no-start >/dev/null
	run_for 1 banger image pull "$REGISTRY/tiny:moving"
	contains "$stderr" "in use by 1 VM"
	equal "$(images_json '.images[] | select(.name == "tiny-moving") | .built_at + .digest')" "$built"
	run_for 1 banger image delete tiny-moving
	contains "$stderr" "in use by 1 VM"
	contains "$stderr" "hint: 'banger vm list' shows the VMs"
	banger --quiet vm delete user
	banger --quiet image pull "$REGISTRY/tiny:moving" >/dev/null
	run_for 0 banger --quiet vm run --image tiny-moving --rm -- cat /version
	equal "$output" 2
	push tiny:1 tiny:moving
}

@test "pulled again when it is the same: its manifest and config are all that is asked for" {
	push tiny:2 same/tiny:1
	banger image cache prune >/dev/null
	banger --quiet image pull "$REGISTRY/same/tiny:1" --name same >/dev/null
	banger image cache prune >/dev/null
	local before built
	before=$((2 + $(layers_of tiny 2 | wc -l)))
	wait_until 20 has_asked same/tiny "$before"
	equal "$(requests_of_banger same/tiny)" "$before"
	built=$(images_json '.images[] | select(.name == "same")')
	run_for 0 banger image pull "$REGISTRY/same/tiny:1" --name same
	contains "$stderr" "this is what is here already"
	lacks "$stderr" "download"
	wait_until 20 has_asked same/tiny $((before + 2))
	equal "$(requests_of_banger same/tiny)" $((before + 2))
	equal "$(images_json '.images[] | select(.name == "same")')" "$built"
	equal "$(find "$BANGER_CACHE_DIR/blobs" -type f | wc -l)" 1
	banger --quiet image delete same >/dev/null
}

# The registry writes its log when an answer has been sent.
has_asked() {
	[ "$(requests_of_banger "$1")" -ge "$2" ]
}

@test "what a pull says: each stage once, the download with its rate while layers are being written" {
	run_for 0 banger image pull "$SLOW/slow:1" --name slow
	equal "$(sed 's/ in .*/ in/' <(echo "$stderr"))" "resolve: $SLOW/slow:1"$'\nresolve: done in\ndownload: begun\ndownload: done in
image: writing the image\nimage: done in'
	banger --quiet image delete slow >/dev/null
	banger image cache prune >/dev/null
	run "$BATS_TEST_DIRNAME/../integration/terminal.py" --show --size 24x120 "expect:download [" "expect:MiB/s, " \
		"expect: s left" "expect:image: writing the image" -- "$BANGER" image pull "$SLOW/slow:1" --name slow
	contains "$output" "exit 0 cooked"
	# Once that is over nothing of it comes back.
	lacks "${output#*image: writing the image}" "download"
	banger --quiet image delete slow >/dev/null
}

# The largest layer has come half way.
is_half_way() {
	[ -n "$(find "$BANGER_CACHE_DIR/partial" -type f -size +3M 2>/dev/null)" ]
}

# 3 MiB of it, in blocks of 512 bytes.
first_layer_is_written() {
	local new
	new=$(find "$BANGER_STATE_DIR/images" -path '*/.new-*' -name root.ext4)
	[ -n "$new" ] && [ "$(stat -c %b "$new")" -ge $((3 << 11)) ]
}

start_slow_pull() {
	banger image cache prune >/dev/null
	: >"$BATS_FILE_TMPDIR/slow.log"
	start "$1" "$BANGER" --quiet image pull "$SLOW/slow:1" --name slow
	wait_until 20 is_half_way
}

is_slow_image() {
	local size
	e2fsck -fn "$BANGER_STATE_DIR/images/slow/root.ext4" >/dev/null
	for size in 3 6; do
		debugfs -R "cat /random-$size" "$BANGER_STATE_DIR/images/slow/root.ext4" 2>/dev/null |
			cmp - "$LAYOUTS/random-$size"
	done
}

@test "killed half way of a pull: the layers before it were written, and the next pull goes on from there" {
	start_slow_pull killed
	wait_until 20 first_layer_is_written
	kill_daemon
	wait_for_status "$started" 1
	recover "kill -9 in a pull"
	equal "$(images_json '[.images[] | select(.name == "slow")]')" '[]'
	run_for 0 banger --quiet image pull "$SLOW/slow:1" --name slow
	matches "$(grep -v ' None$' "$BATS_FILE_TMPDIR/slow.log")" "^/slow/v2/slow/blobs/[^ ]* bytes=[3-6][0-9]{6}-$"
	is_slow_image
	banger --quiet image delete slow >/dev/null
}

@test "the cache is pruned in the middle of a pull, twice: it ends well" {
	start_slow_pull pruned
	run_for 0 banger image cache prune
	run_for 0 banger image cache prune
	wait_for_status "$started" 0
	is_slow_image
	equal "$(cut -d ' ' -f 1 "$BATS_FILE_TMPDIR/slow.log" | sort | uniq -d)" ""
	banger --quiet image delete slow >/dev/null
}

@test "twenty pulls of one image at once are one" {
	start_slow_pull first
	local pulls=("$started") i pull
	for i in {2..20}; do
		start "pull-$i" "$BANGER" --quiet image pull "$SLOW/slow:1" --name slow
		pulls+=("$started")
	done
	for pull in "${pulls[@]}"; do wait_for_status "$pull" 0; done
	is_slow_image
	equal "$(grep blobs "$BATS_FILE_TMPDIR/slow.log" | cut -d ' ' -f 1 | sort | uniq -d)" ""
	banger --quiet image delete slow >/dev/null
}

@test "another image of the same name is neither taken nor replaced" {
	push tiny:2 other/tiny:3.20
	banger --quiet image pull "$REGISTRY/library/tiny:3.20" >/dev/null
	run_for 1 banger vm create --no-start --image "$REGISTRY/other/tiny:3.20"
	contains "$stderr" "the image 'tiny-3.20' that is here is another: it is from $REGISTRY/library/tiny:3.20"
	contains "$stderr" "--name NAME"
	run_for 1 banger image pull "$REGISTRY/other/tiny:3.20"
	contains "$stderr" "is another"
	run_for 0 banger --quiet vm run --image "$REGISTRY/library/tiny:3.20" --rm -- cat /version
	equal "$output" 1
	run_for 0 banger image pull "$REGISTRY/other/tiny:3.20" --name other
	run_for 0 banger --quiet vm run --image other --rm -- cat /version
	equal "$output" 2
	run_for 0 banger image delete other
}

@test "limits are the configuration's, and their errors name the key" {
	banger --quiet daemon stop >/dev/null
	cp "$BANGER_CONFIG_DIR/config.toml" "$BATS_TEST_TMPDIR/config.toml"
	printf '[limits]\nimage_bytes = "1MiB"\n' >>"$BANGER_CONFIG_DIR/config.toml"
	run_for 1 banger image pull "$REGISTRY/library/tiny:3.20" --name small
	contains "$stderr" "limits.image_bytes"
	banger --quiet daemon stop >/dev/null
	cp "$BATS_TEST_TMPDIR/config.toml" "$BANGER_CONFIG_DIR/config.toml"
	equal "$(images_json '[.images[] | select(.name == "small")]')" '[]'
}

@test "an image config with oddities: what can be used of it is" {
	local layout=$BATS_TEST_TMPDIR/odd
	cp -r "$LAYOUTS/tiny" "$layout"
	umoci config --image "$layout:1" --config.env GOOD=yes --config.entrypoint /bin/sh --config.entrypoint -c \
		--config.entrypoint 'echo "$GOOD"; pwd' --config.cmd x --config.user 1234:2345
	# Env without a name or without a value, which umoci itself refuses.
	/usr/bin/python3 - "$layout" <<-'PYTHON'
		import hashlib, json, os, sys
		blobs = os.path.join(sys.argv[1], "blobs/sha256")
		def put(value):
		    data = json.dumps(value).encode()
		    name = hashlib.sha256(data).hexdigest()
		    open(os.path.join(blobs, name), "wb").write(data)
		    return "sha256:" + name, len(data)
		path = os.path.join(sys.argv[1], "index.json")
		index = json.load(open(path))
		entry = next(e for e in index["manifests"]
		             if e["annotations"]["org.opencontainers.image.ref.name"] == "1")
		manifest = json.load(open(os.path.join(blobs, entry["digest"][7:])))
		config = json.load(open(os.path.join(blobs, manifest["config"]["digest"][7:])))
		config["config"]["Env"] += ["A", "=b"]
		config["config"]["WorkingDir"] = "/srv/../srv/data"
		manifest["config"]["digest"], manifest["config"]["size"] = put(config)
		entry["digest"], entry["size"] = put(manifest)
		json.dump(index, open(path, "w"))
	PYTHON
	run_for 0 banger image pull "oci:$layout:1" --name odd
	equal "$(banger --json image show odd | jq -c '.image.config.env[-2:]')" '["A","=b"]'
	run_for 0 banger --quiet vm run --image odd --entrypoint --rm
	equal "$output" $'yes\n/srv/data'
}

@test "--name and --size; the same layers give the same bytes" {
	run_for 0 banger image pull "$REGISTRY/library/tiny:3.20" --name one --size 2GiB
	TZ=Asia/Tokyo run_for 0 banger image pull "$REGISTRY/library/tiny:3.20" --name two --size 2GiB
	equal "$(stat -c %s "$BANGER_STATE_DIR/images/one/root.ext4")" $((2 << 30))
	cmp "$BANGER_STATE_DIR"/images/{one,two}/root.ext4
	run_for 0 banger image delete one
	run_for 0 banger image delete two
}

@test "one image under two names shares its blocks where the file system can" {
	grep -qw btrfs /proc/filesystems || skip "the kernel has no btrfs"
	local disk=$BATS_TEST_TMPDIR/disk place=$BANGER_STATE_DIR/images
	banger --quiet daemon stop >/dev/null
	truncate -s 512M "$disk"
	mkfs.btrfs -q "$disk"
	mount -o loop "$disk" "$place"
	chmod 700 "$place"
	two_names_share_blocks "$place" || touch "$BATS_TEST_TMPDIR/failed"
	banger --quiet daemon stop >/dev/null
	umount "$place"
	[ ! -e "$BATS_TEST_TMPDIR/failed" ]
}

two_names_share_blocks() {
	banger --quiet image pull "$REGISTRY/library/tiny:3.20" --name first >/dev/null &&
		banger --quiet image pull "$REGISTRY/library/tiny:3.20" --name second >/dev/null &&
		banger --quiet image pull "$REGISTRY/library/tiny:3.20" --name third --size 1GiB >/dev/null &&
		sync -f "$1" &&
		cmp "$1/first/root.ext4" "$1/second/root.ext4" &&
		filefrag -v "$1/second/root.ext4" | grep -q shared &&
		! filefrag -v "$1/third/root.ext4" | grep -q shared &&
		[ "$(banger --json image show second | jq -c .image.config.cmd)" = '["from","the image"]' ] &&
		banger --quiet image delete first >/dev/null &&
		[ "$(banger --quiet vm run --image second --rm -- cat /version)" = 1 ]
}

@test "a layout and an archive, by paths as typed" {
	cd "$LAYOUTS"
	run_for 0 banger image pull oci:tiny:2 --name from-layout
	run_for 0 banger --quiet vm run --image from-layout --rm -- cat /version
	equal "$output" 2
	skopeo --insecure-policy copy -q oci:tiny:1 docker-archive:"$BATS_TEST_TMPDIR/tiny.tar":tiny:1
	cd "$BATS_TEST_TMPDIR"
	run_for 0 banger image pull docker-archive:tiny.tar
	run_for 0 banger --quiet vm run --image tiny --rm -- cat /version
	equal "$output" 1
	run_for 1 banger image pull oci:nowhere --name x
	contains "$stderr" "nowhere"
	equal "$(images_json '[.images[] | select(.name == "x")]')" '[]'
}

@test "two pulls at once, of one image and of two that share layers: each blob is fetched once" {
	push tiny:2 shared/a:1
	push tiny:2 shared/b:1
	banger image cache prune >/dev/null
	banger --quiet image pull "$REGISTRY/shared/a:1" >/dev/null &
	local first=$!
	banger --quiet image pull "$REGISTRY/shared/a:1" >/dev/null &
	local second=$!
	banger --quiet image pull "$REGISTRY/shared/b:1" --name b >/dev/null
	wait "$first"
	wait "$second"
	for layer in $(layers_of tiny 2); do
		equal "$(grep -c "GET /v2/shared/[ab]/blobs/$layer" "$BATS_FILE_TMPDIR/registry/log")" 1
	done
}

@test "what cannot be pulled is said, with what to do, and leaves nothing" {
	local before
	before=$(images_json .)
	run_for 1 banger image pull "$REGISTRY/library/tiny:nonesuch"
	contains "$stderr" "nonesuch"
	run_for 1 banger image pull "$REGISTRY/no/such:1"
	run_for 1 banger image pull 127.0.0.1:1/x:y
	contains "$stderr" "127.0.0.1:1"
	run_for 1 banger image pull "$REGISTRY/UPPER:1"
	contains "$stderr" "UPPER"
	run_for 1 banger image pull debian-bokworm
	contains "$stderr" "did you mean 'debian-bookworm'?"
	run_for 2 banger image pull ../x
	run_for 1 banger image pull oci:
	contains "$stderr" "'oci:' is no image reference: it names no folder"
	run_for 1 banger image pull oci:/etc/hostname
	contains "$stderr" "'/etc/hostname' is not a folder"
	run_for 2 banger image rm x
	contains "$stderr" "unknown command 'image rm'; did you mean 'image delete'?"
	run_for 2 banger kernel delete x
	contains "$stderr" "unknown command 'kernel delete'; did you mean 'kernel rm'?"
	run_for 1 banger kernel pull debian-clod
	contains "$stderr" "no kernel 'debian-clod'"
	contains "$stderr" "did you mean 'debian-cloud'?"
	equal "$(images_json .)" "$before"
}

@test "Ctrl-C during a pull: nothing is left" {
	# A registry that accepts and says nothing.
	/usr/bin/python3 -c '
import socket, sys, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
print(s.getsockname()[1], flush=True)
time.sleep(60)' >"$BATS_TEST_TMPDIR/port" 3>&- &
	local silent=$!
	wait_until 20 test -s "$BATS_TEST_TMPDIR/port"
	banger ps >/dev/null
	start pull "$BANGER" image pull "127.0.0.1:$(cat "$BATS_TEST_TMPDIR/port")/x:y"
	wait_until 20 in_flight image.pull
	kill -INT "$started"
	wait_for_status "$started" 130
	wait_until 20 nothing_in_flight
	kill "$silent"
	wait "$silent" || true
	equal "$(images_json '[.images[] | select(.name == "x-y")]')" '[]'
}

in_flight() {
	/usr/bin/python3 "$BATS_TEST_DIRNAME/rpc.py" daemon.operations.list | grep -qF "\"$1\""
}

nothing_in_flight() {
	[ "$(banger --json daemon status | jq .operations)" -eq 0 ]
}

# A layout with one layer that takes a while to write: large:1 on top of nothing.
make_large() {
	[ ! -e "$LAYOUTS/large" ] || return 0
	head -c 120M /dev/urandom >"$BATS_TEST_TMPDIR/random"
	tar -C "$BATS_TEST_TMPDIR" -cf "$BATS_TEST_TMPDIR/large.tar" random
	umoci init --layout "$LAYOUTS/large"
	umoci new --image "$LAYOUTS/large:1"
	umoci raw add-layer --image "$LAYOUTS/large:1" "$BATS_TEST_TMPDIR/large.tar"
	rm "$BATS_TEST_TMPDIR"/{random,large.tar}
}

# worker KIND: its process, when there is one.
worker() {
	pgrep -f -- "--worker $1\$"
}

@test "a worker that is killed or hangs: the pull says which, with its layer; the next one needs no download" {
	local kind signal text asked
	make_large
	push large:1 large:1 2>&1
	banger --quiet daemon stop >/dev/null
	cp "$BANGER_CONFIG_DIR/config.toml" "$BATS_TEST_TMPDIR/config.toml"
	printf '[limits]\nworker_stall = "2s"\n' >>"$BANGER_CONFIG_DIR/config.toml"
	banger ps >/dev/null
	while read -r kind signal text; do
		start pull "$BANGER" image pull "$REGISTRY/large:1" --name large
		# It is there only when the layer is, and has much to do.
		wait_until 30 worker unpack
		kill "-$signal" "$(worker "$kind")"
		wait_for_status "$started" 1
		contains "$(<"$BATS_TEST_TMPDIR/pull.err")" "layer 1: the $kind worker $text"
		run_for 1 worker image
		run_for 1 worker unpack
		equal "$(images_json '[.images[] | select(.name == "large")]')" '[]'
		equal "$(find "$BANGER_STATE_DIR/images" -name '.*' -mindepth 1)" ""
		[ -n "${asked:-}" ] || asked=$(requests_for large/blobs)
	done <<-'END'
		image KILL was ended by signal 9 (KILL)
		image STOP has not gone on for 2.0 s (limits.worker_stall)
		unpack KILL was ended by signal 9 (KILL)
		unpack STOP has not gone on for 2.0 s (limits.worker_stall)
		image XCPU needs more than 3600 s of processor time (limits.worker_cpu)
	END
	run_for 0 banger image pull "$REGISTRY/large:1" --name large
	equal "$(requests_for large/blobs)" "$asked"
	banger --quiet image delete large >/dev/null
	banger --quiet daemon stop >/dev/null
	cp "$BATS_TEST_TMPDIR/config.toml" "$BANGER_CONFIG_DIR/config.toml"
}

@test "the kernel finds each of 20000 names in a folder whose index has two levels" {
	local layout=$BATS_TEST_TMPDIR/names
	cp -r "$LAYOUTS/tiny" "$layout"
	/usr/bin/python3 - "$BATS_TEST_TMPDIR/names.tar" <<-'PYTHON'
		import sys, tarfile
		with tarfile.open(sys.argv[1], "w", format=tarfile.PAX_FORMAT) as out:
		    for n in range(10000, 30000):
		        out.addfile(tarfile.TarInfo("names/" + "n" * 250 + str(n)))
	PYTHON
	umoci raw add-layer --image "$layout:1" "$BATS_TEST_TMPDIR/names.tar"
	run_for 0 banger image pull "oci:$layout:1" --name names
	debugfs -R "htree_dump /names" "$BANGER_STATE_DIR/images/names/root.ext4" >"$BATS_TEST_TMPDIR/tree" 2>&1
	grep -q "Indirect levels: 1" "$BATS_TEST_TMPDIR/tree"
	# Each by its name, which goes through the index; then what is in the folder; then a name that is not there.
	run_for 0 banger --quiet vm run --image names --rm -- sh -c '
		long=$1 n=10000 found=0
		while [ $n -lt 30000 ]; do
			[ ! -f "/names/$long$n" ] || found=$((found + 1))
			n=$((n + 1))
		done
		echo $found
		ls /names | grep -c "^$long[12][0-9][0-9][0-9][0-9]\$"
		ls /names | grep -c .
		[ -e "/names/${long}30000" ] || echo none' sh "$(printf 'n%.0s' {1..250})"
	equal "$output" $'20000\n20000\n20000\nnone'
	banger --quiet image delete names >/dev/null
}

@test "cache prune: says first, frees then, and images stay" {
	banger --quiet image pull "$REGISTRY/library/tiny:3.20" --name pruned --size 1GiB >/dev/null
	run_for 0 banger image cache prune --dry-run
	contains "$output" "would free"
	[ -n "$(find "$BANGER_CACHE_DIR/blobs" -type f)" ]
	run_for 0 banger image cache prune
	contains "$output" "freed"
	equal "$(find "$BANGER_CACHE_DIR" -type f)" ""
	equal "$(banger --json image cache prune | jq -c '[.files, .bytes]')" "[0,0]"
	run_for 0 banger --quiet vm run --image pruned --rm -- cat /version
	equal "$output" 1
}

@test "register: used where it is, refused when it has changed; promote copies it in" {
	local mine=$BATS_TEST_TMPDIR/mine.ext4
	banger --quiet image pull "$REGISTRY/library/tiny:3.20" >/dev/null
	cp --sparse=always "$BANGER_STATE_DIR/images/tiny-3.20/root.ext4" "$mine"
	run_for 1 banger image register mine --rootfs "$mine" --kernel-ref debian-cluod
	contains "$stderr" "no kernel 'debian-cluod'"
	equal "$(images_json '[.images[] | select(.name == "mine")]')" '[]'
	run_for 0 banger image register mine --rootfs "$mine"
	equal "$(banger --json image show mine | jq -r .image.kind)" registered
	run_for 0 banger --quiet vm run --image mine --rm -- cat /version
	equal "$output" 1
	run_for 1 banger image register mine --rootfs "$mine"
	contains "$stderr" "exists already"
	touch "$mine"
	run_for 1 banger vm create --image mine --no-start
	contains "$stderr" "$mine"
	run_for 0 banger image delete mine
	[ -e "$mine" ]
	run_for 0 banger image register mine --rootfs "$mine"
	run_for 0 banger image promote mine
	rm "$mine"
	equal "$(banger --json image show mine | jq -r .image.kind)" managed
	run_for 0 banger --quiet vm run --image mine --rm -- cat /version
	equal "$output" 1
	run_for 1 banger image promote mine
	echo no >"$BATS_TEST_TMPDIR/text"
	run_for 1 banger image register no --rootfs "$BATS_TEST_TMPDIR/text"
	contains "$stderr" "$BATS_TEST_TMPDIR/text"
}

@test "register with a kernel of its own: both, or neither" {
	local mine=$BATS_TEST_TMPDIR/mine.ext4 kernels=$BANGER_STATE_DIR/kernels/debian-cloud
	banger --quiet image pull "$REGISTRY/library/tiny:3.20" >/dev/null
	cp --sparse=always "$BANGER_STATE_DIR/images/tiny-3.20/root.ext4" "$mine"
	run_for 1 banger image register pair --rootfs /etc/hostname --kernel "$kernels/vmlinuz" --modules "$kernels/modules"
	contains "$stderr" /etc/hostname
	equal "$(banger --json kernel list | jq -c '[.kernels[] | select(.name == "pair")]')" '[]'
	run_for 0 banger image register pair --rootfs "$mine" --kernel "$kernels/vmlinuz" --modules "$kernels/modules"
	equal "$(banger --json image show pair | jq -r .image.kernel)" pair
	run_for 0 banger --quiet vm run --image pair --rm -- cat /version
	equal "$output" 1
	banger --quiet image delete pair >/dev/null
	run_for 1 banger image register pair --rootfs "$mine" --kernel "$kernels/vmlinuz"
	contains "$stderr" "a kernel named 'pair' exists already"
	banger --quiet kernel rm pair >/dev/null
}

@test "kernel import: a kernel of one's own boots; one in use is not replaced" {
	run_for 0 banger kernel import own --from "$BANGER_STATE_DIR/kernels/debian-cloud"
	banger --quiet image pull "$REGISTRY/library/tiny:3.20" >/dev/null
	run_for 0 banger --quiet vm run --name k --kernel own --image tiny-3.20 -d
	run_for 0 banger vm exec k -- uname -s
	equal "$output" Linux
	run_for 1 banger kernel import own --from "$BANGER_STATE_DIR/kernels/debian-cloud"
	contains "$stderr" "in use by 1 VM"
	banger --quiet vm delete k
	run_for 0 banger kernel rm own
	run_for 1 banger kernel import own --from "$BATS_TEST_TMPDIR"
	equal "$(banger --json kernel list | jq -c '[.kernels[] | select(.name == "own")]')" '[]'
}

@test "catalog.json: OCI entries and bundles by name; a mistake in it is told with its place" {
	local port server
	make_bundles "$BATS_TEST_TMPDIR/files"
	(cd "$BATS_TEST_TMPDIR/files" && exec /usr/bin/python3 -u -m http.server --bind 127.0.0.1 0 >"$BATS_TEST_TMPDIR/http" 2>&1 3>&-) &
	server=$!
	wait_until 20 grep -q "port [0-9]" "$BATS_TEST_TMPDIR/http"
	port=$(grep -o "port [0-9]*" "$BATS_TEST_TMPDIR/http" | cut -d ' ' -f 2)
	cat >"$BANGER_CONFIG_DIR/catalog.json" <<-JSON
		{"images": [
			{"name": "mini", "kind": "oci", "description": "a small one", "reference": "$REGISTRY/library/tiny:3.20"},
			{"name": "packed", "kind": "bundle", $(source_of "$port" image.tar.zst)}],
		 "kernels": [{"name": "packed-kernel", "kind": "bundle", $(source_of "$port" kernel.tar.zst)}]}
	JSON
	contains "$(banger image catalog)" "mini"
	run_for 0 banger --quiet vm run --image mini --rm -- cat /version
	equal "$output" 1
	contains "$(banger kernel list --available)" packed-kernel
	[[ $(banger kernel list) != *packed-kernel* ]]
	run_for 1 banger image pull packed --size 2GiB
	contains "$stderr" "'packed' is a bundle"
	run_for 0 banger --quiet vm run --image packed --kernel packed-kernel --rm -- cat /version
	equal "$output" 1
	equal "$(banger --json image show packed | jq -r .image.source)" "http://127.0.0.1:$port/image.tar.zst"
	# Another file under the same address: it is not what the catalog promises.
	banger --quiet image delete packed >/dev/null
	truncate -s +1 "$BATS_TEST_TMPDIR/files/image.tar.zst"
	run_for 1 banger image pull packed
	equal "$(images_json '[.images[] | select(.name == "packed")]')" '[]'
	kill "$server"
	wait "$server" || true
	echo '{"images": [{"name": "x"}]}' >"$BANGER_CONFIG_DIR/catalog.json"
	run_for 1 banger image catalog
	contains "$stderr" "catalog.json"
	rm "$BANGER_CONFIG_DIR/catalog.json"
	banger --quiet kernel rm packed-kernel >/dev/null
}

# In the folder given, image.tar.zst (the file system of tiny) and kernel.tar.zst (the shared kernel).
make_bundles() {
	local kernel=$BANGER_STATE_DIR/kernels/debian-cloud
	banger --quiet image pull "$REGISTRY/library/tiny:3.20" >/dev/null
	mkdir -p "$1/image" "$1/kernel"
	cp --sparse=always "$BANGER_STATE_DIR/images/tiny-3.20/root.ext4" "$1/image/"
	cp -r "$kernel/vmlinux" "$kernel/modules" "$1/kernel/"
	for name in image kernel; do
		(cd "$1/$name" && find . -type f -printf '%P\n' | sort | xargs sha256sum >../SHA256SUMS && mv ../SHA256SUMS . &&
			find . -type f ! -name SHA256SUMS -printf '%P\n' | sort |
			tar --format=ustar -cf - SHA256SUMS --files-from=- | zstd -q -o "../$name.tar.zst")
	done
}

# The members of a catalog's entry that say where a bundle is and what is in it.
source_of() {
	local file=$BATS_TEST_TMPDIR/files/$2
	printf '"description": "packed", "url": "http://127.0.0.1:%s/%s", "sha256": "%s", "size_bytes": %s' "$1" "$2" \
		"$(sha256sum <"$file" | cut -d ' ' -f 1)" "$(stat -c %s "$file")"
}
