#include "workspace/pack_index.h"

#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST /* its input is only read */
#include <zlib.h>

#include "base/mem.h"
#include "workspace/hash.h"

#define HEAD_SIZE	12
#define VERSION		2
#define CHUNK		16384
#define FANOUT		256
#define OFFSET_LARGE	0x80000000U
#define INDEX_MAGIC	0xff744f63U
#define SIZE_SHIFT_MAX	57 /* beyond which a size would not fit into 64 bits */
#define ENTRIES_AT_ONCE 1024

enum state { IN_HEAD, IN_OBJECT_HEAD, IN_OBJECT, IN_TRAILER, IN_NOTHING };

struct entry {
	uint8_t oid[GIT_OID_RAW_MAX];
	uint32_t crc;
	uint64_t offset;
};

struct pack_index {
	enum state state;
	bool is_sha256;
	size_t oid_size;
	uint64_t offset; /* of the next byte in the pack */
	uint32_t left;	 /* objects that are still to come */
	struct blob_hash pack_hash;

	uint8_t fixed[GIT_OID_RAW_MAX]; /* the pack's head or trailer, as far as it has come */
	size_t fixed_len;

	/* The object that goes by. */
	uint64_t object_offset;
	uint64_t object_size;
	uint64_t object_done;
	unsigned int object_shift; /* of the next bits of its size; 0: no byte has come */
	unsigned int object_type;
	uint32_t crc;
	struct blob_hash object_hash;
	z_stream stream;
	uint8_t content[CHUNK];

	struct entry *entries; /* owned */
	size_t count;
	size_t room;
};

static const char *const types[] = { NULL, "commit", "tree", "blob", "tag" };

int pack_index_new(bool is_sha256, struct pack_index **ret, struct err *err)
{
	struct pack_index *index = mem_alloc(1, sizeof(*index));
	int r;

	index->is_sha256 = is_sha256;
	index->oid_size = is_sha256 ? GIT_OID_RAW_MAX : 20;
	if (inflateInit(&index->stream) != Z_OK) {
		mem_free(index);
		return err_set(err, ERR_SYSTEM, "zlib does not begin");
	}
	r = object_hash_begin(&index->pack_hash, is_sha256, NULL, 0, err);
	if (r < 0) {
		pack_index_free(index);
		return r;
	}
	*ret = index;
	return 0;
}

void pack_index_free(struct pack_index *index)
{
	if (!index)
		return;
	(void)inflateEnd(&index->stream);
	blob_hash_done(&index->pack_hash);
	blob_hash_done(&index->object_hash);
	mem_free(index->entries);
	mem_free(index);
}

static int fail(struct err *err)
{
	return err_set(err, ERR_PROTOCOL, "git's pack is not in the form that is known");
}

/* All that has been taken from `bytes`, but the trailer, is what the trailer is the hash of. */
static void take(struct pack_index *index, struct span *bytes, size_t count)
{
	const struct span taken = span_of(bytes->ptr, count);

	if (index->state == IN_OBJECT_HEAD || index->state == IN_OBJECT)
		index->crc = (uint32_t)crc32(index->crc, taken.ptr, (uInt)count);
	if (index->state != IN_TRAILER)
		blob_hash_add(&index->pack_hash, taken);
	index->offset += count;
	*bytes = span_skip(*bytes, count);
}

/* Whether all `size` bytes of the head or trailer have come. */
static bool take_fixed(struct pack_index *index, struct span *bytes, size_t size)
{
	const size_t wanted = size - index->fixed_len;
	const size_t count = bytes->len < wanted ? bytes->len : wanted;

	memcpy(index->fixed + index->fixed_len, bytes->ptr, count);
	index->fixed_len += count;
	take(index, bytes, count);
	return index->fixed_len == size;
}

static uint32_t get_be32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void next_object(struct pack_index *index)
{
	index->state = index->left > 0 ? IN_OBJECT_HEAD : IN_TRAILER;
	index->object_offset = index->offset;
	index->object_shift = 0;
	index->object_done = 0;
	index->crc = (uint32_t)crc32(0, NULL, 0);
	index->fixed_len = 0;
}

static int take_head(struct pack_index *index, struct span *bytes, struct err *err)
{
	if (!take_fixed(index, bytes, HEAD_SIZE))
		return 0;
	if (memcmp(index->fixed, "PACK", 4) != 0 || get_be32(index->fixed + 4) != VERSION)
		return fail(err);
	index->left = get_be32(index->fixed + 8);
	next_object(index);
	return 0;
}

static int begin_object(struct pack_index *index, struct err *err)
{
	if (inflateReset(&index->stream) != Z_OK)
		return fail(err);
	index->state = IN_OBJECT;
	return object_hash_begin(&index->object_hash, index->is_sha256, types[index->object_type],
				 index->object_size, err);
}

/* Type and size: 3 and 4 bits, then 7 bits a byte, the lowest first. */
static int take_object_head(struct pack_index *index, struct span *bytes, struct err *err)
{
	const uint8_t byte = bytes->ptr[0];

	if (index->object_shift == 0) {
		index->object_type = byte >> 4 & 7;
		index->object_size = byte & 15;
		index->object_shift = 4;
		if (index->object_type == 0 || index->object_type >= ARRAY_LEN(types))
			return fail(err);
	} else {
		if (index->object_shift > SIZE_SHIFT_MAX)
			return fail(err);
		index->object_size |= (uint64_t)(byte & 0x7f) << index->object_shift;
		index->object_shift += 7;
	}
	take(index, bytes, 1);
	return byte & 0x80 ? 0 : begin_object(index, err);
}

