/*
 * What QEMU sends. Property: however the bytes are cut, the same happens, and every command
 * completes exactly once, at the latest when the connection ends.
 */
#include <stdlib.h>

#include "fuzz.h"
#include "vmmshim/qmp.h"

#define COMMANDS 4

struct seen {
	unsigned ready;
	unsigned events;
	unsigned replies[COMMANDS];
	unsigned failures;
	int result;
};

struct slot {
	struct seen *seen;
	unsigned index;
};

static void on_ready(void *context, const struct qmp_version *version)
{
	(void)version;
	((struct seen *)context)->ready++;
}

static void on_event(void *context, const char *name, const json_t *details)
{
	(void)name;
	(void)details;
	((struct seen *)context)->events++;
}

static const struct qmp_ops ops = { on_ready, on_event };

static void on_reply(void *context, const json_t *result, const struct err *err)
{
	const struct slot *slot = context;

	if (!result == !err)
		abort();
	slot->seen->replies[slot->index]++;
	slot->seen->failures += err ? 1 : 0;
}

/* Feeds everything in pieces of `step` bytes. */
static void run(const uint8_t *data, size_t size, size_t step, struct seen *ret)
{
	struct slot slots[COMMANDS];
	struct err err = ERR_INIT;
	struct qmp qmp;

	*ret = (struct seen){ 0 };
	qmp_init(&qmp, &ops, ret);
	for (unsigned i = 0; i < COMMANDS; i++) {
		slots[i] = (struct slot){ ret, i };
		qmp_command(&qmp, "query-status", NULL, on_reply, &slots[i]);
	}
	for (size_t at = 0; ret->result == 0 && at < size; at += step)
		ret->result = qmp_feed(
			&qmp, span_of(data + at, size - at < step ? size - at : step), &err);
	qmp_done(&qmp);
	for (unsigned i = 0; i < COMMANDS; i++) {
		if (ret->replies[i] != 1)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole;
	struct seen pieces;

	run(data, size, size + 1, &whole);
	run(data, size, 3, &pieces);
	if (whole.ready != pieces.ready || whole.events != pieces.events ||
	    whole.failures != pieces.failures || whole.result != pieces.result || whole.ready > 1)
		abort();
	return 0;
}
