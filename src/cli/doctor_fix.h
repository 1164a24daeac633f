/*
 * What 'doctor --fix' puts right, without the daemon, which some of it keeps from starting. All of
 * it is banger's own and belongs to the user, can be undone, and loses nothing.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "base/macros.h"

/* Appends {"name", "message"} to `fixed` for each thing that was put right. */
int doctor_fix(json_t *fixed, struct err *err) MUST_CHECK;
