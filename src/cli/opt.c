#include "cli/opt.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"

#define OPT_NAMES_MAX 64 /* candidates for "did you mean"; two tables together have fewer */

/* Walks the words of argv. */
struct opt_cursor {
	const struct opt_group *groups;
	size_t group_count;
	int argc;
	char **argv;
	int index; /* of the next word */
	bool has_met_unknown;
};

struct opt_match {
	const struct opt *opt;
	void *field;
	bool is_negated; /* given as --no-NAME */
};

static bool takes_value(const struct opt *opt)
{
	return opt->type != OPT_FLAG && opt->type != OPT_FLAG_ON && opt->type != OPT_MAYBE;
}

static void *field_of(const struct opt_group *group, const struct opt *opt)
{
	return (char *)group->into + opt->offset;
}

static bool name_is(const struct opt *opt, const char *name, size_t len)
{
	return strlen(opt->name) == len && memcmp(opt->name, name, len) == 0;
}

/* Finds `--name` or `--no-name`; only flags have the second form. */
static bool find_long(const struct opt_cursor *cursor, const char *name, size_t len,
		      struct opt_match *ret)
{
	const bool has_no = len > 3 && memcmp(name, "no-", 3) == 0;

	for (size_t g = 0; g < cursor->group_count; g++) {
		const struct opt_group *group = &cursor->groups[g];

		for (size_t i = 0; i < group->count; i++) {
			const struct opt *opt = &group->rows[i];
			const bool is_plain = name_is(opt, name, len);

			if (is_plain ||
			    (has_no && !takes_value(opt) && name_is(opt, name + 3, len - 3))) {
				*ret = (struct opt_match){ opt, field_of(group, opt), !is_plain };
				return true;
			}
		}
	}
	return false;
}

static bool find_letter(const struct opt_cursor *cursor, char letter, struct opt_match *ret)
{
	for (size_t g = 0; g < cursor->group_count; g++) {
		const struct opt_group *group = &cursor->groups[g];

		for (size_t i = 0; i < group->count; i++) {
			const struct opt *opt = &group->rows[i];

			if (opt->letter == letter) {
				*ret = (struct opt_match){ opt, field_of(group, opt), false };
				return true;
			}
		}
	}
	return false;
}

static int fail_unknown(struct opt_cursor *cursor, const char *word, const char *name,
			struct err *err)
{
	const char *names[OPT_NAMES_MAX];
	size_t count = 0;
	const char *nearest;
	const bool has_no = str_starts(name, "no-");

	cursor->has_met_unknown = true;
	for (size_t g = 0; g < cursor->group_count; g++) {
		for (size_t i = 0; i < cursor->groups[g].count && count < OPT_NAMES_MAX; i++)
			names[count++] = cursor->groups[g].rows[i].name;
	}
	nearest = text_nearest(name, names, count);
	if (nearest)
		return err_set(err, ERR_INVALID, "unknown option '%s'; did you mean '--%s'?", word,
			       nearest);
	nearest = has_no ? text_nearest(name + 3, names, count) : NULL;
	if (nearest)
		return err_set(err, ERR_INVALID, "unknown option '%s'; did you mean '--no-%s'?",
			       word, nearest);
	return err_set(err, ERR_INVALID, "unknown option '%s'", word);
}

static void format_limit(const struct opt *opt, uint64_t value, struct buf *out)
{
	if (opt->type == OPT_SIZE)
		text_size(out, value);
	else if (opt->type == OPT_DURATION)
		text_duration(out, value);
	else
		buf_addf(out, "%llu", (unsigned long long)value);
}

static const char *form_of(const struct opt *opt)
{
	if (opt->type == OPT_SIZE)
		return opt->unit ? "a size in MiB, or with a unit such as 512M or 2GiB, from "
				 : "a size with a unit, such as 512M or 20GiB, from ";
	if (opt->type == OPT_DURATION)
		return "a duration such as 500ms, 10s or 2m, from ";
	return "a whole number from ";
}

