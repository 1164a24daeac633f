/* The pure parts of bringing a checkout into a guest: manifests, plans, conflicts, origins, records
 * of git's. */
#include "check.h"

#include <string.h>

#include "base/buf.h"
#include "base/macros.h"
#include "base/mem.h"
#include "base/text.h"
#include "workspace/conflicts.h"
#include "workspace/head.h"
#include "workspace/manifest.h"
#include "workspace/origin.h"
#include "workspace/plan.h"
#include "workspace/prepare.h"
#include "workspace/switch.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccccccccccccccccccccccc"
#define Z "0000000000000000000000000000000000000000"

/* Texts with '|' for NUL, which is easier to read. */
static struct buf text_of(const char *text)
{
	struct buf out = BUF_INIT;

	for (; *text; text++)
		buf_add_byte(&out, *text == '|' ? 0 : (uint8_t)*text);
	return out;
}

static void check_text(const struct buf *got, const char *wanted)
{
	AUTO_BUF shown = BUF_INIT;

	for (size_t i = 0; i < got->len; i++)
		buf_add_byte(&shown, got->ptr[i] ? (uint8_t)got->ptr[i] : '|');
	CHECK_STR(shown.ptr, wanted);
}

static void test_origin(void **state)
{
	static const struct {
		const char *url;
		const char *clean; /* NULL: not passed on */
	} rows[] = {
		{ "https://example.org/x.git", "https://example.org/x.git" },
		{ "https://me:secret@example.org/x.git", "https://example.org/x.git" },
		{ "https://token@example.org/x.git", "https://example.org/x.git" },
		{ "https://a@b:c@example.org/x", "https://example.org/x" },
		{ "https://example.org/x.git?access_token=1#y", "https://example.org/x.git" },
		{ "https://example.org?t=1", "https://example.org" },
		{ "https://h?a/b@c", "https://h" },
		{ "https://h?x@y/z", NULL },
		{ "https://me:se?cret@h/x", NULL },
		{ "ssh://?t", NULL },
		{ "http://h:8080/x", "http://h:8080/x" },
		{ "git://h/x", "git://h/x" },
		{ "ssh://git@h:22/x", "ssh://git@h:22/x" },
		{ "ssh://git:pw@h/x", "ssh://git@h/x" },
		{ "git@h:me/x.git", "git@h:me/x.git" },
		{ "h:x", "h:x" },
		{ "", NULL },
		{ "-oProxyCommand=x:y", NULL },
		{ "ssh://-oProxyCommand=x/y", NULL },
		{ "ssh://u@-oProxyCommand=x/y", NULL },
		{ "-u@h:x", NULL },
		{ "u@-h:x", NULL },
		{ "h:-x", NULL },
		{ "ext::sh -c x", NULL },
		{ "ext::sh", NULL },
		{ "fd::17", NULL },
		{ "file:///srv/x", NULL },
		{ "ftp://h/x", NULL },
		{ "/srv/x", NULL },
		{ "../x", NULL },
		{ "./a:b", NULL },
		{ "https:///x", NULL },
		{ "https://h/x\n", NULL },
		{ "https://h/x\r\ny", NULL },
		{ "https://h/\x1b[31m", NULL },
		{ "https://h/a b", NULL },
		{ "https://h/\xff", NULL },
		{ "u:pw@h:x", NULL },
		{ ":x", NULL },
		{ "h:", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF out = BUF_INIT;
		const bool is_clean = origin_clean(span_str(rows[i].url), &out);

		CHECK_ROW(i, is_clean == (rows[i].clean != NULL));
		CHECK_STR(out.ptr, rows[i].clean ? rows[i].clean : "");
	}
}

static void test_manifest(void **state)
{
	static const char text[] =
		"banger-workspace 1|host=/r|head=" A "|branch=main|mode=full_copy|named=yes||";
	AUTO_BUF in = text_of(text);
	AUTO_BUF out = BUF_INIT;
	struct manifest_head head = { .host = NULL };
	struct span cursor = buf_span(&in);
	struct err err = ERR_INIT;

	(void)state;
	CHECK_INT(manifest_read_head(&cursor, &head, &err), 0);
	CHECK_STR(head.host, "/r");
	CHECK_STR(head.head, A);
	CHECK_INT(head.is_named, true);
	CHECK_INT(cursor.len, 0);
	manifest_add_head(&out, &head);
	check_text(&out, text);
	manifest_head_done(&head);
}

static void test_manifest_refused(void **state)
{
	static const char *const heads[] = {
		"",
		"banger-workspace 2|host=/r|head=|branch=|mode=|named=no||",
		"banger-workspace 1|head=|host=/r|branch=|mode=|named=no||",
		"banger-workspace 1|host=/r|head=xyz|branch=|mode=|named=no||",
		"banger-workspace 1|host=/r|head=|branch=|mode=|named=perhaps||",
		"banger-workspace 1|host=/r|head=|branch=|mode=|named=no|",
	};
	static const char *const entries[] = {
		"100644 " A " =",
		"100644 " A " =\t|",
		"100644 " A " = x\tp|",
		"100645 " A " =\tp|",
		"0 - =\tp|",
		"100644 aaaa =\tp|",
		"100644 " A " =\tb|100644 " A " =\ta|",
		"100644 " A " =\ta|100644 " A " =\ta|",
		"100644 " A "\tp|",
		"|",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		AUTO_BUF in = text_of(heads[i]);
		struct manifest_head head = { .host = NULL };
		struct span cursor = buf_span(&in);
		struct err err = ERR_INIT;

		CHECK_ROW(i, manifest_read_head(&cursor, &head, &err) < 0);
		CHECK_INT(err.kind, ERR_PROTOCOL);
		assert_null(head.host);
		CHECK_INT(cursor.len, in.len);
	}
	for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
		AUTO_BUF in = text_of(entries[i]);
		struct manifest_cursor cursor = { .rest = buf_span(&in) };
		struct err err = ERR_INIT;
		int r;

		do
			r = manifest_next(&cursor, &err);
		while (r == 0 && cursor.has_entry);
		CHECK_ROW(i, r < 0);
		CHECK_INT(err.kind, ERR_PROTOCOL);
	}
}

