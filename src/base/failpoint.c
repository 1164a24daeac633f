#include "base/failpoint.h"

#ifdef BANGER_FAILPOINTS

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"

void failpoint(const char *name)
{
	static _Atomic unsigned int passed;
	const char *wanted = getenv("BANGER_FAILPOINT"); // NOLINT(concurrency-mt-unsafe)
	const char *at = wanted ? strchr(wanted, '@') : NULL;
	const size_t len = at ? (size_t)(at - wanted) : (wanted ? strlen(wanted) : 0);
	uint64_t nth = 1;

	if (!wanted || strlen(name) != len || strncmp(name, wanted, len) != 0)
		return;
	if (at && !parse_u64_text(at + 1, UINT32_MAX, &nth))
		abort();
	if (atomic_fetch_add(&passed, 1) + 1 == nth)
		(void)raise(SIGKILL);
}

#endif
