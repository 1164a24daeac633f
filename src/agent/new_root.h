/* The image's root while init still runs in the initramfs, and the change over to it. */
#pragma once

#include <stdbool.h>

#include "base/macros.h"

#define NEW_ROOT "/newroot"

/*
 * The path, inside the new root, of the init to execute: `wanted` when it is not "" and there, else
 * the first of the usual ones; NULL when the image has none.
 */
const char *new_root_find_init(const char *wanted) MUST_CHECK;

/*
 * Moves /dev, /proc and /sys in, and mounts /dev/pts, which commands with a terminal need at once.
 * An image without init has nobody who would mount the rest: /dev/shm, /run and control groups.
 */
void new_root_mount(bool is_without_init);

/* Frees the initramfs's memory and makes the new root this process's and the mount namespace's. */
void new_root_switch(void);
