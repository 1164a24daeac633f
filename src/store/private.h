/* What the files of src/store share. Statements of `struct connection` belong to whoever holds its
 * lock. */
#pragma once

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "store/store.h"

/* Every statement, prepared when it is first needed and kept; the texts are in sql.c. */
enum query {
	QUERY_BEGIN,
	QUERY_COMMIT,
	QUERY_ROLLBACK,
	QUERY_VM_INSERT,
	QUERY_VM_UPDATE,
	QUERY_VM_SET_STATE,
	QUERY_VM_SET_STARTED,
	QUERY_VM_SET_INTENT,
	QUERY_VM_SET_USED,
	QUERY_VM_SET_ADDRESS,
	QUERY_VM_SET_WORKSPACE,
	QUERY_VM_NET_INDEXES,
	QUERY_VM_DELETE,
	QUERY_VM_GET,
	QUERY_VM_LIST,
	QUERY_VM_COUNT,
	QUERY_VM_ID_OF_NAME,
	QUERY_VM_EXISTS,
	QUERY_VM_COUNT_OF_IMAGE,
	QUERY_VM_COUNT_OF_KERNEL,
	QUERY_IMAGE_PUT,
	QUERY_IMAGE_SET_STATE,
	QUERY_IMAGE_DELETE,
	QUERY_IMAGE_GET,
	QUERY_IMAGE_LIST,
	QUERY_IMAGE_STATE,
	QUERY_KERNEL_PUT,
	QUERY_KERNEL_SET_STATE,
	QUERY_KERNEL_DELETE,
	QUERY_KERNEL_GET,
	QUERY_KERNEL_LIST,
	QUERY_KERNEL_STATE,
	QUERY_TEMPLATE_INSERT,
	QUERY_TEMPLATE_SET_USED,
	QUERY_TEMPLATE_DELETE,
	QUERY_TEMPLATE_FIND,
	QUERY_TEMPLATE_LIST,
	QUERY_SNAPSHOT_INSERT,
	QUERY_SNAPSHOT_DELETE,
	QUERY_SNAPSHOT_GET,
	QUERY_SNAPSHOT_LIST,
	QUERY_SNAPSHOT_LIST_OF,
	QUERY_COUNT,
};

extern const char *const store_sql[QUERY_COUNT];

struct connection {
	sqlite3 *db; /* owned; NULL when closed */
	pthread_mutex_t lock;
	sqlite3_stmt *statements[QUERY_COUNT]; /* owned; NULL until first used */
	char *path;			       /* owned; for messages */
	int last_code;			       /* extended result code of the last failure */
	bool is_full;			       /* that failure was a full disk */
};

struct store {
	struct connection writer;
	struct connection reader;
	char *reserve_path; /* owned; NULL: no reserve. Behind the writer's lock, as the next two */
	bool has_reserve;
	struct err failure;	  /* kind ERR_NONE while writing is allowed */
	_Atomic uint64_t changes; /* transactions committed */
	int folder_fd;		  /* owned; holds the lock that keeps other stores out */
	void (*vm_changed)(void *context, const char *id); /* NULL: nobody wants to know */
	void *vm_context;				   /* borrowed */
};

/* --- connection.c --- */

/* Opens with the settings that every connection has; `flags` as for sqlite3_open_v2(). */
int connection_open(struct connection *connection, const char *path, int flags, struct err *err)
	MUST_CHECK;
void connection_close(struct connection *connection);

/* Fills `err` from a result code: "DOING: why", with the database's path. */
int connection_fail(struct connection *connection, int code, struct err *err, const char *doing);

/* Runs statements without results. */
int connection_exec(struct connection *connection, const char *sql, struct err *err,
		    const char *doing) MUST_CHECK;

/* Reads one integer, such as a pragma's value. */
int connection_number(struct connection *connection, const char *sql, int64_t *ret, struct err *err,
		      const char *doing) MUST_CHECK;

/* The statement, prepared, without bindings. Ended with statement_done(). */
int connection_prepare(struct connection *connection, enum query query, sqlite3_stmt **ret,
		       struct err *err) MUST_CHECK;
void statement_done(sqlite3_stmt **statement);
#define AUTO_STATEMENT CLEANUP(statement_done) sqlite3_stmt

/* Steps once: 1 for a row, 0 at the end, negative with `err`. */
int statement_step(struct connection *connection, sqlite3_stmt *statement, struct err *err,
		   const char *doing) MUST_CHECK;

/* Binding from index 1. NULL text is NULL. Failing is impossible but for memory: it aborts. */
void statement_bind_text(sqlite3_stmt *statement, int index, const char *text);
void statement_bind_number(sqlite3_stmt *statement, int index, int64_t value);

/* A column as a copy that the caller owns; NULL for NULL. */
char *statement_text(sqlite3_stmt *statement, int column) MUST_CHECK;

/* --- write.c --- */

/* Whether a change may use up the reserve when the disk is full. */
enum urgency { KEEP_RESERVE, USE_RESERVE };

/*
 * Runs `work` in a transaction behind the writer's lock: committed and durable, or undone. `doing`
 * begins the message of what the database itself refuses.
 */
int store_write(struct store *store, enum urgency urgency, const char *doing,
		int (*work)(struct connection *writer, const void *context, struct err *err),
		const void *context, struct err *err) MUST_CHECK;

/* For a statement that ends at once: steps it and says whether it changed a row. */
int statement_change(struct connection *writer, sqlite3_stmt *statement, bool *ret_changed,
		     struct err *err, const char *doing) MUST_CHECK;

/* --- reserve.c; behind the writer's lock --- */

bool reserve_free(struct store *store);
bool reserve_remove(const char *reserve_path); /* whether it was there */
void reserve_make(struct store *store);

/* --- lock_holder.c --- */

/* The pid that holds a lock on the database or its shared memory, by /proc/locks; 0 when unknown.
 */
int64_t lock_holder(const char *path);
int64_t folder_lock_holder(const char *folder); /* the same for the folder's own lock */
