/* For the unit test and the fuzzer of src/workspace/patch.h. */
#pragma once

#include "base/macros.h"
#include "workspace/patch.h"

/* The verdict on bytes that come in pieces of `piece` bytes; 0 when they are accepted. */
static inline int judge(struct span bytes, size_t piece, struct patch_summary *ret, struct err *err)
{
	CLEANUP(patch_check_freep) struct patch_check *check = patch_check_new();
	int r = 0;

	while (bytes.len > 0 && r == 0) {
		const size_t len = bytes.len < piece ? bytes.len : piece;

		r = patch_check_feed(check, span_of(bytes.ptr, len), err);
		bytes = span_skip(bytes, len);
	}
	return r < 0 ? r : patch_check_end(check, ret, err);
}
