/* The option parser, and every option of every command. */
#include "check.h"

#include "base/mem.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/spec_args.h"

#define WORDS_MAX 12

struct args {
	bool flag;
	bool on;
	struct opt_maybe maybe;
	const char *text;
	struct strv list;
	struct opt_number number;
	struct opt_number size;
	struct opt_number time;
};

static int check_short(const char *text, struct err *err)
{
	return strlen(text) <= 8 ? 0 : err_set(err, ERR_INVALID, "'%s' is too long", text);
}

static void note(struct buf *out)
{
	buf_add_str(out, "this host has 2");
}

#define AT(member) .offset = offsetof(struct args, member)
static const struct opt opts[] = {
	{ .type = OPT_FLAG, .letter = 'f', .name = "flag", AT(flag) },
	{ .type = OPT_FLAG_ON, .name = "start", AT(on) },
	{ .type = OPT_MAYBE, .letter = 'm', .name = "maybe", AT(maybe) },
	{ .type = OPT_STRING,
	  .letter = 't',
	  .name = "text",
	  AT(text),
	  .metavar = "T",
	  .check = check_short },
	{ .type = OPT_STRINGS, .letter = 'e', .name = "env", AT(list), .metavar = "E" },
	{ .type = OPT_NUMBER,
	  .letter = 'n',
	  .name = "number",
	  AT(number),
	  .metavar = "N",
	  .min = 1,
	  .max = 32,
	  .note = note },
	{ .type = OPT_SIZE,
	  .name = "size",
	  AT(size),
	  .metavar = "S",
	  .min = 1 << 20,
	  .max = 1ULL << 40,
	  .unit = 1 << 20 },
	{ .type = OPT_DURATION, .name = "time", AT(time), .metavar = "D", .max = 60000 },
};

struct parse {
	struct args args;
	struct opt_parsed parsed;
	struct err err;
	int r;
	char *argv[WORDS_MAX + 1];
};

/* `line` is split at blanks. */
static void parse_line(const char *line, struct parse *p)
{
	const struct opt_group group = { opts, ARRAY_LEN(opts), &p->args };
	struct span rest = span_str(line);
	int argc = 0;

	memset(p, 0, sizeof(*p));
	while (rest.len > 0) {
		const uint8_t *blank = memchr(rest.ptr, ' ', rest.len);
		const size_t len = blank ? (size_t)(blank - rest.ptr) : rest.len;

		assert_true(argc < WORDS_MAX);
		p->argv[argc++] = mem_strndup((const char *)rest.ptr, len);
		rest = span_skip(rest, len + 1);
	}
	opt_defaults(&group, 1);
	p->r = opt_parse(&group, 1, argc, p->argv, &p->parsed, &p->err);
}

static void parse_done(struct parse *p)
{
	const struct opt_group group = { opts, ARRAY_LEN(opts), &p->args };

	for (size_t i = 0; p->argv[i]; i++)
		mem_free(p->argv[i]);
	opt_parsed_done(&p->parsed);
	opt_groups_done(&group, 1);
}

