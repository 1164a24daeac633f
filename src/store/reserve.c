/*
 * The reserve: a file of real blocks that is given back when the disk is full, so that stopping and
 * deleting can still be recorded, which in turn makes room. Beside it an empty one: where not bytes
 * but inodes have run out, the two are what SQLite's -wal and -shm need to be opened.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "store/private.h"

static char *second_path(const char *reserve_path)
{
	return mem_printf("%s.inode", reserve_path);
}

bool reserve_remove(const char *reserve_path)
{
	AUTO_FREE char *second = second_path(reserve_path);
	const bool was_there = unlink(reserve_path) == 0;

	(void)unlink(second); /* it may be missing: making it is not insisted on */
	return was_there;
}

bool reserve_free(struct store *store)
{
	if (!store->reserve_path || !store->has_reserve)
		return false;

	store->has_reserve = false;
	return reserve_remove(store->reserve_path);
}

/* Real blocks: where the file system cannot promise them, zeros are written. */
static int fill(int fd)
{
	AUTO_FREE char *zeros = NULL;
	int r;

	if (fallocate(fd, 0, 0, STORE_RESERVE_BYTES) == 0)
		return 0;
	if (errno != EOPNOTSUPP)
		return -errno;

	zeros = mem_alloc(1, STORE_RESERVE_BYTES);
	r = fd_write_all(fd, span_of(zeros, STORE_RESERVE_BYTES));
	if (r < 0)
		return r;
	return fsync(fd) < 0 ? -errno : 0;
}

static void make_second(const char *reserve_path)
{
	AUTO_FREE char *second = second_path(reserve_path);

	fd_close(open(second, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
}

void reserve_make(struct store *store)
{
	AUTO_CLOSE int fd = -1;
	struct stat status;

	if (!store->reserve_path || store->has_reserve)
		return;

	fd = open(store->reserve_path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
		  0600);
	if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
		return;
	if (status.st_blocks * 512 >= STORE_RESERVE_BYTES || fill(fd) == 0) {
		store->has_reserve = true;
		make_second(store->reserve_path);
		return;
	}

	/* Half a reserve would only stand in the way of what needs the room. */
	(void)unlink(store->reserve_path);
}

void store_restore_reserve(struct store *store)
{
	(void)pthread_mutex_lock(&store->writer.lock);
	reserve_make(store);
	(void)pthread_mutex_unlock(&store->writer.lock);
}
