/*
 * What is built in the background: VMs that had to boot cold ask for the template that would have
 * spared them that. One worker builds, one at a time, with what the host's processors have to
 * spare, from what is here: it makes no image and no kernel. Whoever is in its way ends what it
 * builds; it begins again later. NULL is accepted for the builder: none are built.
 */
#pragma once

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "model/vm.h"

struct daemon;
struct template_builder;

int template_builder_start(struct daemon *daemon, struct template_builder **ret, struct err *err)
	MUST_CHECK;

/* Also ends what it is building. */
void template_builder_stop(struct template_builder *builder);

/* More VMs like this one, which runs now, may be wanted. Returns at once. */
void template_builder_want(struct template_builder *builder, const struct vm *vm);

/* Ends what it is building. Returns at once. */
void template_builder_interrupt(struct template_builder *builder);

/* As long as it is held nothing is begun. */
struct template_builder_pause {
	struct template_builder *builder; /* borrowed; NULL when nothing is held */
};

/*
 * For a change that needs an image or a kernel (the other is NULL) to be unused: returns when
 * nothing is being built from it. `ret` is uninitialised.
 */
int template_builder_pause(struct template_builder *builder, const char *image, const char *kernel,
			   struct template_builder_pause *ret, struct err *err) MUST_CHECK;
void template_builder_resume(struct template_builder_pause *pause);
#define AUTO_TEMPLATE_BUILDER_PAUSE CLEANUP(template_builder_resume) struct template_builder_pause
