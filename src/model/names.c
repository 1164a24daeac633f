#include "model/names.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/text.h"

/* Attempts of name_generate(): a few with bare pairs of words, then with a number behind them. */
#define BARE_TRIES     16
#define NUMBERED_TRIES 64
#define NUMBER_MAX     10000

#define VM_NAME_RULE \
	"1 to 63 of a-z, 0-9 and '-', no '-' at either end ([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)"
#define ARTIFACT_NAME_RULE "1 to 128 letters, digits, '.', '-' and '_', not beginning with '.'"

static const char *const adjectives[] = {
	"agile",   "amber",  "ample",  "azure",	 "bold",   "brave",  "bright", "brisk",
	"calm",	   "candid", "clever", "coral",	 "cosmic", "crisp",  "daring", "deft",
	"eager",   "early",  "fair",   "fleet",	 "fresh",  "gentle", "glad",   "golden",
	"grand",   "hardy",  "honest", "humble", "jolly",  "keen",   "kind",   "lively",
	"lucid",   "lucky",  "mellow", "merry",	 "mighty", "modest", "nimble", "noble",
	"patient", "placid", "plucky", "polite", "proud",  "quick",  "quiet",  "rapid",
	"ready",   "robust", "rustic", "serene", "sharp",  "silver", "sleek",  "snug",
	"solid",   "steady", "sunny",  "swift",	 "tidy",   "vivid",  "warm",   "witty",
};

static const char *const nouns[] = {
	"acorn",  "alder", "anchor", "badger", "beacon", "birch",  "bison",  "brook",
	"canyon", "cedar", "cliff",  "comet",  "condor", "coyote", "crane",  "delta",
	"dingo",  "dune",  "eagle",  "ember",  "falcon", "fern",   "finch",  "fjord",
	"forest", "fox",   "gecko",  "glade",  "grove",	 "harbor", "hare",   "hawk",
	"heron",  "hill",  "ibis",   "island", "jaguar", "koala",  "lagoon", "lark",
	"lemur",  "lynx",  "maple",  "marten", "meadow", "mesa",   "moose",  "newt",
	"oak",	  "ocean", "orca",   "osprey", "otter",	 "panda",  "pebble", "pine",
	"puffin", "raven", "reef",   "river",  "robin",	 "spruce", "tiger",  "willow",
};

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_artifact_char(char c)
{
	return is_lower_alnum(c) || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' || c == '_';
}

bool name_is_vm(const char *name)
{
	size_t len;

	if (str_empty(name))
		return false;

	len = strnlen(name, VM_NAME_MAX + 1);
	if (len > VM_NAME_MAX || !is_lower_alnum(name[0]) || !is_lower_alnum(name[len - 1]))
		return false;

	for (size_t i = 0; i < len; i++)
		if (!is_lower_alnum(name[i]) && name[i] != '-')
			return false;

	return true;
}

bool name_is_artifact(const char *name)
{
	size_t len;

	if (str_empty(name) || name[0] == '.')
		return false;

	len = strnlen(name, ARTIFACT_NAME_MAX + 1);
	if (len > ARTIFACT_NAME_MAX)
		return false;

	for (size_t i = 0; i < len; i++)
		if (!is_artifact_char(name[i]))
			return false;

	return true;
}

bool name_is_vm_id(const char *text)
{
	if (!text || strnlen(text, VM_ID_SIZE) != VM_ID_LENGTH)
		return false;

	for (size_t i = 0; i < VM_ID_LENGTH; i++)
		if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= 'f'))
			return false;

	return true;
}

/* The start of a refused name for a message: a name of a megabyte must not push the rule out of it.
 */
static const char *excerpt(const char *name, char storage[static 72])
{
	if (!name)
		return "";
	if (strnlen(name, 65) <= 64)
		return name;

	(void)snprintf(storage, 72, "%.64s...", name);
	return storage;
}

static int check_label(const char *noun, const char *name, struct err *err)
{
	char storage[72];

	if (name_is_vm(name))
		return 0;

	return err_set(err, ERR_INVALID, "'%s' is no %s name: it must be %s",
		       excerpt(name, storage), noun, VM_NAME_RULE);
}

int name_check_vm(const char *name, struct err *err)
{
	return check_label("VM", name, err);
}

int name_check_snapshot(const char *name, struct err *err)
{
	return check_label("snapshot", name, err);
}

static int check_artifact(const char *noun, const char *name, struct err *err)
{
	char storage[72];

	if (name_is_artifact(name))
		return 0;

	return err_set(err, ERR_INVALID, "'%s' is no %s name: it must be %s",
		       excerpt(name, storage), noun, ARTIFACT_NAME_RULE);
}

int name_check_image(const char *name, struct err *err)
{
	return check_artifact("image", name, err);
}

int name_check_kernel(const char *name, struct err *err)
{
	return check_artifact("kernel", name, err);
}

/* getrandom() gives up to 256 bytes whole once the pool is ready; before that a signal can
 * interrupt it. */
static int random_bytes(void *into, size_t size)
{
	ssize_t n;

	do
		n = getrandom(into, size, 0);
	while (n < 0 && errno == EINTR);

	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EIO;
}

int model_new_id(char ret[static VM_ID_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t bytes[VM_ID_LENGTH / 2];
	int r;

	r = random_bytes(bytes, sizeof(bytes));
	if (r < 0)
		return r;

	for (size_t i = 0; i < sizeof(bytes); i++) {
		ret[2 * i] = digits[bytes[i] >> 4];
		ret[2 * i + 1] = digits[bytes[i] & 0x0f];
	}
	ret[VM_ID_LENGTH] = '\0';
	return 0;
}

int name_generate(bool (*is_taken)(void *context, const char *name), void *context,
		  char ret[static VM_NAME_SIZE], struct err *err)
{
	for (unsigned int try = 0; try < BARE_TRIES + NUMBERED_TRIES; try++) {
		char name[VM_NAME_SIZE];
		uint32_t random[3];
		const char *adjective, *noun;
		int r;

		r = random_bytes(random, sizeof(random));
		if (r < 0)
			return err_sys(err, r, "get random bytes for a VM name");

		adjective = adjectives[random[0] % ARRAY_LEN(adjectives)];
		noun = nouns[random[1] % ARRAY_LEN(nouns)];
		if (try < BARE_TRIES)
			(void)snprintf(name, sizeof(name), "%s-%s", adjective, noun);
		else
			(void)snprintf(name, sizeof(name), "%s-%s-%u", adjective, noun,
				       random[2] % NUMBER_MAX);

		if (is_taken && is_taken(context, name))
			continue;

		memcpy(ret, name, sizeof(name));
		return 0;
	}

	return err_set(err, ERR_LIMIT, "find a free VM name: %d attempts were all taken",
		       BARE_TRIES + NUMBERED_TRIES);
}
