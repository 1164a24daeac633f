/* Runs a fuzz target over the files of a folder: the committed corpus is a test in every build. */
#include <fcntl.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "fuzz.h"

#define INPUT_MAX (16UL * 1024 * 1024)

struct replay {
	int dir_fd;
	size_t count;
};

static int replay_file(void *context, const char *name)
{
	struct replay *replay = context;
	AUTO_BUF input = BUF_INIT;
	const int r = file_read(replay->dir_fd, name, INPUT_MAX, &input);

	if (r < 0)
		return r;
	(void)LLVMFuzzerTestOneInput((const uint8_t *)input.ptr, input.len);
	replay->count++;
	return 0;
}

int main(int argc, char **argv)
{
	struct replay replay = { .dir_fd = argc == 2 ? dir_open(argv[1]) : -1 };
	int r;

	if (replay.dir_fd < 0) {
		(void)fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
		return 2;
	}
	r = dir_each(replay.dir_fd, replay_file, &replay);
	fd_close(replay.dir_fd);
	(void)printf("%zu inputs\n", replay.count);
	return r < 0 || replay.count == 0 ? 1 : 0;
}
