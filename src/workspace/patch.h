/*
 * Judges what a guest sends as its work: a patch as git writes it, or a bundle's head. The guest is
 * hostile, and whoever applies a patch should not have to trust the tool that does it: only git's
 * own form is let through (so that no reader sees another file name than this one did), no name
 * leads out of the checkout or into its repository, and links that lead out are told.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "base/strv.h"

#define PATCH_NAME_MAX	4095	     /* bytes of a file's name */
#define PATCH_LINE_MAX	32768	     /* of a line that is no content; names are quoted there */
#define PATCH_LINKS_MAX 10	     /* far links that are named; the others are counted */
#define BUNDLE_HEAD_MAX (16UL << 20) /* bytes */
#define BUNDLE_REFS_MAX 100000

struct patch_summary {
	uint64_t files;
	uint64_t far_link_count; /* links that lead out of the checkout */
	struct strv far_links;	 /* owned; "NAME -> TARGET", escaped: the first of them */
	uint64_t repository_count;
	struct strv repositories; /* owned; escaped names of repositories of their own, as above */
};

void patch_summary_done(struct patch_summary *summary);

struct patch_check;

struct patch_check *patch_check_new(void) MUST_CHECK;
void patch_check_free(struct patch_check *check);
DEFINE_FREEP(patch_check, patch_check_free);

/* Takes the next bytes, of any length. ERR_PROTOCOL says in which line of the patch what is wrong.
 */
int patch_check_feed(struct patch_check *check, struct span bytes, struct err *err) MUST_CHECK;

/* After the last byte; an empty patch is one of no files. `ret` is zeroed by the caller. */
int patch_check_end(struct patch_check *check, struct patch_summary *ret, struct err *err)
	MUST_CHECK;

/*
 * Whether a file of a checkout may be called so: relative, no empty part, "." or "..", and nothing
 * that some file system takes for ".git". Pure.
 */
bool patch_name_is_safe(struct span name) MUST_CHECK;

/*
 * Whether a link of this name and target leads out of the checkout, or may by way of another link
 * ("folder/../x"). Where none of a patch's links does, no chain of them does. Pure.
 */
bool patch_link_leads_out(struct span name, struct span target) MUST_CHECK;

/*
 * Judges as much of a bundle as there is: 1 its head is right and complete, 0 more is needed (up to
 * BUNDLE_HEAD_MAX bytes), or ERR_PROTOCOL. References may be HEAD and branches. Pure.
 */
int bundle_check(struct span bytes, uint64_t *ret_refs, struct err *err) MUST_CHECK;