/* "--vcpu '33': must be 1 to 32 (this host has 2 cpus)"; `form` says first what it should look
 * like. */
static int fail_range(const struct opt *opt, const char *value, const char *form, struct err *err)
{
	AUTO_BUF rule = BUF_INIT;
	AUTO_BUF note = BUF_INIT;

	if (opt->max == 0)
		buf_add_str(&rule, "at least ");
	format_limit(opt, opt->min, &rule);
	if (opt->max != 0) {
		buf_add_str(&rule, " to ");
		format_limit(opt, opt->max, &rule);
	}
	if (opt->note)
		opt->note(&note);
	return err_set(err, ERR_INVALID, "--%s '%s': must be %s%s%s%s%s", opt->name, value, form,
		       rule.ptr, note.len ? " (" : "", note.ptr, note.len ? ")" : "");
}

static bool parse_number(const struct opt *opt, const char *value, uint64_t *ret)
{
	if (opt->type == OPT_SIZE)
		return parse_size_text(value, opt->unit ? opt->unit : 1, ret);
	if (opt->type == OPT_DURATION)
		return parse_duration_text(value, ret);
	return parse_u64_text(value, UINT64_MAX, ret);
}

static int set_number(const struct opt *opt, struct opt_number *field, const char *value,
		      struct err *err)
{
	const uint64_t max = opt->max ? opt->max : UINT64_MAX;
	uint64_t number;

	if (!parse_number(opt, value, &number))
		return fail_range(opt, value, form_of(opt), err);
	if (number < opt->min || number > max)
		return fail_range(opt, value, "", err);
	if (opt->check_number) {
		int r = opt->check_number(number, err);

		if (r < 0)
			return err_context(err, r, "--%s", opt->name);
	}
	*field = (struct opt_number){ .is_set = true, .value = number };
	return 0;
}

static void set_flag(const struct opt_match *match)
{
	if (match->opt->type == OPT_MAYBE)
		*(struct opt_maybe *)match->field =
			(struct opt_maybe){ .is_set = true, .value = !match->is_negated };
	else
		*(bool *)match->field = !match->is_negated;
}

static int set_value(const struct opt_match *match, const char *value, struct err *err)
{
	const struct opt *opt = match->opt;

	if (opt->check) {
		int r = opt->check(value, err);

		if (r < 0)
			return err_context(err, r, "--%s", opt->name);
	}
	switch (opt->type) {
	case OPT_STRING:
		*(const char **)match->field = value;
		return 0;
	case OPT_STRINGS:
		strv_add(match->field, value);
		return 0;
	case OPT_NUMBER:
	case OPT_SIZE:
	case OPT_DURATION:
		return set_number(opt, match->field, value, err);
	case OPT_FLAG:
	case OPT_FLAG_ON:
	case OPT_MAYBE:
		break;
	}
	return err_set(err, ERR_INVALID, "--%s takes no value", opt->name);
}

/* The next word as the option's value; `--` is none, nobody names a thing so. */
static int take_word(struct opt_cursor *cursor, const struct opt *opt, const char **ret,
		     struct err *err)
{
	if (cursor->index >= cursor->argc || str_eq(cursor->argv[cursor->index], "--"))
		return err_set(err, ERR_INVALID, "--%s needs a value: --%s %s", opt->name,
			       opt->name, opt->metavar);
	*ret = cursor->argv[cursor->index++];
	return 0;
}

static int parse_long(struct opt_cursor *cursor, const char *word, struct err *err)
{
	const char *name = word + 2;
	const char *equals = strchr(name, '=');
	const size_t len = equals ? (size_t)(equals - name) : strlen(name);
	const char *value = NULL;
	struct opt_match match;
	int r;

	if (!find_long(cursor, name, len, &match)) {
		AUTO_FREE char *bare = mem_strndup(name, len);
		AUTO_FREE char *shown = mem_strndup(word, len + 2);

		return fail_unknown(cursor, shown, bare, err);
	}
	if (!takes_value(match.opt)) {
		if (equals)
			return err_set(err, ERR_INVALID, "--%.*s takes no value", (int)len, name);
		set_flag(&match);
		return 0;
	}
	if (equals)
		return set_value(&match, equals + 1, err);

	r = take_word(cursor, match.opt, &value, err);
	if (r < 0)
		return r;
	return set_value(&match, value, err);
}

