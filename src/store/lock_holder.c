/*
 * Who holds a lock on the database: /proc/locks has the pid beside device and inode. Opening the
 * file to ask with F_GETLK would not do: closing it again would drop SQLite's own POSIX locks of
 * this process.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"
#include "store/private.h"

#define LOCKS_BYTES_MAX 4194304U

/* "1: POSIX  ADVISORY  WRITE 1234 08:01:5678 0 EOF": the pid when it is about `identity`. */
static bool match_line(struct span line, struct span identity, int64_t *ret)
{
	struct span fields[6] = { { .len = 0 } };
	uint64_t pid;

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		size_t len = 0;

		while (line.len > 0 && line.ptr[0] == ' ')
			line = span_skip(line, 1);
		while (len < line.len && line.ptr[len] != ' ')
			len++;
		fields[i] = span_of(line.ptr, len);
		line = span_skip(line, len);
	}
	if (!span_eq(fields[5], identity) || !parse_u64(&fields[4], INT32_MAX, &pid) ||
	    !parse_end(&fields[4]))
		return false;

	*ret = (int64_t)pid;
	return true;
}

static int64_t holder_of(const char *path, struct span locks)
{
	AUTO_BUF identity = BUF_INIT;
	struct stat status;

	if (stat(path, &status) < 0)
		return 0;

	buf_addf(&identity, "%02x:%02x:%" PRIuMAX, major(status.st_dev), minor(status.st_dev),
		 (uintmax_t)status.st_ino);
	while (locks.len > 0) {
		const uint8_t *newline = memchr(locks.ptr, '\n', locks.len);
		const size_t len = newline ? (size_t)(newline - locks.ptr) : locks.len;
		int64_t pid;

		/* Our own locks are not what we wait for. */
		if (match_line(span_of(locks.ptr, len), buf_span(&identity), &pid) &&
		    pid != getpid())
			return pid;
		locks = span_skip(locks, len + 1);
	}
	return 0;
}

int64_t folder_lock_holder(const char *folder)
{
	AUTO_BUF locks = BUF_INIT;

	if (file_read(AT_FDCWD, "/proc/locks", LOCKS_BYTES_MAX, &locks) < 0)
		return 0;
	return holder_of(folder, buf_span(&locks));
}

int64_t lock_holder(const char *path)
{
	AUTO_FREE char *shared = mem_printf("%s-shm", path);
	AUTO_BUF locks = BUF_INIT;
	int64_t pid;

	if (file_read(AT_FDCWD, "/proc/locks", LOCKS_BYTES_MAX, &locks) < 0)
		return 0;

	/* In WAL mode the locks are on the shared memory; the file itself has the exclusive ones.
	 */
	pid = holder_of(shared, buf_span(&locks));
	return pid ? pid : holder_of(path, buf_span(&locks));
}
