#include "fetch/transfer.h"

#include <curl/curl.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/version.h"
#include "fetch/place.h"
#include "fetch/proxy.h"

#define WAIT_MS_MAX	  1000
#define RECEIVE_BYTES	  262144 /* curl's buffer: fewer calls of the sink */
#define RETRY_AFTER_MAX_S 86400

struct transfer {
	const struct transfer_request *request; /* borrowed */
	struct transfer_result *result;		/* borrowed */
	CURL *easy;				/* owned */
	CURLM *multi;				/* owned */
	struct curl_slist *headers;		/* owned; has secrets */
	const char *proxy;			/* borrowed; NULL: the server itself is asked */
	char error[CURL_ERROR_SIZE];
	struct err *err; /* of the sink */
	int sink_result;
	bool is_header_too_long;
	enum fetch_place refused; /* an address that we may not be led to */
	uint64_t window_ns;	  /* when the stall's window began; 0 before the request is sent */
	uint64_t window_bytes;	  /* received since */
};

void transfer_result_done(struct transfer_result *result)
{
	answer_done(&result->answer);
}

static void transfer_done(struct transfer *t)
{
	if (t->multi && t->easy)
		(void)curl_multi_remove_handle(t->multi, t->easy);
	curl_easy_cleanup(t->easy);
	(void)curl_multi_cleanup(t->multi);
	for (struct curl_slist *at = t->headers; at; at = at->next)
		explicit_bzero(at->data, strlen(at->data));
	curl_slist_free_all(t->headers);
}

/* --- what curl calls -------------------------------------------------------------------------- */

static size_t take_body(char *bytes, size_t size, size_t count, void *context)
{
	struct transfer *t = context;
	const size_t len = size * count;
	const uint64_t began_ns = clock_now_ns();

	t->window_bytes += len;
	t->sink_result = t->request->take(t->request->context, span_of(bytes, len), t->err);
	t->window_ns += clock_now_ns() - began_ns; /* that was our time, not the server's */
	return t->sink_result < 0 ? CURL_WRITEFUNC_ERROR : len;
}

/* The type is curl's. NOLINTNEXTLINE(readability-non-const-parameter) */
static size_t take_header(char *bytes, size_t size, size_t count, void *context)
{
	struct transfer *t = context;
	const size_t len = size * count;

	t->window_bytes += len;
	if (!answer_take_line(&t->result->answer, span_of(bytes, len))) {
		t->is_header_too_long = true;
		return CURL_WRITEFUNC_ERROR;
	}
	return len;
}

