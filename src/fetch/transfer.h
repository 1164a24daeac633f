/* One HTTP exchange over libcurl: one request, one answer, no redirect, no second try. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "fetch/answer.h"
#include "fetch/url.h"

struct transfer_request {
	const struct url *url;
	const struct fetch_policy *policy;
	const struct cancel *cancel;
	const char *const *headers; /* may be NULL */
	const char *authorization;  /* may be NULL */
	const char *form;	    /* may be NULL */
	uint64_t offset;	    /* asks for a range when it is not 0 */
	bool is_insecure_allowed;
	enum fetch_place led_from;
	/* Takes the body; what it returns when negative ends the exchange. */
	int (*take)(void *context, struct span bytes, struct err *err);
	void *context;
};

struct transfer_result {
	struct answer answer;	/* the status is 0 until it has come */
	enum fetch_place place; /* NONE when there was no connection */
	uint64_t retry_after_ms;
	bool is_connected; /* as far as sending the request */
	bool can_retry;	   /* a failure that may not come again */
	bool is_untrusted; /* the server's certificate is */
	bool has_no_tls;   /* the server's end of the handshake was no TLS */
};

void transfer_result_done(struct transfer_result *result);
#define AUTO_TRANSFER_RESULT CLEANUP(transfer_result_done) struct transfer_result

/* 0 when the answer came whole. `ret` is filled as far as it goes also on failure. */
int transfer_run(const struct transfer_request *request, struct transfer_result *ret,
		 struct err *err) MUST_CHECK;
