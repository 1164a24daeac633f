/*
 * The VMs that have a process now: their handles, and the descriptor to watch for a process's end.
 * What is not here does not run as far as this daemon knows.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/strv.h"
#include "daemon/handles.h"
#include "model/names.h"

struct vm_table;

int vm_table_new(struct vm_table **ret, struct err *err) MUST_CHECK;
void vm_table_free(struct vm_table *table); /* closes the pidfds; the VMMs go on */

/* Enters a VM; `pidfd` is given (also on failure). There must be none with that id. */
int vm_table_add(struct vm_table *table, const char *id, const struct handles *handles, int pidfd,
		 struct err *err) MUST_CHECK;

/* Takes it out. A missing one is fine. */
void vm_table_remove(struct vm_table *table, const char *id);

/*
 * Whether the VM has a process. `ret` (may be NULL) gets a copy of its handles, `ret_pidfd` (may be
 * NULL) a descriptor of the caller's own, or -errno when no more can be had.
 */
bool vm_table_get(struct vm_table *table, const char *id, struct handles *ret, int *ret_pidfd);

size_t vm_table_count(struct vm_table *table);

/* A number that grows when a VM comes in or goes. */
uint64_t vm_table_changes(const struct vm_table *table) MUST_CHECK;

/* Readable while a process has ended that vm_table_ended() has not reported yet. Borrowed. */
int vm_table_watch_fd(const struct vm_table *table);

/* Appends the ids of VMs whose process has ended since the last call, each once. */
void vm_table_ended(struct vm_table *table, struct strv *ids);