/*
 * Judges the address when it is known, so that a name cannot mean one thing when it is checked and
 * another when it is used. A proxy's address says nothing of the server's.
 */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct transfer *t = context;
	const struct transfer_request *request = t->request;
	const enum fetch_place place = place_of_address(&address->addr);

	(void)purpose;
	if (!t->proxy) {
		const bool must_be_loopback =
			!request->url->is_https && !request->is_insecure_allowed;

		if (!place_may_lead(request->led_from, place) ||
		    (must_be_loopback && place != FETCH_PLACE_LOOPBACK)) {
			t->refused = place;
			return CURL_SOCKET_BAD;
		}
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* The types are curl's. NOLINTNEXTLINE(readability-non-const-parameter) */
static int before_request(void *context, char *address, char *local, int port, int local_port)
{
	struct transfer *t = context;

	(void)local;
	(void)port;
	(void)local_port;
	t->result->is_connected = true;
	if (t->proxy) {
		t->result->place = place_of_host(t->request->url->host);
		if (t->result->place == FETCH_PLACE_NONE)
			t->result->place = FETCH_PLACE_PUBLIC;
	} else {
		AUTO_FREE char *bracketed =
			strchr(address, ':') ? mem_printf("[%s]", address) : mem_strdup(address);

		t->result->place = place_of_host(bracketed);
	}
	t->window_ns = clock_now_ns();
	t->window_bytes = 0;
	return CURL_PREREQFUNC_OK;
}

/* --- options ---------------------------------------------------------------------------------- */

static bool add_header(struct transfer *t, const char *line)
{
	struct curl_slist *more = curl_slist_append(t->headers, line);

	if (more)
		t->headers = more;
	return more != NULL;
}

static bool add_headers(struct transfer *t)
{
	const struct transfer_request *request = t->request;

	for (size_t i = 0; request->headers && request->headers[i]; i++)
		if (!add_header(t, request->headers[i]))
			return false;
	if (request->authorization) {
		char *line = mem_printf("Authorization: %s", request->authorization);
		const bool is_added = add_header(t, line);

		explicit_bzero(line, strlen(line));
		mem_free(line);
		if (!is_added)
			return false;
	}
	return add_header(t, "Expect:");
}

#define SET(option, value)                                                    \
	do {                                                                  \
		const CURLcode code_ = curl_easy_setopt(easy, option, value); \
		if (code_ != CURLE_OK)                                        \
			return code_;                                         \
	} while (0)

static CURLcode set_tls(const struct transfer *t)
{
	const bool is_verified = !t->request->is_insecure_allowed;
	CURL *easy = t->easy;

	SET(CURLOPT_SSL_VERIFYPEER, is_verified ? 1L : 0L);
	SET(CURLOPT_SSL_VERIFYHOST, is_verified ? 2L : 0L);
	/* The system's CAs stay trusted, as the folder that libcurl was built with. */
	if (t->request->policy->ca_file)
		SET(CURLOPT_CAINFO, t->request->policy->ca_file);
	return CURLE_OK;
}

static CURLcode set_callbacks(struct transfer *t)
{
	CURL *easy = t->easy;

	SET(CURLOPT_WRITEFUNCTION, take_body);
	SET(CURLOPT_WRITEDATA, t);
	SET(CURLOPT_HEADERFUNCTION, take_header);
	SET(CURLOPT_HEADERDATA, t);
	SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(CURLOPT_OPENSOCKETDATA, t);
	SET(CURLOPT_PREREQFUNCTION, before_request);
	SET(CURLOPT_PREREQDATA, t);
	SET(CURLOPT_ERRORBUFFER, t->error);
	return CURLE_OK;
}

static CURLcode set_request(const struct transfer *t)
{
	const struct transfer_request *request = t->request;
	CURL *easy = t->easy;
	char range[32];

	SET(CURLOPT_URL, request->url->text);
	SET(CURLOPT_HTTPHEADER, t->headers);
	if (request->form)
		SET(CURLOPT_POSTFIELDS, request->form);
	if (request->offset > 0) {
		(void)snprintf(range, sizeof(range), "%llu-", (unsigned long long)request->offset);
		SET(CURLOPT_RANGE, range);
	}
	return CURLE_OK;
}

/* Every option matters, those too that are curl's defaults today. */
static const struct {
	CURLoption option;
	long value;
} fixed_options[] = {
	{ CURLOPT_FOLLOWLOCATION, 0 },
	{ CURLOPT_NETRC, CURL_NETRC_IGNORED },
	{ CURLOPT_HTTP09_ALLOWED, 0 },
	/* One request a connection: HTTP/2 would only add its windows. */
	{ CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1 },
	{ CURLOPT_HEADEROPT, CURLHEADER_SEPARATE }, /* a proxy does not get ours */
	{ CURLOPT_SUPPRESS_CONNECT_HEADERS, 1 },
	{ CURLOPT_NOSIGNAL, 1 },
	{ CURLOPT_QUICK_EXIT, 1 }, /* a cancelled request does not wait for a name server */
	{ CURLOPT_BUFFERSIZE, RECEIVE_BYTES },
	{ CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2 },
};

static CURLcode set_options(struct transfer *t)
{
	const struct transfer_request *request = t->request;
	CURL *easy = t->easy;
	char agent[64];
	CURLcode code = CURLE_OK;

	for (size_t i = 0; code == CURLE_OK && i < ARRAY_LEN(fixed_options); i++)
		code = curl_easy_setopt(easy, fixed_options[i].option, fixed_options[i].value);
	if (code != CURLE_OK)
		return code;

	(void)snprintf(agent, sizeof(agent), "banger/%s", banger_version.version);
	SET(CURLOPT_USERAGENT, agent);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)request->policy->connect_ms);
	/* Not libcurl's own look at the environment: what it does and what we judge are one. */
	SET(CURLOPT_PROXY, t->proxy ? t->proxy : "");
	SET(CURLOPT_NOPROXY, t->proxy ? "" : "*");
	code = set_tls(t);
	if (code == CURLE_OK)
		code = set_callbacks(t);
	if (code == CURLE_OK)
		code = set_request(t);
	return code;
}

