#include "guest/http.h"

#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "base/text.h"
#include "wire/protocol.h"

#define SHOWN_MAX 48 /* bytes of a wrong answer in a message */

#define wrong(err, ...) \
	err_set((err), ERR_PROTOCOL, "wrong HTTP answer from the agent: " __VA_ARGS__)

/* What the head says that matters here. */
struct head {
	bool has_length;
	uint64_t length;
};

static int read_status(struct span line, struct err *err)
{
	AUTO_BUF shown = BUF_INIT;
	struct span cursor = line;
	uint64_t status;

	if ((!parse_literal(&cursor, "HTTP/1.1 ") && !parse_literal(&cursor, "HTTP/1.0 ")) ||
	    !parse_u64(&cursor, 999, &status) ||
	    (!parse_end(&cursor) && !parse_byte(&cursor, ' '))) {
		text_escape(&shown, line, SHOWN_MAX);
		return wrong(err, "'%s'", shown.ptr);
	}
	if (status != 200)
		return wrong(err, "status %u", (unsigned)status);
	return 0;
}

static bool name_is(struct span name, const char *wanted)
{
	return name.len == strlen(wanted) &&
	       strncasecmp((const char *)name.ptr, wanted, name.len) == 0;
}

static int read_header(struct span line, struct head *head, struct err *err)
{
	struct span name;

	if (!parse_until(&line, ':', &name) || name.len == 0)
		return wrong(err, "a header line without a name");
	while (parse_byte(&line, ' ')) {
	}
	if (name_is(name, "transfer-encoding"))
		return wrong(err, "it is in pieces");
	if (!name_is(name, "content-length"))
		return 0;
	if (head->has_length || !parse_u64(&line, WIRE_HTTP_BODY_MAX, &head->length) ||
	    !parse_end(&line))
		return wrong(err, "its length is not one number up to %d", WIRE_HTTP_BODY_MAX);
	head->has_length = true;
	return 0;
}

/* `text` is the head with the newline of each line, without the empty line. */
static int read_head(struct span text, struct head *head, struct err *err)
{
	bool is_first = true;
	struct span line;
	int r = 0;

	while (r == 0 && parse_until(&text, '\n', &line)) {
		if (line.len == 0 || line.ptr[line.len - 1] != '\r')
			return wrong(err, "a line does not end in CR LF");
		line.len--;
		r = is_first ? read_status(line, err) : read_header(line, head, err);
		is_first = false;
	}
	return r;
}

int guest_http_read(struct span answer, bool is_ended, struct span *ret_body, struct err *err)
{
	const uint8_t *end = memmem(answer.ptr, answer.len, "\r\n\r\n", 4);
	const size_t head_len = end ? (size_t)(end - answer.ptr) + 4 : answer.len;
	struct head head = { .has_length = false };
	struct span body;
	int r;

	if (head_len > WIRE_HTTP_HEAD_MAX || (!end && head_len == WIRE_HTTP_HEAD_MAX))
		return wrong(err, "its head is over %d bytes", WIRE_HTTP_HEAD_MAX);
	if (!end && is_ended && answer.len == 0)
		return err_set(err, ERR_BAD_STATE,
			       "the agent closed the connection without an answer");
	if (!end)
		return is_ended ? wrong(err, "it ends in its head") : 0;
	r = read_head(span_of(answer.ptr, head_len - 2), &head, err);
	if (r < 0)
		return r;

	body = span_skip(answer, head_len);
	if (body.len > (head.has_length ? head.length : WIRE_HTTP_BODY_MAX))
		return wrong(err, "its body is too long");
	if (is_ended ? head.has_length && body.len < head.length
		     : !head.has_length || body.len < head.length)
		return is_ended ? wrong(err, "its body is too short") : 0;
	*ret_body = body;
	return 1;
}
