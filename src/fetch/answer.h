/* What the headers of an answer say. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/span.h"
#include "base/strv.h"
#include "fetch/fetch.h"

#define ANSWER_CHALLENGES_MAX 8

/* All owned. */
struct answer {
	unsigned int status; /* 0: none yet */
	size_t header_bytes; /* also of interim answers */
	char *location;
	char *headers[FETCH_HEADER_COUNT];
	struct strv challenges;
	uint64_t content_length; /* FETCH_SIZE_UNKNOWN when not said, or the body is chunked */
	bool is_chunked;
	bool is_contradictory; /* two lengths */
	bool has_range;	       /* a Content-Range that makes sense */
	uint64_t range_first;
	uint64_t range_total; /* FETCH_SIZE_UNKNOWN for "*" */
};

void answer_done(struct answer *answer);
#define AUTO_ANSWER CLEANUP(answer_done) struct answer
#define ANSWER_INIT ((struct answer){ .content_length = FETCH_SIZE_UNKNOWN })

/*
 * Takes one line, with or without its end. A status line begins anew: what came before was of an
 * interim answer or a proxy's. False when there is too much of it all.
 */
bool answer_take_line(struct answer *answer, struct span line) MUST_CHECK;

/* "bytes 5-9/10" or "bytes 5-9/<asterisk>". */
bool answer_parse_range(struct span text, uint64_t *ret_first, uint64_t *ret_total) MUST_CHECK;
