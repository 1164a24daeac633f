/*
 * The privileged operations: making, counting and removing what belongs to a VM but lives in the
 * kernel, which takes more rights than the owner's. They are few and typed: they take VM ids,
 * numbers and open descriptors, never paths, names or process ids, and derive every name from the
 * id and from `tag`, so that nothing foreign can be meant. This is the implementation in process,
 * for a bangerd that root started and for one that has only its owner's rights (then what it may
 * not do is left out, and priv_*_describe() says so).
 *
 * A struct priv does not change once it is open: any thread may use it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/macros.h"

#define PRIV_TAG_SIZE 17 /* sixteen hexadecimal digits and the terminator */

struct priv;

/*
 * `state_dir` tells this owner's objects from those of other daemons: the first half of its
 * SHA-256 is the tag, which every name and comment of ours carries.
 */
int priv_open(const char *state_dir, struct priv **ret, struct err *err) MUST_CHECK;
void priv_close(struct priv *priv); /* VMs and what they have stay */
DEFINE_FREEP(priv, priv_close);

/* Borrowed. */
const char *priv_tag(const struct priv *priv);

/* Whether `id` is a VM's id: 32 lower-case hexadecimal digits. Everything else is refused. */
int priv_check_id(const char *id, struct err *err) MUST_CHECK;
