/*
 * WWW-Authenticate headers. What is understood, written down again in its plainest form, means the
 * same; what is not leaves what was known untouched.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "oci/auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void want(bool condition)
{
	if (!condition)
		abort();
}

static void add_parameter(struct buf *out, const char *name, const char *value)
{
	if (!value)
		return;
	buf_addf(out, "%c%s=\"", out->ptr[out->len - 1] == '"' ? ',' : ' ', name);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			buf_add_byte(out, '\\');
		buf_add_byte(out, (uint8_t)*value);
	}
	buf_add_byte(out, '"');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_OCI_CHALLENGE first = OCI_CHALLENGE_INIT, second = OCI_CHALLENGE_INIT;
	AUTO_BUF printed = BUF_INIT;

	if (!oci_challenge_read(span_of(data, size), &first)) {
		want(first.scheme == OCI_SCHEME_NONE && !first.realm && !first.service &&
		     !first.scope);
		return 0;
	}
	want(size <= OCI_CHALLENGE_BYTES_MAX);
	if (first.scheme == OCI_SCHEME_NONE) {
		want(!first.realm);
		return 0;
	}
	buf_add_str(&printed, first.scheme == OCI_SCHEME_BEARER ? "Bearer" : "Basic");
	add_parameter(&printed, "realm", first.realm);
	add_parameter(&printed, "service", first.service);
	add_parameter(&printed, "scope", first.scope);
	if (printed.len > OCI_CHALLENGE_BYTES_MAX)
		return 0; /* quoting made it longer */
	want(oci_challenge_read(buf_span(&printed), &second));
	want(first.scheme == second.scheme && str_eq(first.realm, second.realm));
	want(str_eq(first.service, second.service) && str_eq(first.scope, second.scope));
	return 0;
}
