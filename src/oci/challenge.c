/* WWW-Authenticate, as RFC 9110 has it: several challenges and their parameters in one list. */
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/parse.h"
#include "oci/auth.h"

#define PARAMETERS_MAX 16 /* of one challenge */

void oci_challenge_done(struct oci_challenge *challenge)
{
	mem_free(challenge->realm);
	mem_free(challenge->service);
	mem_free(challenge->scope);
	*challenge = OCI_CHALLENGE_INIT;
}

/* RFC 9110, 5.6.2 */
static bool is_token_byte(uint8_t byte)
{
	return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
	       (byte >= 'a' && byte <= 'z') ||
	       (byte != '\0' && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

static void skip_blanks(struct span *cursor)
{
	while (cursor->len > 0 && (cursor->ptr[0] == ' ' || cursor->ptr[0] == '\t'))
		*cursor = span_skip(*cursor, 1);
}

static bool take_token(struct span *cursor, struct span *ret)
{
	size_t len = 0;

	while (len < cursor->len && is_token_byte(cursor->ptr[len]))
		len++;
	if (len == 0)
		return false;
	*ret = span_of(cursor->ptr, len);
	*cursor = span_skip(*cursor, len);
	return true;
}

/* "..." with \ before what is meant as it is; no control characters. */
static bool take_quoted(struct span *cursor, struct buf *ret)
{
	struct span rest = *cursor;

	if (!parse_byte(&rest, '"'))
		return false;
	while (rest.len > 0 && rest.ptr[0] != '"') {
		if (rest.ptr[0] == '\\')
			rest = span_skip(rest, 1);
		if (rest.len == 0 || rest.ptr[0] < ' ' || rest.ptr[0] == 0x7f)
			return false;
		buf_add_byte(ret, rest.ptr[0]);
		rest = span_skip(rest, 1);
	}
	if (!parse_byte(&rest, '"'))
		return false;
	*cursor = rest;
	return true;
}

/* name = token or "quoted" */
static bool take_parameter(struct span *cursor, struct span *ret_name, struct buf *ret_value)
{
	struct span rest = *cursor, name, value;

	if (!take_token(&rest, &name))
		return false;
	skip_blanks(&rest);
	if (!parse_byte(&rest, '='))
		return false;
	skip_blanks(&rest);
	if (take_token(&rest, &value))
		buf_add(ret_value, value);
	else if (!take_quoted(&rest, ret_value))
		return false;
	*ret_name = name;
	*cursor = rest;
	return true;
}

/* The other form of a challenge: one run of digits ("Negotiate YII="). */
static bool take_token68(struct span *cursor)
{
	size_t len = 0;

	while (len < cursor->len && cursor->ptr[len] != ',' && cursor->ptr[len] != ' ' &&
	       (is_token_byte(cursor->ptr[len]) || cursor->ptr[len] == '/'))
		len++;
	while (len > 0 && len < cursor->len && cursor->ptr[len] == '=')
		len++;
	*cursor = span_skip(*cursor, len);
	return len > 0;
}

static bool is_named(struct span name, const char *wanted)
{
	return name.len == strlen(wanted) &&
	       strncasecmp((const char *)name.ptr, wanted, name.len) == 0;
}

/* False when the parameter came twice. */
static bool keep_parameter(struct oci_challenge *challenge, struct span name, struct buf *value)
{
	char **slot = is_named(name, "realm")	  ? &challenge->realm
		      : is_named(name, "service") ? &challenge->service
		      : is_named(name, "scope")	  ? &challenge->scope
						  : NULL;

	if (!slot)
		return true;
	if (*slot)
		return false;
	*slot = buf_detach(value);
	return true;
}

/* Lists may have empty items. */
static void skip_empty(struct span *cursor)
{
	while (cursor->len > 0 &&
	       (cursor->ptr[0] == ',' || cursor->ptr[0] == ' ' || cursor->ptr[0] == '\t'))
		*cursor = span_skip(*cursor, 1);
}

/* Behind an item stands a comma, or the end. */
static bool take_comma(struct span *cursor)
{
	skip_blanks(cursor);
	if (cursor->len > 0 && cursor->ptr[0] != ',')
		return false;
	skip_empty(cursor);
	return true;
}

static enum oci_scheme scheme_of(struct span name)
{
	if (is_named(name, "Bearer"))
		return OCI_SCHEME_BEARER;
	return is_named(name, "Basic") ? OCI_SCHEME_BASIC : OCI_SCHEME_NONE;
}

/* One challenge, up to the next one's scheme or the end. */
static bool take_challenge(struct span *cursor, struct oci_challenge *ret)
{
	size_t count = 0;
	struct span name;

	if (!take_token(cursor, &name))
		return false;
	ret->scheme = scheme_of(name);
	if (cursor->len > 0 && cursor->ptr[0] == ' ') {
		struct span first = *cursor;
		AUTO_BUF value = BUF_INIT;

		skip_blanks(&first);
		if (first.len > 0 && first.ptr[0] != ',' &&
		    !take_parameter(&first, &name, &value)) {
			if (!take_token68(&first))
				return false;
			*cursor = first;
			return take_comma(cursor);
		}
		skip_blanks(cursor);
	}
	for (;;) {
		AUTO_BUF value = BUF_INIT;
		struct span next = *cursor;

		if (!take_parameter(&next, &name, &value))
			return count > 0 || take_comma(cursor);
		if (++count > PARAMETERS_MAX || !keep_parameter(ret, name, &value))
			return false;
		*cursor = next;
		if (!take_comma(cursor))
			return false;
	}
}

static bool is_better(const struct oci_challenge *found, const struct oci_challenge *than)
{
	if (found->scheme == OCI_SCHEME_BEARER && (!found->realm || found->realm[0] == '\0'))
		return false;
	return found->scheme > than->scheme;
}

bool oci_challenge_read(struct span header, struct oci_challenge *ret)
{
	AUTO_OCI_CHALLENGE best = OCI_CHALLENGE_INIT;

	if (header.len > OCI_CHALLENGE_BYTES_MAX)
		return false;
	skip_empty(&header);
	while (header.len > 0) {
		AUTO_OCI_CHALLENGE found = OCI_CHALLENGE_INIT;

		if (!take_challenge(&header, &found))
			return false;
		if (is_better(&found, &best)) {
			oci_challenge_done(&best);
			best = found;
			found = OCI_CHALLENGE_INIT;
		}
	}
	if (is_better(&best, ret)) {
		oci_challenge_done(ret);
		*ret = best;
		best = OCI_CHALLENGE_INIT;
	}
	return true;
}
