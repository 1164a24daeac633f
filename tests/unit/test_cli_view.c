/* What people see: tables, progress lines, VMs, logs; and what the shell is offered. */
#include "check.h"

#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/completion.h"
#include "cli/link.h"
#include "cli/log_text.h"
#include "cli/progress_view.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/vm_view.h"
#include "cli/width.h"
#include "cli/wrap.h"

#define NOW 1795316400 /* 2026-11-22T03:00:00Z */

static const struct table_column columns[] = {
	{ .title = "NAME", .may_shrink = true },
	{ .title = "SIZE", .is_right = true },
	{ .title = "NOTE", .may_shrink = true, .may_go = true },
};

static void render(size_t width, bool has_colour, struct buf *out)
{
	AUTO_TABLE table = { .columns = NULL };

	table_init(&table, columns, ARRAY_LEN(columns));
	table_add_colour(&table, "a", COLOUR_GREEN);
	table_add_size(&table, 1536ULL << 20);
	table_add(&table, "a note that is rather long");
	table_add(&table, "a-much-longer-name");
	table_addf(&table, "%d", 7);
	table_add(&table, NULL);
	table_render(&table, width, has_colour, out);
}

static void test_table(void **state)
{
	static const struct {
		size_t width;
		bool has_colour;
		const char *text;
	} rows[] = {
		{ 0, false,
		  "NAME                   SIZE  NOTE\n"
		  "a                   1.5 GiB  a note that is rather long\n"
		  "a-much-longer-name        7  -\n" },
		{ 200, true,
		  "NAME                   SIZE  NOTE\n"
		  "\x1b[32ma\x1b[0m                   1.5 GiB  a note that is rather long\n"
		  "a-much-longer-name        7  -\n" },
		{ 45, false,
		  "NAME                  SIZE  NOTE\n"
		  "a                  1.5 GiB  a note that is r…\n"
		  "a-much-longer-na…        7  -\n" },
		/* A note of a few letters is worth less than the whole name. */
		{ 30, false,
		  "NAME                   SIZE\n"
		  "a                   1.5 GiB\n"
		  "a-much-longer-name        7\n" },
		{ 20, false,
		  "NAME            SIZE\n"
		  "a            1.5 GiB\n"
		  "a-much-lon…        7\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF out = BUF_INIT;

		render(rows[i].width, rows[i].has_colour, &out);
		CHECK_STR(out.ptr, rows[i].text);
	}
}

/* Wide characters take two columns, accents of their own none; half a character is never shown. */
static void test_table_wide(void **state)
{
	static const struct {
		size_t width;
		const char *text;
	} rows[] = {
		{ 0, "NAME              SIZE  NOTE\n"
		     "仮想マシンの名前     1  e\u0301te\u0301\n"
		     "ascii                2  \U0001F980\n" },
		{ 25, "NAME              SIZE\n"
		      "仮想マシンの名前     1\n"
		      "ascii                2\n" },
		{ 20, "NAME            SIZE\n"
		      "仮想マシンの…      1\n"
		      "ascii              2\n" },
	};
	AUTO_TABLE table = { .columns = NULL };

	(void)state;
	table_init(&table, columns, ARRAY_LEN(columns));
	table_add(&table, "仮想マシンの名前");
	table_addf(&table, "%d", 1);
	table_add(&table, "e\u0301te\u0301");
	table_add(&table, "ascii");
	table_addf(&table, "%d", 2);
	table_add(&table, "\U0001F980");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF out = BUF_INIT;

		table_render(&table, rows[i].width, false, &out);
		CHECK_STR(out.ptr, rows[i].text);
	}
}

