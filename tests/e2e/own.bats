#!/usr/bin/env bats
# File systems and kernels of one's own: what is taken, what is refused, what VMs that use them may count on, entries of one's own
# in the catalog, blocks that are shared (FAULTS.md KER1-KER3), and a database that cannot be written meanwhile.
# shellcheck disable=SC2154,SC2016 # bats sets status, output, stderr, lines; expressions for other shells

load helper
load crash_helper

KERNEL=$BANGER_CACHE/state/kernels/debian-cloud

setup_file() {
	record_image_tar "$BATS_FILE_TMPDIR/image.tar"
	small_kernel >"$BATS_FILE_TMPDIR/vmlinux"
	make_root "$BATS_FILE_TMPDIR/root.ext4" 1
}

small_kernel() {
	/usr/bin/python3 "$BATS_TEST_DIRNAME/../integration/small_kernel.py"
}

# A root file system with a shell, whose /version is $2, and a work seed beside it.
make_root() {
	local tree=$BATS_FILE_TMPDIR/tree name
	mkdir -p "$tree"/{bin,etc,root,tmp,dev,proc,sys} "$BATS_FILE_TMPDIR/seed"
	cp /bin/busybox "$tree/bin/"
	for name in sh cat ls id uname sync; do ln -sf busybox "$tree/bin/$name"; done
	echo 'root:x:0:0::/root:/bin/sh' >"$tree/etc/passwd"
	echo "$2" >"$tree/version"
	echo 'from the seed' >"$BATS_FILE_TMPDIR/seed/hello"
	truncate -s 64M "$1" "${1%/*}/seed.ext4"
	mke2fs -q -t ext4 -d "$tree" "$1"
	mke2fs -q -t ext4 -d "$BATS_FILE_TMPDIR/seed" "${1%/*}/seed.ext4"
	rm -r "$tree"
}

# Files of this test alone, in $mine.
own_files() {
	own_artifacts
	mine=$HOME_DIR/mine
	mkdir -p "$mine/kernel"
	cp --sparse=always "$BATS_FILE_TMPDIR"/{root,seed}.ext4 "$mine/"
	cp "$BATS_FILE_TMPDIR/vmlinux" "$mine/kernel/"
	head -c 70000 /dev/urandom >"$mine/kernel/initrd"
}

sha256_of() {
	sha256sum <"$1" | cut -d ' ' -f 1
}

kernel_get() {
	banger --json kernel show "$1" | jq -r ".kernel$2"
}

image_get() {
	banger --json image show "$1" | jq -r ".image$2"
}

# --- registering ---

@test "register --kernel-ref, --work-seed, --kernel with --initrd: recorded as given; what does not fit is refused" {
	own_files
	run_for 1 banger image register ref --rootfs "$mine/root.ext4" --kernel-ref nonesuch
	contains "$stderr" "banger: cannot register image 'ref': no kernel 'nonesuch'"
	equal "$(images) $(names_in images)" " "
	run_for 0 banger image register later --rootfs "$mine/root.ext4" --kernel-ref debian-cloud
	equal "$(image_get later .kernel)" debian-cloud # not here yet, but it can be pulled
	run_for 0 banger kernel import small --from "$mine/kernel"
	run_for 0 banger image register ref --rootfs "$mine/root.ext4" --kernel-ref small --work-seed "$mine/seed.ext4"
	equal "$(image_get ref .kernel) $(image_get ref .kind)" "small registered"
	equal "$(ls "$BANGER_STATE_DIR/images/ref")" $'image.json\nregistered.json'
	equal "$(jq -r .seed.path "$BANGER_STATE_DIR/images/ref/registered.json")" "$mine/seed.ext4"
	run_for 1 banger image register bad --rootfs "$mine/root.ext4" --work-seed "$mine/kernel/initrd"
	contains "$stderr" "'$mine/kernel/initrd': this is no ext4 file system"
	run_for 1 banger image register bad --rootfs "$mine/root.ext4" --kernel "$mine/kernel/initrd"
	contains "$stderr" "'$mine/kernel/initrd': "
	run_for 1 banger image register bad --rootfs "$mine/root.ext4" --kernel "$mine/kernel/vmlinux" --initrd "$mine/kernel"
	contains "$stderr" "'$mine/kernel' is a folder"
	equal "$(kernels) $(names_in kernels)" "small ready small"
	for words in "--kernel $mine/kernel/vmlinux --kernel-ref small" "--initrd $mine/kernel/initrd" "--modules $mine"; do
		# shellcheck disable=SC2086 # words are words
		run_for 2 banger image register bad --rootfs "$mine/root.ext4" $words
	done
	cd "$mine"
	run_for 0 banger image register pair --rootfs root.ext4 --kernel kernel/vmlinux --initrd kernel/initrd
	equal "$(kernel_get pair .has_initrd)" true
	equal "$(kernel_get pair .initrd_sha256) $(kernel_get pair .vmlinux_sha256)" \
		"$(sha256_of kernel/initrd) $(sha256_of kernel/vmlinux)"
	equal "$(kernel_get pair .source) $(kernel_get pair .vmlinuz_sha256)" "$mine/kernel/vmlinux null"
	run_for 0 banger kernel show pair
	contains "$output" "$(sha256_of kernel/initrd)  initrd"
	matches "$output" 'initrd +yes'
	# Its own kernel outlives the image: another one may use it by now.
	run_for 0 banger image delete pair
	equal "$(kernels)" $'pair ready\nsmall ready'
}

