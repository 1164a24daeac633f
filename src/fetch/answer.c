#include "fetch/answer.h"

#include <strings.h>

#include "base/mem.h"
#include "base/parse.h"

#define VALUE_BYTES_MAX 16384 /* of one header that we keep */

static const char *const kept[FETCH_HEADER_COUNT] = {
	[FETCH_CONTENT_TYPE] = "content-type",
	[FETCH_DOCKER_CONTENT_DIGEST] = "docker-content-digest",
	[FETCH_ETAG] = "etag",
	[FETCH_LINK] = "link",
};

void answer_done(struct answer *answer)
{
	mem_free(answer->location);
	for (size_t i = 0; i < FETCH_HEADER_COUNT; i++)
		mem_free(answer->headers[i]);
	strv_done(&answer->challenges);
	*answer = ANSWER_INIT;
}

static bool is_blank(uint8_t byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static struct span trim(struct span text)
{
	while (text.len > 0 && is_blank(text.ptr[0]))
		text = span_skip(text, 1);
	while (text.len > 0 && is_blank(text.ptr[text.len - 1]))
		text.len--;
	return text;
}

static bool is_named(struct span name, const char *wanted)
{
	return name.len == strlen(wanted) &&
	       strncasecmp((const char *)name.ptr, wanted, name.len) == 0;
}

bool answer_parse_range(struct span text, uint64_t *ret_first, uint64_t *ret_total)
{
	uint64_t first, last, total = FETCH_SIZE_UNKNOWN;

	if (!parse_literal(&text, "bytes ") || !parse_u64(&text, INT64_MAX, &first) ||
	    !parse_byte(&text, '-') || !parse_u64(&text, INT64_MAX, &last) ||
	    !parse_byte(&text, '/'))
		return false;
	if (!parse_byte(&text, '*') && !parse_u64(&text, INT64_MAX, &total))
		return false;
	if (!parse_end(&text) || last < first || last >= total)
		return false;

	*ret_first = first;
	*ret_total = total;
	return true;
}

static bool parse_whole(struct span text, uint64_t *ret)
{
	return parse_u64(&text, INT64_MAX, ret) && parse_end(&text);
}

/* "HTTP/1.1 200 OK", what follows "HTTP/". */
static unsigned int parse_status(struct span line)
{
	struct span version;
	uint64_t status;

	return parse_until(&line, ' ', &version) && parse_u64(&line, 999, &status)
		       ? (unsigned int)status
		       : 0;
}

/* The first of several counts. */
static void keep(char **slot, struct span value)
{
	if (!*slot && value.len <= VALUE_BYTES_MAX && !memchr(value.ptr, '\0', value.len))
		*slot = mem_strndup((const char *)value.ptr, value.len);
}

static void take_length(struct answer *answer, struct span value)
{
	uint64_t length;

	if (!parse_whole(value, &length) ||
	    (answer->content_length != FETCH_SIZE_UNKNOWN && answer->content_length != length))
		answer->is_contradictory = true;
	else
		answer->content_length = length;
}

static void take_header(struct answer *answer, struct span name, struct span value)
{
	if (is_named(name, "location"))
		keep(&answer->location, value);
	if (is_named(name, "content-length"))
		take_length(answer, value);
	if (is_named(name, "transfer-encoding"))
		answer->is_chunked = true;
	if (is_named(name, "content-range"))
		answer->has_range =
			answer_parse_range(value, &answer->range_first, &answer->range_total);
	if (is_named(name, "www-authenticate") &&
	    answer->challenges.count < ANSWER_CHALLENGES_MAX && value.len <= VALUE_BYTES_MAX &&
	    !memchr(value.ptr, '\0', value.len))
		strv_take(&answer->challenges, mem_strndup((const char *)value.ptr, value.len));
	for (size_t i = 0; i < FETCH_HEADER_COUNT; i++)
		if (is_named(name, kept[i]))
			keep(&answer->headers[i], value);
}

bool answer_take_line(struct answer *answer, struct span line)
{
	const size_t header_bytes = answer->header_bytes + line.len;
	struct span status = line, name, value = line;

	if (header_bytes > FETCH_HEADER_BYTES_MAX)
		return false;
	if (parse_literal(&status, "HTTP/")) {
		answer_done(answer);
		answer->status = parse_status(status);
		answer->header_bytes = header_bytes;
		return true;
	}
	answer->header_bytes = header_bytes;

	if (parse_until(&value, ':', &name))
		take_header(answer, name, trim(value));
	if (answer->is_chunked)
		answer->content_length = FETCH_SIZE_UNKNOWN;
	return true;
}