static int fail_unknown_letter(const char *letter, const char *word, struct err *err)
{
	/* A letter of several bytes would be shown in pieces. */
	if (!word[2] || (uint8_t)*letter >= 0x80)
		return err_set(err, ERR_INVALID, "unknown option '%s'", word);
	return err_set(err, ERR_INVALID, "unknown option '-%c' in '%s'", *letter, word);
}

/* "-df", "-nNAME" or "-n NAME". */
static int parse_letters(struct opt_cursor *cursor, const char *word, struct err *err)
{
	for (const char *p = word + 1; *p; p++) {
		const char *value = p + 1;
		struct opt_match match;

		cursor->has_met_unknown = !find_letter(cursor, *p, &match);
		if (cursor->has_met_unknown)
			return fail_unknown_letter(p, word, err);
		if (!takes_value(match.opt)) {
			set_flag(&match);
			continue;
		}
		if (*value == '\0') {
			int r = take_word(cursor, match.opt, &value, err);

			if (r < 0)
				return r;
		}
		return set_value(&match, value, err);
	}
	return 0;
}

/* "-" alone is an operand. */
static bool is_option(const char *word)
{
	return word[0] == '-' && word[1] != '\0';
}

static int parse_option(struct opt_cursor *cursor, struct err *err)
{
	const char *word = cursor->argv[cursor->index++];

	return word[1] == '-' ? parse_long(cursor, word, err) : parse_letters(cursor, word, err);
}

void opt_defaults(const struct opt_group *groups, size_t group_count)
{
	for (size_t g = 0; g < group_count; g++) {
		for (size_t i = 0; i < groups[g].count; i++) {
			const struct opt *opt = &groups[g].rows[i];

			if (opt->type == OPT_FLAG_ON)
				*(bool *)field_of(&groups[g], opt) = true;
		}
	}
}

int opt_parse(const struct opt_group *groups, size_t group_count, int argc, char **argv,
	      struct opt_parsed *ret, struct err *err)
{
	struct opt_cursor cursor = { groups, group_count, argc, argv, 0, false };

	ret->operands = mem_alloc((size_t)argc + 1, sizeof(*ret->operands));
	while (cursor.index < argc) {
		const char *word = argv[cursor.index];
		int r;

		if (str_eq(word, "--")) {
			ret->command = &argv[cursor.index + 1];
			ret->command_count = (size_t)(argc - cursor.index - 1);
			return 0;
		}
		if (!is_option(word)) {
			ret->operands[ret->operand_count++] = word;
			cursor.index++;
			continue;
		}
		r = parse_option(&cursor, err);
		ret->has_unknown = cursor.has_met_unknown;
		if (r < 0)
			return r;
	}
	return 0;
}

int opt_parse_leading(const struct opt_group *groups, size_t group_count, int argc, char **argv,
		      int *ret_used, struct err *err)
{
	struct opt_cursor cursor = { groups, group_count, argc, argv, 0, false };

	while (cursor.index < argc && is_option(argv[cursor.index]) &&
	       !str_eq(argv[cursor.index], "--")) {
		int r = parse_option(&cursor, err);

		if (r < 0)
			return r;
	}
	*ret_used = cursor.index;
	return 0;
}

void opt_parsed_done(struct opt_parsed *parsed)
{
	mem_free(parsed->operands);
	*parsed = OPT_PARSED_INIT;
}

void opt_groups_done(const struct opt_group *groups, size_t group_count)
{
	for (size_t g = 0; g < group_count; g++) {
		for (size_t i = 0; i < groups[g].count; i++) {
			const struct opt *opt = &groups[g].rows[i];

			if (opt->type == OPT_STRINGS)
				strv_done(field_of(&groups[g], opt));
		}
	}
}