/* --- running ---------------------------------------------------------------------------------- */

/* Milliseconds until the answer counts as stalled, UINT64_MAX for not yet, 0 for now. */
static uint64_t stall_left_ms(struct transfer *t)
{
	const struct fetch_policy *policy = t->request->policy;
	const uint64_t now_ns = clock_now_ns();
	const uint64_t enough = policy->stall_bytes_per_second * policy->stall_ms / 1000;
	uint64_t passed_ms;

	if (t->window_ns == 0)
		return UINT64_MAX; /* curl's own limit for connecting counts */

	passed_ms = now_ns > t->window_ns ? (now_ns - t->window_ns) / NSEC_PER_MSEC : 0;
	if (passed_ms < policy->stall_ms)
		return policy->stall_ms - passed_ms;
	if (t->window_bytes == 0 || t->window_bytes < enough)
		return 0;

	t->window_ns = now_ns;
	t->window_bytes = 0;
	return policy->stall_ms;
}

/* Drives the exchange until curl has a result for it. */
static int run(struct transfer *t, struct err *err)
{
	const struct cancel *cancel = t->request->cancel;
	struct curl_waitfd cancelled = { .events = CURL_WAIT_POLLIN };
	const unsigned int extra = cancel ? 1 : 0;
	int running = 1;

	if (cancel)
		cancelled.fd = cancel->fd;
	for (;;) {
		CURLMcode code = curl_multi_perform(t->multi, &running);
		uint64_t left_ms;

		if (code == CURLM_OK && running == 0)
			return 0;
		if (cancel_is_fired(cancel))
			return err_set(err, ERR_CANCELLED, "the download of '%s' was cancelled",
				       t->request->url->shown);
		left_ms = stall_left_ms(t);
		if (left_ms == 0) {
			t->result->can_retry = true;
			return err_set(err, ERR_TIMEOUT, "download '%s': the server has stalled",
				       t->request->url->shown);
		}
		if (code == CURLM_OK)
			code = curl_multi_poll(t->multi, &cancelled, extra,
					       left_ms < WAIT_MS_MAX ? (int)left_ms : WAIT_MS_MAX,
					       NULL);
		if (code != CURLM_OK)
			return err_set(err, ERR_SYSTEM, "download '%s': %s", t->request->url->shown,
				       curl_multi_strerror(code));
	}
}

static CURLcode transfer_code(const struct transfer *t)
{
	const CURLMsg *message;
	int left;

	do {
		message = curl_multi_info_read(t->multi, &left);
	} while (message && message->msg != CURLMSG_DONE);
	return message ? message->data.result : CURLE_RECV_ERROR;
}

/* --- failures --------------------------------------------------------------------------------- */

struct meaning {
	CURLcode code;
	enum err_kind kind;
	bool can_retry;
};

