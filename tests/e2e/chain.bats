#!/usr/bin/env bats
# The whole chain: images of all kinds, built by umoci, buildah and by hand, pushed by skopeo to a real registry, pulled by
# banger; what the kernel then finds in root.ext4 is, entry by entry, what umoci unpacks from the same image.
# shellcheck disable=SC2030,SC2031,SC2154 # bats sets status, output, stderr, lines; each test is a subshell

load helper
load registry

setup_file() {
	[ "$EUID" -eq 0 ] || skip "only root can unpack owners and devices"
	export MAKER=$BATS_TEST_DIRNAME/../integration/layers.py
	cd "$BATS_FILE_TMPDIR" || return
	export LAYOUTS=$PWD/layouts
	mkdir "$LAYOUTS" mounted
	start_registry "$PWD/registry"
	export REGISTRY registry_pid
	share_home
	rm "$BANGER_STATE_DIR/images"
	mkdir -m 700 "$BANGER_STATE_DIR/images"
}

teardown_file() {
	[ "$EUID" -eq 0 ] || return 0
	end_shared_home
	stop_registry
}

setup() {
	cd "$BATS_FILE_TMPDIR" || return
	watch_census
}

teardown() {
	if mountpoint -q mounted; then umount mounted; fi
	rm -rf bundle
	equal "$(find "$BANGER_STATE_DIR/images" -name '.*' -mindepth 1)" ""
	banger --quiet daemon stop --force
	wait_until 20 no_process_of_ours
	compare_census
}

# What umoci makes of LAYOUT:TAG becomes the file "theirs".
unpack() {
	rm -rf bundle
	umoci unpack --image "$LAYOUTS/$1" bundle 2>umoci.log || { cat umoci.log >&2; return 1; }
	"$MAKER" walk bundle/rootfs >theirs
	rm -rf bundle
}

# Pulls NAME:TAG of the registry; what is in it is what is in "theirs".
pulled_is_theirs() {
	local file=$BANGER_STATE_DIR/images/${1/:/-}/root.ext4
	run_for 0 banger --quiet image pull "$REGISTRY/$1"
	e2fsck -fn "$file" >e2fsck.log 2>&1 || { cat e2fsck.log >&2; return 1; }
	mount -o loop,ro,noload "$file" mounted
	"$MAKER" walk mounted | grep -v '^/lost+found ' >ours
	umount mounted
	diff theirs ours || { echo "differs: $1" >&2; return 1; }
	[ "$(wc -l <ours)" -gt 1 ]
	banger --quiet image delete "${1/:/-}" >/dev/null
}

copy() {
	skopeo --insecure-policy copy -q --dest-tls-verify=false --src-tls-verify=false "$@"
}

# From the registry, how the layers of NAME:TAG are packed.
media_types() {
	skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/$1" | jq -r '[.layers[].mediaType] | unique | join(" ")'
}

# push_zstd LAYOUT:TAG NAME:TAG
push_zstd() {
	rm -rf packed
	copy --dest-compress-format zstd "oci:$LAYOUTS/$1" oci:packed:latest
	copy --preserve-digests oci:packed:latest "docker://$REGISTRY/$2"
}

@test "images of all kinds, with gzip and with zstd, are what umoci makes of them" {
	local cases case
	mapfile -t cases < <("$MAKER" cases)
	[ "${#cases[@]}" -ge 10 ]
	for case in "${cases[@]}"; do
		"$MAKER" image "$case" "$LAYOUTS/$case"
		unpack "$case:latest"
		push "$case:latest" "$case:gzip"
		pulled_is_theirs "$case:gzip"
		push_zstd "$case:latest" "$case:zstd"
		pulled_is_theirs "$case:zstd"
	done
	equal "$(media_types odd:gzip)" application/vnd.oci.image.layer.v1.tar+gzip
	equal "$(media_types odd:zstd)" application/vnd.oci.image.layer.v1.tar+zstd
}

@test "plain layers, Docker's manifests, and one of an index" {
	[ -e "$LAYOUTS/links" ] || "$MAKER" image links "$LAYOUTS/links"
	unpack links:latest
	copy --dest-decompress "oci:$LAYOUTS/links:latest" dir:plain
	copy --preserve-digests dir:plain "docker://$REGISTRY/links:plain"
	equal "$(media_types links:plain)" application/vnd.oci.image.layer.v1.tar
	pulled_is_theirs links:plain
	copy --format v2s2 "oci:$LAYOUTS/links:latest" "docker://$REGISTRY/links:docker"
	contains "$(media_types links:docker)" application/vnd.docker.image.rootfs.diff.tar
	pulled_is_theirs links:docker
	[ -e "$LAYOUTS/plain" ] || "$MAKER" image plain "$LAYOUTS/plain"
	push_index links:latest plain:latest links:index
	pulled_is_theirs links:index
}

