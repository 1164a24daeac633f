/*
 * A patch or bundle of a hostile guest (src/workspace/patch.h): the verdict does not depend on how
 * the bytes come, and what was let through names nothing outside a checkout.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "patch_judge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct patch_summary whole = { .files = 0 };
	struct patch_summary pieces = { .files = 0 };
	const struct span bytes = span_of(data, size);
	struct err first = ERR_INIT;
	struct err second = ERR_INIT;
	struct err bundle = ERR_INIT;
	uint64_t refs = 0;
	const int r = judge(bytes, size + 1, &whole, &first);

	if (judge(bytes, 3, &pieces, &second) != r || first.kind != second.kind ||
	    whole.files != pieces.files || whole.far_link_count != pieces.far_link_count)
		abort();
	if (r == 0 && size > 0 && whole.files == 0)
		abort();
	if (whole.far_links.count > PATCH_LINKS_MAX || whole.far_link_count > whole.files)
		abort();
	patch_summary_done(&whole);
	patch_summary_done(&pieces);

	switch (bundle_check(bytes, &refs, &bundle)) {
	case 1:
		if (refs == 0)
			abort();
		break;
	case 0:
		break;
	default:
		if (bundle.kind == ERR_NONE)
			abort();
	}
	return 0;
}
