#include "daemon/file_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "guest/connect.h"
#include "guest/copy.h"
#include "guest/pack.h"
#include "wire/protocol.h"

#define GUEST_HOME	  "/root"
#define GIT_CONFIG	  ".gitconfig"
#define ENTRY_DEADLINE_MS 300000
#define GIT_TIMEOUT_MS	  5000
#define GIT_OUTPUT_MAX	  65536
#define GIT_VALUE_MAX	  256
#define LINKS_NAMED_MAX	  3 /* links that were left out and are named; the others are counted */
#define PATH_SHOWN_MAX	  200

struct sync {
	const struct job *job;
	const struct vm *vm;
	const char *socket;
	struct strv *warnings;
	struct buf links; /* owned: those of an entry that were left out, for people */
	size_t link_count;
};

static void warn(const struct sync *sync, const char *text)
{
	strv_add(sync->warnings, text);
	log_write(LOG_LEVEL_WARN,
		  &(struct log_fields){ .vm = sync->vm->id, .operation = "file_sync" }, "%s", text);
}

/* --- the host's side --- */

int file_sync_open(const char *home, const char *path, int *ret_fd, struct err *err)
{
	static const struct open_how how = {
		.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	const size_t home_len = strlen(home);
	AUTO_CLOSE int home_fd = -1;
	const char *inner = path;
	long fd;

	if (str_starts(path, "~/"))
		inner = path + 2;
	else if (str_starts(path, home) && (path[home_len] == '/' || path[home_len] == '\0'))
		inner = path + home_len;
	else
		return err_set(err, ERR_INVALID, "it is not in your home folder '%s'", home);
	inner += strspn(inner, "/");

	home_fd = open(home, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (home_fd < 0)
		return err_sys(err, -errno, "open your home folder '%s'", home);
	fd = syscall(SYS_openat2, home_fd, *inner ? inner : ".", &how, sizeof(how));
	if (fd >= 0) {
		*ret_fd = (int)fd;
		return 0;
	}
	if (errno == ENOENT)
		return err_set(err, ERR_NOT_FOUND, "there is no such file or folder");
	if (errno == EXDEV)
		return err_set(err, ERR_INVALID, "a link leads out of your home folder");
	return err_sys(err, -errno, "open it");
}

char *file_sync_guest_path(const char *path)
{
	AUTO_BUF clean = BUF_INIT;

	path += str_starts(path, "~/") ? strlen("~/") : strlen(GUEST_HOME "/");
	while (*path) {
		const size_t len = strcspn(path, "/");

		if (len > 0 && !(len == 1 && path[0] == '.')) {
			if (clean.len > 0)
				buf_add_byte(&clean, '/');
			buf_add(&clean, span_of(path, len));
		}
		path += len;
		path += *path == '/' ? 1 : 0;
	}
	return buf_detach(&clean);
}

static void note_link(void *context, const char *path)
{
	struct sync *sync = context;

	if (++sync->link_count > LINKS_NAMED_MAX)
		return;
	buf_add_str(&sync->links, sync->link_count > 1 ? ", '" : "'");
	text_escape(&sync->links, span_str(path), PATH_SHOWN_MAX);
	buf_add_byte(&sync->links, '\'');
}

/* --- the guest's side --- */

static int connect_guest(const struct sync *sync, struct guest_copy *ret, struct err *err)
{
	const uint64_t deadline_ns = clock_now_ns() + ENTRY_DEADLINE_MS * NSEC_PER_MSEC;

	*ret = (struct guest_copy){ .cancel = sync->job->cancel, .deadline_ns = deadline_ns };
	return guest_connect(sync->socket, WIRE_PORT, sync->job->cancel, deadline_ns, &ret->fd,
			     err);
}

static int send_pack(const struct sync *sync, struct pack *pack, struct err *err)
{
	const struct guest_tar tar = pack_tar(pack);
	struct guest_copied copied;
	struct guest_copy stream;
	int r;

	r = connect_guest(sync, &stream, err);
	if (r < 0)
		return r;
	r = guest_put_staged(&stream, GUEST_HOME, &tar, &copied, err);
	fd_close(stream.fd);
	return r;
}

/* --- entries --- */

static int copy_entry(struct sync *sync, const struct config_file_sync *entry,
		      uint64_t *ret_special, struct err *err)
{
	const struct pack_rules rules = {
		.file_mode = entry->mode,
		.bytes_max = FILE_SYNC_BYTES_MAX,
		.entries_max = FILE_SYNC_ENTRIES_MAX,
		.has_parents = true,
		.leaves_out_far_links = true,
		.left_out = note_link,
		.context = sync,
	};
	AUTO_FREE char *guest = file_sync_guest_path(entry->guest);
	const char *home = sync->job->daemon->paths.home;
	CLEANUP(pack_freep) struct pack *pack = NULL;
	int fd = -1;
	int r;

	if (!home)
		return err_set(err, ERR_INVALID, "HOME is not set, or not yours");
	r = file_sync_open(home, entry->host, &fd, err);
	if (r == 0)
		r = pack_new_fd(fd, guest, &rules, &pack, err);
	if (r == 0)
		r = send_pack(sync, pack, err);
	if (r == 0)
		*ret_special = pack_left_out(pack);
	return r;
}

static void warn_of_entry(struct sync *sync, size_t number, const struct config_file_sync *entry,
			  const char *what)
{
	AUTO_BUF text = BUF_INIT;

	buf_addf(&text, "file_sync entry %zu, '", number);
	text_escape(&text, span_str(entry->host), PATH_SHOWN_MAX);
	buf_addf(&text, "': %s", what);
	warn(sync, text.ptr);
}

static int sync_entry(struct sync *sync, size_t number, const struct config_file_sync *entry,
		      struct err *err)
{
	struct err entry_err = ERR_INIT;
	AUTO_BUF text = BUF_INIT;
	uint64_t special = 0;
	int r;

	buf_clear(&sync->links);
	sync->link_count = 0;
	r = copy_entry(sync, entry, &special, &entry_err);
	if (r < 0 && entry_err.kind == ERR_CANCELLED) {
		*err = entry_err;
		return r;
	}
	if (r < 0) {
		buf_addf(&text, "not copied: %s", entry_err.message);
		warn_of_entry(sync, number, entry, text.ptr);
		return 0;
	}
	if (sync->link_count > 0) {
		buf_addf(&text, "left out, as links that lead out of it: %s", sync->links.ptr);
		if (sync->link_count > LINKS_NAMED_MAX)
			buf_addf(&text, " and %zu more", sync->link_count - LINKS_NAMED_MAX);
		warn_of_entry(sync, number, entry, text.ptr);
	}
	if (special > 0) {
		buf_clear(&text);
		buf_addf(&text, "left out %llu that %s neither file, folder nor link",
			 (unsigned long long)special, special == 1 ? "is" : "are");
		warn_of_entry(sync, number, entry, text.ptr);
	}
	return 0;
}

/* --- git's identity --- */

static bool is_fit(struct span value)
{
	if (value.len == 0 || value.len > GIT_VALUE_MAX || !text_is_utf8(value))
		return false;
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] < 0x20 || value.ptr[i] == 0x7f)
			return false;
	return true;
}

