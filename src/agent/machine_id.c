#include "agent/machine_id.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/root.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/text.h"

#define DIGITS	    "0123456789abcdef"
#define ID_FILE	    "machine-id"
#define DBUS_FOLDER "/var/lib/dbus"

void uuid_mark_random(uint8_t bytes[static 16])
{
	bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
	bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
}

int machine_id_read(int root_fd, char ret[static MACHINE_ID_SIZE])
{
	AUTO_CLOSE int etc = root_open_folder(root_fd, "/etc", 0);
	AUTO_BUF text = BUF_INIT;
	int r = 0;

	ret[0] = '\0';
	if (etc >= 0)
		r = root_read(etc, ID_FILE, &text);
	else if (etc != -ENOENT)
		r = etc;
	/* Anything else counts as none: also "uninitialized", and what somebody has broken. */
	if (r == 0 && strspn(text.ptr, DIGITS) == MACHINE_ID_SIZE - 1) {
		memcpy(ret, text.ptr, MACHINE_ID_SIZE - 1);
		ret[MACHINE_ID_SIZE - 1] = '\0';
	}
	return r;
}

/*
 * Where /etc could not be written when systemd began, /run/machine-id is mounted over the file,
 * read-only; what it shows can be changed at its source.
 */
static int write_transient(int root_fd, struct span line)
{
	AUTO_CLOSE int run = root_open_folder(root_fd, "/run", 0);
	AUTO_CLOSE int fd = -1;

	if (run < 0)
		return run;
	fd = openat(run, ID_FILE, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	return fd_pwrite_all(fd, line, 0);
}

/* Often a link to /etc/machine-id; a file of its own is a copy. */
static int write_copy(int root_fd, struct span line)
{
	AUTO_CLOSE int folder = root_open_folder(root_fd, DBUS_FOLDER, 0);
	struct stat st;

	if (folder < 0)
		return folder == -ENOENT ? 0 : folder;
	if (fstatat(folder, ID_FILE, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	return S_ISREG(st.st_mode) ? root_replace(folder, ID_FILE, line, 0444) : 0;
}

int machine_id_write(int root_fd, const char *id)
{
	AUTO_CLOSE int etc = root_open_folder(root_fd, "/etc", 0755);
	AUTO_BUF line = BUF_INIT;
	int r;

	if (etc < 0)
		return etc;
	buf_addf(&line, "%s\n", id);
	r = write_copy(root_fd, buf_span(&line));
	if (r < 0)
		return r;
	/* Last: whoever finds the new id here may take it that nothing of the old one is left. */
	r = root_replace(etc, ID_FILE, buf_span(&line), 0444);
	return r == -EBUSY ? write_transient(root_fd, buf_span(&line)) : r;
}

int machine_id_ensure(int root_fd)
{
	char id[MACHINE_ID_SIZE];
	AUTO_BUF text = BUF_INIT;
	uint8_t bytes[16];
	const int r = machine_id_read(root_fd, id);

	if (r < 0 || id[0] != '\0')
		return r;
	/* The host's entropy is in the pool already; where there was none, init must not block. */
	if (getrandom(bytes, sizeof(bytes), GRND_INSECURE) != (ssize_t)sizeof(bytes))
		return -EIO;
	uuid_mark_random(bytes);
	text_hex(&text, span_of(bytes, sizeof(bytes)));
	return machine_id_write(root_fd, text.ptr);
}
