/*
 * Schema changes: numbered, forward only, each in a transaction of its own together with its row in
 * schema_migrations.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

struct connection;

#define STORE_APPLICATION_ID 0x62616e67 /* "bang": tells our files from other SQLite databases */

struct migration {
	const char *name; /* number i + 1 is entry i */
	const char *sql;
};

extern const struct migration store_migrations[];
extern const size_t store_migration_count;

/* The number of the last migration that was applied, 0 when none was. */
int migrations_version(struct connection *connection, int64_t *ret, struct err *err) MUST_CHECK;

/* Applies what is missing of `table`. ERR_UNSUPPORTED when more were applied than there are. */
int migrations_apply(struct connection *connection, const struct migration *table, size_t count,
		     struct err *err) MUST_CHECK;
