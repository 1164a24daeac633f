/*
 * Which proxy of our environment a URL is asked through. We decide and tell libcurl, which would
 * decide by itself: what is asked directly must have its address judged, so there can be no two
 * opinions.
 *
 * As with curl: https_proxy, HTTPS_PROXY, http_proxy (lower case only), then all_proxy, ALL_PROXY;
 * no_proxy, NO_PROXY. Loopback hosts are never asked through one.
 */
#pragma once

#include <stdbool.h>

#include "fetch/url.h"

/* The variable's value, borrowed from the environment; NULL: the URL is asked directly. */
const char *proxy_of_url(const struct url *url);

/*
 * Whether the text of no_proxy has the host, which is as in struct url. Its parts, between commas
 * or blanks: "*"; names, which mean those below them too, with or without a dot in front;
 * addresses, also with "/BITS". Pure.
 */
bool proxy_is_excepted(const char *no_proxy, const char *host);