# --- kernels and images that VMs use ---

refused_in_use() {
	run_for 1 banger "$@"
	contains "$stderr" "in use by 1 VM"
}

@test "a kernel and an image that a VM uses are not deleted or replaced, running or stopped; promoted meanwhile, it goes on" {
	local guest digest
	own_files
	run_for 0 banger image register pair --rootfs "$mine/root.ext4" --work-seed "$mine/seed.ext4" --kernel "$KERNEL/vmlinuz" \
		--modules "$KERNEL/modules"
	run_for 0 banger --quiet vm run --name box --image pair -d
	run_for 0 banger vm exec box -- cat /version /root/hello
	equal "$output" $'1\nfrom the seed'
	guest=$(boot_id box)
	digest=$(kernel_get pair .vmlinux_sha256)
	refused_in_use kernel rm pair
	refused_in_use kernel import pair --from "$mine/kernel" # another one
	refused_in_use image delete pair
	equal "$(kernel_get pair .vmlinux_sha256) $(sha256_of "$BANGER_STATE_DIR/kernels/pair/vmlinux")" "$digest $digest"
	run_for 0 banger image promote pair
	rm "$mine"/{root,seed}.ext4
	equal "$(image_get pair .kind) $(boot_id box)" "managed $guest"
	in_vm box sh -c 'echo more >>/root/hello; sync'
	stop_vm box
	for verb in 'kernel rm' 'image delete'; do
		# shellcheck disable=SC2086 # two words
		refused_in_use $verb pair
	done
	refused_in_use kernel import pair --from "$mine/kernel"
	start_vm box
	run_for 0 banger vm exec box -- cat /version /root/hello
	equal "$output" $'1\nfrom the seed\nmore'
	delete_vm box
	run_for 0 banger --quiet vm run --image pair --rm -- cat /root/hello
	equal "$output" "from the seed"
	# Nobody uses it: the name gets another kernel.
	run_for 0 banger kernel import pair --from "$mine/kernel"
	equal "$(kernel_get pair .vmlinux_sha256)" "$(sha256_of "$mine/kernel/vmlinux")"
	equal "$(names_in kernels)" pair
	run_for 0 banger kernel rm pair
	run_for 0 banger image delete pair
}

# --- what is no kernel ---

# Imports from $HOME_DIR/odd: refused with these words, and nothing is left.
import_refused() {
	run_for 1 timeout 20 "$BANGER" kernel import odd --from "$HOME_DIR/odd"
	contains "$stderr" "banger: import kernel 'odd': "
	contains "$stderr" "$1"
	equal "$(kernels) $(names_in kernels)" " "
}

