#include "daemon/known_hosts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/keylock.h"
#include "base/mem.h"
#include "base/parse.h"
#include "daemon/private.h"
#include "daemon/vm_files.h"

#define FILE_BYTES_MAX (8UL << 20) /* ten times what LIMIT_VMS lines are */
#define KEY_BYTES_MAX  4096
#define LOCK_NAME      "known_hosts"

char *known_hosts_path(const struct daemon *daemon)
{
	return mem_printf("%s/ssh/known_hosts", daemon->paths.state_dir);
}

/* --- text --- */

bool known_hosts_read_key(struct span line, struct buf *out)
{
	struct span rest = line, type, key;

	if (!parse_until(&rest, ' ', &type) || !span_eq(type, span_str("ssh-ed25519")))
		return false;
	if (!parse_until(&rest, ' ', &key)) {
		key = rest;
		if (key.len > 0 && key.ptr[key.len - 1] == '\n')
			key.len--;
	}
	if (key.len == 0 || memchr(key.ptr, '\n', key.len))
		return false;
	buf_add(out, type);
	buf_add_byte(out, ' ');
	buf_add(out, key);
	return true;
}

/* Whether a line, "HOST TYPE KEY", is for this host or has this key. */
static bool is_about(struct span line, const char *host, const char *key)
{
	struct span rest = line, its_host;

	if (!parse_until(&rest, ' ', &its_host))
		return false;
	return (host && span_eq(its_host, span_str(host))) || span_eq(rest, span_str(key));
}

void known_hosts_edit(struct span before, const char *host, const char *key, struct buf *after)
{
	while (before.len > 0) {
		struct span rest = before, line;

		if (!parse_until(&rest, '\n', &line)) {
			line = before;
			rest = span_of(before.ptr + before.len, 0);
		}
		if (line.len > 0 && !is_about(line, host, key)) {
			buf_add(after, line);
			buf_add_byte(after, '\n');
		}
		before = rest;
	}
	if (host)
		buf_addf(after, "%s %s\n", host, key);
}

/* --- files --- */

/* -ENOENT when the VM has no key (yet, or any more). */
static int read_key(const struct daemon *daemon, const char *id, struct buf *out, struct err *err)
{
	AUTO_FREE char *private_path = vm_file(daemon, id, VM_FILE_HOST_KEY);
	AUTO_FREE char *path = mem_printf("%s.pub", private_path);
	AUTO_BUF line = BUF_INIT;
	int r;

	r = file_read(AT_FDCWD, path, KEY_BYTES_MAX, &line);
	if (r < 0)
		return err_sys(err, r, "read '%s'", path);
	if (!known_hosts_read_key(buf_span(&line), out))
		return err_set(err, ERR_INVALID, "'%s' is no public key of ours", path);
	return 0;
}

static int open_folder(const struct daemon *daemon, struct err *err)
{
	AUTO_FREE char *path = mem_printf("%s/ssh", daemon->paths.state_dir);
	int r;

	r = dir_make_path(path, 0700);
	if (r == 0)
		r = dir_open(path);
	return r < 0 ? err_sys(err, r, "open '%s'", path) : r;
}

static int edit_file(struct daemon *daemon, const char *host, const char *key, struct err *err)
{
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_CLOSE int dir_fd = -1;
	AUTO_BUF before = BUF_INIT;
	AUTO_BUF after = BUF_INIT;
	int r;

	/* Held for the time of one small file: nobody cancels that. */
	r = keylock_acquire(daemon->locks, LOCK_NAME, NULL, &hold, err);
	if (r < 0)
		return r;
	dir_fd = open_folder(daemon, err);
	if (dir_fd < 0)
		return dir_fd;
	r = file_read(dir_fd, "known_hosts", FILE_BYTES_MAX, &before);
	if (r < 0 && r != -ENOENT)
		return err_sys(err, r, "read '%s/ssh/known_hosts'", daemon->paths.state_dir);
	known_hosts_edit(buf_span(&before), host, key, &after);
	if (r == 0 && span_eq(buf_span(&before), buf_span(&after)))
		return 0;
	r = file_replace(dir_fd, "known_hosts", buf_span(&after), 0600);
	return r < 0 ? err_sys(err, r, "write '%s/ssh/known_hosts'", daemon->paths.state_dir) : 0;
}

/* The line is there already, and it is the only one: the usual case at a connection. */
static bool is_pinned(const struct daemon *daemon, const char *host, const char *key)
{
	AUTO_FREE char *path = known_hosts_path(daemon);
	AUTO_FREE char *line = mem_printf("%s %s\n", host, key);
	AUTO_BUF text = BUF_INIT;
	AUTO_BUF others = BUF_INIT;

	if (file_read(AT_FDCWD, path, FILE_BYTES_MAX, &text) < 0)
		return false;
	known_hosts_edit(buf_span(&text), host, key, &others);
	/* The same bytes are left but for the place of the line. */
	return others.len == text.len && strstr(text.ptr, line) != NULL;
}

int known_hosts_pin(struct daemon *daemon, const struct vm *vm, struct err *err)
{
	AUTO_FREE char *host = mem_printf("%s%s", vm->name, KNOWN_HOSTS_SUFFIX);
	AUTO_BUF key = BUF_INIT;
	int r;

	r = read_key(daemon, vm->id, &key, err);
	if (r < 0)
		return r;
	return is_pinned(daemon, host, key.ptr) ? 0 : edit_file(daemon, host, key.ptr, err);
}

int known_hosts_unpin(struct daemon *daemon, const char *id, struct err *err)
{
	AUTO_BUF key = BUF_INIT;
	struct err key_err = ERR_INIT;

	if (read_key(daemon, id, &key, &key_err) < 0)
		return 0;
	return edit_file(daemon, NULL, key.ptr, err);
}

int known_hosts_rewrite(struct daemon *daemon, struct err *err)
{
	AUTO_CLOSE int dir_fd = open_folder(daemon, err);
	AUTO_VM_LIST list = { 0 };
	AUTO_BUF text = BUF_INIT;
	AUTO_BUF before = BUF_INIT;
	int r;

	if (dir_fd < 0)
		return dir_fd;
	r = store_vm_list(daemon->store, &list, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < list.count; i++) {
		struct err key_err = ERR_INIT;
		AUTO_BUF key = BUF_INIT;

		/* A VM without a key cannot be started either: that says it better. */
		if (read_key(daemon, list.items[i].id, &key, &key_err) == 0)
			buf_addf(&text, "%s%s %s\n", list.items[i].name, KNOWN_HOSTS_SUFFIX,
				 key.ptr);
	}
	if (file_read(dir_fd, "known_hosts", FILE_BYTES_MAX, &before) == 0 &&
	    span_eq(buf_span(&before), buf_span(&text)))
		return 0;
	r = file_replace(dir_fd, "known_hosts", buf_span(&text), 0600);
	return r < 0 ? err_sys(err, r, "write '%s/ssh/known_hosts'", daemon->paths.state_dir) : 0;
}
