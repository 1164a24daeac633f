/* The kernel's command line: what the initramfs's init takes from it. Pure. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define BOOT_DEVICE_SIZE 64  /* "/dev/" and a device's name */
#define BOOT_PATH_SIZE	 256 /* the path of an init */

struct boot_options {
	char root[BOOT_DEVICE_SIZE]; /* root=, a /dev path */
	char work[BOOT_DEVICE_SIZE]; /* banger.work=, or "" when there is no work disk */
	char init[BOOT_PATH_SIZE];   /* banger.init=, or "" to look for the image's own */
	bool is_read_only;	     /* ro, unless a later rw takes it back */
	bool is_debug;		     /* banger.debug: stage times go to the console */
};

/*
 * Words are split at blanks outside double quotes, as the kernel does; the last of a repeated word
 * counts;
 * "--" ends what is ours. ERR_INVALID names a word whose value is no device or does not fit;
 * ERR_NOT_FOUND says that root= is missing.
 */
int boot_options_parse(struct span cmdline, struct boot_options *ret, struct err *err) MUST_CHECK;
