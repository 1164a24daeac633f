#include "base/failpoint.h"

#ifdef BANGER_FAILPOINTS

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/parse.h"

void failpoint(const char *name)
{
	static _Atomic unsigned int passed;
	const char *wanted = getenv("BANGER_FAILPOINT"); // NOLINT(concurrency-mt-unsafe)
	struct span rest = span_str(wanted ? wanted : "");
	uint64_t nth = 1;
	bool stops;

	if (!parse_literal(&rest, name) ||
	    (rest.len > 0 && rest.ptr[0] != '@' && rest.ptr[0] != ':'))
		return;
	if (parse_byte(&rest, '@') && !parse_u64(&rest, UINT32_MAX, &nth))
		abort();
	stops = parse_literal(&rest, ":stop");
	if (rest.len > 0)
		abort();
	if (atomic_fetch_add(&passed, 1) + 1 == nth)
		(void)raise(stops ? SIGSTOP : SIGKILL);
}

#endif
