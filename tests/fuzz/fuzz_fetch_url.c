/*
 * URLs and redirects. What is accepted is read again by libcurl when it connects: it must then mean
 * the same scheme, host and port as what was judged. A redirect ends where its target says.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "fetch/place.h"
#include "fetch/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void want(bool condition)
{
	if (!condition)
		abort();
}

static void check_again(const struct url *url)
{
	AUTO_URL again = URL_INIT;
	struct err err = ERR_INIT;

	want(url_parse(url->text, &again, &err) == 0);
	want(url_same_origin(url, &again));
	want(place_of_host(url->host) == place_of_host(again.host));
	want(!strpbrk(url->host, "/@?# "));
	want(!strchr(url->shown, '?'));
	want(strlen(url->text) <= FETCH_URL_BYTES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = mem_strndup((const char *)data, size);
	AUTO_URL base = URL_INIT, url = URL_INIT, next = URL_INIT;
	struct err err = ERR_INIT;

	if (url_parse(text, &url, &err) == 0)
		check_again(&url);
	else
		want(!url.text && !url.host && !url.shown);

	want(url_parse("https://registry.example:5000/v2/a?b", &base, &err) == 0);
	if (url_resolve(&base, text, &next, &err) < 0)
		return 0;
	check_again(&next);
	if (url.text) /* it was absolute: where it leads depends on nothing else */
		want(url_same_origin(&url, &next));
	return 0;
}