static void test_maybe(void **state)
{
	static const struct {
		const char *line;
		struct opt_maybe wanted;
	} rows[] = {
		{ "", { false, false } },	   { "--maybe", { true, true } },
		{ "--no-maybe", { true, false } }, { "--maybe --no-maybe", { true, false } },
		{ "-mf", { true, true } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct parse p;

		parse_line(rows[i].line, &p);
		CHECK_ROW(i, p.r == 0);
		CHECK_ROW(i, p.args.maybe.is_set == rows[i].wanted.is_set);
		CHECK_ROW(i, p.args.maybe.value == rows[i].wanted.value);
		parse_done(&p);
	}
}

static void test_accepted(void **state)
{
	static const struct {
		const char *line;
		bool flag;
		bool on;
		const char *text;
		const char *last_env;
		size_t env_count;
		uint64_t number;
		uint64_t size;
		uint64_t time_ms;
		size_t operands;
		size_t command;
	} rows[] = {
		{ "", .on = true },
		{ "--flag", .flag = true, .on = true },
		{ "-f", .flag = true, .on = true },
		{ "--flag --no-flag", .on = true },
		{ "--no-start", .on = false },
		{ "--no-start --start", .on = true },
		{ "--text=abc", .text = "abc", .on = true },
		{ "--text abc", .text = "abc", .on = true },
		{ "--text=", .text = "", .on = true },
		{ "--text -x", .text = "-x", .on = true },
		{ "-tabc", .text = "abc", .on = true },
		{ "-t abc", .text = "abc", .on = true },
		{ "-ft abc", .flag = true, .text = "abc", .on = true },
		{ "-ftabc", .flag = true, .text = "abc", .on = true },
		{ "--text a --text b", .text = "b", .on = true },
		{ "-e A=1 --env=B=2=3", .last_env = "B=2=3", .env_count = 2, .on = true },
		{ "-n1", .number = 1, .on = true },
		{ "--number 32", .number = 32, .on = true },
		{ "--size 1", .size = 1 << 20, .on = true },
		{ "--size 1.5G", .size = 1536ULL << 20, .on = true },
		{ "--size 1TiB", .size = 1ULL << 40, .on = true },
		{ "--time 1500ms", .time_ms = 1500, .on = true },
		{ "--time 0", .time_ms = 0, .on = true },
		{ "a --flag b", .flag = true, .operands = 2, .on = true },
		{ "a - b", .operands = 3, .on = true },
		{ "a -- --flag -x --", .operands = 1, .command = 3, .on = true },
		{ "--", .on = true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct parse p;

		parse_line(rows[i].line, &p);
		if (p.r < 0)
			print_error("%s: %s\n", rows[i].line, p.err.message);
		CHECK_ROW(i, p.r == 0);
		CHECK_ROW(i, p.args.flag == rows[i].flag);
		CHECK_ROW(i, p.args.on == rows[i].on);
		CHECK_ROW(i, str_eq(p.args.text, rows[i].text));
		CHECK_ROW(i, p.args.list.count == rows[i].env_count);
		if (rows[i].env_count > 0)
			CHECK_STR(p.args.list.items[rows[i].env_count - 1], rows[i].last_env);
		CHECK_ROW(i, p.args.number.value == rows[i].number);
		CHECK_ROW(i, p.args.number.is_set == (rows[i].number > 0));
		CHECK_ROW(i, p.args.size.value == rows[i].size);
		CHECK_ROW(i, p.args.time.value == rows[i].time_ms);
		CHECK_ROW(i, p.parsed.operand_count == rows[i].operands);
		CHECK_ROW(i, p.parsed.command_count == rows[i].command);
		parse_done(&p);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *line;
		const char *message;
	} rows[] = {
		{ "--flga", "unknown option '--flga'; did you mean '--flag'?" },
		{ "--no-strat", "unknown option '--no-strat'; did you mean '--no-start'?" },
		{ "--xyzzy", "unknown option '--xyzzy'" },
		{ "--xyzzy=3", "unknown option '--xyzzy'" },
		{ "--no-text", "unknown option '--no-text'; did you mean '--text'?" },
		{ "--fla", "unknown option '--fla'; did you mean '--flag'?" },
		{ "-x", "unknown option '-x'" },
		{ "-xf", "unknown option '-x' in '-xf'" },
		{ "-\xc3\xa9", "unknown option '-\xc3\xa9'" },
		{ "-fx", "unknown option '-x' in '-fx'" },
		{ "--flag=yes", "--flag takes no value" },
		{ "--no-flag=yes", "--no-flag takes no value" },
		{ "--text", "--text needs a value: --text T" },
		{ "-t", "--text needs a value: --text T" },
		{ "--text --", "--text needs a value: --text T" },
		{ "--text 123456789", "--text: '123456789' is too long" },
		{ "-n 0", "--number '0': must be 1 to 32 (this host has 2)" },
		{ "-n 33", "--number '33': must be 1 to 32 (this host has 2)" },
		{ "-n -1", "--number '-1': must be a whole number from 1 to 32 (this host has 2)" },
		{ "-n 1e3",
		  "--number '1e3': must be a whole number from 1 to 32 (this host has 2)" },
		{ "-n 999999999999999999999", "--number '999999999999999999999': must be a whole "
					      "number from 1 to 32 (this host "
					      "has 2)" },
		{ "--size 0", "--size '0': must be 1 MiB to 1 TiB" },
		{ "--size 2TiB", "--size '2TiB': must be 1 MiB to 1 TiB" },
		{ "--size 18446744073709551616", "--size '18446744073709551616': must be a size in "
						 "MiB, or with a unit such as 512M or "
						 "2GiB, from 1 MiB to 1 TiB" },
		{ "--size 5X", "--size '5X': must be a size in MiB, or with a unit such as 512M or "
			       "2GiB, from 1 MiB "
			       "to 1 TiB" },
		{ "--time 61s", "--time '61s': must be 0 ms to 1 min 0 s" },
		{ "--time 5",
		  "--time '5': must be a duration such as 500ms, 10s or 2m, from 0 ms to 1 "
		  "min 0 s" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct parse p;

		parse_line(rows[i].line, &p);
		CHECK_ROW(i, p.r < 0);
		CHECK_INT(p.err.kind, ERR_INVALID);
		CHECK_STR(p.err.message, rows[i].message);
		parse_done(&p);
	}
}

static void test_leading(void **state)
{
	struct args args = { .flag = false };
	const struct opt_group group = { opts, ARRAY_LEN(opts), &args };
	char word1[] = "--flag", word2[] = "vm", word3[] = "--start";
	char *argv[] = { word1, word2, word3, NULL };
	struct err err = ERR_INIT;
	int used = -1;

	(void)state;
	assert_int_equal(opt_parse_leading(&group, 1, 3, argv, &used, &err), 0);
	CHECK_INT(used, 1);
	assert_true(args.flag);
	assert_false(args.on);
}

/* A value that each option takes. */
static const char *sample(const struct opt *opt)
{
	static const struct {
		const char *name;
		const char *value;
	} rows[] = {
		{ "name", "box" },
		{ "image", "debian-bookworm" },
		{ "kernel", "debian-cloud" },
		{ "env", "A=b" },
		{ "guest-path", "/root" },
		{ "signal", "TERM" },
		{ "vcpu", "2" },
		{ "memory", "512" },
		{ "disk-size", "8GiB" },
		{ "system-overlay-size", "8G" },
		{ "timeout", "3s" },
		{ "size", "2GiB" },
		{ "rootfs", "root.ext4" },
		{ "kernel-ref", "debian-cloud" },
		{ "initrd", "initrd.img" },
		{ "modules", "modules" },
		{ "work-seed", "seed.ext4" },
		{ "from", "folder" },
		{ "file", "config" },
		{ "publish", "8080:80" },
		{ "interval", "1s" },
		{ "count", "3" },
		{ "max-size", "1GiB" },
		{ "output", "x.patch" },
		{ "base-commit", "HEAD" },
		{ "mode", "full_copy" },
		{ "branch", "try" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (str_eq(rows[i].name, opt->name))
			return rows[i].value;
	}
	return NULL;
}

/* The option given alone to its command is accepted and lands in its field. */
static void check_option(const struct command *command, const struct opt *opt)
{
	AUTO_FREE void *args = mem_alloc(1, command->args_size);
	const struct opt_group group = { command->opts, command->opt_count, args };
	const bool is_off = opt->type == OPT_FLAG_ON;
	AUTO_FREE char *name = mem_printf("--%s%s", is_off ? "no-" : "", opt->name);
	AUTO_FREE char *value = mem_strdup(sample(opt));
	char *argv[] = { name, value, NULL };
	struct opt_parsed parsed = OPT_PARSED_INIT;
	const void *field = (const char *)args + opt->offset;
	struct err err = ERR_INIT;

	if (opt->metavar && !value)
		fail_msg("--%s has no sample value in this test", opt->name);
	opt_defaults(&group, 1);
	if (opt_parse(&group, 1, opt->metavar ? 2 : 1, argv, &parsed, &err) < 0)
		fail_msg("%s %s %s: %s", command->noun, command->verb, name, err.message);
	switch (opt->type) {
	case OPT_FLAG:
		assert_true(*(const bool *)field);
		break;
	case OPT_FLAG_ON:
		assert_false(*(const bool *)field);
		break;
	case OPT_MAYBE:
		assert_true(((const struct opt_maybe *)field)->is_set);
		assert_true(((const struct opt_maybe *)field)->value);
		break;
	case OPT_STRING:
		assert_ptr_equal(*(const char *const *)field, value);
		break;
	case OPT_STRINGS:
		CHECK_INT(((const struct strv *)field)->count, 1);
		break;
	case OPT_NUMBER:
	case OPT_SIZE:
	case OPT_DURATION:
		assert_true(((const struct opt_number *)field)->is_set);
		break;
	}
	opt_parsed_done(&parsed);
	opt_groups_done(&group, 1);
}

static void test_every_option(void **state)
{
	(void)state;
	for (size_t c = 0; c < command_count; c++) {
		for (size_t i = 0; i < commands[c]->opt_count; i++)
			check_option(commands[c], &commands[c]->opts[i]);
	}
}

/* Two options of one command, the global ones included, may share neither name nor letter. */
static void test_options_are_distinct(void **state)
{
	(void)state;
	for (size_t c = 0; c < command_count; c++) {
		const struct command *command = commands[c];

		for (size_t i = 0; i < command->opt_count; i++) {
			const struct opt *a = &command->opts[i];

			assert_false(str_starts(a->name, "no-"));
			assert_non_null(a->help);
			for (size_t j = 0; j < command->opt_count + global_opt_count; j++) {
				const struct opt *b =
					j < command->opt_count
						? &command->opts[j]
						: &global_opts[j - command->opt_count];

				if (a == b)
					continue;
				assert_string_not_equal(a->name, b->name);
				assert_false(a->letter && a->letter == b->letter);
			}
		}
	}
}

/* What FAULTS.md lists for names and numbers is refused before anything is sent. */
static void test_bad_specs(void **state)
{
	static const struct {
		const char *option;
		const char *value;
		const char *part;
	} rows[] = {
		{ "--name", "", "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?" },
		{ "--name", "0123456789012345678901234567890123456789012345678901234567890123",
		  "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?" },
		{ "--name", "-x", "[a-z0-9]" },
		{ "--name", "a..b", "[a-z0-9]" },
		{ "--name", "../x", "[a-z0-9]" },
		{ "--name", "A", "[a-z0-9]" },
		{ "--name", "x.vm", "[a-z0-9]" },
		{ "--name", "é", "[a-z0-9]" },
		{ "--name", "a\nb", "[a-z0-9]" },
		{ "--name", "a\x1b[31m", "[a-z0-9]" },
		{ "--vcpu", "0", "1 to 32" },
		{ "--vcpu", "33", "1 to 32" },
		{ "--vcpu", "-1", "1 to 32" },
		{ "--vcpu", "1e3", "1 to 32" },
		{ "--vcpu", "٣", "1 to 32" },
		{ "--vcpu", "999999999999999999999", "1 to 32" },
		{ "--memory", "0", "128 MiB to" },
		{ "--memory", "1", "128 MiB to" },
		{ "--memory", "8EiB", "128 MiB to" },
		{ "--memory", "18446744073709551616", "128 MiB to" },
		{ "--memory", "128.0001M", "memory" },
		{ "--memory", "1TiB", "the host" },
		{ "--disk-size", "1", "64 MiB to 16 TiB" },
		{ "--disk-size", "17T", "64 MiB to 16 TiB" },
		{ "--image", "../x", "image" },
		{ "--kernel", ".hidden", "kernel" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE void *args = mem_alloc(1, vm_run_command.args_size);
		const struct opt_group group = { vm_run_command.opts, vm_run_command.opt_count,
						 args };
		AUTO_FREE char *name = mem_strdup(rows[i].option);
		AUTO_FREE char *value = mem_strdup(rows[i].value);
		char *argv[] = { name, value, NULL };
		struct opt_parsed parsed = OPT_PARSED_INIT;
		struct err err = ERR_INIT;

		CHECK_ROW(i, opt_parse(&group, 1, 2, argv, &parsed, &err) < 0);
		CHECK_INT(err.kind, ERR_INVALID);
		CHECK_HAS(err.message, rows[i].part);
		CHECK_ROW(i, !strchr(err.message, '\n') && !strchr(err.message, '\x1b'));
		opt_parsed_done(&parsed);
	}
}

static void test_operands(void **state)
{
	static const char *const words[] = { "a", "b", "c", "d" };
	static const struct {
		const struct command *command;
		size_t operands;
		int command_words;   /* -1: no "--" */
		const char *message; /* NULL: fine */
	} rows[] = {
		{ &vm_list_command, 0, -1, NULL },
		{ &vm_list_command, 1, -1, "unexpected 'a'" },
		{ &vm_list_command, 0, 1, "'vm list' takes no command after '--'" },
		{ &vm_show_command, 0, -1, "'vm show' needs VM" },
		{ &vm_show_command, 2, -1, "unexpected 'b'" },
		{ &vm_stop_command, 3, -1, NULL },
		{ &vm_stop_command, 0, -1, "'vm stop' needs VM..." },
		{ &vm_exec_command, 1, 1, NULL },
		{ &vm_exec_command, 1, -1, "'vm exec' needs a command after '--'" },
		{ &vm_exec_command, 1, 0, "there is no command after '--'" },
		{ &vm_exec_command, 2, -1,
		  "unexpected 'b'; a command for the guest goes after '--'" },
		{ &vm_run_command, 0, -1, NULL },
		{ &vm_run_command, 0, 2, NULL },
		{ &vm_run_command, 1, -1, NULL },
		{ &vm_run_command, 2, -1,
		  "unexpected 'b'; a command for the guest goes after '--'" },
		{ &doctor_command, 1, -1, "unexpected 'a'" },
		{ &help_command_row, 4, -1, "unexpected 'd'" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *operands[ARRAY_LEN(words)];
		char *command[] = { NULL };
		struct opt_parsed parsed = { .operands = operands };
		struct err err = ERR_INIT;
		int r;

		memcpy(operands, words, sizeof(words));
		parsed.operand_count = rows[i].operands;
		if (rows[i].command_words >= 0) {
			parsed.command = command;
			parsed.command_count = (size_t)rows[i].command_words;
		}
		r = command_check_operands(rows[i].command, &parsed, &err);
		CHECK_ROW(i, (r == 0) == (rows[i].message == NULL));
		if (rows[i].message)
			CHECK_STR(err.message, rows[i].message);
	}
}

static void test_unknown_commands(void **state)
{
	static const struct {
		const char *noun;
		const char *verb;
		const char *message;
	} rows[] = {
		{ "vm", "strat", "unknown command 'vm strat'; did you mean 'vm start'?" },
		{ "vm", NULL, "'vm' needs a verb" },
		{ "image", "cache", "'image cache' needs a verb" },
		{ "image", "rm", "unknown command 'image rm'; did you mean 'image delete'?" },
		{ "kernel", "delete",
		  "unknown command 'kernel delete'; did you mean 'kernel rm'?" },
		{ "vm", "ls", "unknown command 'vm ls'; did you mean 'vm list'?" },
		{ "vm", "xyzzyx", "unknown command 'vm xyzzyx'" },
		{ "start", NULL, "unknown command 'start'; did you mean 'vm start'?" },
		{ "strat", NULL, "unknown command 'strat'; did you mean 'vm start'?" },
		{ "doktor", NULL, "unknown command 'doktor'; did you mean 'doctor'?" },
		{ "vm", "workspace status", "unknown command 'vm workspace status'" },
		{ "vm", "workspace xport",
		  "unknown command 'vm workspace xport'; did you mean 'vm workspace export'?" },
		{ "vm", "worksace",
		  "unknown command 'vm worksace'; did you mean 'vm workspace prepare'?" },
		{ "workspace", NULL,
		  "unknown command 'workspace'; did you mean 'vm workspace prepare'?" },
		{ "update", NULL, "unknown command 'update'" },
		{ "imgae", NULL, "unknown command 'imgae'; did you mean 'image'?" },
		{ "xyzzyx", NULL, "unknown command 'xyzzyx'" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;

		CHECK_ROW(i, command_unknown(rows[i].noun, rows[i].verb, &err) < 0);
		CHECK_STR(err.message, rows[i].message);
	}
}

static void test_aliases(void **state)
{
	(void)state;
	assert_ptr_equal(command_find("ps", NULL), &vm_list_command);
	assert_ptr_equal(command_find("vm", "list"), &vm_list_command);
	assert_ptr_equal(command_find("vm", "ping"), &vm_ping_command);
	assert_null(command_find("vm", NULL));
	assert_null(command_find("list", NULL));
	assert_true(command_has_verbs("vm"));
	assert_false(command_has_verbs("doctor"));
	assert_false(command_has_verbs("ps"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_maybe),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_leading),
		cmocka_unit_test(test_every_option),
		cmocka_unit_test(test_options_are_distinct),
		cmocka_unit_test(test_bad_specs),
		cmocka_unit_test(test_operands),
		cmocka_unit_test(test_unknown_commands),
		cmocka_unit_test(test_aliases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
