/*
 * What a VM that goes on from what was once itself needs outside of its folder, and which must be
 * what it was then: only what has no part in the captured machine. Its kernel has, and its disks
 * are copied with it. Nor is the release of the host's kernel needed, as for a template: that is
 * made again in seconds, a snapshot never, and what another kernel takes away of the processor
 * shows in that.
 *
 * The key has a word for each part, "vmm:0123456789abcdef", so that it can be said which of them is
 * another one.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"

struct image_paths;
struct vmm_decision;

#define MACHINE_KEY_SIZE 192

/* `image` are the files of the VM's. */
int machine_key(const struct vmm_decision *decision, const struct image_paths *image,
		bool has_network, char ret[static MACHINE_KEY_SIZE], struct err *err) MUST_CHECK;

/*
 * Appends what is not the same, "another VMM, another image"; nothing when all is. `then` may be
 * NULL: a snapshot has no such key when it was made by a banger that did not write them. Pure.
 */
void machine_key_compare(const char *then, const char *now, struct buf *out);
