/*
 * A user's ssh configuration: whatever it is, the block goes in once, at its beginning, and taking
 * it out gives back every byte that is not a block's.
 */
#include <stdint.h>
#include <stdlib.h>

#include "cli/ssh_block.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void want(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_BUF rest = BUF_INIT, added = BUF_INIT, twice = BUF_INIT, back = BUF_INIT;
	bool is_found = false, is_rest = false;
	struct err err = ERR_INIT;

	if (ssh_block_remove(span_of(data, size), &rest, &is_found, &is_rest, &err) < 0) {
		want(ssh_block_add(span_of(data, size), false, "/x", &added, &err) < 0);
		want(added.len == 0);
		return 0;
	}
	want(is_found || span_eq(buf_span(&rest), span_of(data, size)));
	want(ssh_block_add(span_of(data, size), false, "/x", &added, &err) == 0);
	want(ssh_block_add(buf_span(&added), false, "/x", &twice, &err) == 0);
	want(span_eq(buf_span(&added), buf_span(&twice)));
	want(ssh_block_remove(buf_span(&added), &back, &is_found, &is_rest, &err) == 0);
	want(is_found && span_eq(buf_span(&back), buf_span(&rest)));
	return 0;
}
