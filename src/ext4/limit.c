#include "ext4/limit.h"

int limit_reached(struct err *err, const char *key, uint64_t limit, const char *what)
{
	const int r = err_set(err, ERR_LIMIT, "there are more than %llu %s (limits.%s)",
			      (unsigned long long)limit, what, key);

	err_hint(err, "if that is meant to be so, raise %s in [limits] of the configuration", key);
	return r;
}
