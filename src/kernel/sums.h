/* A list of digests, as sha256sum writes it, read strictly. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "kernel/digest.h"

struct sum {
	char *name; /* owned */
	char sha256[SHA256_TEXT_SIZE];
	bool is_seen; /* for the caller */
};

struct sums {
	struct sum *items; /* owned; sorted by name */
	size_t count;
};

void sums_done(struct sums *sums);
#define AUTO_SUMS CLEANUP(sums_done) struct sums

/*
 * Each line is 64 lower-case hexadecimal digits, two blanks, a name of printable ASCII without
 * blanks at either end, and a newline. ERR_INVALID names the line that is anything else, or that
 * has a name for the second time; ERR_LIMIT beyond `count_max` lines. Pure.
 */
int sums_parse(struct span text, size_t count_max, struct sums *ret, struct err *err) MUST_CHECK;

/* NULL when it is not there. */
struct sum *sums_find(const struct sums *sums, const char *name);
