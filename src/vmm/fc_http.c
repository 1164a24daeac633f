#include "vmm/fc_http.h"

#include <assert.h>
#include <curl/curl.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"

#define HEADER_BYTES_MAX 16384
#define POLL_MS_MAX	 1000

/* One request in progress. */
struct transfer {
	const struct vmm_api *api;
	const struct fc_request *request;
	CURL *easy;		    /* owned */
	CURLM *multi;		    /* owned */
	struct curl_slist *headers; /* owned */
	struct buf *body;	    /* borrowed */
	size_t body_bytes;
	size_t header_bytes;
	bool is_too_long;
};

static void transfer_done(struct transfer *transfer)
{
	if (transfer->multi && transfer->easy)
		(void)curl_multi_remove_handle(transfer->multi, transfer->easy);
	curl_easy_cleanup(transfer->easy);
	(void)curl_multi_cleanup(transfer->multi);
	curl_slist_free_all(transfer->headers);
}

static size_t take_body(char *bytes, size_t size, size_t count, void *context)
{
	struct transfer *transfer = context;
	const size_t len = size * count;

	if (len > VMM_ANSWER_BYTES_MAX - transfer->body_bytes) {
		transfer->is_too_long = true;
		return 0;
	}
	transfer->body_bytes += len;
	buf_add(transfer->body, span_of(bytes, len));
	return len;
}

/* The type is curl's. NOLINTNEXTLINE(readability-non-const-parameter) */
static size_t take_header(char *bytes, size_t size, size_t count, void *context)
{
	struct transfer *transfer = context;
	const size_t len = size * count;

	(void)bytes;
	if (len > HEADER_BYTES_MAX - transfer->header_bytes) {
		transfer->is_too_long = true;
		return 0;
	}
	transfer->header_bytes += len;
	return len;
}

/* Every option matters: a proxy from the environment or a redirect would lead elsewhere. */
static CURLcode set_options(struct transfer *t)
{
	const struct fc_request *request = t->request;
	CURL *easy = t->easy;
	char url[128];
	CURLcode code;
	int n;

	n = snprintf(url, sizeof(url), "http://localhost%s", request->path);
	assert(n > 0 && (size_t)n < sizeof(url)); /* paths are our own */
	t->headers = curl_slist_append(NULL, "Accept: application/json");
	if (t->headers && request->body) {
		struct curl_slist *more =
			curl_slist_append(t->headers, "Content-Type: application/json");

		t->headers = more ? curl_slist_append(more, "Expect:") : NULL;
	}
	if (!t->headers)
		return CURLE_OUT_OF_MEMORY;

	code = curl_easy_setopt(easy, CURLOPT_URL, url);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, t->api->socket_path);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_PROXY, "");
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
	if (code == CURLE_OK && request->body)
		code = curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->verb);
	return code;
}

static int fail_transfer(const struct transfer *t, CURLcode code, struct err *err)
{
	const char *socket_path = t->api->socket_path;
	long number = 0;

	if (t->is_too_long)
		return err_set(err, ERR_PROTOCOL, "the VMM's answer to %s %s is too long",
			       t->request->verb, t->request->path);
	(void)curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &number);
	if (code == CURLE_COULDNT_CONNECT && (number == ENOENT || number == ECONNREFUSED))
		return err_set(err, ERR_NOT_FOUND, "no VMM listens on '%s'", socket_path);
	if (code == CURLE_COULDNT_CONNECT && number > 0)
		return err_sys(err, -(int)number, "connect to '%s'", socket_path);
	return err_set(err, ERR_PROTOCOL, "the VMM's answer to %s %s: %s", t->request->verb,
		       t->request->path, curl_easy_strerror(code));
}

/* Drives the transfer to its end, the deadline, or a cancellation. */
static int run(struct transfer *t, uint64_t deadline_ns, struct err *err)
{
	struct curl_waitfd cancelled = { .events = CURL_WAIT_POLLIN };
	const unsigned extra = t->api->cancel ? 1 : 0;
	int running = 1;

	if (extra > 0)
		cancelled.fd = t->api->cancel->fd;
	for (;;) {
		CURLMcode code = curl_multi_perform(t->multi, &running);
		int wait_ms;

		if (code == CURLM_OK && running == 0)
			return 0;
		if (cancel_is_fired(t->api->cancel))
			return err_set(err, ERR_CANCELLED, "%s %s was cancelled", t->request->verb,
				       t->request->path);
		if (clock_now_ns() >= deadline_ns)
			return err_set(err, ERR_TIMEOUT, "the VMM did not answer %s %s in time",
				       t->request->verb, t->request->path);
		wait_ms = clock_poll_ms(deadline_ns);
		if (wait_ms < 0 || wait_ms > POLL_MS_MAX)
			wait_ms = POLL_MS_MAX;
		if (code == CURLM_OK)
			code = curl_multi_poll(t->multi, &cancelled, extra, wait_ms, NULL);
		if (code != CURLM_OK)
			return err_set(err, ERR_SYSTEM, "ask the VMM: %s",
				       curl_multi_strerror(code));
	}
}

