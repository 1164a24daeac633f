/*
 * What a VM must have in common with a template to begin as its copy: everything that is in a
 * running machine's memory and cannot be changed from outside. A file is the one that it was as
 * long as its device, inode, size and time of change are: reading gigabytes at each start would
 * cost more than a template saves. Under KVM a guest has the host's processor, with what the host's
 * kernel can virtualise of it.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "model/template.h"
#include "model/vm.h"

struct daemon;
struct vmm_decision;

/*
 * How large the disks of a template for VMs of that spec are: as by default, for growing takes time
 * and most VMs are so; and smaller only for VMs that are, since no disk shrinks.
 */
void template_disk_sizes(const struct daemon *daemon, const struct vm_spec *spec,
			 uint64_t *ret_system, uint64_t *ret_work);

/* `vm`: its image, kernel, vcpus, memory and disks count. The kernel's initramfs must have been
 * made. */
int template_key(const struct daemon *daemon, const struct vm *vm,
		 const struct vmm_decision *decision, char ret[static TEMPLATE_KEY_SIZE],
		 struct err *err) MUST_CHECK;

/*
 * The same for a VM that goes on from what was once itself: of what is outside of its folder, only
 * what has no part in the captured machine. Its kernel has, and its disks are copied with it. Nor
 * has it the release of the host's kernel: a template is made again in seconds, a snapshot never,
 * and what another kernel takes away of the processor shows in that.
 */
int machine_key(const struct daemon *daemon, const struct vm *vm,
		const struct vmm_decision *decision, char ret[static TEMPLATE_KEY_SIZE],
		struct err *err) MUST_CHECK;
