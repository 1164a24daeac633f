#include "workspace/fingerprint.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/strv.h"
#include "base/text.h"
#include "workspace/worktree.h"

/* FNV-1a: nobody gains by two checkouts that look alike. */
#define FNV_START 14695981039346656037ULL
#define FNV_PRIME 1099511628211ULL

#define SUBMODULES_DEEP 8 /* inside one another; more are not shipped */

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

/* Where the last file was: a list is sorted, so that the next one is mostly there too. */
struct folder {
	int root_fd;
	int fd;	    /* owned; -1: it is not there, or behind a link */
	char *path; /* owned; NULL: none yet */
	/* owned: what git reads in a folder, and would wait in for ever; NULL: none */
	char *waits_in;
};

static void folder_leave(struct folder *folder)
{
	fd_closep(&folder->fd);
	mem_free(folder->path);
	folder->path = NULL;
}

static void folder_done(struct folder *folder)
{
	folder_leave(folder);
	mem_free(folder->waits_in);
}

static void find_waiting(struct folder *folder)
{
	static const char *const read[] = { ".gitattributes", ".gitignore" };
	struct stat st;

	for (size_t i = 0; folder->fd >= 0 && i < ARRAY_LEN(read); i++)
		if (!folder->waits_in &&
		    fstatat(folder->fd, read[i], &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    !S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode) && !S_ISDIR(st.st_mode))
			folder->waits_in = mem_printf("%s/%s", folder->path, read[i]);
}

/* `path` without its last part, or "." */
static void enter(struct folder *folder, const char *path, const char *slash)
{
	const struct span above = slash ? span_of(path, (size_t)(slash - path)) : span_str(".");

	if (folder->path && span_eq(above, span_str(folder->path)))
		return;
	folder_leave(folder);
	folder->path = mem_strndup((const char *)above.ptr, above.len);
	folder->fd = worktree_open_beneath(folder->root_fd, folder->path, O_PATH | O_DIRECTORY);
	find_waiting(folder);
}

