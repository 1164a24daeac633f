/*
 * What git and a guest say about checkouts. The first byte chooses: the look at a guest's workspace
 * with its manifest, records of git's lists, what is in the way, a remote's URL, or where a branch
 * is. What is
 * accepted must print back to what it came from, or keep its promise.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/parse.h"
#include "base/text.h"
#include "fuzz.h"
#include "workspace/conflicts.h"
#include "workspace/head.h"
#include "workspace/manifest.h"
#include "workspace/origin.h"
#include "workspace/plan.h"
#include "workspace/prepare.h"
#include "workspace/scan.h"
#include "workspace/switch.h"

#define REQUIRE(condition)        \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

/* Entries that were taken print back, and a plan from nothing names each of their files. */
static void check_entries(struct span entries)
{
	struct manifest_cursor cursor = { .rest = entries };
	AUTO_PLAN plan = PLAN_INIT;
	AUTO_BUF again = BUF_INIT;
	struct err err = ERR_INIT;
	int r;

	for (r = manifest_next(&cursor, &err); r == 0 && cursor.has_entry;
	     r = manifest_next(&cursor, &err))
		manifest_add(&again, &cursor.entry);
	if (r < 0) {
		REQUIRE(err.kind == ERR_PROTOCOL);
		return;
	}
	/* "100644 OID 100644 OID" is said shorter. */
	REQUIRE(again.len <= entries.len);
	REQUIRE(plan_make(span_of("", 0), entries, true, &plan, &err) == 0);
	plan_done(&plan);
	plan = PLAN_INIT;
	REQUIRE(plan_make(entries, entries, false, &plan, &err) == 0);
	REQUIRE(plan.tree_info.len == 0 && plan.index_info.len == 0 && plan.content.len == 0);
}

static void check_look(struct span said)
{
	struct manifest_head head = { .host = NULL };
	AUTO_BUF again = BUF_INIT;
	struct guest_look look;
	struct err err = ERR_INIT;
	struct span rest;

	if (workspace_read_look(said, &look, &err) < 0)
		return;
	rest = look.manifest;
	if (look.state != GUEST_OURS || manifest_read_head(&rest, &head, &err) < 0)
		return;
	manifest_add_head(&again, &head);
	REQUIRE(again.len == look.manifest.len - rest.len &&
		memcmp(again.ptr, look.manifest.ptr, again.len) == 0);
	manifest_head_done(&head);
	check_entries(rest);
}

static void check_records(struct span text)
{
	struct index_record record;
	struct raw_record raw;
	struct span cursor = text;
	AUTO_BUF out = BUF_INIT;
	struct err err = ERR_INIT;

	if (scan_read_index_record(text, &record))
		REQUIRE(record.path.len > 0 && record.stage <= 3 && git_is_oid(record.oid));
	while (scan_read_raw_record(&cursor, &raw))
		REQUIRE(raw.path.len > 0 && git_is_oid(raw.oids[0]) && git_is_oid(raw.oids[1]));
	if (switch_entries(span_of("", 0), text, &out, &err) == 0)
		check_entries(buf_span(&out));
}

/* A plan of two files against whatever the guest says is in the way. */
static void check_conflicts(struct span said)
{
	static const char plan[] = "100644 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\ta\0"
				   "0 0000000000000000000000000000000000000000\tb";
	static const char old[] = "100644 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa =\ta\0";
	CLEANUP(conflicts_done) struct conflicts conflicts = CONFLICTS_INIT;
	AUTO_BUF writes = BUF_INIT;
	AUTO_BUF removes = BUF_INIT;
	AUTO_BUF names = BUF_INIT;
	struct err err = ERR_INIT;

	if (conflicts_staged(said, span_of(old, sizeof(old) - 1), span_of("", 0), &names, &err) ==
	    0)
		REQUIRE(names.len == 0 || str_eq(names.ptr, "a"));
	if (conflicts_find(said, span_of(plan, sizeof(plan)), &conflicts, &err) < 0)
		return;
	REQUIRE(conflicts.lines.len > 0 && conflicts.lines.len <= sizeof(plan));
	if (conflicts_remaining(&conflicts, said, &writes, &removes, &err) == 0)
		REQUIRE(writes.len <= 2 && removes.len <= 2);
}

/* What is passed on has no secret: it is cleaned to itself. */
static void check_origin(struct span url)
{
	AUTO_BUF once = BUF_INIT;
	AUTO_BUF twice = BUF_INIT;

	if (!origin_clean(url, &once)) {
		REQUIRE(once.len == 0);
		return;
	}
	REQUIRE(once.len <= url.len && once.ptr[0] != '-');
	REQUIRE(origin_clean(buf_span(&once), &twice));
	REQUIRE(span_eq(buf_span(&once), buf_span(&twice)));
}

/* Three lines, which print back. */
static void check_refs(struct span said)
{
	struct head_refs refs;
	struct err err = ERR_INIT;
	AUTO_BUF again = BUF_INIT;

	if (head_read_refs(said, &refs, &err) < 0) {
		REQUIRE(err.kind == ERR_PROTOCOL);
		return;
	}
	buf_add(&again, refs.tip.len ? refs.tip : span_str("-"));
	buf_add_byte(&again, '\n');
	buf_add(&again, refs.put.len ? refs.put : span_str("-"));
	buf_add_byte(&again, '\n');
	if (refs.rival.len > 0)
		buf_add_str(&again, "refs/heads/");
	buf_add(&again, refs.rival.len ? refs.rival : span_str("-"));
	buf_add_byte(&again, '\n');
	/* A rival without a name is none. */
	REQUIRE(span_eq(buf_span(&again), said) || refs.rival.len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const checks[])(struct span) = { check_look,    check_entries,
						       check_records, check_conflicts,
						       check_origin,  check_refs };

	if (size == 0)
		return 0;
	checks[data[0] % ARRAY_LEN(checks)](span_of(data + 1, size - 1));
	return 0;
}
