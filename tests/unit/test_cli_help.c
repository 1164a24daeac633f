/*
 * Help against golden files (golden/help/NOUN-VERB.txt; BANGER_UPDATE_GOLDEN=1 writes them anew, to
 * be reviewed as a diff), and the man page against the tables, both ways.
 */
#include "check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/width.h"

#define FILE_BYTES_MAX (1024 * 1024)

static void compare(const char *name, const struct buf *got)
{
	AUTO_FREE char *file = mem_printf("%s.txt", name);
	AUTO_CLOSE int dir_fd = dir_open(SOURCE_ROOT "/tests/unit/golden/help");
	AUTO_BUF wanted = BUF_INIT;

	assert_true(dir_fd >= 0);
	for (char *p = file; *p; p++) {
		if (*p == ' ')
			*p = '-';
	}
	if (getenv("BANGER_UPDATE_GOLDEN"))
		assert_int_equal(file_replace(dir_fd, file, buf_span(got), 0644), 0);
	if (file_read(dir_fd, file, FILE_BYTES_MAX, &wanted) < 0)
		fail_msg("there is no golden/help/%s; BANGER_UPDATE_GOLDEN=1 writes it", file);
	CHECK_STR(got->ptr, wanted.ptr);
}

/* No line over 80 columns, no blank at a line's end. */
static void check_shape(const struct buf *text)
{
	struct span rest = buf_span(text);

	while (rest.len > 0) {
		const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
		AUTO_FREE char *line = NULL;

		assert_non_null(end);
		line = mem_strndup((const char *)rest.ptr, (size_t)(end - rest.ptr));
		if (width_of_text(line) > 80 || str_ends(line, " "))
			fail_msg("bad line of help: \"%s\"", line);
		rest = span_skip(rest, (size_t)(end - rest.ptr) + 1);
	}
}

static void test_commands(void **state)
{
	(void)state;
	for (size_t i = 0; i < command_count; i++) {
		AUTO_BUF name = BUF_INIT;
		AUTO_BUF text = BUF_INIT;

		command_name(commands[i], &name);
		help_command(NULL, commands[i], &text);
		check_shape(&text);
		compare(name.ptr, &text);
	}
}

static void test_overview(void **state)
{
	AUTO_BUF overview = BUF_INIT;
	AUTO_BUF noun = BUF_INIT;
	AUTO_BUF group = BUF_INIT;

	(void)state;
	help_overview(&overview);
	check_shape(&overview);
	compare("overview", &overview);
	help_noun("vm", NULL, &noun);
	check_shape(&noun);
	compare("vm", &noun);
	help_noun("vm", "workspace", &group);
	check_shape(&group);
	compare("vm workspace", &group);
}

/* Each golden file belongs to a command that exists. */
static int check_golden_name(void *context, const char *name)
{
	(void)context;
	if (str_eq(name, "overview.txt") || str_eq(name, "vm.txt") ||
	    str_eq(name, "vm-workspace.txt"))
		return 0;
	for (size_t i = 0; i < command_count; i++) {
		AUTO_FREE char *file =
			mem_printf("%s%s%s.txt", commands[i]->noun, commands[i]->verb ? "-" : "",
				   commands[i]->verb ? commands[i]->verb : "");

		for (char *space = strchr(file, ' '); space; space = strchr(space, ' '))
			*space = '-';
		if (str_eq(file, name))
			return 0;
	}
	fail_msg("golden/help/%s belongs to no command", name);
	return -1;
}

static void test_no_stale_golden(void **state)
{
	AUTO_CLOSE int dir_fd = dir_open(SOURCE_ROOT "/tests/unit/golden/help");

	(void)state;
	assert_int_equal(dir_each(dir_fd, check_golden_name, NULL), 0);
}

/* ".It Fl n , Fl -name Ar NAME": the option as the man page has to have it. */
static void add_man_option(const struct opt *opt, struct strv *lines)
{
	AUTO_BUF line = BUF_INIT;

	buf_add_str(&line, ".It ");
	if (opt->letter)
		buf_addf(&line, "Fl %c , ", opt->letter);
	buf_addf(&line, "Fl -%s%s", opt->type == OPT_FLAG_ON ? "no-" : "", opt->name);
	if (opt->type == OPT_MAYBE)
		buf_addf(&line, " , Fl -no-%s", opt->name);
	if (opt->metavar)
		buf_addf(&line, " Ar %s", opt->metavar);
	strv_add(lines, line.ptr);
}

static void add_man_command(const struct command *command, struct strv *lines)
{
	AUTO_BUF line = BUF_INIT;

	buf_add_str(&line, ".It Cm ");
	command_name(command, &line);
	if (command->opt_count)
		buf_add_str(&line, " Oo Ar flags Oc");
	if (command->operands && command->operands_min)
		buf_addf(&line, " Ar %s", command->operands);
	else if (command->operands)
		buf_addf(&line, " Op Ar %s", command->operands);
	if (command->takes_command)
		buf_add_str(&line,
			    command->needs_command ? " Fl - Ar CMD..." : " Op Fl - Ar CMD...");
	strv_add(lines, line.ptr);
	for (size_t i = 0; i < command->opt_count; i++)
		add_man_option(&command->opts[i], lines);
}

