/* Paths as archives have them: pure. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

/* Takes the next component and the slashes around it; false at the end. */
bool path_next(struct span *path, struct span *ret);

bool path_is_dot(struct span name);
bool path_is_dot_dot(struct span name);

/* Not empty, no "..", nothing too long. */
int path_check(struct span path, struct err *err) MUST_CHECK;

/* Cuts the last component that is not "." off; `ret_name` is empty for the root. */
void path_split(struct span path, struct span *ret_parent, struct span *ret_name);
