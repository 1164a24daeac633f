/*
 * Everything of ours that exists, by kind, with its owner; and what has a name as ours have, but is
 * somebody else's. For doctor and for tests: nothing is changed.
 *
 * An object has "kind" (process, socket, folder, file, cgroup, bridge, tap, rules, row), "name" and
 * "owner": "vm", "banger", "none" (ours, but of no VM that there is), "foreign". The rest is there
 * where it is known: "vm", "vm_name", "pid", "detail", "bytes", "used_bytes", "processes", "files".
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"

struct daemon;

/* An array, owned by the caller. `pid` is the daemon's that runs; 0: none does. */
int census_take(struct daemon *daemon, pid_t pid, json_t **ret, struct err *err) MUST_CHECK;