static CURLcode transfer_result(const struct transfer *t)
{
	const CURLMsg *message;
	int left;

	do {
		message = curl_multi_info_read(t->multi, &left);
	} while (message && message->msg != CURLMSG_DONE);
	return message ? message->data.result : CURLE_RECV_ERROR;
}

int fc_http_send(const struct vmm_api *api, const struct fc_request *request, long *ret_status,
		 struct buf *ret_body, struct err *err)
{
	const uint64_t timeout_ms = api->timeout_ms > 0 ? api->timeout_ms : VMM_API_TIMEOUT_MS;
	const uint64_t deadline_ns = clock_now_ns() + timeout_ms * NSEC_PER_MSEC;
	CLEANUP(transfer_done)
	struct transfer transfer = { .api = api, .request = request, .body = ret_body };
	CURLcode code;
	int r;

	transfer.easy = curl_easy_init();
	transfer.multi = curl_multi_init();
	if (!transfer.easy || !transfer.multi)
		return err_sys(err, -ENOMEM, "ask the VMM");
	code = set_options(&transfer);
	if (code != CURLE_OK)
		return err_set(err, ERR_SYSTEM, "ask the VMM: %s", curl_easy_strerror(code));
	if (curl_multi_add_handle(transfer.multi, transfer.easy) != CURLM_OK)
		return err_sys(err, -ENOMEM, "ask the VMM");

	r = run(&transfer, deadline_ns, err);
	if (r < 0)
		return r;
	code = transfer_result(&transfer);
	if (code != CURLE_OK)
		return fail_transfer(&transfer, code, err);
	(void)curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, ret_status);
	return 0;
}

/* --- what answers mean ------------------------------------------------------------------------ */

int fc_answer_check(const struct fc_request *request, long status, struct span body,
		    struct err *err)
{
	const long wanted = request->body ? 204 : 200;
	AUTO_JSON *document = NULL;
	struct err ignored = ERR_INIT;
	const char *fault;

	if (status == wanted)
		return 0;
	if (status >= 400 && status < 500 && body.len <= VMM_ANSWER_BYTES_MAX &&
	    json_read(body, &document, &ignored) == 0) {
		fault = json_get_str(document, "fault_message");
		if (!str_empty(fault))
			return err_set(err, ERR_BAD_STATE, "the VMM refused %s %s: %s",
				       request->verb, request->path, fault);
	}
	return err_set(err, ERR_PROTOCOL, "the VMM answered %s %s with status %ld", request->verb,
		       request->path, status);
}

/* Copies a short line of printable ASCII; everything else is no name and no version. */
static bool read_word(const json_t *document, const char *key,
		      char ret[static VMM_DESCRIPTION_SIZE])
{
	const char *text = json_get_str(document, key);
	const size_t len = text ? strlen(text) : 0;

	if (!text || len >= VMM_DESCRIPTION_SIZE)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < ' ' || text[i] > '~')
			return false;
	}
	memcpy(ret, text, len + 1);
	return true;
}

int fc_description_read(struct span body, struct vmm_description *ret, struct err *err)
{
	static const char *const state_names[] = {
		[VMM_NOT_STARTED] = "Not started",
		[VMM_RUNNING] = "Running",
		[VMM_PAUSED] = "Paused",
	};
	_Static_assert(ARRAY_LEN(state_names) == VMM_STATE_COUNT, "each state needs its name");
	struct vmm_description description = { .state = VMM_STATE_COUNT };
	AUTO_JSON *document = NULL;
	const char *state;
	int r;

	r = json_read(body, &document, err);
	if (r < 0)
		return err_context(err, r, "the VMM's description");
	state = json_get_str(document, "state");
	for (size_t i = 0; i < ARRAY_LEN(state_names); i++) {
		if (str_eq(state, state_names[i]))
			description.state = (enum vmm_state)i;
	}
	if (description.state == VMM_STATE_COUNT || !read_word(document, "id", description.id) ||
	    !read_word(document, "app_name", description.app_name) ||
	    !read_word(document, "vmm_version", description.vmm_version))
		return err_set(err, ERR_PROTOCOL, "the VMM's description makes no sense");

	*ret = description;
	return 0;
}
