#include "daemon/rollback.h"

#include <assert.h>

void rollback_push(struct rollback *rollback, rollback_undo *undo)
{
	assert(rollback->count < ROLLBACK_STEPS_MAX);
	/* cppcheck-suppress AssignmentAddressToInteger; both are pointers to functions */
	rollback->steps[rollback->count++] = undo;
}

bool rollback_run(struct rollback *rollback, struct err *err)
{
	bool is_undone = true;

	while (rollback->count > 0) {
		struct err undo_err = ERR_INIT;

		if (rollback->steps[--rollback->count](rollback->daemon, rollback->id, &undo_err) <
		    0) {
			err_append(err, &undo_err);
			is_undone = false;
		}
	}
	return is_undone;
}
