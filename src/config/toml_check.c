/*
 * What toml++ 3.3 does not guard against, found beforehand and without recursion. It limits nested
 * values but neither dotted keys (a.a.a.…) nor what its destructors do with them, so a megabyte of
 * dots would overflow the stack; and "[[" followed by what is no key ends in an assertion instead
 * of an error.
 *
 * This follows brackets, keys and strings exactly as long as the text is TOML; past the first
 * mistake it may see things wrongly, but there the parser stops as well.
 */
#include <stdio.h>

#include "config/toml.h"

struct scanner {
	struct span text;
	size_t at;
	uint32_t line;
	uint32_t column;
	bool is_line_start; /* only blanks since the last newline */
};

static bool at_end(const struct scanner *s)
{
	return s->at >= s->text.len;
}

static uint8_t peek(const struct scanner *s, size_t ahead)
{
	return s->text.len - s->at > ahead ? s->text.ptr[s->at + ahead] : 0;
}

/* Steps over one byte; a character's further bytes do not count as columns. */
static void step(struct scanner *s)
{
	const uint8_t byte = s->text.ptr[s->at++];

	if (byte == '\n') {
		s->line++;
		s->column = 1;
		s->is_line_start = true;
		return;
	}
	if ((byte & 0xc0U) != 0x80U)
		s->column++;
	s->is_line_start = s->is_line_start && (byte == ' ' || byte == '\t');
}

static bool looking_at_three(const struct scanner *s, uint8_t quote)
{
	return peek(s, 0) == quote && peek(s, 1) == quote && peek(s, 2) == quote;
}

static void skip_comment(struct scanner *s)
{
	while (!at_end(s) && peek(s, 0) != '\n')
		step(s);
}

static void skip_long_string(struct scanner *s, uint8_t quote)
{
	for (int i = 0; i < 3; i++)
		step(s);
	while (!at_end(s) && !looking_at_three(s, quote)) {
		if (quote == '"' && peek(s, 0) == '\\')
			step(s);
		if (!at_end(s))
			step(s);
	}
	/* Up to two quotes may stand directly before the closing three. */
	for (int i = 0; i < 5 && peek(s, 0) == quote; i++)
		step(s);
}

static void skip_string(struct scanner *s, uint8_t quote)
{
	if (looking_at_three(s, quote)) {
		skip_long_string(s, quote);
		return;
	}

	step(s);
	while (!at_end(s) && peek(s, 0) != quote && peek(s, 0) != '\n') {
		if (quote == '"' && peek(s, 0) == '\\')
			step(s);
		if (!at_end(s))
			step(s);
	}
	if (peek(s, 0) == quote)
		step(s);
}

static bool refuse(const struct scanner *s, const char *message, struct toml_problem *ret_problem)
{
	ret_problem->line = s->line;
	ret_problem->column = s->column;
	(void)snprintf(ret_problem->message, sizeof(ret_problem->message), "%s", message);
	return false;
}

static bool is_key_start(uint8_t byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
	       (byte >= '0' && byte <= '9') || byte == '_' || byte == '-' || byte == '"' ||
	       byte == '\'';
}

/* At "[[" that begins a line outside of values: whether a key follows, or an end that the parser
 * reports. */
static bool names_table_array(const struct scanner *s)
{
	size_t ahead = 2;

	while (peek(s, ahead) == ' ' || peek(s, ahead) == '\t')
		ahead++;
	return s->text.len - s->at <= ahead || is_key_start(peek(s, ahead)) ||
	       peek(s, ahead) == ']';
}

/* Where the scan is between the strings. */
struct nesting {
	size_t brackets;
	size_t dots; /* of the key that is being read */
};

/* Takes one byte of structure into account; the message when that is too deep, else NULL. */
static const char *nest(struct nesting *nesting, uint8_t byte, size_t depth_max)
{
	switch (byte) {
	case '[':
	case '{':
		nesting->dots = 0;
		nesting->brackets++;
		return nesting->brackets > depth_max ? "brackets are nested too deeply" : NULL;
	case ']':
	case '}':
		nesting->dots = 0;
		nesting->brackets -= nesting->brackets > 0 ? 1 : 0;
		return NULL;
	case '.':
		nesting->dots++;
		return nesting->dots >= depth_max ? "a dotted key has too many parts" : NULL;
	case '=':
	case ',':
	case '\n':
		nesting->dots = 0;
		return NULL;
	default:
		return NULL;
	}
}

bool toml_check_text(struct span text, size_t depth_max, struct toml_problem *ret_problem)
{
	struct scanner s = { .text = text, .line = 1, .column = 1, .is_line_start = true };
	struct nesting nesting = { .dots = 0 };

	while (!at_end(&s)) {
		const uint8_t byte = peek(&s, 0);
		const char *problem;

		if (byte == '"' || byte == '\'') {
			skip_string(&s, byte);
			continue;
		}
		if (byte == '#') {
			skip_comment(&s);
			continue;
		}
		if (byte == '[' && peek(&s, 1) == '[' && nesting.brackets == 0 && s.is_line_start &&
		    !names_table_array(&s))
			return refuse(&s, "'[[' must be followed by a key", ret_problem);

		problem = nest(&nesting, byte, depth_max);
		if (problem)
			return refuse(&s, problem, ret_problem);
		step(&s);
	}
	return true;
}
