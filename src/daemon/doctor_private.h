/* What doctor's files share. */
#pragma once

#include <jansson.h>

#include "base/err.h"

struct daemon;

enum verdict { PASS, WARN, FAIL };

/* `hint` may be NULL or "". */
void doctor_add(json_t *checks, const char *name, enum verdict verdict, const char *message,
		const char *hint);
void doctor_add_err(json_t *checks, const char *name, enum verdict verdict, const struct err *err);

/* In doctor_files.c. */
void doctor_check_permissions(const struct daemon *daemon, json_t *checks);
void doctor_check_user_key(const struct daemon *daemon, json_t *checks);
void doctor_check_storage(const struct daemon *daemon, json_t *checks);
void doctor_check_space(const struct daemon *daemon, json_t *checks);

void doctor_check_defaults(const struct daemon *daemon, json_t *checks);
void doctor_check_network(struct daemon *daemon, json_t *checks);
