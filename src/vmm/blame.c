#include "vmm/blame.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/parse.h"

/* As banger-vmm writes them. */
#define ENDED  "QEMU ended"
#define KILLED "QEMU was killed by signal "

/* What a host can be short of for a while. */
static const int shortages[] = { ENOMEM, ENOSPC, EDQUOT, EMFILE, ENFILE, EAGAIN };

/* Nobody sends these; a program gets them for what it does. */
static const int crashes[] = { SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGSYS, SIGTRAP };

/* Words that tell of a signal from outside, which QEMU and banger-vmm end in order at. */
static const char *const asked[] = { "terminating on signal", "the guest ends: host-signal",
				     ": ending" };

/* What follows the text, of its last occurrence; or ptr NULL. */
static struct span after_last(struct span words, const char *text)
{
	const size_t len = strlen(text);
	struct span found = { .ptr = NULL };
	const uint8_t *at;

	while (words.len > 0 && (at = memmem(words.ptr, words.len, text, len)) != NULL) {
		const uint8_t *end = at + len;

		words.len -= (size_t)(end - words.ptr);
		words.ptr = end;
		found = words;
	}
	return found;
}

static bool has(struct span words, const char *text)
{
	return after_last(words, text).ptr != NULL;
}

static bool is_a_crash(struct span number)
{
	uint64_t signal = 0;

	if (!parse_u64(&number, INT32_MAX, &signal))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(crashes); i++) {
		if ((int)signal == crashes[i])
			return true;
	}
	return false;
}

enum vmm_blame vmm_blame(struct span words)
{
	const struct span signal = after_last(words, KILLED);

	for (size_t i = 0; i < ARRAY_LEN(shortages); i++) {
		if (has(words, strerrordesc_np(shortages[i])))
			return VMM_BLAME_HOST;
	}
	for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
		if (has(words, asked[i]))
			return VMM_BLAME_HOST;
	}
	if (signal.ptr)
		return is_a_crash(signal) ? VMM_BLAME_VM : VMM_BLAME_HOST;
	return has(words, ENDED) ? VMM_BLAME_VM : VMM_BLAME_UNKNOWN;
}
