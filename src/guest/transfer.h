/* What guest_put() and guest_get() share. */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "guest/copy.h"
#include "guest/io.h"

struct guest_io transfer_io(const struct guest_copy *copy);

/* ERR_INVALID unless it is absolute UTF-8 of at most GUEST_PATH_MAX bytes. */
int transfer_check_path(const char *path, struct err *err) MUST_CHECK;

/* Sends the request and takes its answer, {"ok":true} and no more. */
int transfer_request(const struct guest_io *io, const json_t *request, struct err *err) MUST_CHECK;

/* {"entries":n,"bytes":n} of an END frame. */
int transfer_read_summary(struct span text, struct guest_copied *ret, struct err *err) MUST_CHECK;
