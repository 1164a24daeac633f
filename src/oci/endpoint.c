#include "oci/endpoint.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "fetch/url.h"
#include "oci/secret.h"

#define PROBE_BYTES_MAX 65536
#define ROUNDS_MAX	2 /* of challenges in one request: a token may have ended, once */

void endpoint_init(struct endpoint *endpoint, const char *host, const char *address,
		   const char *base, const char *ca_file)
{
	*endpoint = (struct endpoint){
		.host = mem_strdup(host),
		.address = mem_strdup(address),
		.base = mem_strdup(base),
		.ca_file = mem_strdup(ca_file),
		.policy = FETCH_POLICY_INIT,
		.credentials = OCI_CREDENTIALS_INIT,
		.challenge = OCI_CHALLENGE_INIT,
	};
	endpoint->policy.ca_file = endpoint->ca_file;
	if (pthread_mutex_init(&endpoint->lock, NULL) != 0)
		abort(); /* Linux's cannot fail */
}

void endpoint_done(struct endpoint *endpoint)
{
	if (!endpoint->host)
		return;
	mem_free(endpoint->host);
	mem_free(endpoint->address);
	mem_free(endpoint->base);
	mem_free(endpoint->ca_file);
	mem_free(endpoint->repository);
	oci_credentials_done(&endpoint->credentials);
	oci_challenge_done(&endpoint->challenge);
	oci_token_done(&endpoint->token);
	(void)pthread_mutex_destroy(&endpoint->lock);
	*endpoint = (struct endpoint){ .host = NULL };
}

static void unlockp(struct endpoint **endpoint)
{
	(void)pthread_mutex_unlock(&(*endpoint)->lock);
}

/* Holds the lock to the end of the scope. */
#define LOCKED(endpoint)                                        \
	CLEANUP(unlockp) struct endpoint *locked_ = (endpoint); \
	do {                                                    \
		if (pthread_mutex_lock(&locked_->lock) != 0)    \
			abort();                                \
	} while (0)

const char *endpoint_why_denied(struct endpoint *endpoint)
{
	LOCKED(endpoint);

	if (!oci_credentials_are_empty(&endpoint->credentials))
		return "it refuses the credentials that are kept for it";
	if (endpoint->has_looked)
		return "it does not exist, or needs credentials, of which none are kept";
	return "it forbids it, and asks for no credentials that we could have";
}

bool endpoint_is_down(struct endpoint *endpoint)
{
	LOCKED(endpoint);

	return endpoint->is_down;
}

/* What the user can do about a handshake that failed. */
static void hint_tls(const struct endpoint *endpoint, const struct fetch_response *response,
		     struct err *err)
{
	if (response->is_untrusted)
		err_hint(err, "name its authority's certificate as 'ca' in " OCI_REGISTRY_ENTRY);
	else if (endpoint->ca_file && (response->has_no_tls || err->kind == ERR_INVALID))
		err_hint(err, "'%s' is its 'ca' in " OCI_REGISTRY_ENTRY, endpoint->ca_file);
	else if (response->has_no_tls && !endpoint->policy.is_insecure_allowed)
		err_hint(err, "if it speaks plain HTTP, 'insecure = true' in " OCI_REGISTRY_ENTRY
			      " allows it");
}

/* --- by which scheme -------------------------------------------------------------------------- */

struct probe {
	char *base; /* owned */
	int result; /* of the request */
	unsigned int status;
	bool has_no_tls;
	struct err err;
};

/* Any answer to /v2/ says that the scheme is right. */
static void probe(const struct endpoint *endpoint, const char *scheme, const struct cancel *cancel,
		  struct probe *ret)
{
	struct fetch_policy policy = endpoint->policy;
	AUTO_FREE char *url = mem_printf("%s://%s/v2/", scheme, endpoint->address);
	const struct fetch_request request = {
		.url = url,
		.size = FETCH_SIZE_UNKNOWN,
		.size_max = PROBE_BYTES_MAX,
		.policy = &policy,
		.cancel = cancel,
	};
	AUTO_FETCH_RESPONSE response = FETCH_RESPONSE_INIT;
	AUTO_BUF ignored = BUF_INIT;

	policy.retries_max = 0;
	policy.redirects_max = 0;
	*ret = (struct probe){ .base = mem_printf("%s://%s", scheme, endpoint->address) };
	ret->result = fetch_bytes(&request, &ignored, &response, &ret->err);
	hint_tls(endpoint, &response, &ret->err);
	ret->status = response.status;
	ret->has_no_tls = response.has_no_tls;
}

static void probe_done(struct probe *probe)
{
	mem_free(probe->base);
}

static int use(struct endpoint *endpoint, struct probe *probe, struct err *err)
{
	if (probe->result < 0) {
		*err = probe->err;
		return probe->result;
	}
	endpoint->base = TAKE_PTR(probe->base);
	return 0;
}

