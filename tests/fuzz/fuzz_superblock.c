/*
 * The one thing of a file system that the daemon itself looks at: its first two kilobytes, which a
 * guest may have written. The input is the file's size, 8 bytes, and then its beginning. What is
 * accepted lies within the file and has a size that ext4 can have; what is refused is said why, and
 * leaves the result alone; a longer file does not make it worse.
 */
#include <stdlib.h>

#include "fuzz.h"
#include "image/superblock.h"
#include "kernel/little.h"

#define SIZE_BYTES 8U

static void must(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct superblock found = { .size_bytes = 77, .inodes = 88 };
	struct superblock again = { .size_bytes = 0 };
	struct err err = ERR_INIT;
	uint64_t file_size;
	struct span head;

	if (size < SIZE_BYTES)
		return 0;
	file_size = little32(data) | (uint64_t)little32(data + 4) << 32;
	head = span_of(data + SIZE_BYTES, size - SIZE_BYTES);
	if (head.len > SUPERBLOCK_HEAD_SIZE)
		head.len = SUPERBLOCK_HEAD_SIZE;
	if (superblock_read(head, file_size, &found, &err) < 0) {
		must(err.kind == ERR_INVALID && err.message[0] != '\0');
		must(found.size_bytes == 77 && found.inodes == 88);
		return 0;
	}
	must(found.size_bytes > 0 && found.size_bytes <= file_size && found.size_bytes % 1024 == 0);
	must(superblock_read(head, UINT64_MAX, &again, &err) == 0);
	must(again.size_bytes == found.size_bytes && again.inodes == found.inodes);
	must(superblock_read(head, found.size_bytes - 1, &again, &err) < 0);
	return 0;
}