/* The ".It Cm" and ".It Fl" lines of the page, in order. */
static void read_man_items(struct strv *lines)
{
	AUTO_BUF text = BUF_INIT;
	struct span rest;

	assert_int_equal(file_read(AT_FDCWD, SOURCE_ROOT "/man/banger.1", FILE_BYTES_MAX, &text),
			 0);
	rest = buf_span(&text);
	while (rest.len > 0) {
		const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
		const size_t len = end ? (size_t)(end - rest.ptr) : rest.len;
		char *line = mem_strndup((const char *)rest.ptr, len);

		rest = span_skip(rest, len + 1);
		if (str_starts(line, ".It Cm ") || str_starts(line, ".It Fl "))
			strv_take(lines, line);
		else
			mem_free(line);
	}
}

/* The same items in the same order: none is missing, none is left over. */
static void test_man_page(void **state)
{
	AUTO_STRV wanted = { .items = NULL };
	AUTO_STRV got = { .items = NULL };

	(void)state;
	for (size_t i = 0; i < global_opt_count; i++)
		add_man_option(&global_opts[i], &wanted);
	for (size_t i = 0; i < command_count; i++)
		add_man_command(commands[i], &wanted);
	read_man_items(&got);
	for (size_t i = 0; i < got.count && i < wanted.count; i++)
		CHECK_STR(got.items[i], wanted.items[i]);
	CHECK_INT(got.count, wanted.count);
}

/* --- docs/cli.md --- */

/* A cell of a table: '|' would end it. */
static void add_cell(struct buf *out, const char *text)
{
	for (; *text; text++)
		buf_addf(out, *text == '|' ? "\\|" : "%c", *text);
}

static void add_document_options(const struct opt *opts, size_t count, struct buf *out)
{
	buf_add_str(out, "\n| flag | meaning |\n|---|---|\n");
	for (size_t i = 0; i < count; i++) {
		AUTO_BUF flag = BUF_INIT;

		help_option(&opts[i], &flag);
		buf_add_str(out, "| `");
		add_cell(out, flag.ptr);
		buf_add_str(out, "` | ");
		add_cell(out, opts[i].help);
		buf_add_str(out, " |\n");
	}
}

static void add_document_command(const struct command *command, struct buf *out)
{
	buf_add_str(out, "\n### `");
	help_synopsis(command, out);
	buf_addf(out, "`\n\n%c%s.", command->summary[0] - 'a' + 'A', command->summary + 1);
	for (size_t i = 0; i < command_alias_count; i++) {
		if (command_aliases[i].command == command)
			buf_addf(out, " Also `banger %s%s%s`.", command_aliases[i].noun,
				 command_aliases[i].verb ? " " : "",
				 command_aliases[i].verb ? command_aliases[i].verb : "");
	}
	buf_add_byte(out, '\n');
	for (const char *text = command->description; text && *text;) {
		const size_t len = strcspn(text, "\n");

		buf_addf(out, "\n%.*s\n", (int)len, text);
		text += len + (text[len] == '\n');
	}
	if (command->opt_count > 0)
		add_document_options(command->opts, command->opt_count, out);
}

static void add_document(struct buf *out)
{
	buf_add_str(out, "Flags of every command:\n");
	add_document_options(global_opts, global_opt_count, out);
	for (size_t i = 0; i < command_count; i++)
		add_document_command(commands[i], out);
	buf_add_byte(out, '\n');
}

/* Every command and flag is in docs/cli.md as the tables have it. */
static void test_document(void **state)
{
	AUTO_CLOSE int dir_fd = dir_open(SOURCE_ROOT "/docs");
	AUTO_BUF have = BUF_INIT;
	AUTO_BUF wanted = BUF_INIT;
	const char *start;
	const char *end;

	(void)state;
	assert_int_equal(file_read(dir_fd, "cli.md", FILE_BYTES_MAX, &have), 0);
	start = strstr(have.ptr, "<!-- commands: ");
	end = strstr(have.ptr, "<!-- end of commands -->");
	assert_true(start && end && start < end);
	start = strchr(start, '\n') + 1;
	buf_add(&wanted, span_of(have.ptr, (size_t)(start - have.ptr)));
	add_document(&wanted);
	buf_add_str(&wanted, end);
	if (getenv("BANGER_UPDATE_GOLDEN"))
		assert_int_equal(file_replace(dir_fd, "cli.md", buf_span(&wanted), 0644), 0);
	else if (!str_eq(have.ptr, wanted.ptr))
		fail_msg("docs/cli.md is behind the tables of commands: run this test with "
			 "BANGER_UPDATE_GOLDEN=1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands),	cmocka_unit_test(test_overview),
		cmocka_unit_test(test_no_stale_golden), cmocka_unit_test(test_man_page),
		cmocka_unit_test(test_document),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
