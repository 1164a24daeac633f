/* One HTTP request to a VMM's socket, bounded in time and size; and what its answer means. */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"
#include "vmm/fc_client.h"

struct fc_request {
	const char *verb; /* "GET", "PUT", "PATCH" */
	const char *path; /* "/drives/root" */
	const char *body; /* JSON; NULL for GET */
};

/* Sends it and takes the answer as it comes: *ret_status, and the body appended to `ret_body`. */
int fc_http_send(const struct vmm_api *api, const struct fc_request *request, long *ret_status,
		 struct buf *ret_body, struct err *err) MUST_CHECK;

/* Whether the answer is a success: 0, or what the VMM said in `err`. Pure. */
int fc_answer_check(const struct fc_request *request, long status, struct span body,
		    struct err *err) MUST_CHECK;

/* Reads the body of GET /. Pure. */
int fc_description_read(struct span body, struct vmm_description *ret, struct err *err) MUST_CHECK;
