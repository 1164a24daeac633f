/*
 * A pack of a host's repository (src/workspace/pack_index.h): the verdict and the index do not
 * depend on how the bytes come. The first byte chooses SHA-256.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "workspace/pack_index.h"

#define FIXED_SIZE (8 + 1024) /* of an index: head and fan-out */

static int judge(bool is_sha256, struct span bytes, size_t piece, struct buf *ret)
{
	struct pack_index *index = NULL;
	char name[GIT_OID_HEX_MAX + 1];
	struct err err = ERR_INIT;
	int r = pack_index_new(is_sha256, &index, &err);

	while (bytes.len > 0 && r == 0) {
		const size_t len = bytes.len < piece ? bytes.len : piece;

		r = pack_index_take(index, span_of(bytes.ptr, len), &err);
		bytes = span_skip(bytes, len);
	}
	if (r == 0)
		r = pack_index_finish(index, ret, name, &err);
	pack_index_free(index);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const bool is_sha256 = size > 0 && data[0] & 1;
	const size_t oid_size = is_sha256 ? 32 : 20;
	const struct span pack = size > 0 ? span_of(data + 1, size - 1) : span_of("", 0);
	AUTO_BUF whole = BUF_INIT;
	AUTO_BUF pieces = BUF_INIT;
	const int r = judge(is_sha256, pack, pack.len + 1, &whole);

	if (judge(is_sha256, pack, 3, &pieces) != r || whole.len != pieces.len ||
	    memcmp(whole.ptr, pieces.ptr, whole.len) != 0)
		abort();
	if (r == 0 && (whole.len - FIXED_SIZE - 2 * oid_size) % (oid_size + 8) != 0)
		abort();
	return 0;
}
