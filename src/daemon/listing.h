/*
 * The answers to vm.list, kept as text: with hundreds of VMs making it costs milliseconds, and many
 * ask for what has not changed meanwhile. About 700 bytes for each VM, a third of that in brief.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"

struct daemon;
struct listing;

enum listing_form {
	LISTING_WHOLE,
	LISTING_BRIEF, /* what a table shows: reading JSON is most of what 'ps' takes */
	LISTING_FORM_COUNT,
};

void listing_free(struct listing *listing); /* NULL is accepted */
struct listing *listing_new(void) OWNED_BY(listing_free) MUST_CHECK;

/*
 * Appends {"vms":[...]}, made anew if a row, a running process or a published port has changed. Who
 * asks while it is made waits for that instead of making it, too.
 */
int listing_get(struct listing *listing, struct daemon *daemon, enum listing_form form,
		struct buf *out, struct err *err) MUST_CHECK;
