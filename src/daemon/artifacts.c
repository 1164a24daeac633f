#include "daemon/artifacts.h"

#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "daemon/lease.h"

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

void artifact_explain_use(struct daemon *daemon, const char *image, const char *kernel,
			  struct err *err)
{
	const char *name = image ? image : kernel;
	const char *noun = image ? "image" : "kernel";
	AUTO_VM_LIST list = { 0 };
	struct err ignored = ERR_INIT;
	size_t users = 0, own = 0;

	if (err->kind != ERR_BUSY || !strstr(err->message, "in use") ||
	    store_vm_list(daemon->store, &list, &ignored) < 0)
		return;
	for (size_t i = 0; i < list.count; i++) {
		const struct vm *vm = &list.items[i];

		if (!str_eq(image ? vm->spec.image : vm->spec.kernel, name))
			continue;
		users++;
		own += lease_is_own(daemon->leases, vm->id);
	}
	if (own == 0)
		return;
	if (own < users) {
		IGNORE_RESULT(err_set(err, ERR_BUSY,
				      "the %s '%.128s' is in use by %zu VM%s, and a template is "
				      "being built from it",
				      noun, name, users - own, users - own == 1 ? "" : "s"));
		err_hint(err, "'banger vm list' shows the VMs");
	} else {
		IGNORE_RESULT(err_set(err, ERR_BUSY,
				      "a template is being built from the %s '%.128s'", noun,
				      name));
		err_hint(err, "wait for that 'banger template build', or end it");
	}
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
