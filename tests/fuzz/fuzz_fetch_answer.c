/*
 * The headers of an answer, a line at a time. They never keep more than they may, and a range that
 * is believed makes sense.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "fetch/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void want(bool condition)
{
	if (!condition)
		abort();
}

static void check_range(const struct answer *answer)
{
	char text[96];
	uint64_t first = 0, total = 0;

	want(answer->range_first < answer->range_total);
	(void)snprintf(
		text, sizeof(text), "bytes %llu-%llu/%llu", (unsigned long long)answer->range_first,
		(unsigned long long)answer->range_first, (unsigned long long)answer->range_total);
	if (answer->range_total == FETCH_SIZE_UNKNOWN)
		return;
	want(answer_parse_range(span_str(text), &first, &total));
	want(first == answer->range_first && total == answer->range_total);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_ANSWER answer = ANSWER_INIT;
	struct span rest = span_of(data, size), line;
	size_t taken = 0;

	while (parse_until(&rest, '\n', &line)) {
		if (!answer_take_line(&answer, line)) {
			want(taken + line.len > FETCH_HEADER_BYTES_MAX);
			return 0;
		}
		taken += line.len;
		want(answer.header_bytes == taken && taken <= FETCH_HEADER_BYTES_MAX);
		want(answer.status <= 999 && answer.challenges.count <= ANSWER_CHALLENGES_MAX);
		if (answer.has_range)
			check_range(&answer);
		if (answer.is_chunked)
			want(answer.content_length == FETCH_SIZE_UNKNOWN);
	}
	return 0;
}
