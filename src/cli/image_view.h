/* How an image is shown. */
#pragma once

#include <jansson.h>

#include "base/macros.h"

struct cli;

/* Prints the "image" of a result; the exit status. */
int image_view_print(struct cli *cli, const json_t *result) MUST_CHECK;
