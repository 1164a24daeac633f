/*
 * HTTP and HTTPS downloads with a policy, on libcurl. Blocking, from any thread, stopped at once by
 * `cancel`. What every request keeps to:
 *
 * - TLS (1.2 or newer) is verified against the system's CAs and `ca_file`. Only
 * `is_insecure_allowed` changes that, and only for the host of the URL itself, never for one that
 * it redirects to; no environment variable does.
 * - Plain HTTP is for loopback hosts and for the host of a policy that allows insecurity.
 * - `authorization` is sent to the URL's own scheme, host and port, and to no other.
 * - Redirects: counted; never from https to http; never to an address nearer to us than the one
 *   that redirects (a public host cannot lead to private, link-local or loopback addresses).
 *   Addresses are checked when the connection is made, whatever the name says.
 * - Headers, bodies, redirects, retries and waits are bounded.
 * - 408, 429, 5xx and broken or stalled connections are tried again, with exponential back-off,
 * jitter and what Retry-After asks for. A download goes on where it broke off.
 * - Proxies are those of our environment, as with curl: https_proxy, http_proxy (lower case only),
 *   all_proxy, no_proxy. Loopback hosts are never asked through one. A proxy resolves names itself,
 *   so that behind one only addresses written in URLs are checked; what no_proxy has is asked
 *   directly, and checked like everything that is.
 * - Messages have no queries of URLs (they carry signatures) and no credentials.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "base/span.h"
#include "base/strv.h"

#define FETCH_HEADER_BYTES_MAX 65536 /* all headers of one answer together */
#define FETCH_ERROR_BYTES_MAX  4096  /* what is kept of an answer that is no success */
#define FETCH_URL_BYTES_MAX    8192  /* signed URLs of storage services are long */
#define FETCH_SIZE_UNKNOWN     UINT64_MAX

struct fetch_policy {
	const char *ca_file;	  /* borrowed; PEM, trusted beside the system's CAs; may be NULL */
	bool is_insecure_allowed; /* plain HTTP and unverified TLS, for the URL's own host */
	uint64_t connect_ms;	  /* name, connection and TLS together */
	uint64_t stall_ms;	  /* so long the answer may be slower than the next line says */
	uint64_t stall_bytes_per_second;
	unsigned int redirects_max;
	unsigned int retries_max; /* in a row without real progress (1 MiB) */
	uint64_t backoff_ms;	  /* the first wait; doubled each time */
	uint64_t wait_max_ms;	  /* the longest wait, also when Retry-After wants more */
};

#define FETCH_POLICY_INIT                                      \
	((struct fetch_policy){ .connect_ms = 10000,           \
				.stall_ms = 20000,             \
				.stall_bytes_per_second = 512, \
				.redirects_max = 5,            \
				.retries_max = 5,              \
				.backoff_ms = 500,             \
				.wait_max_ms = 30000 })

/* How near to us an address is. */
enum fetch_place {
	FETCH_PLACE_NONE, /* nobody has answered */
	FETCH_PLACE_PUBLIC,
	FETCH_PLACE_PRIVATE,	/* RFC 1918, RFC 6598, fc00::/7 */
	FETCH_PLACE_LINK_LOCAL, /* 169.254.0.0/16 (clouds' metadata), fe80::/10 */
	FETCH_PLACE_LOOPBACK,
	FETCH_PLACE_COUNT,
};

struct fetch_request {
	const char *url;	    /* http or https, without user; borrowed, as all here */
	const char *const *headers; /* "Name: value", NULL-terminated; no secrets, as they go to
				       redirects too; may be NULL */
	const char *authorization;  /* value of that header, a secret; may be NULL */
	const char *form;	    /* NULL: GET; else POST of this url-encoded form, which is
				       never redirected; a secret */
	uint64_t offset;	    /* the sink already has so many bytes */
	uint64_t size;	   /* of the whole resource, or FETCH_SIZE_UNKNOWN; else ERR_PROTOCOL */
	uint64_t size_max; /* ERR_LIMIT beyond; 0: as `size` says */
	enum fetch_place
		led_from; /* the place of the server that named this URL; NONE: the user did */
	const struct fetch_policy *policy; /* NULL: FETCH_POLICY_INIT */
	const struct cancel *cancel;	   /* may be NULL */
};