/* What says nothing goes first, then what is worth least; names stay readable. */
static void test_table_worth(void **state)
{
	static const struct table_column worth_columns[] = {
		{ .title = "NAME", .may_shrink = true },
		{ .title = "KEEP", .may_go = true, .worth = 2 },
		{ .title = "EMPTY", .may_go = true, .worth = 9 },
		{ .title = "LEAST", .may_go = true },
		{ .title = "LESS", .may_go = true, .worth = 1 },
	};
	static const struct {
		size_t width;
		const char *titles;
	} rows[] = {
		{ 42, "NAME              KEEP  EMPTY  LEAST  LESS\n" },
		{ 41, "NAME              KEEP  LEAST  LESS\n" },
		{ 34, "NAME              KEEP  LESS\n" },
		{ 27, "NAME              KEEP\n" },
		{ 21, "NAME\n" },
	};
	AUTO_TABLE table = { .columns = NULL };

	(void)state;
	table_init(&table, worth_columns, ARRAY_LEN(worth_columns));
	table_add(&table, "sixteen--letters");
	table_add(&table, "k");
	table_add(&table, "");
	table_add(&table, "l");
	table_add(&table, "l");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF out = BUF_INIT;

		table_render(&table, rows[i].width, false, &out);
		*(strchr(out.ptr, '\n') + 1) = '\0';
		CHECK_STR(out.ptr, rows[i].titles);
		CHECK_ROW(i, width_of_text(out.ptr) - 1 <= rows[i].width);
	}
}