@test "import: what is no kernel for this machine, no regular file, or changes meanwhile is refused with what it is" {
	local odd=$HOME_DIR/odd writer
	own_files
	mkdir "$odd"
	import_refused "$odd"
	: >"$odd/vmlinux"
	import_refused "'$odd/vmlinux': this is an empty file"
	echo 'no kernel' >"$odd/vmlinux"
	import_refused "'$odd/vmlinux': this is "
	cp "$BATS_FILE_TMPDIR/vmlinux" "$odd/vmlinux"
	printf '\267' | dd of="$odd/vmlinux" bs=1 seek=18 conv=notrunc status=none
	import_refused "this is an ELF file for arm64; a kernel for x86-64 is needed"
	cp /bin/true "$odd/vmlinux"
	import_refused "'$odd/vmlinux': "
	cp "$BATS_FILE_TMPDIR/vmlinux" "$odd/vmlinux"
	truncate -s 5G "$odd/vmlinux"
	import_refused "'$odd/vmlinux'"
	head -c 3M "$KERNEL/vmlinuz" >"$odd/vmlinux" # cut short
	import_refused "'$odd/vmlinux'"
	rm "$odd/vmlinux"
	ln -s "$BATS_FILE_TMPDIR/vmlinux" "$odd/vmlinux"
	import_refused "symbolic link"
	rm "$odd/vmlinux"
	mkfifo "$odd/vmlinux"
	import_refused "is a FIFO, no regular file"
	rm "$odd/vmlinux"
	mkdir "$odd/vmlinux"
	import_refused "is a folder, no regular file"
	rmdir "$odd/vmlinux"
	echo '{"vmlinux": "../mine/kernel/vmlinux"}' >"$odd/metadata.json"
	import_refused "../mine/kernel/vmlinux"
	echo '{"vmlinux": "/etc/hostname"}' >"$odd/metadata.json"
	import_refused "/etc/hostname"
	rm "$odd/metadata.json"
	run_for 2 banger kernel import ../odd --from "$odd"
	run_for 2 banger kernel import .odd --from "$odd"
	# Written while it is copied.
	cp "$BATS_FILE_TMPDIR/vmlinux" "$odd/vmlinux"
	truncate -s 500M "$odd/vmlinux"
	while :; do printf x; done >>"$odd/vmlinux" 3>&- &
	writer=$!
	import_refused "'$odd/vmlinux' changed while it was copied"
	kill "$writer"
	wait "$writer" || true
}

# --- a database that cannot be written ---

# Somebody else writes to it, until unlock_database.
lock_database() {
	coproc LOCK {
		exec /usr/bin/python3 -c '
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()' "$BANGER_STATE_DIR/state.db" 3>&-
	}
	read -r -t 10 <&"${LOCK[0]}"
}

unlock_database() {
	local pid=$LOCK_PID
	kill "$pid"
	wait "$pid" 2>/dev/null || true
}

@test "promote while the database cannot be written: the image is registered as before, at once, and can be promoted later" {
	own_files
	run_for 0 banger image register mine --rootfs "$mine/root.ext4"
	lock_database
	run_for 1 banger image promote mine
	matches "$stderr" "banger: promote image 'mine': store the record: .* is locked by process [0-9]+"
	lacks "$stderr" "; then: "
	equal "$(image_get mine .kind) $(names_in images)" "registered mine"
	equal "$(ls "$BANGER_STATE_DIR/images/mine")" $'image.json\nregistered.json\nwork-seed.ext4'
	unlock_database
	equal "$(image_get mine .kind)" registered
	run_for 0 banger image promote mine
	equal "$(image_get mine .kind) $(names_in images)" "managed mine"
}

@test "a pull that fails while the database cannot be written: said, and the next one works without a restart" {
	local pid
	own_artifacts
	serve "$BATS_FILE_TMPDIR/image.tar"
	touch "$HOME_DIR/hold"
	start pull "$BANGER" image pull "$IMAGE"
	wait_until 20 test -e "$HOME_DIR/held"
	pid=$(daemon_pid)
	lock_database
	rm "$HOME_DIR/served.tar" "$HOME_DIR/hold"
	wait_for_status "$started" 1
	equal "$(images) $(names_in images)" "$IMAGE pulling "
	unlock_database
	serve "$BATS_FILE_TMPDIR/image.tar"
	run_for 0 banger --quiet image pull "$IMAGE"
	equal "$(images) $(daemon_pid)" "$IMAGE ready $pid"
	image_is_whole
}

# --- the catalog ---

# Serves the files of a folder on loopback: $port, and $server to end.
serve_files() {
	(cd "$1" && exec /usr/bin/python3 -u -m http.server --bind 127.0.0.1 0 >"$BATS_TEST_TMPDIR/http" 2>&1 3>&-) &
	server=$!
	wait_until 20 grep -q 'port [0-9]' "$BATS_TEST_TMPDIR/http"
	port=$(grep -o 'port [0-9]*' "$BATS_TEST_TMPDIR/http" | cut -d ' ' -f 2)
}

# A bundle of the files in a folder.
bundle() {
	(cd "$1" && find . -type f ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort >../members && xargs sha256sum <../members >SHA256SUMS &&
		(echo SHA256SUMS && cat ../members) | tar --format=ustar --no-recursion -T - -cf - | zstd -q -f -o "$2")
}

