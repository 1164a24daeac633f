/*
 * Requests over exchanges: redirects, retries, and going on where a connection broke.
 *
 * Theory of operation. A download has a position: how many bytes of the resource the sink has. Each
 * attempt asks for the rest, follows redirects from the beginning (signed URLs of storage services
 * end), and moves the position as bytes come. A server that ignores the range sends all again, of
 * which the bytes before the position are dropped. An attempt that fails in a way that may not come
 * again, or ends early, is followed by another after a wait; attempts that bring 1 MiB or more
 * start the count anew, so that the number of attempts is bounded by the size.
 */
#include "fetch/fetch.h"

#include <assert.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "fetch/place.h"
#include "fetch/transfer.h"
#include "fetch/url.h"

#define PROGRESS_BYTES	  1048576
#define QUOTED_BYTES	  200	/* of an error's body, in our message */
#define DROPPED_BYTES_MAX 65536 /* of bodies that nobody wants, before we hang up */
#define BACKOFF_DOUBLINGS 10

struct download {
	const struct fetch_request *request; /* borrowed, as the next four */
	const struct fetch_policy *policy;
	const struct fetch_sink *sink;
	struct buf *whole; /* of fetch_bytes(): emptied by each attempt; NULL for a sink */
	size_t whole_start;
	struct fetch_response *response;
	struct fetch_policy defaults; /* when the request has none */
	struct url url;		      /* owned */
	uint64_t position;	      /* bytes of the resource that the sink has */
	uint64_t total;		      /* of the resource, as far as known */
	bool was_answered;

	/* The exchange that runs. */
	const struct transfer_result *result;
	const struct url *at;
	bool is_own;	/* it is with the URL's own scheme, host and port */
	bool is_judged; /* the headers fit what was asked */
	bool is_enough; /* the rest of a body is of no interest */
	uint64_t skip;	/* bytes to drop, which we have */
	size_t dropped;
	bool has_changed; /* broken in a way that another attempt cannot mend */
};

static bool is_success(unsigned int status)
{
	return status == 200 || status == 206;
}

