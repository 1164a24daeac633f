/* The requests that are one question and one answer. */
#pragma once

#include <jansson.h>

#include "agent/conn.h"
#include "agent/request.h"
#include "agent/state.h"
#include "base/err.h"
#include "base/macros.h"

/* The body of `GET /healthz`. */
json_t *answer_health(const struct agent_state *state) MUST_CHECK;

int ping_serve(struct conn *conn, const struct request *request, struct err *err) MUST_CHECK;
int stats_serve(struct conn *conn, const struct request *request, struct err *err) MUST_CHECK;
