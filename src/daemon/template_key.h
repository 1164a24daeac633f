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

struct buf;
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

/* Appends what tells this file from others, and from what it was before it was changed. */
int key_add_file(struct buf *text, const char *path, struct err *err) MUST_CHECK;