static void add_value(struct buf *out, const char *key, struct span value)
{
	if (value.len == 0)
		return;
	buf_addf(out, "\t%s = \"", key);
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] == '"' || value.ptr[i] == '\\')
			buf_add_byte(out, '\\');
		buf_add_byte(out, value.ptr[i]);
	}
	buf_add_str(out, "\"\n");
}

void file_sync_git_identity(struct span output, struct buf *ret)
{
	struct span name = span_of("", 0);
	struct span email = span_of("", 0);
	struct span record;

	while (parse_until(&output, '\0', &record)) {
		struct span key;

		if (!parse_until(&record, '\n', &key))
			continue;
		if (span_eq(key, span_str("user.name")))
			name = is_fit(record) ? record : span_of("", 0);
		else if (span_eq(key, span_str("user.email")))
			email = is_fit(record) ? record : span_of("", 0);
	}
	if (name.len == 0 && email.len == 0)
		return;
	buf_add_str(ret, "# The host's identity, written by banger when there was no such file.\n"
			 "[user]\n");
	add_value(ret, "name", name);
	add_value(ret, "email", email);
}

static void add_variable(struct strv *env, const char *name)
{
	const char *value = getenv(name); // NOLINT(concurrency-mt-unsafe): nobody sets any

	if (!str_empty(value))
		strv_addf(env, "%s=%s", name, value);
}