# An entry: name, file that is served, its sha256 (its own), its size (its own).
entry() {
	jq -nc --arg name "$1" --arg url "http://127.0.0.1:$port/$2" --arg sha "${3:-$(sha256_of "$served/$2")}" \
		--argjson size "${4:-$(stat -c %s "$served/$2")}" '{name: $name, kind: "bundle", url: $url, sha256: $sha, size_bytes: $size}'
}

write_catalog() {
	jq -n --argjson images "[$1]" --argjson kernels "[$2]" '{images: $images, kernels: $kernels}' >"$BANGER_CONFIG_DIR/catalog.json"
}

@test "catalog.json: images and kernels that are bundles are pulled by name, and verified; recipes stay what they are" {
	local served=$HOME_DIR/served server port
	own_files
	serve "$BATS_FILE_TMPDIR/image.tar" # for the recipe
	mkdir -p "$served" "$HOME_DIR/image"
	cp --sparse=always "$mine/root.ext4" "$HOME_DIR/image/root.ext4"
	cp --sparse=always "$mine/seed.ext4" "$HOME_DIR/image/work-seed.ext4"
	echo '{"kernel": "packed-kernel"}' >"$HOME_DIR/image/image.json"
	echo '{"version": "7-1"}' >"$mine/kernel/metadata.json"
	bundle "$HOME_DIR/image" "$served/image.tar.zst"
	bundle "$mine/kernel" "$served/kernel.tar.zst"
	serve_files "$served"
	write_catalog "$(entry packed image.tar.zst), $(entry wrong image.tar.zst "$(printf %064d 0)"),
		$(entry short image.tar.zst "" 1000), $(entry gone nothing "$(printf %064d 0)" 5)" \
		"$(entry packed-kernel kernel.tar.zst), $(entry wrong kernel.tar.zst "$(printf %064d 0)"), $(entry odd image.tar.zst)"
	run_for 0 banger --json kernel list --available
	equal "$(jq -c '[.kernels[] | [.name, .kind, .present]]' <<<"$output")" \
		'[["debian-cloud","package",false],["odd","bundle",false],["packed-kernel","bundle",false],["wrong","bundle",false]]'
	equal "$(banger --json image catalog | jq -c '[.entries[] | select(.users) | [.name, .kind, .present]]')" \
		'[["gone","bundle",false],["packed","bundle",false],["short","bundle",false],["wrong","bundle",false]]'
	run_for 0 banger --quiet kernel pull packed-kernel
	equal "$(kernel_get packed-kernel .kind) $(kernel_get packed-kernel .version)" "bundle 7-1"
	equal "$(kernel_get packed-kernel .source)" "http://127.0.0.1:$port/kernel.tar.zst"
	equal "$(kernel_get packed-kernel .vmlinux_sha256)" "$(sha256_of "$mine/kernel/vmlinux")"
	cmp "$BANGER_STATE_DIR/kernels/packed-kernel/initrd" "$mine/kernel/initrd"
	run_for 0 banger --quiet image pull packed
	cmp "$BANGER_STATE_DIR/images/packed/root.ext4" "$mine/root.ext4"
	cmp "$BANGER_STATE_DIR/images/packed/work-seed.ext4" "$mine/seed.ext4"
	equal "$(image_get packed .kernel) $(image_get packed .kind) $(image_get packed .has_init)" "packed-kernel managed false"
	equal "$(image_get packed .digest)" "sha256:$(sha256_of "$served/image.tar.zst")"
	equal "$(banger --json image catalog | jq -c '[.entries[] | select(.present) | .name]')" '["packed"]'
	run_for 1 banger image pull wrong
	contains "$stderr" "banger: cannot pull image 'wrong': "
	contains "$stderr" "sha256"
	run_for 1 banger image pull short
	contains "$stderr" "1000"
	run_for 1 banger image pull gone
	contains "$stderr" "404"
	run_for 1 banger kernel pull wrong
	contains "$stderr" "sha256"
	run_for 1 banger kernel pull odd # an image's bundle
	contains "$stderr" "'image.json' may not be in a bundle of this kind"
	equal "$(images) $(names_in images) $(kernels) $(names_in kernels)" "packed ready packed packed-kernel ready packed-kernel"
	kill "$server"
	wait "$server" || true
	# A recipe is pulled by its name as ever.
	run_for 0 banger --quiet image pull "$IMAGE"
	equal "$(image_get "$IMAGE" .recipe)" "$IMAGE"
}

