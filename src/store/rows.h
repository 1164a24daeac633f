/* Structs to rows and back: a table of columns for each kind of record. */
#pragma once

#include <sqlite3.h>
#include <stddef.h>

#include "base/err.h"
#include "base/macros.h"

struct connection;

enum column_type {
	COLUMN_TEXT,	       /* char *, owned */
	COLUMN_VM_ID,	       /* char[VM_ID_SIZE], also of others that have such ids */
	COLUMN_KEY,	       /* char[TEMPLATE_KEY_SIZE]: any SHA-256 */
	COLUMN_U32,	       /* uint32_t */
	COLUMN_U64,	       /* uint64_t, at most INT64_MAX */
	COLUMN_I64,	       /* int64_t */
	COLUMN_BOOL,	       /* bool */
	COLUMN_VM_STATE,       /* enum vm_state */
	COLUMN_VM_INTENT,      /* enum vm_intent */
	COLUMN_PORTS,	       /* the ports and port_count of a struct vm_spec at the offset */
	COLUMN_ARTIFACT_STATE, /* enum artifact_state */
};

struct column {
	enum column_type type;
	size_t offset;
};

/* In the order in which sql.c names them; `written` of them are bound, the rest only read. */
struct row_layout {
	const struct column *columns;
	int count;
	int written;
};

extern const struct row_layout vm_layout;
extern const struct row_layout image_layout;
extern const struct row_layout kernel_layout;
extern const struct row_layout template_layout;
extern const struct row_layout snapshot_layout;

/* Binds the record's values from index 1. ERR_INVALID when a number does not fit into the database.
 */
int row_bind(const struct row_layout *layout, const void *record, sqlite3_stmt *statement,
	     struct err *err) MUST_CHECK;

/*
 * Fills an initialised record from the current row. ERR_INVALID for a value that no version of ours
 * wrote; the record is then still to be released.
 */
int row_read(const struct row_layout *layout, const struct connection *connection,
	     sqlite3_stmt *statement, void *record, struct err *err) MUST_CHECK;
