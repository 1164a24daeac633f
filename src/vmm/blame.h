/* Why a VM did not come up, as far as its VMM's own words say. */
#pragma once

#include "base/macros.h"
#include "base/span.h"

enum vmm_blame {
	VMM_BLAME_UNKNOWN, /* no word of it */
	VMM_BLAME_HOST,	   /* somebody ended it, or something was short: again it may go well */
	VMM_BLAME_VM,	   /* QEMU, or the guest, ended by itself */
};

/* `words`: a refusal, or the end of banger-vmm's log. */
enum vmm_blame vmm_blame(struct span words) MUST_CHECK;
