#include "vmmshim/stall.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "vmmshim/journal.h"
#include "vmmshim/vmm_state.h"

#define RETRY_NS NSEC_PER_SEC

void stall_event(struct vmm *vmm, const json_t *details)
{
	struct stall *stall = &vmm->stall;
	const char *action = details ? json_get_str(details, "action") : NULL;

	/* Of other errors the guest is told. */
	if (!action || !str_eq(action, "stop"))
		return;
	if (!stall->is_on)
		journal_warn("the host has no room for what the guest writes to its disk: it "
			     "stands still until there is some");
	*stall = (struct stall){ .due_ns = clock_now_ns() + RETRY_NS, .is_on = true };
}

void stall_step(struct vmm *vmm)
{
	struct stall *stall = &vmm->stall;
	const uint64_t now_ns = clock_now_ns();

	if (now_ns < stall->due_ns)
		return;
	if (vmm->step != VMM_RUNNING || vmm->api.phase != API_RUNNING) {
		*stall = STALL_INIT; /* whoever resumes it tries */
	} else if (vmm->action != API_ANSWERED) {
		stall->due_ns = now_ns + RETRY_NS; /* it may be about to pause */
	} else if (!stall->is_tried) {
		qmp_command(&vmm->qmp, "cont", NULL, NULL, NULL);
		stall->is_tried = true;
		stall->due_ns = now_ns + RETRY_NS;
	} else {
		journal_info("there is room again: the guest goes on");
		*stall = STALL_INIT;
	}
}