/* A host without git, or without an identity, has none to give. */
static void ask_git(const struct sync *sync, struct buf *ret)
{
	static const char *const variables[] = { "PATH", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL" };
	const char *home = sync->job->daemon->paths.home;
	struct err ignored = ERR_INIT;
	AUTO_STRV argv = { 0 };
	AUTO_STRV env = { 0 };
	AUTO_BUF output = BUF_INIT;

	if (!home)
		return;
	strv_addf(&env, "HOME=%s", home);
	for (size_t i = 0; i < ARRAY_LEN(variables); i++)
		add_variable(&env, variables[i]);
	strv_add(&argv, "git");
	strv_add(&argv, "config");
	strv_add(&argv, "--global");
	strv_add(&argv, "--includes");
	strv_add(&argv, "-z");
	strv_add(&argv, "--get-regexp");
	strv_add(&argv, "^user\\.(name|email)$");

	struct spawn spawn = { .path = "git",
			       .argv = strv_argv(&argv),
			       .envp = strv_argv(&env),
			       .dies_with_parent = true };

	if (spawn_run(&spawn, sync->job->cancel, GIT_TIMEOUT_MS, GIT_OUTPUT_MAX, &output,
		      &ignored) == 0)
		file_sync_git_identity(buf_span(&output), ret);
}

static int send_git_config(const struct sync *sync, struct span text, struct err *err)
{
	const struct pack_rules rules = { .file_mode = 0644 };
	CLEANUP(pack_freep) struct pack *pack = NULL;
	AUTO_CLOSE int fd = memfd_create("gitconfig", MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return err_sys(err, -errno, "make a file in memory");
	r = fd_write_all(fd, text);
	if (r < 0)
		return err_sys(err, r, "write a file in memory");
	r = pack_new_fd(TAKE_FD(fd), GIT_CONFIG, &rules, &pack, err);
	return r < 0 ? r : send_pack(sync, pack, err);
}

/* Only where there is none: what the guest's user wrote there, or an entry brought, is theirs. */
static int sync_git_identity(const struct sync *sync, struct err *err)
{
	enum guest_file type = GUEST_NOTHING;
	struct guest_copy stream;
	AUTO_BUF text = BUF_INIT;
	uint64_t size;
	int r;

	ask_git(sync, &text);
	if (text.len == 0)
		return 0;
	r = connect_guest(sync, &stream, err);
	if (r < 0)
		return r;
	r = guest_look(&stream, GUEST_HOME "/" GIT_CONFIG, &type, &size, err);
	fd_close(stream.fd);
	if (r < 0 || type != GUEST_NOTHING)
		return r;
	return send_git_config(sync, buf_span(&text), err);
}

int file_sync_run(const struct job *job, const struct vm *vm, const char *socket,
		  struct strv *warnings, struct err *err)
{
	const struct config *config = &job->daemon->config;
	struct sync sync = {
		.job = job, .vm = vm, .socket = socket, .warnings = warnings, .links = BUF_INIT
	};
	struct err git_err = ERR_INIT;
	int r = 0;

	if (config->file_sync_count > 0)
		progress_report(job->progress, "files", NULL, 0, config->file_sync_count);
	for (size_t i = 0; r == 0 && i < config->file_sync_count; i++)
		r = sync_entry(&sync, i + 1, &config->file_sync[i], err);
	buf_done(&sync.links);
	if (r < 0)
		return r;

	r = sync_git_identity(&sync, &git_err);
	if (r < 0 && git_err.kind == ERR_CANCELLED) {
		*err = git_err;
		return r;
	}
	if (r < 0) {
		AUTO_FREE char *text =
			mem_printf("git's identity was not copied: %s", git_err.message);

		warn(&sync, text);
	}
	return 0;
}
