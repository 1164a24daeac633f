#!/usr/bin/env bats
# Pulling whole images: from docker-registry, from layouts and from docker-archives, made by umoci, buildah and skopeo; what is
# shared is fetched once; killed, pruned and stopped at any point, no blob is ever wrong.
# shellcheck disable=SC2154 # bats sets status, output and stderr

bats_require_minimum_version 1.5.0

load helper

setup_file() {
	export TOOL=$BANGER_BUILD/tests/integration/pull_tool
	export WORK=$BATS_FILE_TMPDIR
	unset http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
	export HOME=$WORK/home
	mkdir "$HOME"
	cd "$WORK" || return
	start_registry
	HOST=$(<host)
	export HOST
	make_images
	start_mirror
}

teardown_file() {
	local file
	for file in pid mirror.pid; do
		kill "$(<"$BATS_FILE_TMPDIR/$file")" 2>/dev/null || true
	done
}

setup() {
	CACHE=$BATS_TEST_TMPDIR/cache
	OUT=$BATS_TEST_TMPDIR/out
	mkdir "$OUT"
	cd "$WORK" || return
}

teardown() {
	rm -rf "$BATS_TEST_TMPDIR" "${PLACE-}"
}

start_registry() {
	cat >registry.yml <<-END
		version: 0.1
		log: {level: info, formatter: json, accesslog: {disabled: true}}
		storage:
		  filesystem: {rootdirectory: $WORK/store}
		  maintenance: {uploadpurging: {enabled: false}}
		http: {addr: 127.0.0.1:0, secret: test}
	END
	docker-registry serve registry.yml 3>&- >registry.log 2>&1 &
	echo $! >pid
	local tries=0
	until grep -q 'listening on' registry.log; do
		tries=$((tries + 1))
		[ "$tries" -lt 100 ] || { cat registry.log; return 1; }
		sleep 0.1
	done
	grep -o 'listening on 127.0.0.1:[0-9]*' registry.log | grep -o '127.*' >host
}

# What lies, and has the same images.
start_mirror() {
	: >mirror.log
	python3 "$BATS_TEST_DIRNAME/mirror_server.py" mirror.log mirror.port umoci 3>&- >mirror.out 2>&1 &
	echo $! >mirror.pid
	local tries=0
	until [ -s mirror.port ]; do
		tries=$((tries + 1))
		[ "$tries" -lt 100 ] || { cat mirror.out; return 1; }
		sleep 0.1
	done
	MIRROR=http://127.0.0.1:$(<mirror.port)
	export MIRROR
}

# One image of three layers by umoci, with megabytes that do not compress; a second that has two of the layers.
make_images() {
	umoci init --layout umoci
	umoci new --image umoci:base
	local i
	for i in 1 2 3; do
		mkdir -p "tree$i/dir"
		head -c 3000000 /dev/urandom >"tree$i/dir/random$i"
		echo "layer $i" >"tree$i/dir/text"
		umoci insert --rootless --image umoci:base "tree$i" "/tree$i" 2>/dev/null
		umoci tag --image umoci:base "v$i"
	done
	umoci config --image umoci:v2 --config.cmd other --tag other
	umoci rm --image umoci:base
	copy oci:umoci:v3 "docker://$HOST/img:v3"
	copy oci:umoci:other "docker://$HOST/other:latest"
	copy --format v2s2 oci:umoci:v3 "docker://$HOST/docker/img:v3"
	copy --dest-compress-format zstd --dest-compress-level 3 dir:"$(plain_dir)" oci:zstd:v3
	copy --preserve-digests oci:zstd:v3 "docker://$HOST/zstd:v3"
	copy oci:umoci:v3 docker-archive:archive.tar:img:v3
}

# The image with uncompressed layers.
plain_dir() {
	skopeo copy -q --insecure-policy --dest-decompress oci:umoci:v3 dir:plain >&2
	echo plain
}

copy() {
	skopeo copy -q --insecure-policy --dest-tls-verify=false "$@"
}

