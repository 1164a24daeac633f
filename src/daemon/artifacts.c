#include "daemon/artifacts.h"

#include "base/mem.h"

int artifact_lock(const struct job *job, const char *kind, const char *name, struct keyhold *ret,
		  bool *ret_waited, struct err *err)
{
	AUTO_FREE char *key = mem_printf("%s:%s", kind, name);

	if (keylock_try(job->daemon->locks, key, ret))
		return 0;
	if (ret_waited)
		*ret_waited = true;
	progress_report(job->progress, kind, "waiting for another request", 0, 0);
	return keylock_acquire(job->daemon->locks, key, job->cancel, ret, err);
}

void artifact_settle(struct daemon *daemon)
{
	artifact_settle_images(daemon);
	artifact_settle_kernels(daemon);
}

int artifact_reconcile(struct daemon *daemon, struct err *err)
{
	const int r = artifact_reconcile_images(daemon, err);

	return r < 0 ? r : artifact_reconcile_kernels(daemon, err);
}