# What reads that half of the file fails with these words: listing, and pulling what the other entries have.
catalog_refused() {
	local verbs=('image catalog' 'image pull debian-bookworm-slim') verb
	[[ $1 == images* ]] || verbs=('kernel list --available' 'kernel pull debian-cloud')
	for verb in "${verbs[@]}"; do
		# shellcheck disable=SC2086 # words are words
		run_for 1 banger $verb
		contains "$stderr" "$BANGER_CONFIG_DIR/catalog.json: $1"
	done
}

@test "catalog.json that is wrong: refused with the entry and the member" {
	local port=1 served=$HOME_DIR good
	own_artifacts
	echo x >"$HOME_DIR/x"
	good=$(entry a x)
	for row in \
		"images[0]: kind: 'recipe' is neither 'oci' nor 'bundle'|$(jq -c '.kind = "recipe"' <<<"$good")|" \
		"kernels[0]: kind: 'oci'||$(jq -c '.kind = "oci"' <<<"$good")" \
		"images[1]: name: 'a' is there twice|$good, $good|" \
		"kernels[1]: name: 'a' is there twice||$good, $good" \
		"images[0]: name: |$(jq -c '.name = "../a"' <<<"$good")|" \
		"images[0]: sha256: |$(jq -c '.sha256 = "abc"' <<<"$good")|" \
		"kernels[0]: sha256: ||$(jq -c '.sha256 |= ascii_upcase' <<<"$good")" \
		"images[0]: |$(jq -c '.size_bytes = 0' <<<"$good")|" \
		"images[0]: kind 'bundle' needs 'url'|$(jq -c 'del(.url)' <<<"$good")|" \
		"images[0]: url: |$(jq -c '.url = "http://example.org/x"' <<<"$good")|" \
		"images[0]: |$(jq -c '.more = 1' <<<"$good")|" \
		'images[0]: reference: |{"name": "r", "kind": "oci", "reference": "UPPER:1"}|'; do
		IFS='|' read -r message images_part kernels_part <<<"$row"
		write_catalog "$images_part" "$kernels_part"
		catalog_refused "$message"
	done
	echo '{"images": [' >"$BANGER_CONFIG_DIR/catalog.json"
	run_for 1 banger image catalog
	matches "$stderr" "catalog.json:[0-9]+:[0-9]+: "
	equal "$(names_in images) $(names_in kernels)" " "
	# What is here does not need the catalog.
	run_for 0 banger image list
	run_for 0 banger kernel list
}

# --- blocks that are shared ---

used_blocks() {
	sync -f "$1"
	btrfs filesystem sync "$1" >/dev/null 2>&1 || true
	df --output=used -B1 "$1" | tail -n 1
}

release_state() {
	banger --quiet daemon stop --force >/dev/null || true
	! mountpoint -q "$BANGER_STATE_DIR/images" || umount -l "$BANGER_STATE_DIR/images"
}

@test "on a file system that can share blocks, a promoted image occupies no room of its own, whatever becomes of the original" {
	grep -qw btrfs /proc/filesystems || skip "the kernel has no btrfs"
	local place=$BANGER_STATE_DIR/images disk=$HOME_DIR/disk before after content=$((48 << 20)) sum
	own_artifacts
	truncate -s 512M "$disk"
	mkfs.btrfs -q "$disk"
	mount -o loop "$disk" "$place"
	chmod 700 "$place"
	mkdir -p "$HOME_DIR/tree"
	head -c "$content" /dev/urandom >"$HOME_DIR/tree/content"
	truncate -s 96M "$place/mine.img"
	mke2fs -q -t ext4 -d "$HOME_DIR/tree" "$place/mine.img"
	sum=$(sha256_of "$place/mine.img")
	before=$(used_blocks "$place")
	[ "$before" -gt "$content" ]
	run_for 0 banger image register mine --rootfs "$place/mine.img"
	run_for 0 banger image promote mine
	after=$(used_blocks "$place")
	echo "# $content bytes of content: promoting took $((after - before)) bytes" >&3
	# An empty work seed, records and the file system's own tables; not the content.
	[ $((after - before)) -lt $((16 << 20)) ]
	filefrag -v "$place/mine/root.ext4" | grep -q shared
	# Written to, the original is another; the image is what it was.
	head -c 8M /dev/zero | dd of="$place/mine.img" bs=1M seek=8 conv=notrunc status=none
	sync -f "$place"
	equal "$(sha256_of "$place/mine/root.ext4")" "$sum"
	rm "$place/mine.img"
	equal "$(sha256_of "$place/mine/root.ext4")" "$sum"
	run_for 0 banger image delete mine
}
