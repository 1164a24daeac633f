#include "disk/qcow2.h"

#include <errno.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"

/*
 * Clusters of 64 KiB: the header, a table of reference counts with one block of 16-bit counts (for
 * the first 32768 clusters, far more than are in use), and the table of level 1, all zeroes and so
 * a hole in the file.
 */
#define CLUSTER_BITS  16
#define CLUSTER_BYTES (1ULL << CLUSTER_BITS)
#define MAGIC	      0x514649fbU /* "QFI\xfb" */
#define VERSION	      3
#define COUNT_ORDER   4 /* counts of 1 << 4 bits */
#define HEADER_BYTES  112
/* Offsets of QEMU's docs/interop/qcow2.txt, "Header". */
#define AT_VERSION	4
#define AT_CLUSTER_BITS 20
#define AT_SIZE		24
#define AT_CRYPT	32
#define AT_MAP_ENTRIES	36
#define AT_SNAPSHOTS	60
#define AT_INCOMPATIBLE 72
#define COUNTS_TABLE	(1 * CLUSTER_BYTES)
#define COUNTS_BLOCK	(2 * CLUSTER_BYTES)
#define MAP_TABLE	(3 * CLUSTER_BYTES)
#define MAP_ENTRY_BYTES 8
/* What an entry of level 1 maps: a cluster full of entries, each for a cluster. */
#define MAPPED_BYTES (CLUSTER_BYTES / MAP_ENTRY_BYTES * CLUSTER_BYTES)

_Static_assert(QCOW2_SIZE_MAX / MAPPED_BYTES * MAP_ENTRY_BYTES <= 32ULL << 20,
	       "QEMU refuses a larger table of level 1");

static void add_be64(struct buf *buf, uint64_t value)
{
	buf_add_be32(buf, (uint32_t)(value >> 32));
	buf_add_be32(buf, (uint32_t)value);
}

static void add_header(struct buf *buf, uint64_t size_bytes, uint64_t entries)
{
	buf_add_be32(buf, MAGIC);
	buf_add_be32(buf, VERSION);
	add_be64(buf, 0); /* no backing file's name */
	buf_add_be32(buf, 0);
	buf_add_be32(buf, CLUSTER_BITS);
	add_be64(buf, size_bytes);
	buf_add_be32(buf, 0); /* no encryption */
	buf_add_be32(buf, (uint32_t)entries);
	add_be64(buf, MAP_TABLE);
	add_be64(buf, COUNTS_TABLE);
	buf_add_be32(buf, 1); /* cluster of that table */
	buf_add_be32(buf, 0); /* no snapshots */
	add_be64(buf, 0);
	add_be64(buf, 0); /* features: none incompatible, compatible or automatically cleared */
	add_be64(buf, 0);
	add_be64(buf, 0);
	buf_add_be32(buf, COUNT_ORDER);
	buf_add_be32(buf, HEADER_BYTES);
	add_be64(buf, 0); /* compression: deflate, and padding */
	add_be64(buf, 0); /* the end of the extensions */
}

int qcow2_write_empty(int fd, uint64_t size_bytes)
{
	const uint64_t needed = (size_bytes + MAPPED_BYTES - 1) / MAPPED_BYTES * MAP_ENTRY_BYTES;
	const uint64_t map_bytes = (needed + CLUSTER_BYTES - 1) / CLUSTER_BYTES * CLUSTER_BYTES;
	const uint64_t entries = map_bytes / MAP_ENTRY_BYTES;
	const uint64_t clusters = (MAP_TABLE + map_bytes) / CLUSTER_BYTES;
	AUTO_BUF header = BUF_INIT;
	AUTO_BUF table = BUF_INIT;
	AUTO_BUF counts = BUF_INIT;
	int r;

	add_header(&header, size_bytes, entries);
	add_be64(&table, COUNTS_BLOCK);
	for (uint64_t i = 0; i < clusters; i++)
		buf_add_be16(&counts, 1);
	r = fd_pwrite_all(fd, buf_span(&header), 0);
	if (r == 0)
		r = fd_pwrite_all(fd, buf_span(&table), COUNTS_TABLE);
	if (r == 0)
		r = fd_pwrite_all(fd, buf_span(&counts), COUNTS_BLOCK);
	if (r < 0)
		return r;
	return ftruncate(fd, (off_t)(MAP_TABLE + map_bytes)) < 0 ? -errno : 0;
}

static uint64_t get_be(struct span header, size_t at, size_t bytes)
{
	uint64_t value = 0;

	for (size_t i = 0; i < bytes; i++)
		value = value << 8 | header.ptr[at + i];
	return value;
}

bool qcow2_has_room(struct span header, uint64_t size_bytes, uint64_t *ret_now)
{
	/* A file that was not closed well has a feature set that QEMU must look at first. */
	if (header.len < QCOW2_HEADER_BYTES || get_be(header, 0, 4) != MAGIC ||
	    get_be(header, AT_VERSION, 4) != VERSION ||
	    get_be(header, AT_CLUSTER_BITS, 4) != CLUSTER_BITS ||
	    get_be(header, AT_CRYPT, 4) != 0 || get_be(header, AT_SNAPSHOTS, 4) != 0 ||
	    get_be(header, AT_INCOMPATIBLE, 8) != 0)
		return false;
	*ret_now = get_be(header, AT_SIZE, 8);
	return size_bytes > 0 && size_bytes <= get_be(header, AT_MAP_ENTRIES, 4) * MAPPED_BYTES;
}

int qcow2_grow(int fd, uint64_t size_bytes)
{
	uint8_t header[QCOW2_HEADER_BYTES];
	const ssize_t n = pread(fd, header, sizeof(header), 0);
	AUTO_BUF size = BUF_INIT;
	uint64_t now;
	int r;

	if (n < 0)
		return -errno;
	if (!qcow2_has_room(span_of(header, (size_t)n), size_bytes, &now))
		return -ENOTSUP;
	if (size_bytes < now)
		return -EINVAL;
	add_be64(&size, size_bytes);
	r = fd_pwrite_all(fd, buf_span(&size), AT_SIZE);
	return r < 0 || fsync(fd) == 0 ? r : -errno;
}