# An index with another platform's image before the one for here: push_index HERE OTHER NAME:TAG
push_index() {
	local name=${3%:*} tag=${3#*:} here other
	push "$1" "$name:here"
	push "$2" "$name:other"
	here=$(describe_manifest "$name:here" amd64) other=$(describe_manifest "$name:other" s390x)
	jq -n "{schemaVersion: 2, mediaType: \"application/vnd.oci.image.index.v1+json\", manifests: [$other, $here]}" >index
	curl -fsS -X PUT -H "Content-Type: application/vnd.oci.image.index.v1+json" --data-binary @index \
		"http://$REGISTRY/v2/$name/manifests/$tag"
}

describe_manifest() {
	skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/$1" >manifest
	jq -n --arg digest "sha256:$(sha256sum <manifest | cut -d ' ' -f 1)" --argjson size "$(stat -c %s manifest)" \
		--arg architecture "$2" '{mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $digest, size: $size,
		platform: {os: "linux", architecture: $architecture}}'
}

@test "busybox, built by umoci in steps" {
	make_layouts "$LAYOUTS" >umoci.log 2>&1
	unpack tiny:2
	push tiny:2 tiny:2
	pulled_is_theirs tiny:2
	push_zstd tiny:2 tiny:zstd
	pulled_is_theirs tiny:zstd
	unpack bare:1
	push bare:1 bare:1
	pulled_is_theirs bare:1
}

@test "what umoci makes of changes to an odd tree" {
	local root=work/rootfs
	[ -e "$LAYOUTS/odd" ] || "$MAKER" image odd "$LAYOUTS/odd"
	umoci unpack --image "$LAYOUTS/odd:latest" work
	rm -r "$root"/{xattrs,d,fifo}
	mkdir "$root"/{d,e}
	mknod "$root/d/zero" c 1 5
	chown 70000:80000 "$root/e"
	/usr/bin/python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.new", b"value")' "$root/acl"
	umoci repack --refresh-bundle --image "$LAYOUTS/odd:changed" work
	ln "$root/empty" "$root/e/hard"
	chmod 4511 "$root/empty"
	umoci repack --image "$LAYOUTS/odd:changed" work
	rm -r work
	unpack odd:changed
	push odd:changed odd:changed
	pulled_is_theirs odd:changed
}

@test "what buildah builds from a Containerfile" {
	local store=(--storage-driver vfs --root "$PWD/storage" --runroot "$PWD/run")
	mkdir -p context/tree/deep
	cp /bin/busybox context/busybox
	echo one >context/tree/deep/one
	truncate -s 20M context/tree/sparse
	printf end >>context/tree/sparse
	cat >context/Containerfile <<-'FILE'
		FROM scratch
		COPY busybox /bin/busybox
		COPY --chown=70000:80000 --chmod=0640 tree /srv/tree
		ADD tree /srv/again
		WORKDIR /srv/work
		USER 70000:80000
		ENV A="b c" B=d
		ENTRYPOINT ["/bin/busybox", "env"]
	FILE
	buildah "${store[@]}" build --isolation chroot --layers -q -t first context >buildah.log 2>&1 || { cat buildah.log >&2; return 1; }
	change_in_container >buildah.log 2>&1 || { cat buildah.log >&2; return 1; }
	buildah "${store[@]}" push -q first "oci:$LAYOUTS/built:1"
	buildah "${store[@]}" push -q second "oci:$LAYOUTS/built:2"
	for tag in 1 2; do
		unpack "built:$tag"
		buildah "${store[@]}" push -q --tls-verify=false "$([ "$tag" -eq 1 ] && echo first || echo second)" \
			"docker://$REGISTRY/built:$tag"
		pulled_is_theirs "built:$tag"
	done
	rm -r storage run
}

# Replaces a folder by another with new things in it, which becomes an opaque folder or whiteouts.
change_in_container() {
	local container folder
	container=$(buildah "${store[@]}" from first)
	folder=$(buildah "${store[@]}" mount "$container")
	rm -r "${folder:?}/srv/tree" "$folder/srv/again/sparse"
	mkdir -m 700 "$folder/srv/tree"
	mkdir "$folder/srv/tree/deep"
	echo two >"$folder/srv/tree/deep/two"
	ln -s /srv/tree "$folder/link"
	buildah "${store[@]}" commit -q --format oci "$container" second
}
