#include "workspace/fingerprint.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/parse.h"

/* FNV-1a: nobody gains by two checkouts that look alike. */
#define FNV_START 14695981039346656037ULL
#define FNV_PRIME 1099511628211ULL

static void add(uint64_t *hash, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < size; i++)
		*hash = (*hash ^ at[i]) * FNV_PRIME;
}

static void add_number(uint64_t *hash, uint64_t number)
{
	add(hash, &number, sizeof(number));
}

/* Beneath links it is not the repository's file: then it counts as missing, as it does to git. */
static void add_file(uint64_t *hash, int root_fd, const char *path)
{
	struct stat st;

	if (fstatat(root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		add_number(hash, 0);
		return;
	}
	add_number(hash, st.st_mode);
	/* A folder where a file was, or a submodule: what is in it is not this checkout's. */
	if (S_ISDIR(st.st_mode))
		return;
	add_number(hash, (uint64_t)st.st_size);
	add_number(hash, (uint64_t)st.st_mtim.tv_sec);
	add_number(hash, (uint64_t)st.st_mtim.tv_nsec);
}

int fingerprint_checkout(const struct git *git, const struct cancel *cancel,
			 char ret[static FINGERPRINT_SIZE], struct err *err)
{
	static const char *const args[] = { "ls-files", "-z", "--stage", NULL };
	const struct git_call call = { .args = args, .cancel = cancel };
	AUTO_CLOSE int root_fd = dir_open(git->root);
	uint64_t hash = FNV_START;
	AUTO_BUF list = BUF_INIT;
	struct span rest, record;
	int r;

	if (root_fd < 0)
		return err_sys(err, root_fd, "open '%s'", git->root);
	r = git_run(git, &call, &list, err);
	if (r < 0)
		return r;
	rest = buf_span(&list);
	while (parse_until(&rest, '\0', &record)) {
		struct span entry;

		add(&hash, record.ptr, record.len + 1);
		if (parse_until(&record, '\t', &entry))
			add_file(&hash, root_fd, (const char *)record.ptr);
	}
	(void)snprintf(ret, FINGERPRINT_SIZE, "%016" PRIx64, hash);
	return 0;
}
