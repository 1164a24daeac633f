/* A tar stream of a hostile guest: whatever it is, nothing but the one name appears, and nothing
 * outside. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "fuzz.h"
#include "guest/extract.h"

#define BYTES_MAX 100000

#define REQUIRE(condition)        \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

/* Hands the bytes over in two pieces, then the end. */
static int give(void *context, struct span *ret, struct err *err)
{
	struct span *rest = context;
	const size_t len = rest->len > 700 ? 700 : rest->len;

	(void)err;
	*ret = span_of(rest->ptr, len);
	*rest = span_skip(*rest, len);
	return 0;
}

static int check_name(void *context, const char *name)
{
	REQUIRE(strcmp(name, context) == 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[] = "/tmp/fuzz-guest-XXXXXX";
	char wanted[] = "top";
	char folder[] = "in";
	struct span rest = span_of(data, size);
	struct extract extract = {
		.wanted = wanted, .bytes_max = BYTES_MAX, .read = give, .context = &rest
	};
	struct guest_copied copied = { 0 };
	struct err err = ERR_INIT;
	int outside;

	REQUIRE(mkdtemp(path));
	outside = dir_open(path);
	REQUIRE(outside >= 0 && mkdirat(outside, folder, 0700) == 0);
	extract.dir_fd = dir_open_at(outside, folder);
	REQUIRE(extract.dir_fd >= 0);
	if (extract_tar(&extract, &copied, &err) < 0)
		REQUIRE(err.kind != ERR_NONE);
	else
		REQUIRE(copied.bytes <= BYTES_MAX);
	REQUIRE(dir_each(outside, check_name, folder) == 0);
	REQUIRE(dir_each(extract.dir_fd, check_name, wanted) == 0);
	fd_close(extract.dir_fd);
	fd_close(outside);
	REQUIRE(dir_remove_tree(AT_FDCWD, path) == 0);
	return 0;
}
