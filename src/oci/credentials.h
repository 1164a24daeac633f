/* Parts of credentials.c and helper.c. */
#pragma once

#include "oci/auth.h"

/* The value of a variable in the caller's environment; NULL when unset or empty. */
const char *auth_variable(const struct oci_auth *auth, const char *name);

/*
 * Asks docker-credential-NAME for the secret of `server`. Nothing found is success with empty
 * `ret`.
 */
int helper_ask(const struct oci_auth *auth, const char *name, const char *server,
	       const struct cancel *cancel, struct oci_credentials *ret, struct err *err)
	MUST_CHECK;
