/*
 * The id of this boot. The kernel draws its own once and lets nobody set it, so that clones of one
 * memory share it; as containers' managers do, another is mounted over the file that shows it.
 */
#pragma once

#include "base/macros.h"

#define BOOT_ID_SIZE 37 /* a UUID's text and a terminator */

/* Shows a new random id from now on. 0 or -errno. */
int boot_id_renew(void) MUST_CHECK;

/* The id that is shown. 0 or -errno. */
int boot_id_read(char ret[static BOOT_ID_SIZE]) MUST_CHECK;
