#include "oci/registry.h"

#include <assert.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "fetch/url.h"
#include "oci/digest.h"
#include "oci/endpoint.h"
#include "oci/reference.h"

#define DOCKER_HUB	   "docker.io"
#define DOCKER_HUB_ADDRESS "registry-1.docker.io"
#define SAID_BYTES_MAX	   160 /* of a registry's own words, in our message */
#define MIRROR_BYTES_MAX   200 /* of what failed at the mirror, in the message of both */

#define SCHEMA1 "application/vnd.docker.distribution.manifest.v1+"

struct oci_registry {
	struct endpoint origin;
	struct endpoint mirror;
	bool has_mirror;
};

static const char *const manifest_headers[] = {
	"Accept: application/vnd.oci.image.index.v1+json",
	"Accept: application/vnd.oci.image.manifest.v1+json",
	"Accept: application/vnd.docker.distribution.manifest.list.v2+json",
	"Accept: application/vnd.docker.distribution.manifest.v2+json",
	NULL,
};

void oci_raw_manifest_done(struct oci_raw_manifest *manifest)
{
	buf_done(&manifest->bytes);
	mem_free(manifest->media_type);
	*manifest = OCI_RAW_MANIFEST_INIT;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* A host is what can stand for one in a reference. */
static int check_host(const char *host, struct err *err)
{
	AUTO_OCI_REFERENCE reference = OCI_REFERENCE_INIT;
	AUTO_FREE char *text = mem_printf("%s/x", host);
	struct err ignored = ERR_INIT;

	if (oci_reference_parse(text, &reference, &ignored) < 0 ||
	    !str_eq(reference.registry, host))
		return err_set(err, ERR_INVALID, "'%.200s' is no registry: HOST or HOST:PORT",
			       host);
	return 0;
}

static void set_policy(struct endpoint *endpoint, const struct oci_registry_config *config)
{
	if (config->policy)
		endpoint->policy = *config->policy;
	endpoint->policy.ca_file = endpoint->ca_file;
	endpoint->policy.is_insecure_allowed = config->is_insecure;
}

/* "https://host[:port][/path]", which "/v2/..." is put behind. */
static int open_mirror(const struct oci_registry_config *config, const struct oci_auth *auth,
		       struct endpoint *ret, struct err *err)
{
	const struct fetch_policy policy = { .is_insecure_allowed = config->is_insecure };
	AUTO_URL url = URL_INIT;
	AUTO_FREE char *host = NULL;
	AUTO_FREE char *base = NULL;
	size_t len;
	int r;

	r = url_parse(config->mirror, &url, err);
	if (r == 0) {
		r = fetch_url_check(config->mirror, &policy, err);
		if (r < 0 && !url.is_https && !config->is_insecure)
			err_hint(err, "'insecure = true' in " OCI_REGISTRY_ENTRY " allows it");
	}
	if (r == 0 && strpbrk(url.text, "?#"))
		r = err_set(err, ERR_INVALID, "'%s' has a query", url.shown);
	if (r < 0)
		return err_context(err, r, "the registry's mirror");

	if (url.port == (url.is_https ? 443 : 80))
		host = mem_strdup(url.host);
	else
		host = mem_printf("%s:%u", url.host, (unsigned int)url.port);
	len = strlen(url.text);
	while (len > 0 && url.text[len - 1] == '/')
		len--;
	base = mem_strndup(url.text, len);
	endpoint_init(ret, host, host, base, config->ca_file);
	set_policy(ret, config);
	ret->auth = auth;
	return 0;
}

int oci_registry_open(const char *host, const struct oci_registry_config *config,
		      const struct oci_auth *auth, struct oci_registry **ret, struct err *err)
{
	static const struct oci_registry_config none = { .mirror = NULL };
	CLEANUP(oci_registry_freep) struct oci_registry *registry = NULL;
	int r;

	r = check_host(host, err);
	if (r < 0)
		return r;
	if (!config)
		config = &none;
	registry = mem_alloc(1, sizeof(*registry));
	endpoint_init(&registry->origin, host, str_eq(host, DOCKER_HUB) ? DOCKER_HUB_ADDRESS : host,
		      NULL, config->ca_file);
	set_policy(&registry->origin, config);
	/* With a mirror the exception is the mirror's: what is near to us is no reason to trust the
	 * way out. */
	if (config->mirror)
		registry->origin.policy.is_insecure_allowed = false;
	registry->origin.auth = auth;
	if (config->mirror) {
		r = open_mirror(config, auth, &registry->mirror, err);
		if (r < 0)
			return r;
		registry->has_mirror = true;
	}
	*ret = TAKE_PTR(registry);
	return 0;
}

void oci_registry_free(struct oci_registry *registry)
{
	if (!registry)
		return;
	endpoint_done(&registry->origin);
	endpoint_done(&registry->mirror);
	mem_free(registry);
}

/* --- what answers mean ------------------------------------------------------------------------ */

/* "CODE: message" of {"errors": [{"code", "message"}]}, escaped; nothing when it is not that. */
static void add_said(const struct fetch_response *response, struct buf *out)
{
	struct err ignored = ERR_INIT;
	AUTO_JSON *document = NULL;
	const json_t *first;
	const char *code, *message;

	if (json_read(buf_span(&response->body), &document, &ignored) < 0)
		return;
	first = json_array_get(json_object_get(document, "errors"), 0);
	code = json_get_str(first, "code");
	message = json_get_str(first, "message");
	if (str_empty(code) && str_empty(message))
		return;
	buf_add_str(out, " (");
	if (!str_empty(code))
		text_escape(out, span_str(code), SAID_BYTES_MAX);
	if (!str_empty(message)) {
		buf_add_str(out, str_empty(code) ? "" : ": ");
		text_escape(out, span_str(message), SAID_BYTES_MAX);
	}
	buf_add_str(out, ")");
}

static void hint_login(const struct endpoint *endpoint, struct err *err)
{
	err_hint(err, "log in with 'docker login %.64s' or 'podman login %.64s'", endpoint->host,
		 endpoint->host);
}

/* `what` is "manifest 'latest'" or the like. */
static int fail_status(struct endpoint *endpoint, const struct endpoint_request *request,
		       const char *what, const struct fetch_response *response, struct err *err)
{
	AUTO_BUF said = BUF_INIT;
	int r;

	add_said(response, &said);
	switch (response->status) {
	case 404:
		return err_set(err, ERR_NOT_FOUND, "'%s' has no %s of '%s'%s", endpoint->host, what,
			       request->repository, said.ptr);
	case 401:
	case 403:
		r = err_set(err, ERR_BAD_STATE, "'%s' does not give us '%s': %s%s", endpoint->host,
			    request->repository, endpoint_why_denied(endpoint), said.ptr);
		hint_login(endpoint, err);
		return r;
	case 429:
		return err_set(err, ERR_BUSY, "'%s' wants to be asked less often%s", endpoint->host,
			       said.ptr);
	default:
		return err_set(err, response->status == 503 ? ERR_BUSY : ERR_PROTOCOL,
			       "'%s' answers with status %u for %s of '%s'%s", endpoint->host,
			       response->status, what, request->repository, said.ptr);
	}
}

static int ask(struct endpoint *endpoint, const struct endpoint_request *request, const char *what,
	       struct fetch_response *response, struct err *err)
{
	int r;

	r = endpoint_ask(endpoint, request, response, err);
	if (r < 0 && err->kind == ERR_BAD_STATE)
		hint_login(endpoint, err); /* the token server's refusal */
	if (r < 0)
		return r;
	if (response->status != 200 && response->status != 206)
		return fail_status(endpoint, request, what, response, err);
	return 0;
}

/* Says of the mirror what it said, if it was asked, now that the registry has failed as well. */
static int name_mirror(const struct oci_registry *registry, const struct err *mirrors, int r,
		       struct err *err)
{
	if (mirrors->kind == ERR_NONE || err->kind == ERR_CANCELLED)
		return r;
	return err_context(err, r, "the mirror '%s' failed (%.*s), then", registry->mirror.host,
			   MIRROR_BYTES_MAX, mirrors->message);
}

/* --- manifests -------------------------------------------------------------------------------- */

/* Lower case, without parameters. */
static char *read_media_type(const char *header)
{
	char *type;

	if (!header)
		return mem_strdup("");
	type = mem_strndup(header, strcspn(header, "; \t"));
	for (char *at = type; *at; at++)
		if (*at >= 'A' && *at <= 'Z')
			*at = (char)(*at - 'A' + 'a');
	/* What plain file servers say. */
	if (!strchr(type, '/') || str_eq(type, "application/json") ||
	    str_eq(type, "application/octet-stream") || str_starts(type, "text/"))
		type[0] = '\0';
	return type;
}

static int ask_manifest(struct endpoint *endpoint, const char *repository, const char *wanted,
			const struct cancel *cancel, struct oci_raw_manifest *ret, struct err *err)
{
	AUTO_FREE char *path = mem_printf("manifests/%s", wanted);
	AUTO_FREE char *what = mem_printf("manifest '%s'", wanted);
	const struct endpoint_request request = {
		.repository = repository,
		.path = path,
		.headers = manifest_headers,
		.size = FETCH_SIZE_UNKNOWN,
		.size_max = OCI_MANIFEST_BYTES_MAX,
		.bytes = &ret->bytes,
		.cancel = cancel,
	};
	AUTO_FETCH_RESPONSE response = FETCH_RESPONSE_INIT;
	struct oci_digest digest;
	int r;

	buf_clear(&ret->bytes);
	r = ask(endpoint, &request, what, &response, err);
	if (r < 0)
		return r;
	mem_free(ret->media_type);
	ret->media_type = read_media_type(response.headers[FETCH_CONTENT_TYPE]);
	if (str_starts(ret->media_type, SCHEMA1))
		return err_set(err, ERR_UNSUPPORTED,
			       "'%s' has %s of '%s' only in schema 1, which is too old",
			       endpoint->host, what, repository);
	if (!strchr(wanted, ':'))
		return 0;
	if (!oci_digest_parse(span_str(wanted), &digest))
		return err_set(err, ERR_INVALID, "'%.150s' is no digest", wanted);
	r = oci_digest_check(&digest, buf_span(&ret->bytes), err);
	return r < 0 ? err_context(err, r, "%s of '%s' at '%s'", what, repository, endpoint->host)
		     : 0;
}

int oci_registry_manifest(struct oci_registry *registry, const char *repository, const char *wanted,
			  const struct cancel *cancel, struct oci_raw_manifest *ret,
			  struct err *err)
{
	struct err mirrors = ERR_INIT;
	int r;

	if (registry->has_mirror && !endpoint_is_down(&registry->mirror)) {
		r = ask_manifest(&registry->mirror, repository, wanted, cancel, ret, err);
		if (r == 0 || err->kind == ERR_CANCELLED)
			return r;
		mirrors = *err; /* what the mirror cannot do, the registry may */
		*err = ERR_INIT;
	}
	r = ask_manifest(&registry->origin, repository, wanted, cancel, ret, err);
	return r < 0 ? name_mirror(registry, &mirrors, r, err) : 0;
}

/* --- blobs ------------------------------------------------------------------------------------ */

/* The sink of a blob, which both servers may fill. */
struct blob_sink {
	const struct fetch_sink *sink; /* borrowed */
	uint64_t taken;		       /* by it, from whomever */
	bool is_broken;		       /* it wants no more */
};

static int take(void *context, struct span bytes, struct err *err)
{
	struct blob_sink *sink = context;
	const int r = sink->sink->take(sink->sink->context, bytes, err);

	sink->is_broken = r < 0;
	return r;
}

static int ask_blob(struct endpoint *endpoint, const struct oci_blob_request *blob,
		    struct blob_sink *sink, struct err *err)
{
	AUTO_FREE char *path = mem_printf("blobs/%s", blob->digest);
	AUTO_FREE char *what = mem_printf("blob '%s'", blob->digest);
	const struct fetch_sink taker = { .take = take, .context = sink };
	const struct endpoint_request request = {
		.repository = blob->repository,
		.path = path,
		.offset = blob->offset,
		.size = blob->size,
		.sink = &taker,
		.taken = &sink->taken,
		.cancel = blob->cancel,
	};
	AUTO_FETCH_RESPONSE response = FETCH_RESPONSE_INIT;

	return ask(endpoint, &request, what, &response, err);
}

int oci_registry_blob(struct oci_registry *registry, const struct oci_blob_request *request,
		      const struct fetch_sink *sink, struct err *err)
{
	struct blob_sink blob_sink = { .sink = sink };
	struct err mirrors = ERR_INIT;
	int r;

	assert(request->offset <= request->size);
	if (registry->has_mirror && !request->is_origin_only &&
	    !endpoint_is_down(&registry->mirror) && request->offset < request->size) {
		r = ask_blob(&registry->mirror, request, &blob_sink, err);
		if (request->mirror && blob_sink.taken > 0)
			*request->mirror = registry->mirror.host;
		if (r == 0 || err->kind == ERR_CANCELLED || blob_sink.is_broken)
			return r;
		mirrors = *err; /* the registry goes on where the mirror stopped */
		*err = ERR_INIT;
	}
	if (request->offset + blob_sink.taken == request->size)
		return 0;
	r = ask_blob(&registry->origin, request, &blob_sink, err);
	return r < 0 && !blob_sink.is_broken ? name_mirror(registry, &mirrors, r, err) : r;
}
