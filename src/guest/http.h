/* The little HTTP that the agent speaks: one GET, one answer. Reading it is pure, for its fuzzer.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

/*
 * Judges what came so far of an answer: 1 and its body, 0 when more is needed, or < 0 with
 * ERR_PROTOCOL: no HTTP, a status but 200, head or body over WIRE_HTTP_HEAD_MAX or
 * WIRE_HTTP_BODY_MAX, a body of another length than announced. `is_ended`: nothing more will come.
 */
int guest_http_read(struct span answer, bool is_ended, struct span *ret_body, struct err *err)
	MUST_CHECK;

/*
 * Asks the agent for `path` and appends its whole answer, head and body, as it came. `doing` begins
 * the message of what goes wrong once it is reached. `ret_us` (may be NULL) is what question and
 * answer took, without the connection.
 */
struct buf;
struct guest_target;
int guest_http_get(const struct guest_target *target, const char *path, const char *doing,
		   struct buf *answer, uint64_t *ret_us, struct err *err) MUST_CHECK;