/* A server of TLS that is asked in plain HTTP says "bad request", or nothing that is HTTP. */
static bool may_want_tls(const struct probe *plain)
{
	return plain->result < 0 ? plain->err.kind != ERR_CANCELLED : plain->status == 400;
}

static int find_base(struct endpoint *endpoint, const struct cancel *cancel, struct err *err)
{
	CLEANUP(probe_done) struct probe first = { .base = NULL };
	CLEANUP(probe_done) struct probe second = { .base = NULL };
	AUTO_FREE char *host = mem_strdup(endpoint->address);
	char *port = strrchr(host, ':');

	if (port && !strchr(port, ']'))
		*port = '\0';
	if (endpoint->ca_file ||
	    (!endpoint->policy.is_insecure_allowed && !fetch_host_is_loopback(host))) {
		endpoint->base = mem_printf("https://%s", endpoint->address);
		return 0;
	}
	if (endpoint->policy.is_insecure_allowed) {
		probe(endpoint, "https", cancel, &first);
		if (first.result < 0 && (first.has_no_tls || first.err.kind == ERR_NOT_FOUND))
			probe(endpoint, "http", cancel, &second);
		return use(endpoint,
			   second.base && (second.result == 0 || first.has_no_tls) ? &second
										   : &first,
			   err);
	}
	probe(endpoint, "http", cancel, &first);
	if (may_want_tls(&first))
		probe(endpoint, "https", cancel, &second);
	/* What https says counts when it is spoken, also when its certificate is bad. */
	return use(endpoint,
		   second.base && !second.has_no_tls &&
				   !(second.result < 0 && second.err.kind == ERR_NOT_FOUND)
			   ? &second
			   : &first,
		   err);
}

/* --- as whom ---------------------------------------------------------------------------------- */

/* What is known of another repository says nothing of this one. */
static void want_repository(struct endpoint *endpoint, const char *repository)
{
	if (str_eq(endpoint->repository, repository))
		return;
	mem_free(endpoint->repository);
	endpoint->repository = mem_strdup(repository);
	oci_credentials_done(&endpoint->credentials);
	oci_challenge_done(&endpoint->challenge);
	oci_token_done(&endpoint->token);
	endpoint->has_looked = false;
	endpoint->generation = 0;
}

/* Tokens are for this registry's name; a realm elsewhere does not share in its exceptions. */
static struct fetch_policy realm_policy(const struct endpoint *endpoint)
{
	struct fetch_policy policy = endpoint->policy;
	AUTO_URL own = URL_INIT, realm = URL_INIT;
	struct err ignored = ERR_INIT;

	if (url_parse(endpoint->base, &own, &ignored) < 0 ||
	    url_parse(endpoint->challenge.realm, &realm, &ignored) < 0 ||
	    !str_eq(own.host, realm.host))
		policy.is_insecure_allowed = false;
	return policy;
}

static int renew_token(struct endpoint *endpoint, const struct cancel *cancel, struct err *err)
{
	const struct fetch_policy policy = realm_policy(endpoint);
	AUTO_FREE char *scope = mem_printf("repository:%s:pull", endpoint->repository);
	const struct oci_token_request request = {
		.challenge = &endpoint->challenge,
		.credentials = &endpoint->credentials,
		.scope = scope,
		.led_from = endpoint->place,
		.policy = &policy,
		.cancel = cancel,
	};
	int r;

	r = oci_token_fetch(&request, &endpoint->token, err);
	if (r == 0)
		endpoint->generation++;
	return r;
}

/* The header's value for the next request; NULL when nothing has asked for one. */
static int authorize(struct endpoint *endpoint, const struct cancel *cancel, char **ret,
		     struct err *err)
{
	const struct oci_credentials *credentials = &endpoint->credentials;
	int r = 0;

	*ret = NULL;
	if (endpoint->generation == 0)
		return 0;
	if (endpoint->challenge.scheme == OCI_SCHEME_BASIC) {
		*ret = oci_basic_authorization(credentials);
		return 0;
	}
	if (credentials->registry_token) {
		*ret = oci_bearer_authorization(credentials->registry_token);
		return 0;
	}
	if (clock_now_ns() >= endpoint->token.expires_ns)
		r = renew_token(endpoint, cancel, err);
	if (r == 0)
		*ret = oci_bearer_authorization(endpoint->token.text);
	return r;
}

/* One that is malformed may stand beside one that is not. */
static void read_challenges(const struct fetch_response *response, struct oci_challenge *ret)
{
	for (size_t i = 0; i < response->challenges.count; i++)
		IGNORE_RESULT(oci_challenge_read(span_str(response->challenges.items[i]), ret));
}

/*
 * Makes what answers a 401 to a request that had authorization `generation`. 1 when asking again is
 * worth it, 0 when the 401 is final.
 */