pull() { # REFERENCE [OPTION...]
	run --separate-stderr "$TOOL" pull "$CACHE" "$1" "$OUT" "${@:2}"
}

manifest_of() { # LAYOUT TAG
	jq -r --arg tag "$2" '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == $tag).digest' \
		"$1/index.json"
}

# What was pulled is the image of that layout: manifest, config and layers, byte by byte.
is_image_of() { # LAYOUT TAG COMPRESSION
	local digest manifest i=0 layer
	succeeds
	digest=$(manifest_of "$1" "$2")
	manifest=$1/blobs/sha256/${digest#*:}
	[ "${lines[0]}" = "manifest $digest" ]
	cmp "$OUT/config.json" "$1/blobs/sha256/$(jq -r .config.digest "$manifest" | cut -d: -f2)"
	while read -r layer; do
		i=$((i + 1))
		cmp "$OUT/layer-$i" "$1/blobs/sha256/${layer#*:}"
		[[ ${lines[$i]} == "layer $layer $(stat -c %s "$OUT/layer-$i") $3" ]]
	done < <(jq -r '.layers[].digest' "$manifest")
	[ "${#lines[@]}" -eq $((i + 1)) ]
	[ "$i" -eq 3 ]
}

# Every blob in the cache has the name of its content, and nothing else is left.
cache_is_sound() {
	local file
	for file in "$CACHE"/blobs/sha256/*; do
		[ -e "$file" ] || continue
		[ "$(sha256sum <"$file" | cut -d' ' -f1)" = "${file##*/}" ] || { echo "$file is wrong"; return 1; }
	done
}

# The paths of the blobs that the registry was asked for, one a line for each time.
asked_for() {
	grep '^{' registry.log | jq -r 'select(.msg == "response completed" and .["http.request.method"] == "GET") |
		.["http.request.uri"] | select(contains("/blobs/"))'
}

asked() {
	asked_for | wc -l
}

# All four blobs of a repository's image were asked for, and each once.
each_once() { # REPOSITORY
	[ "$(asked_for | grep "^/v2/$1/" | sort | uniq -c | awk '{ print $1 }' | xargs)" = "1 1 1 1" ] || {
		asked_for
		return 1
	}
}

@test "an image of a registry comes out byte by byte" {
	pull "$HOST/img:v3"
	is_image_of umoci v3 gzip
	cache_is_sound
	[ -z "$(ls "$CACHE/partial")" ]
}

@test "an image by its digest, one thread, and from the cache" {
	pull "$HOST/img@$(manifest_of umoci v3)" parallel=1
	is_image_of umoci v3 gzip
	local before
	before=$(asked)
	pull "$HOST/img:v3"
	is_image_of umoci v3 gzip
	[ "$(asked)" -eq "$before" ]
}

@test "zstd layers" {
	pull "$HOST/zstd:v3"
	is_image_of zstd v3 zstd
}

@test "docker's media types" {
	pull "$HOST/docker/img:v3"
	succeeds
	[ "$(grep -c '^layer .* gzip$' <<<"$output")" -eq 3 ]
	cmp "$OUT/layer-3" "umoci/blobs/sha256/$(sed -n 's/^layer sha256:\([^ ]*\) .*/\1/p' <<<"$output" | tail -1)"
}

@test "layouts of umoci and of skopeo are used where they are" {
	pull "oci:$WORK/umoci:v3"
	is_image_of umoci v3 gzip
	pull oci:zstd
	is_image_of zstd v3 zstd
	[ ! -e "$CACHE/blobs" ]
	pull "oci:$WORK/umoci"
	fails_with "invalid: pull 'oci:$WORK/umoci': '$WORK/umoci' has several images, say which tag of: "
	pull "oci:$WORK/umoci:v4"
	fails_with "not_found: pull 'oci:$WORK/umoci:v4': '$WORK/umoci' has no tag 'v4'"
}

