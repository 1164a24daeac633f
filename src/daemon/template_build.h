/*
 * Building templates: a VM is made as any other, cold; when its guest has come to rest it is frozen
 * and written down, and the VM is gone. It is called "template-" and eight digits, is in no list,
 * and lives for this daemon: what that one leaves at its end is deleted by the next.
 *
 * VMs that had to boot cold ask for what would have spared them that. One worker builds, one at a
 * time, with what the host's processors have to spare.
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
 * Builds one, unless there is one already (*ret_built is false then). `ret` is uninitialised.
 */
int template_build(const struct job *job, const struct template_request *request,
		   struct template_record *ret, bool *ret_built, struct err *err) MUST_CHECK;

struct template_builder;

int template_builder_start(struct daemon *daemon, struct template_builder **ret, struct err *err)
	MUST_CHECK;

/* Also ends what it is building. NULL is accepted. */
void template_builder_stop(struct template_builder *builder);

/* More VMs like this one, which runs now, may be wanted. Returns at once; NULL is accepted. */
void template_builder_want(struct template_builder *builder, const struct vm *vm);
