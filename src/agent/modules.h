/* The kernel modules that the initramfs carries. */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/macros.h"

#define MODULES_LIST   "/banger/modules.list"
#define MODULES_FOLDER "/banger/modules"

/*
 * Loads the modules that the list names, in its order. One that is there already is fine; the names
 * and reasons of those that failed are appended to `failures`, separated by "; ". What is essential
 * shows soon: its device is missing. How many were loaded, or -errno when the list cannot be read
 * (-ENOENT: there is none).
 */
int modules_load(struct buf *failures) MUST_CHECK;
