#include "fetch/url.h"

#include <curl/curl.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"

#define SHOWN_BYTES_MAX 200

static void curl_freep(char **text)
{
	curl_free(*text);
	*text = NULL;
}

static void handle_freep(CURLU **handle)
{
	curl_url_cleanup(*handle);
	*handle = NULL;
}

#define AUTO_CURL   CLEANUP(curl_freep) char
#define AUTO_HANDLE CLEANUP(handle_freep) CURLU

void url_done(struct url *url)
{
	mem_free(url->text);
	mem_free(url->host);
	mem_free(url->shown);
	*url = URL_INIT;
}

/* A part as our own string; NULL when it is absent. */
static char *part(CURLU *handle, CURLUPart what, unsigned int flags)
{
	AUTO_CURL *text = NULL;

	return curl_url_get(handle, what, &text, flags) == CURLUE_OK ? mem_strdup(text) : NULL;
}

static char *lower(char *text)
{
	for (char *at = text; *at; at++)
		if (*at >= 'A' && *at <= 'Z')
			*at = (char)(*at - 'A' + 'a');
	return text;
}

static bool has_blank_or_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || *text == 0x7f)
			return true;
	return false;
}

/*
 * libcurl decodes "%xx" in a host before, and reads numbers as an address after, it looks at it:
 * "1%32" is "12" the first time and 0.0.0.12 when that is read again. What is judged must be what
 * is connected to.
 */
static bool is_host_settled(CURLU *handle, const struct url *url)
{
	AUTO_FREE char *again = NULL;

	if (has_blank_or_control(url->host) || has_blank_or_control(url->text) ||
	    curl_url_set(handle, CURLUPART_URL, url->text, 0) != CURLUE_OK)
		return false;
	again = part(handle, CURLUPART_HOST, 0);
	return str_eq(again, url->host);
}

/* Why it is none of ours; NULL when it is. What is filled is the caller's to free either way. */
static const char *fill(CURLU *handle, struct url *url)
{
	AUTO_FREE char *scheme = part(handle, CURLUPART_SCHEME, 0);
	AUTO_FREE char *port = NULL, *path = NULL, *user = NULL;
	uint64_t number;

	if (!str_eq(scheme, "https") && !str_eq(scheme, "http"))
		return "it is neither http nor https";
	user = part(handle, CURLUPART_USER, 0);
	if (user)
		return "it has a user name";
	(void)curl_url_set(handle, CURLUPART_FRAGMENT, NULL, 0);
	url->host = part(handle, CURLUPART_HOST, 0);
	port = part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT);
	path = part(handle, CURLUPART_PATH, 0);
	url->text = part(handle, CURLUPART_URL, CURLU_NO_DEFAULT_PORT);
	if (str_empty(url->host) || !port || !path || !url->text ||
	    !parse_u64_text(port, UINT16_MAX, &number) || number == 0)
		return "it is malformed";
	if (strlen(url->text) > FETCH_URL_BYTES_MAX)
		return "it is too long";
	if (!is_host_settled(handle, url))
		return "its host is not plain";

	(void)lower(url->host);
	url->port = (uint16_t)number;
	url->is_https = str_eq(scheme, "https");
	if (number == (url->is_https ? 443 : 80))
		url->shown = mem_printf("%s://%s%s", scheme, url->host, path);
	else
		url->shown = mem_printf("%s://%s:%s%s", scheme, url->host, port, path);
	if (strlen(url->shown) > SHOWN_BYTES_MAX)
		memcpy(url->shown + SHOWN_BYTES_MAX - 3, "...", 4);
	return NULL;
}

static const char *take_apart(CURLU *handle, struct url *ret)
{
	struct url url = URL_INIT;
	const char *why = fill(handle, &url);

	if (why)
		url_done(&url);
	else
		*ret = url;
	return why;
}

int url_parse(const char *text, struct url *ret, struct err *err)
{
	AUTO_HANDLE *handle = curl_url();
	const char *why = "it is malformed";

	if (!handle)
		return err_sys(err, -ENOMEM, "parse a URL");
	if (!has_blank_or_control(text) &&
	    curl_url_set(handle, CURLUPART_URL, text, 0) == CURLUE_OK)
		why = take_apart(handle, ret);
	if (why) {
		/* What stands behind '?' or before '@' may be a secret. */
		const size_t len = strchr(text, '@') ? 0 : strcspn(text, "?");

		return err_set(err, ERR_INVALID, "cannot ask for the URL '%.*s': %s",
			       (int)(len < SHOWN_BYTES_MAX ? len : SHOWN_BYTES_MAX), text, why);
	}
	return 0;
}

int url_resolve(const struct url *base, const char *location, struct url *ret, struct err *err)
{
	AUTO_HANDLE *handle = curl_url();
	const char *why = "it is malformed";

	if (!handle)
		return err_sys(err, -ENOMEM, "parse a URL");
	if (!has_blank_or_control(location) &&
	    curl_url_set(handle, CURLUPART_URL, base->text, 0) == CURLUE_OK &&
	    curl_url_set(handle, CURLUPART_URL, location, 0) == CURLUE_OK)
		why = take_apart(handle, ret);
	if (why)
		return err_set(err, ERR_PROTOCOL, "'%s' redirects to a URL that is refused: %s",
			       base->shown, why);
	return 0;
}

bool url_same_origin(const struct url *a, const struct url *b)
{
	return a->is_https == b->is_https && a->port == b->port && str_eq(a->host, b->host);
}

int fetch_url_check(const char *url, const struct fetch_policy *policy, struct err *err)
{
	AUTO_URL parsed = URL_INIT;
	int r;

	r = url_parse(url, &parsed, err);
	if (r < 0)
		return r;
	if (!parsed.is_https && !(policy && policy->is_insecure_allowed) &&
	    !fetch_host_is_loopback(parsed.host))
		return err_set(err, ERR_INVALID, "'%s' is plain HTTP, which is for loopback only",
			       parsed.shown);
	return 0;
}
