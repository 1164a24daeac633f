/*
 * HTTP on the API socket, by libmicrohttpd, for a caller with its own poll loop. A request is
 * handed over when it is complete; its answer may come at any later time.
 *
 * What reaches the caller has one Content-Length at most, no Transfer-Encoding, and a body within
 * the limit: everything else is answered here (400, 413) and the connection is closed, so that
 * nobody downstream can see other requests than we do. Connections are kept alive otherwise.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/macros.h"
#include "vmmshim/api.h"

#define HTTP_CONNECTIONS_MAX 10 /* Firecracker's */
#define HTTP_IDLE_SECONDS    60 /* a connection that says nothing is closed */
#define HTTP_HEADER_MAX	     (16 * 1024)

struct http;
struct http_exchange; /* a request that waits for its answer */

/* Called with a complete request; `request` is valid until http_answer(). */
typedef void (*http_request_fn)(void *context, struct http_exchange *exchange,
				const struct api_request *request);

/* `listen_fd` is borrowed; bodies of more than `body_max` bytes are answered with 413. */
int http_new(int listen_fd, size_t body_max, http_request_fn on_request, void *context,
	     struct http **ret, struct err *err) MUST_CHECK;

/* Answers what still waits with a fault, and closes everything. */
void http_free(struct http *http);
DEFINE_FREEP(http, http_free);

/* Readable when http_run() is due. */
int http_poll_fd(const struct http *http);

/* Milliseconds until http_run() is due anyway; -1 for never. */
int http_timeout_ms(struct http *http);
void http_run(struct http *http);

/* The client has closed its connection: nobody waits for the answer. */
bool http_is_deserted(const struct http_exchange *exchange);

/* Sends the answer. `exchange` is not to be used afterwards. */
void http_answer(struct http_exchange *exchange, const struct api_reply *reply);
