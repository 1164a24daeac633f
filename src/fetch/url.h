/* URLs that we ask for: taken apart, judged, and shown without their secrets. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "fetch/fetch.h"

/* All owned. */
struct url {
	char *text;  /* normalised, without a fragment */
	char *host;  /* lower case; IPv6 in brackets */
	char *shown; /* for messages: without the query */
	uint16_t port;
	bool is_https;
};

#define URL_INIT ((struct url){ .text = NULL })

void url_done(struct url *url);
#define AUTO_URL CLEANUP(url_done) struct url

/* http or https, with a host, without user and password. ERR_INVALID. */
int url_parse(const char *text, struct url *ret, struct err *err) MUST_CHECK;

/* What a Location header means at `base`. ERR_PROTOCOL, as a server has said it. */
int url_resolve(const struct url *base, const char *location, struct url *ret, struct err *err)
	MUST_CHECK;

/* Scheme, host and port. */
bool url_same_origin(const struct url *a, const struct url *b);