/* What is in no row is a broken connection or nonsense: ERR_PROTOCOL, and tried again. */
static const struct meaning meanings[] = {
	{ CURLE_COULDNT_RESOLVE_HOST, ERR_NOT_FOUND, true },
	{ CURLE_COULDNT_RESOLVE_PROXY, ERR_NOT_FOUND, true },
	{ CURLE_COULDNT_CONNECT, ERR_NOT_FOUND, true },
	{ CURLE_OPERATION_TIMEDOUT, ERR_TIMEOUT, true },
	{ CURLE_OUT_OF_MEMORY, ERR_SYSTEM, false },
	{ CURLE_URL_MALFORMAT, ERR_INVALID, false },
	{ CURLE_UNSUPPORTED_PROTOCOL, ERR_PROTOCOL, false }, /* HTTP/0.9 */
	{ CURLE_WEIRD_SERVER_REPLY, ERR_PROTOCOL, false },
	{ CURLE_SSL_CONNECT_ERROR, ERR_PROTOCOL, false },
	{ CURLE_PEER_FAILED_VERIFICATION, ERR_PROTOCOL, false },
	{ CURLE_SSL_CACERT_BADFILE, ERR_INVALID, false },
	{ CURLE_SSL_CERTPROBLEM, ERR_PROTOCOL, false },
};

static struct meaning meaning_of(CURLcode code)
{
	for (size_t i = 0; i < ARRAY_LEN(meanings); i++)
		if (meanings[i].code == code)
			return meanings[i];
	return (struct meaning){ code, ERR_PROTOCOL, true };
}

/* Expired ones and those of another name are no better for a known authority. */
static bool is_unknown_authority(const struct transfer *t)
{
	long result = X509_V_OK;

	(void)curl_easy_getinfo(t->easy, CURLINFO_SSL_VERIFYRESULT, &result);
	return result == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ||
	       result == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
	       result == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
	       result == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
	       result == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE;
}

static int fail(const struct transfer *t, CURLcode code, struct err *err)
{
	const struct meaning meaning = meaning_of(code);
	const char *shown = t->request->url->shown;

	if (t->sink_result < 0)
		return t->sink_result;
	if (t->is_header_too_long)
		return err_set(err, ERR_LIMIT,
			       "the answer of '%s' has more than %d bytes of headers", shown,
			       FETCH_HEADER_BYTES_MAX);
	if (t->refused != FETCH_PLACE_NONE && !t->result->is_connected)
		return err_set(err, ERR_PROTOCOL, "'%s' is at %s, where %s is not followed", shown,
			       place_name(t->refused),
			       t->request->led_from == FETCH_PLACE_NONE
				       ? "plain HTTP"
				       : "a redirect from outside");

	t->result->can_retry = meaning.can_retry;
	t->result->has_no_tls = code == CURLE_SSL_CONNECT_ERROR;
	t->result->is_untrusted = code == CURLE_PEER_FAILED_VERIFICATION && is_unknown_authority(t);
	return err_set(err, meaning.kind, "download '%s': %s", shown,
		       t->error[0] != '\0' ? t->error : curl_easy_strerror(code));
}

int transfer_run(const struct transfer_request *request, struct transfer_result *ret,
		 struct err *err)
{
	CLEANUP(transfer_done)
	struct transfer t = { .request = request, .result = ret, .err = err };
	curl_off_t retry_after = 0;
	CURLcode code;
	int r;

	*ret = (struct transfer_result){ .answer = ANSWER_INIT };
	t.proxy = proxy_of_url(request->url);
	t.easy = curl_easy_init();
	t.multi = curl_multi_init();
	if (!t.easy || !t.multi || !add_headers(&t))
		return err_sys(err, -ENOMEM, "download '%s'", request->url->shown);
	code = set_options(&t);
	if (code != CURLE_OK)
		return err_set(err, ERR_SYSTEM, "download '%s': %s", request->url->shown,
			       curl_easy_strerror(code));
	if (curl_multi_add_handle(t.multi, t.easy) != CURLM_OK)
		return err_sys(err, -ENOMEM, "download '%s'", request->url->shown);

	r = run(&t, err);
	if (r < 0)
		return r;
	code = transfer_code(&t);
	if (code != CURLE_OK)
		return fail(&t, code, err);
	(void)curl_easy_getinfo(t.easy, CURLINFO_RETRY_AFTER, &retry_after);
	if (retry_after > 0)
		ret->retry_after_ms =
			(uint64_t)(retry_after < RETRY_AFTER_MAX_S ? retry_after
								   : RETRY_AFTER_MAX_S) *
			1000;
	return 0;
}