@test "a layout of buildah" {
	[ "$(id -u)" -eq 0 ] || skip "buildah needs root, or more than a test may set up"
	local buildah container
	buildah=(buildah --root "$BATS_TEST_TMPDIR/root" --runroot "$BATS_TEST_TMPDIR/run" --storage-driver vfs)
	container=$("${buildah[@]}" from scratch)
	"${buildah[@]}" copy -q "$container" tree1 /
	"${buildah[@]}" config --env A=b --entrypoint '["/x"]' "$container"
	"${buildah[@]}" commit -q "$container" made
	"${buildah[@]}" push -q made "oci:$BATS_TEST_TMPDIR/layout:v1"
	pull "oci:$BATS_TEST_TMPDIR/layout:v1"
	succeeds
	[ "$(jq -c .config.Env "$OUT/config.json")" = '["A=b"]' ]
	gzip -dc "$OUT/layer-1" | tar t | grep -qx dir/random1
	"${buildah[@]}" push -q made "docker-archive:$BATS_TEST_TMPDIR/archive.tar:x:y"
	rm "$OUT"/*
	pull "docker-archive:$BATS_TEST_TMPDIR/archive.tar"
	succeeds
	[ "$(jq -c .config.Entrypoint "$OUT/config.json")" = '["/x"]' ]
	tar tf "$OUT/layer-1" | grep -qx dir/random1
	"${buildah[@]}" rm -a >/dev/null
}

@test "a docker-archive of skopeo has the uncompressed layers" {
	pull docker-archive:archive.tar
	succeeds
	local i=0 diff_id
	while read -r diff_id; do
		i=$((i + 1))
		[ "sha256:$(sha256sum <"$OUT/layer-$i" | cut -d' ' -f1)" = "$diff_id" ]
		[[ ${lines[$i]} == "layer $diff_id "*" none" ]]
	done < <(jq -r '.rootfs.diff_ids[]' "$OUT/config.json")
	[ "$i" -eq 3 ]
	[ "${lines[0]}" = "manifest sha256:$(sha256sum <"$OUT/config.json" | cut -d' ' -f1)" ]
	cache_is_sound
	gzip -k archive.tar
	pull docker-archive:archive.tar.gz
	fails_with "is compressed with gzip"
	rm archive.tar.gz
}

@test "a docker-archive as new versions of docker save it, with compressed layers" {
	local digest manifest
	digest=$(manifest_of umoci v3)
	manifest=umoci/blobs/sha256/${digest#*:}
	jq -c '[{Config: ("blobs/sha256/" + (.config.digest | split(":")[1])), RepoTags: null,
		Layers: [.layers[].digest | "blobs/sha256/" + split(":")[1]]}]' "$manifest" >manifest.json
	tar cf new.tar manifest.json -C umoci blobs oci-layout index.json
	pull docker-archive:new.tar
	succeeds
	[ "$(sed -n 's/^layer \([^ ]*\) .* gzip$/\1/p' <<<"$output")" = "$(jq -r '.layers[].digest' "$manifest")" ]
}

@test "a docker-archive that is cut off at any place is refused or whole" {
	local size cut
	size=$(stat -c %s archive.tar)
	for cut in 0 100 512 1000 $((size / 2)) $((size - 10240)) $((size - 2048)); do
		head -c "$cut" archive.tar >"$BATS_TEST_TMPDIR/cut.tar"
		pull "docker-archive:$BATS_TEST_TMPDIR/cut.tar"
		[ "$status" -eq 0 ] || fails_with "protocol: "
		cache_is_sound
	done
}

# Puts a document into the registry and says its digest.
put_document() { # REPOSITORY NAME MEDIA_TYPE < DOCUMENT
	local file=$BATS_TEST_TMPDIR/document digest
	cat >"$file"
	digest=sha256:$(sha256sum <"$file" | cut -d' ' -f1)
	curl -sSf -o /dev/null -X PUT -H "Content-Type: $3" --data-binary @"$file" "http://$HOST/v2/$1/manifests/${2:-$digest}"
	echo "$digest $(stat -c %s "$file")"
}

INDEX=application/vnd.oci.image.index.v1+json
MANIFEST=application/vnd.oci.image.manifest.v1+json

index_of() { # ENTRY...
	printf '{"schemaVersion":2,"mediaType":"%s","manifests":[' "$INDEX"
	(IFS=,; printf '%s]}' "$*")
}

entry() { # TYPE DIGEST SIZE [PLATFORM]
	printf '{"mediaType":"%s","digest":"%s","size":%s%s}' "$1" "$2" "$3" "${4:+,\"platform\":$4}"
}

@test "an index leads to the platform, also by way of another index" {
	local amd64='{"os":"linux","architecture":"amd64"}' arm64='{"os":"linux","architecture":"arm64","variant":"v8"}'
	local digest size other inner
	digest=$(manifest_of umoci v3)
	size=$(stat -c %s "umoci/blobs/sha256/${digest#*:}")
	other=$(manifest_of umoci v2)
	copy oci:umoci:v2 "docker://$HOST/img:v2"
	inner=$(index_of "$(entry $MANIFEST "$other" "$(stat -c %s "umoci/blobs/sha256/${other#*:}")" "$arm64")" \
		"$(entry $MANIFEST "$digest" "$size" "$amd64")" | put_document img multi $INDEX)
	pull "$HOST/img:multi" platform=linux/amd64
	is_image_of umoci v3 gzip
	# shellcheck disable=SC2086 # two words
	index_of "$(entry $INDEX $inner)" | put_document img nested $INDEX
	pull "$HOST/img:nested" platform=linux/amd64
	is_image_of umoci v3 gzip
	pull "$HOST/img:nested" platform=linux/riscv64
	fails_with "not_found: pull '$HOST/img:nested': "
	fails_with "there is no image for linux/riscv64, only for linux/arm64/v8, linux/amd64"
	# The index says arm64, the config of umoci says amd64.
	pull "$HOST/img:multi" platform=linux/arm64
	fails_with "unsupported: pull '$HOST/img:multi': the image is for linux/amd64, not for linux/arm64"
}

@test "an image without layers is refused" {
	umoci init --layout "$BATS_TEST_TMPDIR/empty"
	umoci new --image "$BATS_TEST_TMPDIR/empty:v1"
	copy "oci:$BATS_TEST_TMPDIR/empty:v1" "docker://$HOST/empty:v1"
	pull "$HOST/empty:v1"
	fails_with "unsupported: pull '$HOST/empty:v1': field 'layers': the image has none"
	pull "oci:$BATS_TEST_TMPDIR/empty"
	fails_with "field 'layers': the image has none"
}

@test "what is stored beside images is no image" {
	local digest config
	config=$(entry application/vnd.cncf.helm.config.v1+json "$(jq -r .config.digest "umoci/blobs/sha256/$(manifest_of umoci v3 |
		cut -d: -f2)")" 3)
	printf '{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[]}' $MANIFEST "$config" | put_document img chart $MANIFEST
	pull "$HOST/img:chart"
	fails_with "unsupported: pull '$HOST/img:chart': field 'config': "
	fails_with "helm.config.v1+json' is not the config of an image"
	# The registry itself refuses these, so they come from a layout.
	digest=$(manifest_of umoci v3)
	cp -r umoci "$BATS_TEST_TMPDIR/odd"
	jq -c '.layers[0].urls = ["http://127.0.0.1:1/layer"]' "umoci/blobs/sha256/${digest#*:}" | into_layout
	pull "oci:$BATS_TEST_TMPDIR/odd"
	fails_with "layers[0]: field 'urls': content from other hosts than the registry is not fetched"
	jq -c '.manifests = []' "umoci/blobs/sha256/${digest#*:}" | into_layout
	pull "oci:$BATS_TEST_TMPDIR/odd"
	fails_with "field 'layers' has no place in an index"
}

# Makes a document the only image of the layout "odd".
into_layout() {
	local file=$BATS_TEST_TMPDIR/document digest
	cat >"$file"
	digest=$(sha256sum <"$file" | cut -d' ' -f1)
	cp "$file" "$BATS_TEST_TMPDIR/odd/blobs/sha256/$digest"
	index_of "$(entry $MANIFEST "sha256:$digest" "$(stat -c %s "$file")")" >"$BATS_TEST_TMPDIR/odd/index.json"
}

@test "what does not exist is not found" {
	pull "$HOST/img:none"
	fails_with "not_found: pull '$HOST/img:none': "
	pull "oci:$WORK/none"
	fails_with "not_found: "
	pull docker-archive:none.tar
	fails_with "not_found: "
}

@test "a layer that is larger than allowed is not even begun" {
	local before
	before=$(asked)
	pull "$HOST/img:v3" layer-bytes=1000000
	fails_with "limit: pull '$HOST/img:v3': layer 1 is sent with "
	fails_with "[limits] layer_bytes = 1000000"
	[ "$(asked)" -eq $((before + 1)) ] # the config
}

@test "twenty pulls of one image in one process fetch each blob once" {
	copy oci:umoci:v3 "docker://$HOST/twenty:v3"
	pull "$HOST/twenty:v3" threads=20
	is_image_of umoci v3 gzip
	each_once twenty
}

@test "five processes fetch each blob once" {
	copy oci:umoci:v3 "docker://$HOST/five:v3"
	local i pids=()
	for i in 1 2 3 4 5; do
		mkdir "$BATS_TEST_TMPDIR/out$i"
		"$TOOL" pull "$CACHE" "$HOST/five:v3" "$BATS_TEST_TMPDIR/out$i" >"$BATS_TEST_TMPDIR/log$i" 2>&1 3>&- &
		pids+=($!)
	done
	for i in 1 2 3 4 5; do
		wait "${pids[i - 1]}" || { cat "$BATS_TEST_TMPDIR/log$i"; return 1; }
		cmp "$BATS_TEST_TMPDIR/out1/layer-2" "$BATS_TEST_TMPDIR/out$i/layer-2"
	done
	each_once five
	cache_is_sound
}

@test "an image that shares layers fetches only the others" {
	pull "$HOST/img:v3"
	succeeds
	local before
	before=$(asked)
	pull "$HOST/other:latest"
	succeeds
	[ "$(jq -c .config.Cmd "$OUT/config.json")" = '["other"]' ]
	[ "$(asked)" -eq $((before + 1)) ] # its config
}

@test "killed at any step, the next pull goes on and nothing is wrong" {
	local point digest whole=0
	for point in oci.blob.partial@2 oci.blob.written@5 oci.blob.written@40 oci.blob.verified@2 oci.blob.synced@2 \
		oci.blob.renamed@2 oci.blob.renamed@4; do
		rm -rf "$CACHE"
		BANGER_FAILPOINT=$point run "$TOOL" pull "$CACHE" "$HOST/img:v3" "$OUT" parallel=1
		[ "$status" -ne 0 ] || skip "built without failpoints"
		[ "$status" -eq 137 ]
		cache_is_sound
		whole=$(find "$CACHE/blobs" -type f 2>/dev/null | wc -l)
		pull "$HOST/img:v3"
		is_image_of umoci v3 gzip
		cache_is_sound
		[ -z "$(ls "$CACHE/partial")" ]
		[ "$whole" -lt 4 ] || [ "$point" = oci.blob.renamed@4 ]
	done
}

@test "a fetch that was killed half way is resumed, not begun anew" {
	BANGER_FAILPOINT=oci.blob.written@60 run "$TOOL" pull "$CACHE" "$HOST/img:v3" "$OUT" parallel=1
	[ "$status" -ne 0 ] || skip "built without failpoints"
	local partial before
	partial=$(find "$CACHE/partial" -type f -size +100k)
	[ -n "$partial" ]
	before=$(grep -c '"http.response.status":206' registry.log || true)
	pull "$HOST/img:v3"
	is_image_of umoci v3 gzip
	[ "$(grep -c '"http.response.status":206' registry.log)" -eq $((before + 1)) ]
}

@test "bytes of an old fetch that are wrong are found and fetched again" {
	mkdir -p "$CACHE/partial"
	local layer
	layer=$(jq -r '.layers[0].digest' "umoci/blobs/sha256/$(manifest_of umoci v3 | cut -d: -f2)")
	head -c 100000 /dev/zero >"$CACHE/partial/sha256-${layer#*:}"
	pull "$HOST/img:v3"
	is_image_of umoci v3 gzip
	cache_is_sound
}

# The registry's own file of a blob.
stored() { # DIGEST
	local hex=${1#*:}
	echo "store/docker/registry/v2/blobs/sha256/${hex:0:2}/$hex/data"
}

# A command changes that file; the pull says this, keeps nothing of it, and is whole once the file is again.
damaged_says() { # DIGEST WHAT COMMAND...
	local file
	file=$(stored "$1")
	cp "$file" "$BATS_TEST_TMPDIR/saved"
	"${@:3}" "$file"
	pull "$HOST/damaged:v3"
	cp "$BATS_TEST_TMPDIR/saved" "$file"
	fails_with "protocol: "
	fails_with "$2"
	cache_is_sound
	[ ! -e "$CACHE/blobs/sha256/${1#*:}" ]
	pull "$HOST/damaged:v3"
	is_image_of umoci v3 gzip
	cache_is_sound
	rm -rf "$CACHE"
}

@test "a mirror is all that is needed, unless it lies; then the registry is asked once for each blob" {
	local lie before
	before=$(grep -c . registry.log)
	pull "$HOST/img:v3" mirror="$MIRROR/true"
	is_image_of umoci v3 gzip
	[ "$(grep -c . registry.log)" -eq "$before" ]
	for lie in flip short long endless half; do
		rm -rf "$CACHE" "${OUT:?}"/*
		copy oci:umoci:v3 "docker://$HOST/behind/$lie:v3"
		pull "$HOST/behind/$lie:v3" mirror="$MIRROR/$lie"
		is_image_of umoci v3 gzip
		cache_is_sound
		[ -z "$(ls "$CACHE/partial")" ]
		grep -q "^/$lie/v2/behind/$lie/blobs/" mirror.log
	done
	# A wrong size is known before a byte of it is taken; wrong bytes are only when all are there.
	for lie in flip short long; do
		each_once "behind/$lie"
	done
}

@test "a manifest that is not what its digest says is asked of the registry" {
	local digest
	digest=$(manifest_of umoci v3)
	pull "$HOST/img@$digest" mirror="$MIRROR/manifest"
	is_image_of umoci v3 gzip
	grep -q "^/manifest/v2/img/manifests/$digest " mirror.log
	# Neither has it: both are named.
	pull "$HOST/nowhere@$digest" mirror="$MIRROR/manifest"
	fails_with "not_found: pull '$HOST/nowhere@$digest': the mirror '${MIRROR#http://}' failed (manifest '$digest' of 'nowhere' at '${MIRROR#http://}': the content has the digest"
	fails_with "then: '$HOST' has no manifest '$digest' of 'nowhere'"
}

@test "a mirror that lies, and a registry that does: both are named, and nothing is kept" {
	local layer file
	copy oci:umoci:v3 "docker://$HOST/both:v3"
	layer=$(jq -r '.layers[1].digest' "umoci/blobs/sha256/$(manifest_of umoci v3 | cut -d: -f2)")
	file=$(stored "$layer")
	cp "$file" "$BATS_TEST_TMPDIR/saved"
	flip "$file"
	pull "$HOST/both:v3" mirror="$MIRROR/flip"
	cp "$BATS_TEST_TMPDIR/saved" "$file"
	fails_with "protocol: layer 2: neither the mirror '${MIRROR#http://}' nor '$HOST' has it whole: the content has the digest sha256:"
	cache_is_sound
	[ ! -e "$CACHE/partial/sha256-${layer#*:}" ]
	# A mirror alone is not enough to be believed: what only it has, and damaged, is refused.
	rm -rf "$CACHE"
	pull "127.0.0.1:1/x:v3" mirror="$MIRROR/flip"
	fails_with "the config: the mirror '${MIRROR#http://}' has it damaged: "
	fails_with "127.0.0.1:1"
	[ -z "$(find "$CACHE" -type f)" ]
}

@test "layers that nobody asks for are not downloaded" {
	copy oci:umoci:v3 "docker://$HOST/unwanted:v3"
	pull "$HOST/unwanted:v3" layers=no
	succeeds
	[ "$(asked_for | grep "^/v2/unwanted/")" = "/v2/unwanted/blobs/$(jq -r .config.digest \
		"umoci/blobs/sha256/$(manifest_of umoci v3 | cut -d: -f2)")" ]
}

@test "two images that share layers, pulled at once, fetch each blob once" {
	copy oci:umoci:v3 "docker://$HOST/both/a:v3"
	copy oci:umoci:other "docker://$HOST/both/b:v3"
	mkdir "$BATS_TEST_TMPDIR/out2"
	"$TOOL" pull "$CACHE" "$HOST/both/a:v3" "$BATS_TEST_TMPDIR/out2" >"$BATS_TEST_TMPDIR/log2" 2>&1 3>&- &
	local other=$!
	pull "$HOST/both/b:v3"
	succeeds
	wait "$other" || { cat "$BATS_TEST_TMPDIR/log2"; return 1; }
	cmp "$OUT/layer-2" "$BATS_TEST_TMPDIR/out2/layer-2"
	# Three layers and two configs.
	[ "$(asked_for | grep '^/v2/both/[ab]/' | sed 's,.*/,,' | sort | uniq -c | awk '{ print $1 }' | xargs)" = "1 1 1 1 1" ] || {
		asked_for
		return 1
	}
	cache_is_sound
}

