/*
 * Building templates: a VM is made as any other, cold; when its guest has come to rest it is frozen
 * and written down, and the VM is gone. It is called "template-" and eight digits, is in no list,
 * and lives for this daemon: what that one leaves at its end is deleted by the next.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "daemon/private.h"
#include "model/template.h"

/* As in struct vm_create_request: 0 and NULL stand for the default. */
struct template_request {
	const char *image;
	const char *kernel;
	uint64_t vcpu;
	uint64_t memory_bytes;
	uint64_t system_bytes; /* of its disks, as the next: VMs have at least these */
	uint64_t work_bytes;
};

/*
 * Builds one, unless there is one already (*ret_built is false then), after whoever else is at it;
 * in the background (`job`) only from an image and a kernel that are here. `ret` is uninitialised.
 */
int template_build(const struct job *job, const struct template_request *request,
		   struct template_record *ret, bool *ret_built, struct err *err) MUST_CHECK;
