#include "kernel/import_find.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/copy.h"
#include "kernel/import.h"

#define METADATA_SIZE_MAX 65536
#define NAME_METADATA	  "name the right one in " KERNEL_METADATA_FILE

/* --- metadata.json --- */

struct metadata {
	char *vmlinux;
	char *vmlinuz;
	char *initrd;
	char *modules;
	char *version;
};

#define FIELD(name_)                                                    \
	{                                                               \
		.name = #name_, .type = JSON_FIELD_STRING,              \
		.offset = offsetof(struct metadata, name_), .max = 1024 \
	}
static const struct json_field metadata_fields[] = {
	FIELD(vmlinux), FIELD(vmlinuz), FIELD(initrd), FIELD(modules), FIELD(version),
};

static void metadata_done(struct metadata *metadata)
{
	json_fields_done(metadata_fields, ARRAY_LEN(metadata_fields), metadata);
}

void import_files_done(struct import_files *files)
{
	mem_free(files->vmlinux);
	mem_free(files->vmlinuz);
	mem_free(files->initrd);
	mem_free(files->modules);
	mem_free(files->version);
	*files = (struct import_files){ .vmlinux = NULL };
}

/* Links and ".." are for whoever opens it (copy.h); this is for a message that names the member. */
static int check_path(const char *member, const char *path, struct err *err)
{
	if (!path || (path[0] != '/' && path[0] != '\0'))
		return 0;
	return err_set(err, ERR_INVALID, "%s: '%s' is no path relative to the folder", member,
		       path);
}

static int check_version(const char *version, struct err *err)
{
	if (!version)
		return 0;
	if (version[0] == '\0' || strlen(version) > KERNEL_RELEASE_MAX)
		return err_set(err, ERR_INVALID, "version: 1 to %d bytes are allowed",
			       KERNEL_RELEASE_MAX);
	for (const char *at = version; *at != '\0'; at++)
		if (*at <= ' ' || *at > '~')
			return err_set(err, ERR_INVALID,
				       "version: '%s' has bytes other than visible ASCII", version);
	return 0;
}

int import_parse_metadata(struct span text, struct import_files *ret, struct err *err)
{
	CLEANUP(metadata_done) struct metadata file = { .vmlinux = NULL };
	AUTO_JSON *object = NULL;
	int r;

	r = json_read(text, &object, err);
	if (r == 0)
		r = json_read_fields(object, metadata_fields, ARRAY_LEN(metadata_fields), &file,
				     err);
	if (r == 0)
		r = check_path("vmlinux", file.vmlinux, err);
	if (r == 0)
		r = check_path("vmlinuz", file.vmlinuz, err);
	if (r == 0)
		r = check_path("initrd", file.initrd, err);
	if (r == 0)
		r = check_path("modules", file.modules, err);
	if (r == 0)
		r = check_version(file.version, err);
	if (r < 0)
		return r;
	*ret = (struct import_files){ .release = "" };
	ret->vmlinux = TAKE_PTR(file.vmlinux);
	ret->vmlinuz = TAKE_PTR(file.vmlinuz);
	ret->initrd = TAKE_PTR(file.initrd);
	ret->modules = TAKE_PTR(file.modules);
	ret->version = TAKE_PTR(file.version);
	if (ret->modules)
		import_release_of_path(ret->modules, ret->release);
	return 0;
}

static int read_metadata(int dir_fd, const char *from, struct import_files *ret, struct err *err)
{
	AUTO_FREE char *shown = mem_printf("%s/%s", from, KERNEL_METADATA_FILE);
	const struct copy_source source = { dir_fd, KERNEL_METADATA_FILE, shown };
	AUTO_CLOSE int fd = -1;
	AUTO_BUF text = BUF_INIT;
	int r;

	r = copy_open(&source, &fd, err);
	if (r < 0 && err->kind == ERR_NOT_FOUND)
		return 0;
	if (r == 0)
		r = copy_read(fd, shown, METADATA_SIZE_MAX, &text, err);
	if (r < 0)
		return r;
	r = import_parse_metadata(buf_span(&text), ret, err);
	return r < 0 ? err_context(err, r, "'%s'", shown) : 0;
}

/* --- the usual names --- */

/* Names that may stand for one file; those that end in '-' are prefixes. NULL-terminated. */
static const char *const vmlinux_names[] = { "vmlinux", "vmlinux-", NULL };
static const char *const vmlinuz_names[] = { "vmlinuz", "vmlinuz-", "bzImage", NULL };
static const char *const initrd_names[] = { "initrd",	     "initrd.img", "initrd.img-",
					    "initramfs.img", "initramfs-", NULL };
static const char *const folders[] = { ".", "boot" };
static const char *const module_parents[] = { "lib/modules", "usr/lib/modules" };

struct search {
	const char *const *names; /* borrowed */
	const char *folder;	  /* borrowed */
	int folder_fd;		  /* borrowed */
	struct strv files;	  /* what matches */
	struct strv links;	  /* the same, but symbolic links */
};

static void search_done(struct search *search)
{
	strv_done(&search->files);
	strv_done(&search->links);
}

static bool matches(const char *name, const char *const *names)
{
	for (size_t i = 0; names[i]; i++)
		if (str_eq(name, names[i]) ||
		    (str_ends(names[i], "-") && str_starts(name, names[i])))
			return true;
	return false;
}

