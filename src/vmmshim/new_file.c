#include "vmmshim/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

int new_file_open(const char *path, struct new_file *ret)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	AUTO_FREE char *folder = mem_strndup(path, (size_t)(name - path));
	AUTO_FREE char *temp = mem_printf("%s.new-%s", folder, name);
	AUTO_CLOSE int fd = -1;

	if (name[0] == '\0')
		return -EISDIR;
	fd = open(folder[0] == '\0' ? "." : folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 && errno != EOPNOTSUPP && errno != EISDIR)
		return -errno;
	*ret = (struct new_file){ .fd = -1 };
	if (fd < 0) {
		/* One that is there is of somebody who died. */
		(void)unlink(temp);
		fd = open(temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return -errno;
		ret->temp = mem_strdup(temp);
	}
	ret->path = mem_strdup(path);
	ret->fd = TAKE_FD(fd);
	return 0;
}

int new_file_publish(struct new_file *file)
{
	if (!file->temp) {
		const char *slash = strrchr(file->path, '/');
		const char *name = slash ? slash + 1 : file->path;
		AUTO_FREE char *temp =
			mem_printf("%.*s.new-%s", (int)(name - file->path), file->path, name);
		char self[64];

		(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", file->fd);
		(void)unlink(temp);
		if (linkat(AT_FDCWD, self, AT_FDCWD, temp, AT_SYMLINK_FOLLOW) < 0)
			return -errno;
		file->temp = TAKE_PTR(temp);
	}
	if (rename(file->temp, file->path) < 0)
		return -errno;
	mem_free(file->temp);
	file->temp = NULL;
	return 0;
}

void new_file_done(struct new_file *file)
{
	if (file->temp)
		(void)unlink(file->temp);
	mem_free(file->temp);
	mem_free(file->path);
	fd_close(file->fd);
	*file = NEW_FILE_INIT;
}
