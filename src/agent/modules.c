#include "agent/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/parse.h"

#define LIST_SIZE_MAX (256UL * 1024)

static int module_load(int folder, const char *name)
{
	AUTO_CLOSE int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

int modules_load(struct buf *failures)
{
	AUTO_BUF list = BUF_INIT;
	AUTO_CLOSE int folder = -1;
	struct span rest, line;
	int count = 0;
	int r = file_read(AT_FDCWD, MODULES_LIST, LIST_SIZE_MAX, &list);

	if (r < 0)
		return r;
	folder = dir_open(MODULES_FOLDER);
	if (folder < 0)
		return folder;
	rest = buf_span(&list);
	while (parse_until(&rest, '\n', &line)) {
		char name[NAME_MAX + 1];

		if (line.len == 0 || line.len > NAME_MAX)
			continue;
		memcpy(name, line.ptr, line.len);
		name[line.len] = '\0';
		r = module_load(folder, name);
		if (r < 0)
			buf_addf(failures, "%s%s: %s", failures->len > 0 ? "; " : "", name,
				 strerrordesc_np(-r));
		else
			count++;
	}
	return count;
}