static bool is_redirect(unsigned int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool is_passing(unsigned int status)
{
	return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

/* --- bodies ----------------------------------------------------------------------------------- */

static uint64_t size_max(const struct fetch_request *request)
{
	if (request->size_max == 0 || request->size < request->size_max)
		return request->size;
	return request->size_max;
}

static int too_long(struct download *d, struct err *err)
{
	const struct fetch_request *request = d->request;

	d->has_changed = true;
	if (size_max(request) == request->size)
		return err_set(err, ERR_PROTOCOL,
			       "'%s' is longer than the %llu bytes it should have", d->at->shown,
			       (unsigned long long)request->size);
	return err_set(err, ERR_LIMIT, "'%s' is longer than %llu bytes", d->at->shown,
		       (unsigned long long)request->size_max);
}

/* Whether what a success says of itself is what was asked for. */
static int judge(struct download *d, struct err *err)
{
	const struct answer *answer = &d->result->answer;
	uint64_t total = answer->content_length;

	d->is_judged = true;
	d->skip = d->position;
	if (answer->is_contradictory) {
		d->has_changed = true;
		return err_set(err, ERR_PROTOCOL, "'%s' says two different lengths", d->at->shown);
	}
	if (answer->status == 206) {
		if (d->position == 0 || !answer->has_range || answer->range_first != d->position) {
			d->has_changed = true;
			return err_set(err, ERR_PROTOCOL,
				       "'%s' answers with another range than was asked for",
				       d->at->shown);
		}
		d->skip = 0;
		total = answer->range_total;
	}
	if (total == FETCH_SIZE_UNKNOWN)
		return 0;
	if (d->total != FETCH_SIZE_UNKNOWN && total != d->total) {
		d->has_changed = true;
		return err_set(err, ERR_PROTOCOL, "'%s' says it has %llu bytes instead of %llu",
			       d->at->shown, (unsigned long long)total,
			       (unsigned long long)d->total);
	}
	if (total > size_max(d->request))
		return too_long(d, err);
	d->total = total;
	return 0;
}

/* The beginning of an error's body is kept; what is too long is cut off, with the connection. */
static int take_unwanted(struct download *d, struct span bytes)
{
	struct buf *body = &d->response->body;
	const size_t room = FETCH_ERROR_BYTES_MAX - body->len;

	if (!is_redirect(d->result->answer.status))
		buf_add(body, span_of(bytes.ptr, bytes.len < room ? bytes.len : room));
	d->dropped += bytes.len;
	d->is_enough = d->dropped > DROPPED_BYTES_MAX;
	return d->is_enough ? -ECANCELED : 0;
}

static int take(void *context, struct span bytes, struct err *err)
{
	struct download *d = context;
	int r = 0;

	if (!is_success(d->result->answer.status))
		return take_unwanted(d, bytes);
	if (!d->is_judged)
		r = judge(d, err);
	if (r < 0)
		return r;

	if (d->skip > 0) {
		const uint64_t known = d->skip < bytes.len ? d->skip : bytes.len;

		d->skip -= known;
		bytes = span_skip(bytes, (size_t)known);
	}
	if (bytes.len == 0)
		return 0;
	if (bytes.len > size_max(d->request) - d->position)
		return too_long(d, err);
	if (d->whole)
		buf_add(d->whole, bytes);
	else
		r = d->sink->take(d->sink->context, bytes, err);
	if (r < 0) {
		d->has_changed = true;
		return r;
	}
	d->position += bytes.len;
	return 0;
}

/* --- attempts --------------------------------------------------------------------------------- */

static int exchange(struct download *d, const struct url *at, enum fetch_place led_from,
		    struct transfer_result *result, struct err *err)
{
	const struct fetch_request *request = d->request;
	const struct transfer_request transfer = {
		.url = at,
		.policy = d->policy,
		.cancel = request->cancel,
		.headers = request->headers,
		.authorization = url_same_origin(at, &d->url) ? request->authorization : NULL,
		.form = request->form,
		.offset = d->position,
		.is_insecure_allowed =
			d->policy->is_insecure_allowed && str_eq(at->host, d->url.host),
		.led_from = led_from,
		.take = take,
		.context = d,
	};
	int r;

	d->result = result;
	d->at = at;
	d->is_own = url_same_origin(at, &d->url);
	d->is_judged = false;
	d->is_enough = false;
	d->dropped = 0;
	buf_clear(&d->response->body);
	r = transfer_run(&transfer, result, err);
	if (r < 0 && d->is_enough) {
		*err = ERR_INIT;
		r = 0;
	}
	if (r == 0 && is_success(result->answer.status) && !d->is_judged)
		r = judge(d, err); /* a body of no bytes */
	return r;
}

/* Where a redirect leads, if it may. Replaces *at. */
static int follow(const struct download *d, const struct answer *answer, enum fetch_place from,
		  struct url *at, struct err *err)
{
	AUTO_URL next = URL_INIT;
	enum fetch_place place;
	bool is_insecure;
	int r;

	if (!answer->location)
		return err_set(err, ERR_PROTOCOL, "'%s' redirects without saying where", at->shown);
	if (d->request->form)
		return err_set(err, ERR_PROTOCOL, "'%s' redirects what has credentials: refused",
			       at->shown);
	r = url_resolve(at, answer->location, &next, err);
	if (r < 0)
		return r;
	if (at->is_https && !next.is_https)
		return err_set(err, ERR_PROTOCOL, "'%s' redirects from https to '%s': refused",
			       at->shown, next.shown);
	is_insecure = d->policy->is_insecure_allowed && str_eq(next.host, d->url.host);
	if (!next.is_https && !is_insecure && !fetch_host_is_loopback(next.host))
		return err_set(err, ERR_PROTOCOL, "'%s' redirects to plain HTTP, '%s': refused",
			       at->shown, next.shown);
	place = place_of_host(next.host);
	if (!place_may_lead(from, place))
		return err_set(err, ERR_PROTOCOL, "'%s' redirects to %s, '%s': refused", at->shown,
			       place_name(place), next.shown);

	url_done(at);
	*at = next;
	next = URL_INIT;
	return 0;
}

/* The farther from us of two places where a chain of redirects has been: it cannot lead back in. */
static enum fetch_place farther(enum fetch_place a, enum fetch_place b)
{
	if (a == FETCH_PLACE_NONE)
		return b;
	return place_may_lead(b, a) ? b : a;
}

/* One try with all its redirects. *result is of the last exchange. */
static int attempt(struct download *d, struct transfer_result *result, struct err *err)
{
	AUTO_URL at = URL_INIT;
	enum fetch_place from = d->request->led_from;
	int r;

	if (d->whole) {
		buf_truncate(d->whole, d->whole_start);
		d->position = 0;
		d->total = d->request->size;
	}
	r = url_parse(d->request->url, &at, err);
	for (unsigned int redirects = 0; r == 0; redirects++) {
		transfer_result_done(result);
		r = exchange(d, &at, from, result, err);
		d->was_answered = d->was_answered || result->is_connected;
		if (redirects == 0 && result->place != FETCH_PLACE_NONE)
			d->response->place = result->place;
		if (r < 0 || !is_redirect(result->answer.status))
			return r;
		result->can_retry = false;
		if (redirects >= d->policy->redirects_max)
			return err_set(err, ERR_PROTOCOL, "'%s' redirects more than %u times",
				       d->url.shown, d->policy->redirects_max);
		from = farther(from, result->place);
		r = follow(d, &result->answer, from, &at, err);
	}
	return r;
}

/* Random in [ms/2, ms], so that many clients do not come back together. */
static uint64_t jitter(uint64_t ms)
{
	uint64_t random = 0;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
		random = clock_now_ns();
	return ms / 2 + random % (ms / 2 + 1);
}

/* Waits before try `tries` + 1; 1 when the server wants to wait longer than we do. */
static int wait_to_retry(const struct download *d, unsigned int tries, uint64_t retry_after_ms,
			 struct err *err)
{
	const struct fetch_policy *policy = d->policy;
	uint64_t ms = policy->backoff_ms << (tries < BACKOFF_DOUBLINGS ? tries : BACKOFF_DOUBLINGS);
	int r;

	if (retry_after_ms > policy->wait_max_ms)
		return 1;
	ms = jitter(ms < policy->wait_max_ms ? ms : policy->wait_max_ms);
	if (ms < retry_after_ms)
		ms = retry_after_ms;

	r = cancel_poll(d->request->cancel, -1, 0, clock_now_ns() + ms * NSEC_PER_MSEC);
	if (r == -ECANCELED)
		return err_set(err, ERR_CANCELLED, "the download of '%s' was cancelled",
			       d->url.shown);
	return r < 0 && r != -ETIMEDOUT ? err_sys(err, r, "wait to try again") : 0;
}

static void give_answer(const struct download *d, struct transfer_result *result)
{
	struct fetch_response *response = d->response;

	response->status = result->answer.status;
	response->retry_after_ms = result->retry_after_ms;
	for (size_t i = 0; i < FETCH_HEADER_COUNT; i++) {
		mem_free(response->headers[i]);
		response->headers[i] = TAKE_PTR(result->answer.headers[i]);
	}
	strv_done(&response->challenges);
	if (!d->is_own)
		return; /* another host has nothing to ask of us */
	response->challenges = result->answer.challenges;
	result->answer.challenges = (struct strv){ .items = NULL };
}

/* The bytes that should be there are. */
static bool is_complete(const struct download *d)
{
	return d->total != FETCH_SIZE_UNKNOWN && d->position == d->total;
}

/* What a try came to: 0 done, 1 worth another one, negative for good. */
static int verdict(const struct download *d, const struct transfer_result *result, int r,
		   struct err *err)
{
	const bool had_success = is_success(result->answer.status);

	if (r < 0) {
		if (had_success && d->is_judged && !d->has_changed && is_complete(d) &&
		    err->kind != ERR_CANCELLED) {
			*err = ERR_INIT; /* only the end of the last chunk is missing */
			return 0;
		}
		/* Who was never there is hardly there a second later. */
		return result->can_retry && !d->has_changed && d->was_answered ? 1 : r;
	}
	if (is_passing(result->answer.status))
		return 1;
	if (had_success && d->total != FETCH_SIZE_UNKNOWN && d->position < d->total) {
		(void)err_set(err, ERR_PROTOCOL, "'%s' ended after %llu of %llu bytes",
			      d->url.shown, (unsigned long long)d->position,
			      (unsigned long long)d->total);
		return 1;
	}
	return 0;
}

static int download(struct download *d, struct err *err)
{
	unsigned int tries = 0;

	for (;;) {
		AUTO_TRANSFER_RESULT result = { .answer = ANSWER_INIT };
		const uint64_t before = d->position;
		int again, r;

		r = attempt(d, &result, err);
		again = verdict(d, &result, r, err);
		if (r == 0 || again == 0)
			give_answer(d, &result);
		d->response->has_no_tls = result.has_no_tls;
		d->response->is_untrusted = result.is_untrusted;
		if (again <= 0)
			return again;

		if (d->position >= before + PROGRESS_BYTES)
			tries = 0;
		again = tries < d->policy->retries_max
				? wait_to_retry(d, tries, result.retry_after_ms, err)
				: 1;
		if (again < 0)
			return again;
		if (again > 0) /* it stays as it is: an error, or an answer that says to wait */
			return err->kind == ERR_NONE ? 0 : err_negative(r);
		tries++;
		*err = ERR_INIT;
	}
}

static int begin(struct download *d, struct err *err)
{
	const struct fetch_request *request = d->request;
	int r;

	d->defaults = FETCH_POLICY_INIT;
	d->policy = request->policy ? request->policy : &d->defaults;
	d->position = request->offset;
	d->total = request->size;
	r = cancel_check(request->cancel, err);
	if (r == 0)
		r = fetch_url_check(request->url, d->policy, err);
	if (r == 0)
		r = url_parse(request->url, &d->url, err);
	if (r == 0 && !place_may_lead(request->led_from, place_of_host(d->url.host)))
		r = err_set(err, ERR_PROTOCOL, "'%s' is named by a server outside: refused",
			    d->url.shown);
	if (r == 0)
		r = download(d, err);
	url_done(&d->url);
	return r;
}

int fetch_get(const struct fetch_request *request, const struct fetch_sink *sink,
	      struct fetch_response *ret, struct err *err)
{
	struct download d = { .request = request, .sink = sink, .response = ret };

	assert(request->offset == 0 || request->offset < size_max(request));
	return begin(&d, err);
}

int fetch_bytes(const struct fetch_request *request, struct buf *ret_bytes,
		struct fetch_response *ret, struct err *err)
{
	struct download d = {
		.request = request,
		.whole = ret_bytes,
		.whole_start = ret_bytes->len,
		.response = ret,
	};

	assert(request->offset == 0 && size_max(request) != FETCH_SIZE_UNKNOWN);
	return begin(&d, err);
}

void fetch_response_done(struct fetch_response *response)
{
	for (size_t i = 0; i < FETCH_HEADER_COUNT; i++)
		mem_free(response->headers[i]);
	strv_done(&response->challenges);
	buf_done(&response->body);
	*response = FETCH_RESPONSE_INIT;
}

static enum err_kind kind_of_status(unsigned int status)
{
	switch (status) {
	case 404:
	case 410:
		return ERR_NOT_FOUND;
	case 401:
	case 403:
		return ERR_BAD_STATE;
	case 429:
	case 503:
		return ERR_BUSY;
	default:
		return ERR_PROTOCOL;
	}
}

int fetch_status_error(const struct fetch_response *response, const char *url, struct err *err)
{
	AUTO_URL parsed = URL_INIT;
	AUTO_BUF quoted = BUF_INIT;
	struct err ignored = ERR_INIT;
	const char *shown = "the server";

	if (url_parse(url, &parsed, &ignored) == 0)
		shown = parsed.shown;
	text_escape(&quoted, buf_span(&response->body), QUOTED_BYTES);
	return err_set(err, kind_of_status(response->status), "'%s' answers with status %u%s%s%s",
		       shown, response->status, quoted.len > 0 ? ": '" : "", quoted.ptr,
		       quoted.len > 0 ? "'" : "");
}
