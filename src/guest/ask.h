/* One request and its answer, for the parts of src/guest that have such. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "guest/agent.h"
#include "wire/protocol.h"

#define GUEST_MEMBERS_ANY SIZE_MAX

/*
 * One request over a connection of its own, which gets its `op`; the answer must have `members`
 * members, `ok` included. `ret_reply` may be NULL.
 */
int guest_ask(const struct guest_target *target, enum wire_op op, json_t *request, size_t members,
	      json_t **ret_reply, struct err *err) MUST_CHECK;

/* A wrong field is the peer's mistake here, not the caller's. */
int guest_wrong_answer(struct err *err) MUST_CHECK;