static int answer_challenge(struct endpoint *endpoint, const struct fetch_response *response,
			    uint64_t generation, const struct cancel *cancel, struct err *err)
{
	AUTO_OCI_CHALLENGE challenge = OCI_CHALLENGE_INIT;
	int r;

	if (endpoint->generation != generation)
		return 1; /* another thread has been here in the meantime */
	read_challenges(response, &challenge);
	if (challenge.scheme == OCI_SCHEME_NONE)
		return 0;
	if (!endpoint->has_looked && endpoint->auth) {
		const struct oci_credentials_query query = {
			.auth = endpoint->auth,
			.host = endpoint->host,
			.repository = endpoint->repository,
			.cancel = cancel,
		};

		r = oci_credentials_find(&query, &endpoint->credentials, err);
		if (r < 0)
			return r;
	}
	endpoint->has_looked = true;
	oci_challenge_done(&endpoint->challenge);
	endpoint->challenge = challenge;
	challenge = OCI_CHALLENGE_INIT;
	endpoint->place = response->place;

	if (endpoint->challenge.scheme == OCI_SCHEME_BEARER &&
	    !endpoint->credentials.registry_token) {
		r = renew_token(endpoint, cancel, err);
		return r < 0 ? r : 1;
	}
	/* These do not change: refused once is refused. */
	if (generation > 0 ||
	    (endpoint->challenge.scheme == OCI_SCHEME_BASIC && !endpoint->credentials.username))
		return 0;
	endpoint->generation++;
	return 1;
}

/* --- asking ----------------------------------------------------------------------------------- */

/* Counts what the sink takes, so that a second round goes on behind it. */
struct counter {
	const struct fetch_sink *sink; /* borrowed */
	uint64_t *taken;	       /* borrowed */
};

static int count(void *context, struct span bytes, struct err *err)
{
	struct counter *counter = context;
	const int r = counter->sink->take(counter->sink->context, bytes, err);

	if (r == 0)
		*counter->taken += bytes.len;
	return r;
}

static int prepare(struct endpoint *endpoint, const struct endpoint_request *request,
		   char **ret_url, char **ret_authorization, uint64_t *ret_generation,
		   struct err *err)
{
	LOCKED(endpoint);
	int r = 0;

	want_repository(endpoint, request->repository);
	if (!endpoint->base)
		r = find_base(endpoint, request->cancel, err);
	if (r == 0)
		r = authorize(endpoint, request->cancel, ret_authorization, err);
	if (r < 0)
		return r;
	*ret_generation = endpoint->generation;
	*ret_url = mem_printf("%s/v2/%s/%s", endpoint->base, request->repository, request->path);
	return 0;
}

static int ask_once(struct endpoint *endpoint, const struct endpoint_request *request,
		    uint64_t *ret_generation, struct fetch_response *ret, struct err *err)
{
	AUTO_FREE char *url = NULL;
	AUTO_SECRET *authorization = NULL;
	struct counter counter = { .sink = request->sink, .taken = request->taken };
	const struct fetch_sink sink = { .take = count, .context = &counter };
	struct fetch_request fetch = {
		.headers = request->headers,
		.offset = request->offset + (request->sink ? *request->taken : 0),
		.size = request->size,
		.size_max = request->size_max,
		.policy = &endpoint->policy,
		.cancel = request->cancel,
	};
	int r;

	r = prepare(endpoint, request, &url, &authorization, ret_generation, err);
	if (r < 0)
		return r;
	fetch.url = url;
	fetch.authorization = authorization;
	return request->sink ? fetch_get(&fetch, &sink, ret, err)
			     : fetch_bytes(&fetch, request->bytes, ret, err);
}

static void note_failure(struct endpoint *endpoint, const struct fetch_response *response,
			 struct err *err)
{
	LOCKED(endpoint);

	hint_tls(endpoint, response, err);
	if (response->place == FETCH_PLACE_NONE &&
	    (err->kind == ERR_NOT_FOUND || err->kind == ERR_TIMEOUT))
		endpoint->is_down = true;
}

static int meet(struct endpoint *endpoint, const struct endpoint_request *request,
		const struct fetch_response *response, uint64_t generation, struct err *err)
{
	LOCKED(endpoint);

	/* Another thread may be at another repository by now: then begin there anew. */
	if (!str_eq(endpoint->repository, request->repository))
		return 1;
	return answer_challenge(endpoint, response, generation, request->cancel, err);
}

int endpoint_ask(struct endpoint *endpoint, const struct endpoint_request *request,
		 struct fetch_response *ret, struct err *err)
{
	for (int round = 0;; round++) {
		uint64_t generation = 0;
		int r;

		r = ask_once(endpoint, request, &generation, ret, err);
		if (r < 0) {
			note_failure(endpoint, ret, err);
			return r;
		}
		if (ret->status != 401 || round == ROUNDS_MAX)
			return 0;
		r = meet(endpoint, request, ret, generation, err);
		if (r <= 0)
			return r;
	}
}