/* Beneath links it is not the repository's file: then it counts as missing, as it does to git. */
static void add_file(uint64_t *hash, struct folder *folder, const char *path)
{
	const char *slash = strrchr(path, '/');
	struct stat st;

	enter(folder, path, slash);
	if (folder->fd < 0 ||
	    fstatat(folder->fd, slash ? slash + 1 : path, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		add_number(hash, 0);
		return;
	}
	add_number(hash, st.st_mode);
	/* A folder where a file was, or a submodule: what is in it is not this checkout's list. */
	if (S_ISDIR(st.st_mode))
		return;
	add_number(hash, (uint64_t)st.st_size);
	add_number(hash, (uint64_t)st.st_mtim.tv_sec);
	add_number(hash, (uint64_t)st.st_mtim.tv_nsec);
}

/* The index's entries with their files; paths of submodules are noted in `ret_submodules`. */
static void add_tracked(uint64_t *hash, struct folder *folder, const struct buf *list,
			struct strv *ret_submodules)
{
	struct span rest = buf_span(list), record;

	while (parse_until(&rest, '\0', &record)) {
		struct span cursor = record, entry;

		add(hash, record.ptr, record.len + 1);
		if (!parse_until(&cursor, '\t', &entry))
			continue;
		add_file(hash, folder, (const char *)cursor.ptr);
		if (parse_literal(&entry, "160000 "))
			strv_add(ret_submodules, (const char *)cursor.ptr);
	}
}

static void add_untracked(uint64_t *hash, struct folder *folder, const struct buf *list)
{
	struct span rest = buf_span(list), path;

	while (parse_until(&rest, '\0', &path)) {
		add(hash, path.ptr, path.len + 1);
		add_file(hash, folder, (const char *)path.ptr);
	}
}

/* What is being taken, of a checkout and of those inside it. */
struct print {
	uint64_t hash;
	const struct cancel *cancel; /* borrowed */
};

/* What does not lead to a commit counts as such. */
static int add_commit(struct print *print, const struct git *git, const char *name, struct err *err)
{
	AUTO_FREE char *commit = mem_printf("%s^{commit}", name);
	const char *const args[] = {
		"rev-parse", "-q", "--verify", "--end-of-options", commit, NULL
	};
	const struct git_call call = { .args = args, .cancel = print->cancel, .may_say_no = true };
	AUTO_FREE char *oid = NULL;
	const int r = git_line(git, &call, &oid, err);

	if (r == 0 && oid)
		add(&print->hash, oid, strlen(oid));
	add_number(&print->hash, 0);
	return r;
}

static int add_checkout(struct print *print, const struct git *git,
			const struct fingerprint_wish *wish, unsigned int depth, struct err *err);

/* One without a working tree of its own is empty, or has nothing that is shipped.
   NOLINTNEXTLINE(misc-no-recursion): SUBMODULES_DEEP */
static int add_submodule(struct print *print, const struct git *above, const char *name,
			 const struct fingerprint_wish *wish, unsigned int depth, struct err *err)
{
	const struct fingerprint_wish inside = { .includes_untracked = wish->includes_untracked,
						 .is_full = true };
	AUTO_FREE char *path = mem_printf("%s/%s", above->root, name);
	AUTO_GIT git = GIT_INIT;
	int r;

	r = git_open(path, print->cancel, &git, err);
	if (r < 0 && err->kind == ERR_CANCELLED)
		return r;
	if (r < 0 || !str_eq(git.root, path)) {
		*err = ERR_INIT;
		add_number(&print->hash, 0);
		return 0;
	}
	r = add_commit(print, &git, "HEAD", err);
	return r < 0 ? r : add_checkout(print, &git, &inside, depth + 1, err);
}

/* NOLINTNEXTLINE(misc-no-recursion): SUBMODULES_DEEP */
static int add_checkout(struct print *print, const struct git *git,
			const struct fingerprint_wish *wish, unsigned int depth, struct err *err)
{
	static const char *const tracked[] = { "ls-files", "-z", "--stage", NULL };
	static const char *const untracked[] = { "ls-files", "-z", "--others", "--exclude-standard",
						 NULL };
	AUTO_CLOSE int root_fd = dir_open(git->root);
	CLEANUP(folder_done) struct folder folder = { .root_fd = root_fd, .fd = -1 };
	struct git_call call = { .args = tracked, .cancel = print->cancel };
	AUTO_STRV submodules = { .items = NULL };
	AUTO_BUF list = BUF_INIT;
	int r;

	if (root_fd < 0)
		return err_sys(err, root_fd, "open '%s'", git->root);
	r = git_run(git, &call, &list, err);
	if (r < 0)
		return r;
	enter(&folder, ".", NULL);
	add_tracked(&print->hash, &folder, &list, &submodules);
	if (folder.waits_in)
		return err_set(err, ERR_INVALID,
			       "'%s' in '%s' is no file, but a FIFO, socket or device",
			       folder.waits_in, git->root);
	if (wish->includes_untracked) {
		buf_clear(&list);
		call.args = untracked;
		call.reads_user_config = true;
		r = git_run(git, &call, &list, err);
		if (r < 0)
			return r;
		add_untracked(&print->hash, &folder, &list);
	}
	if (!wish->is_full || depth > SUBMODULES_DEEP)
		return 0;
	for (size_t i = 0; r == 0 && i < submodules.count; i++)
		r = add_submodule(print, git, submodules.items[i], wish, depth, err);
	return r;
}

int fingerprint_checkout(const struct git *git, const struct fingerprint_wish *wish,
			 const struct cancel *cancel, char ret[static FINGERPRINT_SIZE],
			 struct err *err)
{
	struct print print = { .hash = FNV_START, .cancel = cancel };
	int r;

	r = add_checkout(&print, git, wish, 0, err);
	if (r == 0 && wish->from)
		r = add_commit(&print, git, wish->from, err);
	if (r < 0)
		return r;
	(void)snprintf(ret, FINGERPRINT_SIZE, "%016" PRIx64, print.hash);
	return 0;
}