static int collect(void *context, const char *name)
{
	struct search *search = context;
	struct stat info;
	struct strv *into = &search->files;

	if (!matches(name, search->names))
		return 0;
	if (fstatat(search->folder_fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISLNK(info.st_mode))
		into = &search->links;
	if (str_eq(search->folder, "."))
		strv_add(into, name);
	else
		strv_addf(into, "%s/%s", search->folder, name);
	return 0;
}

/*
 * Finds the one file with one of these names, if there is one. /boot has links "vmlinuz" to the
 * newest beside the files themselves: a link counts only where there is nothing else, and whoever
 * opens it says what is wrong with it.
 */
static int find_one(int dir_fd, const char *from, const char *const *names, char **ret,
		    struct err *err)
{
	CLEANUP(search_done) struct search search = { .names = names };
	struct strv *found = &search.files;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(folders); i++) {
		AUTO_CLOSE int folder_fd = dir_open_at(dir_fd, folders[i]);

		if (folder_fd < 0)
			continue;
		search.folder = folders[i];
		search.folder_fd = folder_fd;
		r = dir_each(folder_fd, collect, &search);
	}
	if (r < 0)
		return err_sys(err, r, "list '%s'", from);
	if (found->count == 0)
		found = &search.links;
	if (found->count == 0)
		return 0;
	if (found->count > 1) {
		strv_sort(found);
		r = err_set(err, ERR_INVALID, "'%s' has both '%s' and '%s'", from, found->items[0],
			    found->items[1]);
		err_hint(err, NAME_METADATA);
		return r;
	}
	*ret = mem_strdup(found->items[0]);
	return 0;
}

static int collect_folder(void *context, const char *name)
{
	struct search *search = context;
	AUTO_CLOSE int fd = dir_open_at(search->folder_fd, name);

	if (fd >= 0)
		strv_addf(&search->files, "%s/%s", search->folder, name);
	return 0;
}

/* A folder that cannot be opened without following links is as good as none. */
static int open_folder(int dir_fd, const char *path)
{
	const struct copy_source source = { dir_fd, path, path };
	struct err ignored = ERR_INIT;
	int fd = -1;

	return copy_open_dir(&source, &fd, &ignored) < 0 ? -1 : fd;
}

static int find_modules(int dir_fd, const char *from, struct import_files *files, struct err *err)
{
	CLEANUP(search_done) struct search search = { .names = NULL };
	AUTO_CLOSE int own_fd = open_folder(dir_fd, "modules");
	int r = 0;

	if (own_fd >= 0) {
		files->modules = mem_strdup("modules");
		return 0;
	}
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(module_parents); i++) {
		AUTO_CLOSE int folder_fd = open_folder(dir_fd, module_parents[i]);

		if (folder_fd < 0)
			continue;
		search.folder = module_parents[i];
		search.folder_fd = folder_fd;
		r = dir_each(folder_fd, collect_folder, &search);
	}
	if (r < 0)
		return err_sys(err, r, "list '%s'", from);
	if (search.files.count > 1) {
		strv_sort(&search.files);
		r = err_set(err, ERR_INVALID, "'%s' has both '%s' and '%s'", from,
			    search.files.items[0], search.files.items[1]);
		err_hint(err, NAME_METADATA);
		return r;
	}
	if (search.files.count == 1) {
		files->modules = mem_strdup(search.files.items[0]);
		import_release_of_path(files->modules, files->release);
	}
	return 0;
}

void import_release_of_path(const char *path, char ret[static KERNEL_RELEASE_MAX + 1])
{
	size_t end = strlen(path);
	size_t start;

	ret[0] = '\0';
	while (end > 0 && path[end - 1] == '/')
		end--;
	for (start = end; start > 0 && path[start - 1] != '/';)
		start--;
	if (end - start == 0 || end - start > KERNEL_RELEASE_MAX || start < sizeof("modules") ||
	    memcmp(path + start - sizeof("modules"), "modules/", sizeof("modules")) != 0)
		return;
	memcpy(ret, path + start, end - start);
	ret[end - start] = '\0';
}

int import_find(int dir_fd, const char *from, struct import_files *ret, struct err *err)
{
	AUTO_IMPORT_FILES files = { .vmlinux = NULL };
	int r;

	r = read_metadata(dir_fd, from, &files, err);
	if (r == 0 && !files.vmlinux && !files.vmlinuz) {
		r = find_one(dir_fd, from, vmlinux_names, &files.vmlinux, err);
		if (r == 0)
			r = find_one(dir_fd, from, vmlinuz_names, &files.vmlinuz, err);
	}
	if (r == 0 && !files.initrd)
		r = find_one(dir_fd, from, initrd_names, &files.initrd, err);
	if (r == 0 && !files.modules)
		r = find_modules(dir_fd, from, &files, err);
	if (r < 0)
		return r;
	if (!files.vmlinux && !files.vmlinuz) {
		r = err_set(err, ERR_NOT_FOUND, "'%s' has no vmlinux, vmlinuz or bzImage", from);
		err_hint(err, "a file with another name can be named in " KERNEL_METADATA_FILE);
		return r;
	}
	*ret = files;
	files = (struct import_files){ .vmlinux = NULL };
	return 0;
}