static void end_object(struct pack_index *index)
{
	struct entry *entry;

	if (index->count == index->room) {
		index->room += index->room / 2 + ENTRIES_AT_ONCE;
		index->entries = mem_grow(index->entries, index->room, sizeof(*index->entries));
	}
	entry = &index->entries[index->count++];
	*entry = (struct entry){ .crc = index->crc, .offset = index->object_offset };
	(void)blob_hash_end_raw(&index->object_hash, entry->oid);
	index->left--;
	next_object(index);
}

static int take_object(struct pack_index *index, struct span *bytes, struct err *err)
{
	z_stream *stream = &index->stream;
	const uInt given = bytes->len < CHUNK ? (uInt)bytes->len : CHUNK;
	size_t got;
	int r;

	stream->next_in = bytes->ptr;
	stream->avail_in = given;
	do {
		stream->next_out = index->content;
		stream->avail_out = CHUNK;
		r = inflate(stream, Z_NO_FLUSH);
		got = CHUNK - stream->avail_out;
		if ((r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR) ||
		    got > index->object_size - index->object_done)
			return fail(err);
		blob_hash_add(&index->object_hash, span_of(index->content, got));
		index->object_done += got;
	} while (r == Z_OK && (stream->avail_in > 0 || stream->avail_out == 0));
	if (r == Z_BUF_ERROR && stream->avail_in > 0)
		return fail(err);
	take(index, bytes, given - stream->avail_in);
	if (r != Z_STREAM_END)
		return 0;
	if (index->object_done != index->object_size)
		return fail(err);
	end_object(index);
	return 0;
}

static int take_trailer(struct pack_index *index, struct span *bytes, struct err *err)
{
	uint8_t wanted[GIT_OID_RAW_MAX];

	if (!take_fixed(index, bytes, index->oid_size))
		return 0;
	(void)blob_hash_end_raw(&index->pack_hash, wanted);
	if (memcmp(wanted, index->fixed, index->oid_size) != 0)
		return fail(err);
	index->state = IN_NOTHING;
	return 0;
}

int pack_index_take(struct pack_index *index, struct span bytes, struct err *err)
{
	int r = 0;

	while (r == 0 && bytes.len > 0) {
		switch (index->state) {
		case IN_HEAD:
			r = take_head(index, &bytes, err);
			break;
		case IN_OBJECT_HEAD:
			r = take_object_head(index, &bytes, err);
			break;
		case IN_OBJECT:
			r = take_object(index, &bytes, err);
			break;
		case IN_TRAILER:
			r = take_trailer(index, &bytes, err);
			break;
		case IN_NOTHING:
			return fail(err);
		}
	}
	return r;
}

/* --- the index --- */

static int compare_entries(const void *a, const void *b)
{
	return memcmp(((const struct entry *)a)->oid, ((const struct entry *)b)->oid,
		      GIT_OID_RAW_MAX);
}

static void add_fanout(const struct pack_index *index, struct buf *out)
{
	size_t at = 0;

	for (unsigned int byte = 0; byte < FANOUT; byte++) {
		while (at < index->count && index->entries[at].oid[0] <= byte)
			at++;
		buf_add_be32(out, (uint32_t)at);
	}
}

/* Offsets of more than 31 bits are in a table of their own. */
static void add_offsets(const struct pack_index *index, struct buf *out)
{
	uint32_t large = 0;

	for (size_t i = 0; i < index->count; i++)
		buf_add_be32(out, index->entries[i].offset < OFFSET_LARGE
					  ? (uint32_t)index->entries[i].offset
					  : OFFSET_LARGE | large++);
	for (size_t i = 0; i < index->count; i++) {
		const uint64_t offset = index->entries[i].offset;

		if (offset < OFFSET_LARGE)
			continue;
		buf_add_be32(out, (uint32_t)(offset >> 32));
		buf_add_be32(out, (uint32_t)offset);
	}
}

int pack_index_finish(struct pack_index *index, struct buf *ret,
		      char ret_name[static GIT_OID_HEX_MAX + 1], struct err *err)
{
	AUTO_BLOB_HASH hash = { .context = NULL };
	uint8_t checksum[GIT_OID_RAW_MAX];
	const size_t begin = ret->len;
	int r;

	if (index->state != IN_NOTHING)
		return fail(err);
	r = object_hash_begin(&hash, index->is_sha256, NULL, 0, err);
	if (r < 0)
		return r;
	if (index->count > 0)
		qsort(index->entries, index->count, sizeof(*index->entries), compare_entries);
	buf_add_be32(ret, INDEX_MAGIC);
	buf_add_be32(ret, VERSION);
	add_fanout(index, ret);
	for (size_t i = 0; i < index->count; i++)
		buf_add(ret, span_of(index->entries[i].oid, index->oid_size));
	for (size_t i = 0; i < index->count; i++)
		buf_add_be32(ret, index->entries[i].crc);
	add_offsets(index, ret);
	buf_add(ret, span_of(index->fixed, index->oid_size));
	git_oid_hex(span_of(index->fixed, index->oid_size), ret_name);
	blob_hash_add(&hash, span_of(ret->ptr + begin, ret->len - begin));
	(void)blob_hash_end_raw(&hash, checksum);
	buf_add(ret, span_of(checksum, index->oid_size));
	return 0;
}
