#include "agent/cmdline.h"

#include <string.h>

#include "base/parse.h"
#include "base/text.h"

#define WORD_MAX 512

/* Takes the next word into `word` (quotes removed), terminated. False at the end. */
static bool word_next(struct span *cursor, char word[static WORD_MAX], bool *ret_too_long)
{
	bool is_quoted = false;
	size_t used = 0;

	while (cursor->len > 0 && strchr(" \t\n", cursor->ptr[0]))
		*cursor = span_skip(*cursor, 1);
	if (cursor->len == 0)
		return false;

	*ret_too_long = false;
	for (; cursor->len > 0; *cursor = span_skip(*cursor, 1)) {
		const uint8_t byte = cursor->ptr[0];

		if (!is_quoted && (byte == ' ' || byte == '\t' || byte == '\n'))
			break;
		if (byte == '"')
			is_quoted = !is_quoted;
		else if (used + 1 < WORD_MAX)
			word[used++] = (char)byte;
		else
			*ret_too_long = true;
	}
	word[used] = '\0';
	return true;
}

static int value_copy(const char *word, const char *value, char *into, size_t size, struct err *err)
{
	const size_t len = strlen(value);

	if (len >= size)
		return err_set(err, ERR_INVALID, "kernel command line: '%s' is over %zu bytes",
			       word, size - 1);
	memcpy(into, value, len + 1);
	return 0;
}

static int device_copy(const char *word, const char *value, char into[static BOOT_DEVICE_SIZE],
		       struct err *err)
{
	if (!str_starts(value, "/dev/") || value[5] == '\0' || strstr(value, ".."))
		return err_set(err, ERR_INVALID,
			       "kernel command line: '%s' does not name a device below /dev", word);
	return value_copy(word, value, into, BOOT_DEVICE_SIZE, err);
}

static int word_apply(const char *word, struct boot_options *options, struct err *err)
{
	if (str_eq(word, "ro"))
		options->is_read_only = true;
	else if (str_eq(word, "rw"))
		options->is_read_only = false;
	else if (str_eq(word, "banger.debug"))
		options->is_debug = true;
	else if (str_starts(word, "root="))
		return device_copy(word, word + strlen("root="), options->root, err);
	else if (str_starts(word, "banger.work="))
		return device_copy(word, word + strlen("banger.work="), options->work, err);
	else if (str_starts(word, "banger.init="))
		return value_copy(word, word + strlen("banger.init="), options->init,
				  sizeof(options->init), err);
	return 0;
}

int boot_options_parse(struct span cmdline, struct boot_options *ret, struct err *err)
{
	struct boot_options options = { .root = "" };
	char word[WORD_MAX] = "";
	bool is_too_long = false;

	while (word_next(&cmdline, word, &is_too_long)) {
		/* A word that long is none of ours, whatever it begins with. */
		if (is_too_long)
			continue;
		if (str_eq(word, "--"))
			break;
		const int r = word_apply(word, &options, err);

		if (r < 0)
			return r;
	}
	if (options.root[0] == '\0')
		return err_set(err, ERR_NOT_FOUND, "kernel command line: there is no root=");

	*ret = options;
	return 0;
}