static void test_plan(void **state)
{
	static const struct {
		const char *before, *now;
		bool is_first;
		const char *tree, *index, *content, *objects, *skip;
	} rows[] = {
		/* The first time: as committed, changed, untracked, deleted, staged. */
		{ "", "100644 " A " =\tp|", true, "100644 " A "\tp|", "", "", "", "" },
		{ "", "100644 " A " 100755 " B "\tp|", true, "100755 " B "\tp|", "100644 " A "\tp|",
		  "100755 " B "\tp|", "", "" },
		{ "", "0 - 100644 " B "\tp|", true, "100644 " B "\tp|", "0 " Z "\tp|",
		  "100644 " B "\tp|", "", "" },
		{ "", "100644 " A " 0 -\tp|", true, "", "100644 " A "\tp|", "", "", "" },
		{ "", "100644 " A " = s\tp|", true, "100644 " A "\tp|", "", "", A "\n", "" },
		{ "", "100644 " A " 0 - k\tp|", true, "", "100644 " A "\tp|", "", "", "p|" },
		/* A mode alone needs no content. */
		{ "", "100644 " A " 100755 " A "\tp|", true, "100755 " A "\tp|", "100644 " A "\tp|",
		  "", "", "" },
		/* Again. */
		{ "100644 " A " =\tp|", "100644 " A " =\tp|", false, "", "", "", "", "" },
		{ "100644 " A " =\tp|", "100644 " A " 100644 " B "\tp|", false, "100644 " B "\tp|",
		  "", "100644 " B "\tp|", "", "" },
		{ "100644 " A " =\tp|", "", false, "0 " Z "\tp|", "0 " Z "\tp|", "", "", "" },
		{ "100644 " A " 100644 " B "\tp|", "100644 " B " = s\tp|", false, "",
		  "100644 " B "\tp|", "", B "\n", "" },
		{ "", "160000 " A " =\tp|", false, "160000 " A "\tp|", "160000 " A "\tp|", "", "",
		  "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF before = text_of(rows[i].before);
		AUTO_BUF now = text_of(rows[i].now);
		AUTO_PLAN plan = PLAN_INIT;
		struct err err = ERR_INIT;

		CHECK_ROW(i, plan_make(buf_span(&before), buf_span(&now), rows[i].is_first, &plan,
				       &err) == 0);
		check_text(&plan.tree_info, rows[i].tree);
		check_text(&plan.index_info, rows[i].index);
		check_text(&plan.content, rows[i].content);
		check_text(&plan.objects, rows[i].objects);
		check_text(&plan.skip, rows[i].skip);
	}
}

static void test_conflicts(void **state)
{
	static const struct {
		const char *said, *plan, *lines, *others, *writes, *removes;
	} rows[] = {
		{ "M|b|D|c|M|x||new||error", "100644 " A "\ta|100644 " B "\tb|", "100644 " B "\tb|",
		  "M|b|M|x|", "b|", "" },
		/* The guest has come to the same. */
		{ "M|b||||error", "100644 " B "\tb|", "100644 " B "\tb|", "", "", "" },
		/* What was not shipped is in the way. */
		{ "|new||error", "100644 " B "\tnew|", "100644 " B "\tnew|", "M|new|", "new|", "" },
		/* Removed here, changed or removed there. */
		{ "M|a|D|b||||", "0 " Z "\ta|0 " Z "\tb|", "0 " Z "\ta|0 " Z "\tb|", "", "", "a|" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(conflicts_done) struct conflicts conflicts = CONFLICTS_INIT;
		AUTO_BUF said = text_of(rows[i].said);
		AUTO_BUF plan = text_of(rows[i].plan);
		AUTO_BUF others = text_of(rows[i].others);
		AUTO_BUF writes = BUF_INIT;
		AUTO_BUF removes = BUF_INIT;
		struct err err = ERR_INIT;

		CHECK_ROW(i,
			  conflicts_find(buf_span(&said), buf_span(&plan), &conflicts, &err) == 0);
		check_text(&conflicts.lines, rows[i].lines);
		CHECK_ROW(i, conflicts_remaining(&conflicts, buf_span(&others), &writes, &removes,
						 &err) == 0);
		check_text(&writes, rows[i].writes);
		check_text(&removes, rows[i].removes);
	}
}

static void test_conflicts_refused(void **state)
{
	static const struct {
		const char *said;
		enum err_kind kind;
		const char *message;
	} rows[] = {
		{ "", ERR_PROTOCOL, "does not say" },
		{ "M|b", ERR_PROTOCOL, "does not say" },
		{ "M|", ERR_PROTOCOL, "does not say" },
		{ "MM|b||||", ERR_PROTOCOL, "does not say" },
		{ "M|b||new", ERR_PROTOCOL, "does not say" },
		{ "||error: \x1b[31mdisk full\n", ERR_SYSTEM, "error: \\x1b[31mdisk full" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(conflicts_done) struct conflicts conflicts = CONFLICTS_INIT;
		AUTO_BUF said = text_of(rows[i].said);
		struct err err = ERR_INIT;

		CHECK_ROW(i, conflicts_find(buf_span(&said), span_of("", 0), &conflicts, &err) < 0);
		CHECK_INT(err.kind, rows[i].kind);
		CHECK_HAS(err.message, rows[i].message);
	}
}

/* What the guest has staged of "p", against what the host gave and has now. */
static void test_staged(void **state)
{
	static const struct {
		const char *said, *before, *now;
		const char *names; /* NULL: refused */
	} rows[] = {
		{ "", "100644 " A " =\tp|", "100644 " B " =\tp|", "" },
		{ ":100644 100644 " C " " Z " M|p|", "100644 " A " =\tp|", "100644 " B " =\tp|",
		  "p|" },
		{ ":100644 100644 " C " " Z " M|o|:100644 100644 " C " " Z " M|p|",
		  "100644 " A " =\tp|", "100644 " B " =\tp|", "p|" },
		/* What the host gave, or has; the same with another mode is neither. */
		{ ":100644 100644 " A " " Z " M|p|", "100644 " A " =\tp|", "100644 " B " =\tp|",
		  "" },
		{ ":100644 100644 " B " " Z " M|p|", "100644 " A " =\tp|", "100644 " B " =\tp|",
		  "" },
		{ ":100644 100644 " C " " Z " M|p|", "100644 " A " 100644 " C "\tp|",
		  "100644 " B " =\tp|", "" },
		{ ":100755 100644 " B " " Z " M|p|", "100644 " A " =\tp|", "100644 " B " =\tp|",
		  "p|" },
		/* The host's index stays as it is. */
		{ ":100644 100644 " C " " Z " M|p|", "100644 " A " =\tp|",
		  "100644 " A " 100644 " B "\tp|", "" },
		/* The file has gone: there, or here. */
		{ ":100644 000000 " C " " Z " D|p|", "", "100644 " B " =\tp|", "p|" },
		{ ":100644 100644 " C " " Z " M|p|", "100644 " A " =\tp|", "", "p|" },
		/* A name alone, or a merge. */
		{ ":000000 100644 " Z " " Z " A|p|", "", "100644 " B " =\tp|", "" },
		{ ":100644 100644 " C " " Z " M|p", "100644 " A " =\tp|", "100644 " B " =\tp|",
		  NULL },
		{ "p|", "100644 " A " =\tp|", "100644 " B " =\tp|", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF said = text_of(rows[i].said);
		AUTO_BUF before = text_of(rows[i].before);
		AUTO_BUF now = text_of(rows[i].now);
		AUTO_BUF names = BUF_INIT;
		struct err err = ERR_INIT;
		const int r = conflicts_staged(buf_span(&said), buf_span(&before), buf_span(&now),
					       &names, &err);

		CHECK_ROW(i, (r == 0) == (rows[i].names != NULL));
		if (r == 0)
			check_text(&names, rows[i].names);
	}
}

static void test_switch(void **state)
{
	static const struct {
		const char *entries, *changes, *wanted; /* NULL: refused */
	} rows[] = {
		{ "100644 " A " =\tp|", "", "100644 " A " =\tp|" },
		{ "100644 " A " =\tp|", ":100644 100755 " A " " B " M|p|", "100755 " B " =\tp|" },
		{ "100644 " A " =\tp|", ":100644 000000 " A " " Z " D|p|", "" },
		{ "", ":000000 100644 " Z " " B " A|p|", "100644 " B " =\tp|" },
		{ "100644 " C " 100644 " C " s\tm|100644 " A " =\tp|",
		  ":100644 100644 " A " " B " M|p|", "100644 " C " = s\tm|100644 " B " =\tp|" },
		{ "100644 " A " 0 - k\tp|", ":100644 100644 " A " " B " M|p|",
		  "100644 " B " 0 - k\tp|" },
		{ "100644 " B " = s\tp|", ":100644 100644 " A " " B " M|p|", "100644 " B " =\tp|" },
		{ "100644 " A " 100644 " C "\tp|", ":100644 100644 " A " " B " M|p|", NULL },
		{ "100644 " C " = s\tp|", ":100644 100644 " A " " B " M|p|", NULL },
		{ "0 - 100644 " C "\tp|", ":000000 100644 " Z " " B " A|p|", NULL },
		{ "100644 " A " 0 -\tp|", ":100644 100644 " A " " B " M|p|", NULL },
		{ "", ":000000 100644 " Z " " B " A|p", NULL },
		{ "", "000000 100644 " Z " " B " A|p|", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF entries = text_of(rows[i].entries);
		AUTO_BUF changes = text_of(rows[i].changes);
		AUTO_BUF got = BUF_INIT;
		struct err err = ERR_INIT;
		const int r = switch_entries(buf_span(&entries), buf_span(&changes), &got, &err);

		CHECK_ROW(i, (r == 0) == (rows[i].wanted != NULL));
		if (r == 0)
			check_text(&got, rows[i].wanted);
	}
}

static void test_records(void **state)
{
	static const char *const good[] = { "H 100644 " A " 0\tp", "S 120000 " A " 3\ta b\t" };
	static const char *const bad[] = { "",
					   "H",
					   "H 100644 " A " 4\tp",
					   "H 100644 " A " 0\t",
					   "H 100644 " A " 0 p",
					   "H 040000 " A " 0\tp",
					   "H 100644 aa 0\tp",
					   "H100644 " A " 0\tp" };
	static const struct {
		const char *path;
		bool is_forbidden;
	} paths[] = {
		{ "a", false },	    { "a/b", false },	  { ".gita", false }, { "a/.git", true },
		{ ".GIT/x", true }, { "a/.gIt/b", true }, { "..", true },     { "a/../b", true },
		{ "./a", true },    { "a//b", true },	  { "a/", true },     { "...", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good) + ARRAY_LEN(bad); i++) {
		const bool is_good = i < ARRAY_LEN(good);
		struct index_record record = { .tag = '?' };

		CHECK_ROW(i, scan_read_index_record(
				     span_str(is_good ? good[i] : bad[i - ARRAY_LEN(good)]),
				     &record) == is_good);
		CHECK_ROW(i, is_good || record.tag == '?');
	}
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		CHECK_ROW(i,
			  scan_path_is_forbidden(span_str(paths[i].path)) == paths[i].is_forbidden);
}

static void test_look(void **state)
{
	static const char *const bad[] = { "",
					   "git\n",
					   "git nonsense\n",
					   "hg absent\n",
					   "git ours\n",
					   "git ours\nxx\n-\n",
					   "git ours\n-",
					   "git ours\n" A "\n",
					   "git ours\n" A "\nrefs/heads/x\n-\nrest" };
	struct guest_look look;
	struct err err = ERR_INIT;

	(void)state;
	CHECK_INT(workspace_read_look(span_str("none absent\n"), &look, &err), 0);
	CHECK_INT(look.has_git, false);
	CHECK_INT(look.state, GUEST_ABSENT);
	CHECK_INT(workspace_read_look(span_str("git ours\n" A "\nrefs/heads/x/y\n" A "\nrest"),
				      &look, &err),
		  0);
	CHECK_INT(look.tree.len, 40);
	CHECK_INT(look.branch.len, 3);
	CHECK_INT(look.manifest.len, 4);
	CHECK_INT(workspace_read_look(span_str("git half\n" A "\n-\n" A "\nrest"), &look, &err), 0);
	CHECK_INT(look.state, GUEST_HALF);
	CHECK_INT(look.manifest.len, 4);
	CHECK_INT(workspace_read_look(span_str("git ours\n-\n-\n" A "\n"), &look, &err), 0);
	CHECK_INT(look.head.len + look.branch.len, 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK_ROW(i, workspace_read_look(span_str(bad[i]), &look, &err) < 0);
}

static void test_head_refs(void **state)
{
	static const char *const bad[] = {
		"",	     "-\n-\n",	  "-\n-\n-",   "-\n-\n-\n-",
		"x\n-\n-\n", "-\nx\n-\n", "-\n-\nx\n", A "\n-\nrefs/tags/x\n",
	};
	struct head_refs refs = { .tip = { .len = 7 } };
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CHECK_ROW(i, head_read_refs(span_str(bad[i]), &refs, &err) < 0);
		CHECK_ROW(i, refs.tip.len == 7);
	}
	CHECK_INT(head_read_refs(span_str(A "\n" B "\nrefs/heads/x/y\n"), &refs, &err), 0);
	CHECK_INT(span_eq(refs.tip, span_str(A)) && span_eq(refs.put, span_str(B)), true);
	CHECK_INT(span_eq(refs.rival, span_str("x/y")), true);
	CHECK_INT(head_read_refs(span_str("-\n-\n-\n"), &refs, &err), 0);
	CHECK_INT(refs.tip.len + refs.put.len + refs.rival.len, 0);
}

/* The guest was given A on "m" and is to have B on the branch that is named. */
static void test_head_check(void **state)
{
	static const struct {
		const char *head, *branch, *gets, *tip, *put, *rival;
		bool ok;
		bool ok_forced;
	} rows[] = {
		{ A, "m", "m", A, "", "", true, true },
		{ A, "m", "m", A, A, "", true, true },
		{ B, "m", "m", B, A, "", true, true },	/* it has come there itself */
		{ C, "m", "m", C, A, "", false, true }, /* commits of its own */
		{ A, "x", "m", A, A, "", false, true }, /* HEAD elsewhere */
		{ A, "", "m", A, A, "", false, true },
		{ "", "m", "m", "", A, "", false, true },
		{ A, "m", "n", "", "", "", true, true }, /* a new one */
		{ A, "m", "n", C, C, "", true, true },	 /* as it was put */
		{ A, "m", "n", C, "", "", false, true }, /* the guest's, of that name */
		{ A, "m", "n", A, "", "", true, true },	 /* at the host's own commit */
		{ A, "m", "n", C, A, "", false, true },
		{ A, "n", "n", B, "", "", true, true },
		{ A, "m", "n", "", "", "n/x", false, false },
		{ A, "m", "", "", "", "", true, true }, /* to no branch */
	};
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct guest_look look = { .head = span_str(rows[i].head),
						 .branch = span_str(rows[i].branch) };
		const struct manifest_head had = { .head = (char[]){ A },
						   .branch = (char[]){ "m" } };
		AUTO_FREE char *branch = mem_strdup(rows[i].gets);
		const struct manifest_head gets = { .head = (char[]){ B }, .branch = branch };
		const struct head_refs refs = { .tip = span_str(rows[i].tip),
						.put = span_str(rows[i].put),
						.rival = span_str(rows[i].rival) };

		err = ERR_INIT;
		CHECK_ROW(i,
			  (head_check(&look, &had, &gets, &refs, false, &err) == 0) == rows[i].ok);
		CHECK_ROW(i, (err.kind == ERR_BAD_STATE) == !rows[i].ok);
		CHECK_ROW(i, (head_check(&look, &had, &gets, &refs, true, &err) == 0) ==
				     rows[i].ok_forced);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_origin),
		cmocka_unit_test(test_manifest),
		cmocka_unit_test(test_manifest_refused),
		cmocka_unit_test(test_plan),
		cmocka_unit_test(test_conflicts),
		cmocka_unit_test(test_conflicts_refused),
		cmocka_unit_test(test_switch),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_look),
		cmocka_unit_test(test_head_refs),
		cmocka_unit_test(test_head_check),
		cmocka_unit_test(test_staged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