flip() {
	python3 -c "import sys
with open(sys.argv[1], 'r+b') as file:
    file.seek(-10, 2)
    byte = file.read(1)[0]
    file.seek(-10, 2)
    file.write(bytes([byte ^ 1]))" "$1"
}

add_byte() {
	echo -n x >>"$1"
}

take_byte() {
	truncate -s -1 "$1"
}

@test "a registry whose blobs are not what they were is found out" {
	local digest manifest layer config
	copy oci:umoci:v3 "docker://$HOST/damaged:v3"
	digest=$(manifest_of umoci v3)
	manifest=umoci/blobs/sha256/${digest#*:}
	layer=$(jq -r '.layers[1].digest' "$manifest")
	config=$(jq -r .config.digest "$manifest")
	damaged_says "$layer" "layer 2: " flip
	damaged_says "$layer" "has the digest sha256:" flip
	damaged_says "$layer" "layer 2: " add_byte
	damaged_says "$layer" "layer 2: " take_byte
	damaged_says "$config" "the config: the content has the digest sha256:" flip
	damaged_says "$config" "the config: " add_byte
	damaged_says "$config" "the config: " take_byte
}

@test "a blob that the cache's disk damaged is fetched again" {
	pull "$HOST/img:v3"
	succeeds
	local layer before
	layer=$(jq -r '.layers[1].digest' "umoci/blobs/sha256/$(manifest_of umoci v3 | cut -d: -f2)")
	chmod 0600 "$CACHE/blobs/sha256/${layer#*:}"
	flip "$CACHE/blobs/sha256/${layer#*:}"
	before=$(asked)
	pull "$HOST/img:v3"
	is_image_of umoci v3 gzip
	cache_is_sound
	[ "$(asked)" -eq $((before + 1)) ]
}

@test "a full disk is said, and with room again the pull goes on" {
	[ "$(id -u)" = 0 ] || skip "mounting needs root"
	export OUT CACHE
	# shellcheck disable=SC2016
	run unshare -m bash -c 'set -e
		mount --make-rprivate /
		mkdir "$CACHE"
		mount -t tmpfs -o size=4M none "$CACHE"
		"$TOOL" pull "$CACHE" "$HOST/img:v3" "$OUT" parallel=1 2>&1 || true
		find "$CACHE/blobs" -type f | wc -l
		mount -o remount,size=64M "$CACHE"
		"$TOOL" pull "$CACHE" "$HOST/img:v3" "$OUT" parallel=1
		cd "$CACHE/blobs/sha256"
		for file in *; do sha256sum "$file"; done'
	succeeds
	[[ $output == *"system: layer 2: write to the cache '$CACHE': No space left on device"* ]]
	[[ $output == *"'banger image cache prune' frees what can be downloaded again"* ]]
	[ "$(grep -c "^layer " <<<"$output")" -eq 4 ] # one before, three after
	awk 'length($1) == 64 { if ($1 != $2) exit 1; n++ } END { exit n != 4 }' <<<"$output"
}

@test "pruning all the time while images are pulled" {
	(while [ ! -e "$BATS_TEST_TMPDIR/stop" ]; do "$TOOL" prune "$CACHE" || echo failed; done) \
		>"$BATS_TEST_TMPDIR/prunes" 2>&1 3>&- &
	local pruner=$! i
	for i in 1 2 3 4 5; do
		pull "$HOST/img:v3" threads=3
		is_image_of umoci v3 gzip
	done
	touch "$BATS_TEST_TMPDIR/stop"
	wait "$pruner"
	run ! grep -v '^[0-9]* files$' "$BATS_TEST_TMPDIR/prunes"
}

@test "pruning says what there is, then deletes it" {
	pull "$HOST/img:v3"
	succeeds
	run "$TOOL" prune "$CACHE" dry
	[ "$output" = "4 files" ]
	run "$TOOL" prune "$CACHE"
	[ "$output" = "4 files" ]
	[ -z "$(find "$CACHE" -type f)" ]
	BANGER_FAILPOINT=oci.prune.renamed run "$TOOL" prune "$CACHE"
	run "$TOOL" prune "$CACHE"
	[ "$output" = "0 files" ]
}

@test "all of this without root" {
	[ "$(id -u)" -eq 0 ] || return 0 # as it was
	local core="byte by byte|from the cache|zstd|umoci and of skopeo|archive of skopeo|half way|next pull goes on|twenty pulls"
	# What is root's is out of reach for others, the tests' own folders too.
	PLACE=$(mktemp -d /tmp/banger-pull-XXXXXX)
	mkdir -p "$PLACE/build/tests/integration" "$PLACE/tmp"
	cp "$TOOL" "$PLACE/build/tests/integration"
	cp "$BATS_TEST_DIRNAME"/{pull.bats,helper.bash,{mirror,loopback}_server.py} "$PLACE"
	chown -R 65534:65534 "$PLACE"
	cd "$PLACE"
	run setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all --no-new-privs env -i PATH=/usr/bin:/bin \
		TMPDIR="$PLACE/tmp" BANGER_BUILD="$PLACE/build" ASAN_OPTIONS="${ASAN_OPTIONS-}" UBSAN_OPTIONS="${UBSAN_OPTIONS-}" \
		bats --tap --filter "$core|unless it lies" "$PLACE/pull.bats"
	[ "$status" -eq 0 ] && [ "${lines[0]}" = 1..9 ] || { echo "$output"; return 1; }
	[[ $output != *"# skip"* ]] || skip "so was one of them"
}

@test "SIGTERM ends a pull from a registry that says nothing" {
	python3 -c "import socket, time
s = socket.create_server(('127.0.0.1', 0))
open('$BATS_TEST_TMPDIR/port', 'w').write(str(s.getsockname()[1]) + '\n')
c = s.accept()
open('$BATS_TEST_TMPDIR/accepted', 'w').close()
time.sleep(60)" 3>&- &
	local server=$! puller
	until grep -qs . "$BATS_TEST_TMPDIR/port"; do sleep 0.05; done
	"$TOOL" pull "$CACHE" "127.0.0.1:$(<"$BATS_TEST_TMPDIR/port")/x:y" "$OUT" 2>"$BATS_TEST_TMPDIR/err" 3>&- &
	puller=$!
	until [ -e "$BATS_TEST_TMPDIR/accepted" ]; do sleep 0.05; done
	kill -TERM "$puller"
	status=0
	wait "$puller" || status=$? # not by run: it would wait in another shell, for nobody
	kill "$server"
	[ "$status" -eq 1 ]
	grep -q '^cancelled: ' "$BATS_TEST_TMPDIR/err"
}
