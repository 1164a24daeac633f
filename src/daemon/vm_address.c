/* A VM's address. */
#include "daemon/vm_service.h"

#include "base/mem.h"
#include "base/text.h"
#include "daemon/network.h"

int vm_ensure_address(struct daemon *daemon, struct vm *vm, const struct job *job, struct err *err)
{
	AUTO_KEYHOLD names = KEYHOLD_INIT;
	AUTO_FREE char *before = mem_strdup(vm->ip);
	const uint32_t index_before = vm->net_index;
	int r;

	r = keylock_acquire(daemon->locks, "names", job->cancel, &names, err);
	if (r == 0)
		r = network_assign(daemon->network, vm, true, err);
	if (r < 0 || (vm->net_index == index_before && str_eq(vm->ip, before)))
		return r;
	return store_vm_set_address(daemon->store, vm->id, vm->net_index, vm->ip, err);
}
