/* Every prerequisite, looked at now: PASS, WARN or FAIL with what to do. */
#pragma once

#include <jansson.h>

#include "base/macros.h"

struct daemon;
struct job;

/* [{"name","status","message","hint"}]; owned by the caller. */
json_t *doctor_checks(struct daemon *daemon, const struct job *job) MUST_CHECK;