static void test_wrap(void **state)
{
	static const struct {
		const char *text;
		size_t used;
		size_t width;
		const char *lines;
	} rows[] = {
		{ "one two three", 0, 0, "one two three\n" },
		{ "one two three", 0, 13, "one two three\n" },
		{ "one two three", 0, 12, "one two\n  three\n" },
		{ "one two three", 7, 12, "one\n  two three\n" },
		/* a first word that does not fit stays: a label alone says nothing */
		{ "/a/rather/long/path is", 7, 12, "/a/rather/long/path\n  is\n" },
		{ "gone: /a/rather/long/path is", 0, 12, "gone:\n  /a/rather/long/path\n  is\n" },
		/* what is quoted is copied, so it stays together */
		{ "hint: 'banger vm start a' now", 0, 24, "hint:\n  'banger vm start a'\n  now\n" },
		{ "a ('banger ps') b", 0, 10, "a ('banger\n  ps') b\n" },
		{ "aa 'bang er', b", 0, 12, "aa\n  'bang er',\n  b\n" },
		{ "a 'bang er's ba' b", 0, 17, "a 'bang er's ba'\n  b\n" },
		{ "a 'bang er ps' b", 0, 10, "a 'bang er\n  ps' b\n" },
		{ "the 'quote does not end", 0, 12, "the 'quote\n  does not\n  end\n" },
		{ "one\ntwo", 0, 80, "one\n  two\n" },
		{ "漢字漢字 漢字", 0, 13, "漢字漢字 漢字\n" },
		{ "漢字漢字 漢字", 0, 12, "漢字漢字\n  漢字\n" },
		{ "", 0, 80, "\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF out = BUF_INIT;

		wrap_hanging(&out, rows[i].text, rows[i].used, rows[i].width);
		CHECK_STR(out.ptr, rows[i].lines);
	}
}

static void test_width(void **state)
{
	static const struct {
		const char *text;
		size_t width;
	} rows[] = {
		{ "", 0 },
		{ "abc", 3 },
		{ "é", 1 },
		{ "e\u0301", 1 },
		{ "漢字", 4 },
		{ "ｗ", 2 },
		{ "한", 2 },
		{ "\u1112\u1161\u11ab", 2 },
		{ "\U0001F980", 2 },
		{ "\u2764", 1 },
		{ "…", 1 },
		{ "·", 1 },
		{ "a\u200bb", 2 },
		{ "\xff\xfe", 2 },
		{ "\u0e01\u0e35", 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_INT(width_of_text(rows[i].text), rows[i].width);
}

static void test_table_escapes(void **state)
{
	AUTO_TABLE table = { .columns = NULL };
	AUTO_BUF out = BUF_INIT;

	(void)state;
	table_init(&table, columns, 1);
	table_add(&table, "x\x1b[2Jy\nz");
	table_render(&table, 0, false, &out);
	assert_null(strchr(out.ptr, '\x1b'));
	CHECK_HAS(out.ptr, "x\\x1b[2Jy\\x0az");
}

static void test_empty_table(void **state)
{
	AUTO_TABLE table = { .columns = NULL };
	AUTO_BUF out = BUF_INIT;

	(void)state;
	table_init(&table, columns, ARRAY_LEN(columns));
	table_render(&table, 80, true, &out);
	CHECK_STR(out.ptr, "NAME  SIZE  NOTE\n");
}

static void test_progress_line(void **state)
{
	static const struct {
		struct progress_line line;
		size_t width;
		const char *text;
	} rows[] = {
		{ { .stage = "boot", .elapsed_ms = 2345 }, 0, "boot  2 s" },
		{ { .stage = "boot", .detail = "agent", .elapsed_ms = 999 },
		  0,
		  "boot: agent  0 s" },
		{ { .stage = "boot", .label = "web", .elapsed_ms = 1000 }, 0, "web: boot  1 s" },
		{ { .stage = "modules", .done = 12, .total = 40, .elapsed_ms = 1000 },
		  60,
		  "modules 12/40  1 s" },
		{ { .stage = "image",
		    .done = 50ULL << 20,
		    .total = 100ULL << 20,
		    .rate = 10ULL << 20,
		    .elapsed_ms = 5000 },
		  0,
		  "image [==========>         ] 50 MiB/100 MiB, 10 MiB/s, 5 s left  5 s" },
		{ { .stage = "image",
		    .done = 100ULL << 20,
		    .total = 100ULL << 20,
		    .rate = 10ULL << 20,
		    .elapsed_ms = 10000 },
		  0,
		  "image [====================] 100 MiB/100 MiB, 10 MiB/s  10 s" },
		{ { .stage = "image", .done = 1ULL << 20, .total = 100ULL << 20 },
		  40,
		  "image 1 MiB/100 MiB  0 s" },
		{ { .stage = "image",
		    .detail = "0123456789012345678901234567890",
		    .elapsed_ms = 0 },
		  24,
		  "image: 012345678901  0 s" },
		{ { .stage = "image", .detail = "仮想マシン" }, 16, "image: 仮想  0 s" },
		{ { .stage = "image", .detail = "仮想マシン" }, 15, "image: 仮  0 s" },
		{ { .stage = "s", .detail = "a\x1b[31m\r\nb" },
		  0,
		  "s: a\\x1b[31m\\x0d\\x0ab  0 s" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF out = BUF_INIT;

		progress_line_render(&rows[i].line, rows[i].width, &out);
		CHECK_STR(out.ptr, rows[i].text);
		if (rows[i].width)
			CHECK_ROW(i, width_of_text(out.ptr) <= rows[i].width);
	}
}

/* Feeds two stages to a view that writes into a pipe; what came out. */
static void run_view(bool is_quiet, bool is_json, struct buf *out)
{
	struct out output = { .is_quiet = is_quiet, .is_json = is_json, .pending = BUF_INIT };
	const struct progress_event events[] = {
		{ .stage = "image", .detail = "fetch" },
		{ .stage = "image", .detail = "unpack" },
		{ .stage = "boot" },
	};
	struct progress_view view;
	int ends[2];

	assert_int_equal(fd_pipe(ends), 0);
	output.err_fd = ends[1];
	progress_view_init(&view, &output, "web");
	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		progress_view_report(&view, &events[i]);
	progress_view_finish(&view, false);
	progress_view_done(&view);
	fd_close(ends[1]);
	buf_reserve(out, 4096);
	buf_advance(out, (size_t)fd_read_some(ends[0], out->ptr, 4096));
	fd_close(ends[0]);
}

static void test_progress_plain(void **state)
{
	AUTO_BUF plain = BUF_INIT;
	AUTO_BUF quiet = BUF_INIT;
	AUTO_BUF json = BUF_INIT;

	(void)state;
	run_view(false, false, &plain);
	CHECK_HAS(plain.ptr, "web: image: fetch\nweb: image: done in ");
	CHECK_HAS(plain.ptr, "\nweb: boot: begun\nweb: boot: given up after ");
	assert_null(strchr(plain.ptr, '\x1b'));
	assert_null(strstr(plain.ptr, "unpack"));
	run_view(true, false, &quiet);
	CHECK_INT(quiet.len, 0);
	run_view(false, true, &json);
	CHECK_INT(json.len, 0);
}

static json_t *sample_vms(void)
{
	static const char text[] =
		"[{\"id\":\"0123456789abcdef0123456789abcdef\",\"name\":\"box\",\"state\":"
		"\"running\","
		"\"image\":\"debian-bookworm\",\"kernel\":\"debian-cloud\",\"vcpu\":4,"
		"\"memory_bytes\":8589934592,\"disk_bytes\":8589934592,\"ip\":null,"
		"\"system_overlay_bytes\":1073741824,\"disk_used_bytes\":2097152,"
		"\"engine\":\"qemu\",\"accelerator\":\"tcg\",\"pid\":77,\"nat\":false,"
		"\"created_at\":\"2026-11-22T02:58:00Z\",\"started_at\":null},"
		"{\"id\":\"fedcba9876543210fedcba9876543210\",\"name\":\"a-vm-with-a-long-name\","
		"\"state\":\"error\",\"image\":\"debian-bookworm-slim\",\"vcpu\":1,"
		"\"memory_bytes\":536870912,\"disk_bytes\":68719476736,\"ip\":\"172.16.0.2\","
		"\"created_at\":\"2026-11-20T02:58:00Z\"}]";
	struct err err = ERR_INIT;
	json_t *json = NULL;

	assert_int_equal(json_read(span_str(text), &json, &err), 0);
	return json;
}

static void test_vm_table(void **state)
{
	AUTO_JSON *vms = sample_vms();
	AUTO_BUF wide = BUF_INIT;
	AUTO_BUF narrow = BUF_INIT;
	AUTO_BUF ids = BUF_INIT;

	(void)state;
	vm_view_table(vms, NOW, 0, false, &wide);
	CHECK_STR(wide.ptr, "ID            NAME                   STATE    IMAGE                 "
			    "IP          VCPU"
			    "      MEM    DISK  WORKSPACE  CREATED\n"
			    "0123456789ab  box                    running  debian-bookworm       - "
			    "             4"
			    "    8 GiB   8 GiB  -          2 min ago\n"
			    "fedcba987654  a-vm-with-a-long-name  error    debian-bookworm-slim  "
			    "172.16.0.2     1"
			    "  512 MiB  64 GiB  -          2 days ago\n");
	vm_view_table(vms, NOW, 80, false, &narrow);
	CHECK_STR(narrow.ptr,
		  "ID            NAME                   STATE    IMAGE                 IP\n"
		  "0123456789ab  box                    running  debian-bookworm       -\n"
		  "fedcba987654  a-vm-with-a-long-name  error    debian-bookworm-slim  "
		  "172.16.0.2\n");
	vm_view_ids(vms, &ids);
	CHECK_STR(ids.ptr, "0123456789abcdef0123456789abcdef\nfedcba9876543210fedcba9876543210\n");
}

static void test_vm_details(void **state)
{
	AUTO_JSON *vms = sample_vms();
	AUTO_BUF plain = BUF_INIT;
	AUTO_BUF coloured = BUF_INIT;

	(void)state;
	vm_view_details(json_array_get(vms, 0), NOW, 0, false, &plain);
	CHECK_HAS(plain.ptr, "name                box\n");
	CHECK_HAS(plain.ptr, "memory              8 GiB\n");
	CHECK_HAS(plain.ptr, "created             2026-11-22T02:58:00Z (2 min ago)\n");
	CHECK_HAS(plain.ptr, "started             -\n");
	CHECK_HAS(plain.ptr, "engine              qemu with tcg\n");
	CHECK_HAS(plain.ptr, "vmm process         77\n");
	vm_view_details(json_array_get(vms, 0), NOW, 0, true, &coloured);
	CHECK_HAS(coloured.ptr, "state               \x1b[32mrunning\x1b[0m\n");
}

static void test_ages(void **state)
{
	static const struct {
		const char *time;
		const char *age;
	} rows[] = {
		{ NULL, "-" },
		{ "2026-11-22T03:00:00Z", "just now" },
		{ "2026-11-22T03:00:09Z", "just now" },
		{ "2026-11-22T02:59:59Z", "1 s ago" },
		{ "2026-11-22T02:00:00Z", "1 h ago" },
		{ "2026-11-21T02:00:00Z", "1 day ago" },
		{ "2026-11-01T02:00:00Z", "3 weeks ago" },
		{ "2025-01-01T00:00:00Z", "1 year ago" },
		{ "yesterday", "yesterday" },
		{ "2026-11-22T02:00:00+01:00", "2026-11-22T02:00:00+01:00" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF out = BUF_INIT;

		vm_view_age(rows[i].time, NOW, &out);
		CHECK_STR(out.ptr, rows[i].age);
	}
}

static void test_spec_line(void **state)
{
	AUTO_BUF out = BUF_INIT;

	(void)state;
	vm_view_spec(4, 8192ULL << 20, 8ULL << 30, "debian-bookworm", &out);
	CHECK_STR(out.ptr, "4 vcpu · 8192 MiB · 8 GiB disk · debian-bookworm");
}

static void test_log_text(void **state)
{
	static const struct {
		const char *in;
		const char *out;
		size_t held; /* bytes that wait for more */
	} rows[] = {
		{ "plain\n", "plain\n", 0 },
		{ "a\tb\r\nc\r\n", "a\tb\nc\n", 0 },
		{ "a\rb", "a\\x0db", 0 },
		{ "\x1b[0;1;32m OK \x1b[0m\n", " OK \n", 0 },
		{ "\x1b[2J\x1b]0;evil\x07", "\\x1b[2J\\x1b]0;evil\\x07", 0 },
		{ "\x9b"
		  "31m",
		  "\\x9b31m", 0 },
		{ "ä€\n", "ä€\n", 0 },
		{ "\xe2\x80\xae"
		  "evil\n",
		  "\\u{202e}evil\n", 0 },
		{ "x\x1b", "x", 1 },
		{ "x\x1b[3", "x", 3 },
		{ "x\r", "x", 1 },
		{ "x\xe2\x82", "x", 2 },
		{ "\x1b[111111111111111111111111111111111111111m", /* too long for a colour */
		  "\\x1b[111111111111111111111111111111111111111m", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct span in = span_str(rows[i].in);
		AUTO_BUF out = BUF_INIT;
		size_t used = log_text_escape(in, false, &out);

		CHECK_STR(out.ptr, rows[i].out);
		CHECK_INT(in.len - used, rows[i].held);
		used += log_text_escape(span_skip(in, used), true, &out);
		CHECK_INT(used, in.len);
	}
}

/* However the bytes are cut into pieces, the same text comes out. */
static void test_log_text_in_pieces(void **state)
{
	static const char bytes[] = "a\r\n\x1b[1;31mred\x1b[0m \xe2\x82\xac\xff\x1b[2J\tz\r\rx\xc3";
	const struct span all = span_str(bytes);
	AUTO_BUF wanted = BUF_INIT;

	(void)state;
	assert_int_equal(log_text_escape(all, true, &wanted), all.len);
	for (size_t piece = 1; piece < all.len; piece++) {
		AUTO_BUF held = BUF_INIT;
		AUTO_BUF out = BUF_INIT;

		for (size_t at = 0; at < all.len; at += piece) {
			const size_t len = all.len - at < piece ? all.len - at : piece;

			buf_add(&held, span_of(all.ptr + at, len));
			buf_consume(&held, log_text_escape(buf_span(&held), false, &out));
			assert_true(held.len <= LOG_TEXT_PENDING_MAX);
		}
		(void)log_text_escape(buf_span(&held), true, &out);
		CHECK_STR(out.ptr, wanted.ptr);
	}
}

static void names(void *context, enum opt_completes kind, const char *first, struct strv *ret)
{
	(void)context;
	if (kind == COMPLETES_SNAPSHOT && str_eq(first, "box")) {
		strv_add(ret, "snap0");
		strv_add(ret, "snap1");
	}
	if (kind == COMPLETES_VM) {
		strv_add(ret, "box");
		strv_add(ret, "web");
	}
	if (kind == COMPLETES_IMAGE)
		strv_add(ret, "debian-bookworm");
	if (kind == COMPLETES_IMAGE_HERE)
		strv_add(ret, "mine");
}

static void test_completion(void **state)
{
	static const struct {
		const char *words[6];
		const char *wanted; /* joined with blanks */
	} rows[] = {
		{ { "vm", "sto" }, "stop" },
		{ { "vm", "p" }, "pause ping ports prune ps" },
		{ { "dae" }, "daemon" },
		{ { "p" }, "ps" },
		{ { "--json", "vm", "sta" }, "start stats" },
		{ { "vm", "stop", "" }, "box web" },
		{ { "vm", "stop", "box", "w" }, "web" },
		{ { "vm", "show", "box", "" }, "" },
		{ { "vm", "stop", "--ti" }, "--timeout" },
		{ { "vm", "create", "--no" }, "--no-start" },
		{ { "vm", "run", "--image", "de" }, "debian-bookworm" },
		{ { "vm", "run", "-i", "" }, "debian-bookworm" },
		{ { "vm", "run", "--memory", "" }, "" },
		{ { "vm", "run", "--image=" }, "--image=debian-bookworm" },
		{ { "vm", "run", "--image=de" }, "--image=debian-bookworm" },
		{ { "vm", "run", "--image=x" }, "" },
		{ { "vm", "run", "--nonsense=" }, "" },
		/* As bash has it. */
		{ { "vm", "run", "--image", "=" }, "debian-bookworm" },
		{ { "vm", "run", "--image", "=", "de" }, "debian-bookworm" },
		{ { "vm", "stop", "box", "" }, "web" },
		{ { "vm", "kill", "-s", "T" }, "TERM" },
		{ { "vm", "kill", "--signal=K" }, "--signal=KILL" },
		{ { "vm", "cp", "" }, "box: web: :files" },
		{ { "vm", "cp", "./x", "b" }, "box: :files" },
		{ { "vm", "cp", "box:/et" }, "" },
		{ { "image", "register", "--rootfs", "a" }, ":files" },
		{ { "image", "register", "--rootfs=a" }, ":files" },
		{ { "kernel", "import", "x", "--from", "" }, ":folders" },
		{ { "completion", "" }, "bash zsh fish" },
		{ { "image", "ca" }, "catalog cache" },
		{ { "image", "cache", "" }, "prune" },
		{ { "" },
		  "vm image kernel template daemon doctor ssh-config completion version help ps" },
		{ { "vm", "exec", "box", "--", "l" }, "" },
		{ { "help", "kern" }, "kernel" },
		{ { "help", "vm", "sto" }, "stop" },
		{ { "help", "image", "cache", "" }, "prune" },
		{ { "help", "vm", "stop", "" }, "" },
		{ { "help", "doctor", "" }, "" },
		{ { "vm", "run", "./re" }, ":folders" },
		{ { "vm", "run", "x", "" }, "" },
		{ { "vm", "run", "x", "--mode", "f" }, "full_copy" },
		{ { "vm", "run", "--mode=" }, "--mode=shallow_overlay --mode=full_copy" },
		{ { "vm", "workspace", "prepare", "b" }, "box" },
		{ { "vm", "workspace", "prepare", "box", "" }, ":folders" },
		{ { "vm", "workspace", "export", "box", "" }, "" },
		{ { "vm", "workspace", "export", "-o", "" }, ":files" },
		{ { "vm", "workspace", "export", "--output=x" }, ":files" },
		{ { "vm", "snapshot", "" }, "create list show delete restore" },
		{ { "vm", "snapshot", "create", "" }, "box web" },
		{ { "vm", "snapshot", "create", "box", "" }, "" },
		{ { "vm", "snapshot", "list", "box", "" }, "web" },
		{ { "vm", "snapshot", "restore", "box", "" }, "snap0 snap1" },
		{ { "vm", "snapshot", "restore", "web", "" }, "" },
		{ { "vm", "snapshot", "delete", "box", "snap0", "" }, "snap1" },
		{ { "image", "delete", "" }, "mine" },
		{ { "image", "show", "" }, "mine" },
		{ { "image", "promote", "" }, "mine" },
		{ { "image", "pull", "" }, "debian-bookworm" },
		{ { "ps", "--j" }, "--json" },
		{ { "xyzzy", "" }, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_STRV got = { .items = NULL };
		AUTO_BUF joined = BUF_INIT;
		size_t count = 0;

		while (count < ARRAY_LEN(rows[i].words) && rows[i].words[count])
			count++;
		completion_candidates(rows[i].words, count, names, NULL, &got);
		for (size_t j = 0; j < got.count; j++)
			buf_addf(&joined, "%s%.*s", j ? " " : "", (int)strcspn(got.items[j], "\t"),
				 got.items[j]);
		CHECK_STR(joined.ptr, rows[i].wanted);
	}
}

/* What is known of a word comes behind a tab; names of VMs have nothing there. */
static void test_completion_descriptions(void **state)
{
	static const struct {
		const char *words[2];
		const char *wanted;
	} rows[] = {
		{ { "vm", "prun" }, "prune\tdelete every VM that is not running" },
		{ { "ps", "--qui" }, "--quiet\tno progress and no notes" },
		{ { "help", "vers" },
		  "version\tprint the versions of banger and of the running bangerd" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_STRV got = { .items = NULL };

		completion_candidates(rows[i].words, 2, names, NULL, &got);
		CHECK_INT(got.count, 1);
		CHECK_STR(got.items[0], rows[i].wanted);
	}
}

/* Each is told apart from a dark and from a light background by every terminal's own sixteen: no
 * white, black, yellow, blue or cyan, none of a bright or a fixed palette, and no background. */
static void test_colours(void **state)
{
	static const char *const fit[] = { "1", "31", "32", "35" };

	(void)state;
	for (unsigned int colour = COLOUR_NONE + 1; colour <= COLOUR_BOLD; colour++) {
		AUTO_BUF text = BUF_INIT;
		bool is_fit = false;

		out_colour(&text, true, (enum colour)colour, "word");
		for (size_t i = 0; i < ARRAY_LEN(fit); i++) {
			AUTO_FREE char *wanted = mem_printf("\x1b[%smword\x1b[0m", fit[i]);

			is_fit = is_fit || str_eq(text.ptr, wanted);
		}
		CHECK_ROW(colour, is_fit);
		buf_clear(&text);
		out_colour(&text, false, (enum colour)colour, "word");
		CHECK_STR(text.ptr, "word");
	}
}

static void test_ready(void **state)
{
	static const struct {
		const char *said;
		bool is_ready;
		const char *message;
		const char *hint;
		enum err_kind kind;
	} rows[] = {
		{ "1\n", true, NULL, NULL, ERR_NONE },
		{ "", false, "bangerd ended before it was ready", "", ERR_PROTOCOL },
		{ "1", false, "bangerd ended before it was ready", "", ERR_PROTOCOL },
		{ "{\"message\":\"no space\",\"hint\":\"make some\"}\n", false, "no space",
		  "make some", ERR_BAD_STATE },
		{ "{\"message\":\"no space\",\"hint\":null}\n", false, "no space", "",
		  ERR_BAD_STATE },
		{ "{}\n", false, "bangerd gave no reason", "", ERR_BAD_STATE },
		{ "{\"kind\":\"busy\",\"message\":\"taken\"}\n", false, "taken", "", ERR_BUSY },
		{ "{broken\n", false, "bangerd ended before it was ready", "", ERR_PROTOCOL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		const int r = link_read_ready(span_str(rows[i].said), &err);

		CHECK_ROW(i, (r == 0) == rows[i].is_ready);
		if (r == 0)
			continue;
		CHECK_INT(err.kind, rows[i].kind);
		CHECK_STR(err.message, rows[i].message);
		CHECK_STR(err.hint, rows[i].hint);
	}
}

static void test_env_rule(void **state)
{
	static const struct {
		const char *text;
		bool is_good;
	} rows[] = {
		{ "A=", true }, { "A=b=c", true }, { "A", false }, { "=b", false }, { "", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;

		CHECK_ROW(i, (session_check_env(rows[i].text, &err) == 0) == rows[i].is_good);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_table_wide),
		cmocka_unit_test(test_table_worth),
		cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_width),
		cmocka_unit_test(test_table_escapes),
		cmocka_unit_test(test_empty_table),
		cmocka_unit_test(test_progress_line),
		cmocka_unit_test(test_progress_plain),
		cmocka_unit_test(test_vm_table),
		cmocka_unit_test(test_vm_details),
		cmocka_unit_test(test_ages),
		cmocka_unit_test(test_spec_line),
		cmocka_unit_test(test_log_text),
		cmocka_unit_test(test_log_text_in_pieces),
		cmocka_unit_test(test_completion),
		cmocka_unit_test(test_completion_descriptions),
		cmocka_unit_test(test_colours),
		cmocka_unit_test(test_ready),
		cmocka_unit_test(test_env_rule),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
