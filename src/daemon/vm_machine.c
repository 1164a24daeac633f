#include "daemon/vm_machine.h"

#include <string.h>

#include "base/buf.h"
#include "daemon/engine.h"
#include "daemon/network.h"
#include "daemon/vm_table.h"
#include "image/register.h"
#include "vmm/engine.h"

int vm_machine_key(const struct daemon *daemon, const struct vm *vm,
		   const struct vmm_decision *decision, bool has_network,
		   char ret[static MACHINE_KEY_SIZE], struct err *err)
{
	AUTO_IMAGE_PATHS image = { 0 };
	const int r = image_locate(daemon->images_dir, vm->spec.image, &image, err);

	return r < 0 ? r : machine_key(decision, &image, has_network, ret, err);
}

int vm_machine_key_now(const struct job *job, const struct vm *vm,
		       char ret[static MACHINE_KEY_SIZE], struct err *err)
{
	struct daemon *daemon = job->daemon;
	struct vmm_decision decision = { 0 };
	int r;

	r = engine_get(daemon->engine, job->cancel, &decision, err);
	if (r < 0)
		return r;
	r = vm_machine_key(daemon, vm, &decision, network_is_on(daemon->network), ret, err);
	vmm_decision_done(&decision);
	return r;
}

int vm_machine_check(const struct job *job, const struct vm *vm, char ret[static MACHINE_KEY_SIZE],
		     struct err *err)
{
	char now[MACHINE_KEY_SIZE];
	AUTO_BUF what = BUF_INIT;
	struct handles handles;
	int r;

	if (!vm_table_get(job->daemon->table, vm->id, &handles, NULL))
		return err_set(err, ERR_BAD_STATE, "it has ended just now");
	r = vm_machine_key_now(job, vm, now, err);
	if (r < 0)
		return r;
	memcpy(ret, handles.machine_key, MACHINE_KEY_SIZE);
	machine_key_compare(ret, now, &what);
	if (what.len == 0)
		return 0;
	if (ret[0] == '\0')
		r = err_set(err, ERR_BAD_STATE,
			    "it is not known what it was started with: what is here now might "
			    "not load a copy of it");
	else
		r = err_set(err, ERR_BAD_STATE,
			    "it was started with %s: what is here now could not load a copy of it",
			    what.ptr);
	err_hint(err, "'banger vm restart %s' starts it with what is here now", vm->name);
	return r;
}
