/*
 * What a VMM that ended by itself leaves in its files: whether that was in order, and words for the
 * user. A guest that panics resets itself (panic=1), which ends the VMM as a reboot does: only the
 * console tells them apart. It is the guest's own word, and only about itself.
 */
#pragma once

#include <stdbool.h>

#include "base/macros.h"
#include "base/span.h"

struct vmm_exit;

/*
 * NULL when the VMM ended in order, else the reason, owned by the caller. `status` is NULL when it
 * was no child of ours: then its log tells, in which it says how it ends.
 */
char *last_words(const char *console_path, const char *log_path, const struct vmm_exit *status)
	MUST_CHECK;

/* Whether the last line of a VMM's log says that it ended well. Pure. */
bool last_words_log_is_good(struct span log);

/*
 * Whether a console ends with a kernel's panic; `ret_line` is the line that says why, empty when it
 * is not within the bytes given. Pure.
 */
bool last_words_is_panic(struct span console, struct span *ret_line);
