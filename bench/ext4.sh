#!/bin/bash
# An image from a tar against the way without a writer of our own: unpack, and mke2fs -d of the tree.
#     bench/ext4.sh BUILD [TAR]
# Without a tar, one is made of this host's /usr/lib and /usr/share (at most some 300 MB).
set -euo pipefail

build=${1:?usage: bench/ext4.sh BUILD [TAR]}
tool=$build/tests/integration/ext4_tool
work=$(mktemp -d "${TMPDIR:-/var/tmp}/banger-bench-ext4-XXXXXX")
trap 'rm -rf "$work"' EXIT
tar=${2:-$work/in.tar}

make_tar() {
	find /usr/lib /usr/share -xdev \( -type f -o -type l -o -type d \) -size -8M -print0 2>/dev/null |
		head -z -n 16000 | sort -z |
		tar --no-recursion --null --files-from=- -cf "$tar" 2>/dev/null || [ -s "$tar" ]
}

seconds() {
	local start end
	start=$(date +%s%N)
	"$@" >/dev/null
	end=$(date +%s%N)
	echo $(((end - start) / 1000000))
}

from_tar() {
	rm -f "$work/i.ext4"
	"$tool" "$work/i.ext4" <"$tar"
}

unpack_and_mke2fs() {
	rm -rf "$work/tree" "$work/p.ext4"
	mkdir "$work/tree"
	tar -C "$work/tree" --xattrs -xpf "$tar"
	truncate -s "$size" "$work/p.ext4"
	mke2fs -q -t ext4 -d "$work/tree" "$work/p.ext4"
	sync "$work/p.ext4"
}

median() {
	sort -n | sed -n 2p
}

[ -e "$tar" ] || make_tar
cat "$tar" >/dev/null
size=$(from_tar | sed -n 's/^size //p')
ours=() theirs=()
# Alternately, so that both meet the same noise.
for _ in 1 2 3; do
	ours+=("$(seconds from_tar)")
	theirs+=("$(seconds unpack_and_mke2fs)")
done
a=$(printf '%s\n' "${ours[@]}" | median)
b=$(printf '%s\n' "${theirs[@]}" | median)
note="tar of $(($(stat -c %s "$tar") >> 20)) MiB, $(tar -tf "$tar" | wc -l) entries"
verdict="aim: under 1, $([ "$a" -lt "$b" ] && echo met || echo missed)"
# The columns of bench/run.
printf '%-58s %10s %-4s  %-28s %s\n' "image from the tar stream" "$a" ms "" "$note"
printf '%-58s %10s %-4s\n' "the same by unpacking, mke2fs -d, sync" "$b" ms
printf '%-58s %10s %-4s  %s\n' "ratio: tar stream to unpacking" "$(awk "BEGIN { printf \"%.2f\", $a / $b }")" "" "$verdict"
