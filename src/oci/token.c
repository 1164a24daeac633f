/* Authorization headers, and the tokens of token servers (distribution specification, token.md). */
#include <assert.h>
#include <string.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "fetch/url.h"
#include "oci/auth.h"
#include "oci/secret.h"

#define CLIENT_ID	  "banger"
#define LIFETIME_S	  60 /* when the server does not say; the specification's own default */
#define LIFETIME_MAX_S	  86400
#define LIFETIME_MARGIN_S 5 /* clocks and requests take their time */

void oci_secret_free(char *secret)
{
	secret_free(secret);
}

void oci_token_done(struct oci_token *token)
{
	secret_free(token->text);
	*token = (struct oci_token){ .text = NULL };
}

char *oci_basic_authorization(const struct oci_credentials *credentials)
{
	AUTO_SECRET *pair = mem_printf("%s:%s", credentials->username, credentials->password);
	AUTO_SECRET_BUF text = BUF_INIT;

	buf_reserve(&text, strlen("Basic ") + strlen(pair) / 3 * 4 + 4);
	buf_add_str(&text, "Basic ");
	base64_encode(&text, span_str(pair));
	return buf_detach(&text);
}

char *oci_bearer_authorization(const char *token)
{
	return mem_printf("Bearer %s", token);
}

/* Everything but RFC 3986's unreserved bytes as %XX. */
static void add_encoded(struct buf *out, const char *text)
{
	static const char digits[] = "0123456789ABCDEF";

	for (; *text; text++) {
		const uint8_t byte = (uint8_t)*text;

		if ((byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
		    (byte >= 'a' && byte <= 'z') || strchr("-._~", byte)) {
			buf_add_byte(out, byte);
		} else {
			buf_add_byte(out, '%');
			buf_add_byte(out, (uint8_t)digits[byte >> 4]);
			buf_add_byte(out, (uint8_t)digits[byte & 15]);
		}
	}
}

static void add_field(struct buf *out, char separator, const char *name, const char *value)
{
	if (str_empty(value))
		return;
	buf_addf(out, "%c%s=", separator, name);
	add_encoded(out, value);
}

static const char *scope_of(const struct oci_token_request *request)
{
	return str_empty(request->challenge->scope) ? request->scope : request->challenge->scope;
}

/* REALM?service=...&scope=... */
static void make_url(const struct oci_token_request *request, struct buf *out)
{
	const struct oci_challenge *challenge = request->challenge;

	buf_add_str(out, challenge->realm);
	add_field(out, strchr(challenge->realm, '?') ? '&' : '?', "service", challenge->service);
	add_field(out, strchr(out->ptr, '?') ? '&' : '?', "scope", scope_of(request));
}

static void make_form(const struct oci_token_request *request, struct buf *out)
{
	buf_reserve(out, OCI_TOKEN_BYTES_MAX);
	buf_add_str(out, "grant_type=refresh_token&client_id=" CLIENT_ID);
	add_field(out, '&', "service", request->challenge->service);
	add_field(out, '&', "scope", scope_of(request));
	add_field(out, '&', "refresh_token", request->credentials->identity_token);
}

static int read_token(const struct oci_token_request *request, struct span body, uint64_t now_ns,
		      struct oci_token *ret, struct err *err)
{
	struct err ignored = ERR_INIT; /* it may quote what is secret */
	AUTO_JSON *document = NULL;
	const char *text;
	uint64_t lifetime_s;

	if (json_read(body, &document, &ignored) < 0 || !json_is_object(document))
		return err_set(err, ERR_PROTOCOL,
			       "the token server '%.200s' did not send a JSON object",
			       request->challenge->realm);
	text = json_get_str(document, "token");
	if (str_empty(text))
		text = json_get_str(document, "access_token");
	if (str_empty(text) || !secret_is_header_text(text))
		return err_set(err, ERR_PROTOCOL, "the token server '%.200s' sent no token",
			       request->challenge->realm);

	lifetime_s = json_get_u64(document, "expires_in");
	if (lifetime_s == 0)
		lifetime_s = LIFETIME_S;
	if (lifetime_s > LIFETIME_MAX_S)
		lifetime_s = LIFETIME_MAX_S;
	if (lifetime_s > LIFETIME_MARGIN_S)
		lifetime_s -= LIFETIME_MARGIN_S;
	oci_token_done(ret);
	ret->text = mem_strdup(text);
	ret->expires_ns = now_ns + lifetime_s * NSEC_PER_SEC;
	return 0;
}

/* Nothing leaves before the realm is known to be fit for it. */
static int check_realm(const struct oci_token_request *request, struct err *err)
{
	AUTO_URL realm = URL_INIT;
	int r;

	r = url_parse(request->challenge->realm, &realm, err);
	if (r == 0)
		r = fetch_url_check(request->challenge->realm, request->policy, err);
	if (r < 0) {
		err->kind = ERR_PROTOCOL; /* the registry's mistake, not the user's */
		return err_context(err, -EPROTO, "the registry's token server");
	}
	return 0;
}

int oci_token_fetch(const struct oci_token_request *request, struct oci_token *ret, struct err *err)
{
	const struct oci_credentials *credentials = request->credentials;
	AUTO_SECRET *authorization = NULL;
	AUTO_SECRET_BUF form = BUF_INIT;
	AUTO_SECRET_BUF body = BUF_INIT;
	AUTO_BUF url = BUF_INIT;
	AUTO_FETCH_RESPONSE response = FETCH_RESPONSE_INIT;
	struct fetch_request fetch = {
		.size = FETCH_SIZE_UNKNOWN,
		.size_max = OCI_TOKEN_BYTES_MAX,
		.led_from = request->led_from,
		.policy = request->policy,
		.cancel = request->cancel,
	};
	const uint64_t now_ns = clock_now_ns();
	int r;

	assert(request->challenge->scheme == OCI_SCHEME_BEARER);
	r = check_realm(request, err);
	if (r < 0)
		return r;
	if (credentials->identity_token) {
		make_form(request, &form);
		fetch.form = form.ptr;
		fetch.url = request->challenge->realm;
	} else {
		make_url(request, &url);
		fetch.url = url.ptr;
	}
	if (credentials->username) {
		authorization = oci_basic_authorization(credentials);
		fetch.authorization = authorization;
	}
	buf_reserve(&body, OCI_TOKEN_BYTES_MAX); /* so that it is never moved */
	r = fetch_bytes(&fetch, &body, &response, err);
	if (r == 0 && response.status != 200) {
		buf_clear(&response.body); /* it could repeat what it was sent */
		r = fetch_status_error(&response, fetch.url, err);
	}
	if (r < 0)
		return err_context(err, r, "get a token%s",
				   response.status == 401 && !oci_credentials_are_empty(credentials)
					   ? " with the credentials that are kept"
					   : "");
	return read_token(request, buf_span(&body), now_ns, ret, err);
}
