/* What the files of snapshots share. */
#pragma once

#include "daemon/snapshots.h"

#define SNAPSHOT_STAGING_PREFIX ".new-"

/* Fills in what the record says of the files in a folder that is complete. */
int snapshot_note_files(const char *folder, struct snapshot_record *record, struct err *err)
	MUST_CHECK;

/* The VM with what the snapshot says that it had. `ret` is uninitialised. */
void snapshot_apply(const struct snapshot_record *record, const struct vm *vm, struct vm *ret);

/* The row first: what has none is swept. */
int snapshot_remove(struct daemon *daemon, const struct snapshot_record *record, struct err *err)
	MUST_CHECK;

/* That of the VM which is meant; `ret` is uninitialised. */
int snapshot_get(struct daemon *daemon, const struct vm *vm, const char *snapshot,
		 struct snapshot_record *ret, struct err *err) MUST_CHECK;