/*
 * Takes the body of a success (200, 206), in order, every byte once, from request.offset on, also
 * over several connections. A negative result stops the request and is what it returns; `err` is
 * then as the sink left it. Time spent in it does not count as a stall.
 */
struct fetch_sink {
	int (*take)(void *context, struct span bytes, struct err *err);
	void *context; /* borrowed */
};

enum fetch_header {
	FETCH_CONTENT_TYPE,
	FETCH_DOCKER_CONTENT_DIGEST,
	FETCH_ETAG,
	FETCH_LINK,
	FETCH_HEADER_COUNT,
};

/* The final answer: after redirects and retries. */
struct fetch_response {
	unsigned int status;
	enum fetch_place place;	 /* of the URL's own host */
	bool is_untrusted;	 /* it failed as the certificate is not to be trusted */
	bool has_no_tls;	 /* it failed as what should be https does not speak TLS */
	uint64_t retry_after_ms; /* 0: not said */
	char *headers[FETCH_HEADER_COUNT]; /* owned; NULL when absent */
	struct strv challenges; /* the WWW-Authenticate headers, when the URL's own host sent
				   them: no other has anything to ask of us */
	struct buf body;	/* the beginning of the body of what is no success */
};

#define FETCH_RESPONSE_INIT ((struct fetch_response){ .body = BUF_INIT })

void fetch_response_done(struct fetch_response *response);
#define AUTO_FETCH_RESPONSE CLEANUP(fetch_response_done) struct fetch_response

/*
 * Asks until there is an answer, and returns 0 for any: `ret->status` says which, and
 * fetch_status_error() makes an error of it. Negative when there was none that makes sense:
 * ERR_NOT_FOUND (no such host, nobody listens), ERR_TIMEOUT (stalled), ERR_PROTOCOL (cut off, wrong
 * length, TLS not verified, forbidden redirect), ERR_LIMIT (longer than size_max), ERR_INVALID (a
 * URL that the policy forbids), ERR_CANCELLED, ERR_SYSTEM. `ret` is initialised by the caller.
 */
int fetch_get(const struct fetch_request *request, const struct fetch_sink *sink,
	      struct fetch_response *ret, struct err *err) MUST_CHECK;

/*
 * The same for small bodies: appends the body of a success to `ret_bytes`. A broken download begins
 * anew, so that the bytes are those of one answer. request.offset must be 0; size_max is a must.
 */
int fetch_bytes(const struct fetch_request *request, struct buf *ret_bytes,
		struct fetch_response *ret, struct err *err) MUST_CHECK;

/*
 * The error that a status means: 404 and 410 ERR_NOT_FOUND, 401 and 403 ERR_BAD_STATE, 429 and 503
 * ERR_BUSY, others ERR_PROTOCOL. The message names the URL (without its query) and quotes the
 * body's beginning, escaped.
 */
int fetch_status_error(const struct fetch_response *response, const char *url, struct err *err);

/* A file with known content. */
struct fetch_file {
	const char *url;
	int fd;		    /* borrowed; written from offset 0 on; empty before */
	uint64_t size;	    /* exact */
	const char *sha256; /* 64 lower-case hexadecimal digits */
	const char *stage;  /* of the progress events, whose `done` and `total` are bytes */
	const struct fetch_policy *policy; /* NULL: FETCH_POLICY_INIT */
	const struct cancel *cancel;	   /* may be NULL */
	const struct progress *progress;   /* may be NULL */
};

/*
 * Downloads and verifies while it streams. Any failure, also a wrong size or digest (ERR_PROTOCOL),
 * leaves bytes in the file that must not be used.
 */
int fetch_file(const struct fetch_file *file, struct err *err) MUST_CHECK;

/* Whether a request for this URL could be made under the policy: ERR_INVALID says why not. */
int fetch_url_check(const char *url, const struct fetch_policy *policy, struct err *err) MUST_CHECK;

/* Whether host (a name, an IPv4 or a bracketed IPv6 address, no port) means this machine. */
bool fetch_host_is_loopback(const char *host);
