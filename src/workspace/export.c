#include "workspace/export.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "guest/exec.h"
#include "workspace/guest_git.h"

#define START_TIMEOUT_MS 30000
#define ERRORS_MAX	 65536
#define ERRORS_SHOWN	 300
#define PIECE_SIZE	 65536
#define UNCOMMITTED	 "banger: uncommitted\n"
#define SUBMODULE	 "banger: submodule "
#define SUBMODULES_MAX	 10 /* that are named; the others are counted */
#define NAME_SHOWN_MAX	 200
#define BASE_MAX	 1024

/* How the script ends where it knows why. */
enum ending {
	ENDS_WITHOUT_FOLDER = 81,
	ENDS_WITHOUT_GIT,
	ENDS_WITHOUT_REPOSITORY,
	ENDS_WITHOUT_BASE,
	ENDS_WITHOUT_COMMITS,
};

/*
 * $1 folder, $2 commit or nothing, $3 "patch" or "bundle".
 *
 * Without a commit a patch goes from the files as they were shipped to the files as they are, byte
 * for byte, in the repository of ours inside the guest's (workspace/scripts.h): so it fits the
 * checkout that was shipped, with whatever was not committed there. What the guest has committed
 * although it is ignored counts, too. With a commit it goes from that commit to what `git add -A`
 * would make of the files, in the guest's own repository.
 *
 * Work in submodules is not in it: they are named. Each of banger's is compared with what was
 * shipped, another one with its own index.
 *
 * What it needs meanwhile is inside the repository, as /tmp is emptied when a guest's init starts.
 * Settings of the guest that change what a patch looks like are overridden.
 */
#define SUBMODULES                                                             \
	"inside='for e do\n"                                                   \
	"	case $e in 160000*) ;; *) continue ;; esac\n"                        \
	"	p=${e#*\t}\n"                                                        \
	"	(\n"                                                                 \
	"		cd -- \"./$p\" && [ -e .git ] || exit 0\n"                          \
	"		work=$(\n"                                                          \
	"			if [ -d .git/banger ]; then\n"                                     \
	"				export GIT_DIR=.git/banger GIT_WORK_TREE=.\n"                     \
	"				git diff --quiet --no-ext-diff --no-textconv "                    \
	"--ignore-submodules=all || echo y\n"                                  \
	"				git -c core.excludesFile=.git/info/exclude ls-files "             \
	"-o --exclude-standard\n"                                              \
	"			else git status --porcelain --ignore-submodules=all; fi |\n"       \
	"				head -c 1\n"                                                      \
	"		)\n"                                                                \
	"		[ -z \"$work\" ] || printf \"banger: submodule %s\\n\" \"$up$p\"\n" \
	"		[ ! -e .gitmodules ] || git ls-files -s -z |\n"                     \
	"			up=$up$p/ xargs -0 sh -c \"$inside\" sh\n"                         \
	"	) 2>/dev/null\n"                                                     \
	"done'\n"                                                              \
	"export inside\n"                                                      \
	"[ ! -e .gitmodules ] || git ls-files -s -z | up= xargs -0 sh -c \"$inside\" sh >&2\n"

static const char script[] =
	"set -u\n"
	"cd -- \"$1\" 2>/dev/null || exit 81\n"
	"command -v git >/dev/null 2>&1 || exit 82\n"
	"set -- \"$2\" \"$3\"\n"
	"export LC_ALL=C GIT_OPTIONAL_LOCKS=0 GIT_TERMINAL_PROMPT=0 GIT_CONFIG_COUNT=6\n"
	"export GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'\n"
	"export GIT_CONFIG_KEY_1=diff.suppressBlankEmpty GIT_CONFIG_VALUE_1=false\n"
	"export GIT_CONFIG_KEY_2=advice.addEmbeddedRepo GIT_CONFIG_VALUE_2=false\n"
	"export GIT_CONFIG_KEY_3=core.safecrlf GIT_CONFIG_VALUE_3=false\n"
	"export GIT_CONFIG_KEY_4=core.protectNTFS GIT_CONFIG_VALUE_4=false\n"
	"export GIT_CONFIG_KEY_5=core.protectHFS GIT_CONFIG_VALUE_5=false\n"
	"top=$(git rev-parse --show-toplevel 2>/dev/null) && [ -n \"$top\" ] || exit 83\n"
	"cd -- \"$top\" || exit 83\n" SUBMODULES "base=\n"
	"if [ -n \"$1\" ]; then\n"
	"	base=$(git rev-parse -q --verify \"$1^{commit}\" 2>/dev/null) || exit 84\n"
	"fi\n"
	"if [ \"$2\" = bundle ]; then\n"
	"	[ -n \"$base\" ] || base=$(git rev-parse -q --verify refs/banger/head) || base=\n"
	"	if [ -n \"$base\" ]; then set -- --not \"$base\"; else set --; fi\n"
	"	[ -n \"$(git rev-list -n 1 HEAD --branches \"$@\" 2>/dev/null)\" ] || exit 85\n"
	"	[ -z \"$(git status --porcelain | head -c 1)\" ] || echo 'banger: uncommitted' "
	">&2\n"
	"	exec git bundle create -q - HEAD --branches \"$@\"\n"
	"fi\n"
	"dir=$(git rev-parse --absolute-git-dir) || exit\n"
	"for old in \"$dir\"/banger-export.*; do\n"
	"	kill -0 \"${old##*.}\" 2>/dev/null || rm -rf \"$old\"\n"
	"done\n"
	"own=$dir/banger-export.$$\n"
	/* The whole group is hung up: what removes it must outlive that. */
	"trap 'trap \"\" HUP INT TERM PIPE; rm -rf \"$own\"' EXIT\n"
	"trap 'exit 1' HUP INT TERM PIPE\n"
	"mkdir \"$own\" \"$own/objects\" || exit\n"
	"take() {\n"
	"	index=$(git rev-parse --git-path index) || return\n"
	"	[ ! -f \"$index\" ] || cp -- \"$index\" \"$own/index\" || return\n"
	"	objects=$(git rev-parse --git-path objects) || return\n"
	"	case $objects in /*) ;; *) objects=$PWD/$objects ;; esac\n"
	"	objects=$(printf %s \"$objects\" | sed 's/[\"\\]/\\&/g')\n"
	"	export GIT_INDEX_FILE=\"$own/index\" GIT_OBJECT_DIRECTORY=\"$own/objects\"\n"
	"	export GIT_ALTERNATE_OBJECT_DIRECTORIES=\"\\\"$objects\\\"\"\n"
	"}\n"
	"if [ -n \"$base\" ]; then\n"
	"	take && git add -A -- . || exit\n"
	"else\n"
	"	base=$(cat .git/banger/tree 2>/dev/null) || exit 84\n"
	"	exclude=$(git rev-parse --git-path info/exclude)\n"
	"	git ls-files -z >\"$own/paths\" || exit\n"
	"	export GIT_DIR=.git/banger GIT_WORK_TREE=.\n"
	"	if [ -f \"$exclude\" ]; then cp -- \"$exclude\" .git/banger/info/exclude; fi\n"
	"	take && git add -A -- . && git update-index -z --add --remove --stdin "
	"<\"$own/paths\" || exit\n"
	"fi\n"
	"tree=$(git write-tree) || exit\n"
	"git diff-tree -r -p --binary --full-index -M -U3 --inter-hunk-context=0 --no-color "
	"--no-ext-diff \\\n"
	"	--no-textconv --no-relative --src-prefix=a/ --dst-prefix=b/ "
	"--ignore-submodules=none \\\n"
	"	--submodule=short -O/dev/null \"$base\" \"$tree\"\n";

void export_result_done(struct export_result *result)
{
	patch_summary_done(&result->summary);
	strv_done(&result->submodules);
}

bool export_base_is_fit(const char *text)
{
	const size_t len = strlen(text);

	if (len == 0 || len > BASE_MAX || text[0] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] <= 0x20 || text[i] == 0x7f)
			return false;
	return true;
}

/* --- in the guest --- */

static int start(const struct export_job *job, struct err *err)
{
	AUTO_STRV argv = { .items = NULL };
	struct guest_exec exec = { .cwd = "/" };
	int r;

	strv_add(&argv, "sh");
	strv_add(&argv, "-c");
	strv_add(&argv, script);
	strv_add(&argv, "banger-export");
	strv_add(&argv, job->folder);
	strv_add(&argv, job->base ? job->base : "");
	strv_add(&argv, job->is_bundle ? "bundle" : "patch");
	exec.argv = strv_argv(&argv);
	r = guest_exec_start(job->fd, &exec, job->cancel,
			     clock_now_ns() + START_TIMEOUT_MS * NSEC_PER_MSEC, NULL, err);
	if (r < 0 && err->kind == ERR_NOT_FOUND)
		return err_set(err, ERR_NOT_FOUND, "the guest has no shell");
	return r;
}

/* What the script's git has complained of; NUL-terminated. */
static int read_errors(int fd, struct buf *ret, struct err *err)
{
	ssize_t n;

	buf_reserve(ret, ERRORS_MAX);
	n = pread(fd, ret->ptr, ERRORS_MAX, 0);
	if (n < 0)
		return err_sys(err, -errno, "read the guest's errors");
	buf_advance(ret, (size_t)n);
	return 0;
}

static int fail_with(const struct export_job *job, int status, const struct buf *errors,
		     struct err *err)
{
	AUTO_BUF shown = BUF_INIT;
	int r;

	text_escape(&shown, guest_git_reason(buf_span(errors)), ERRORS_SHOWN);
	switch (status) {
	case ENDS_WITHOUT_FOLDER:
		return err_set(err, ERR_NOT_FOUND, "there is no folder '%s' in the guest",
			       job->folder);
	case ENDS_WITHOUT_GIT:
		r = err_set(err, ERR_NOT_FOUND, "the guest has no git");
		err_hint(err, "install it there, or use an image that has it (debian-bookworm)");
		return r;
	case ENDS_WITHOUT_REPOSITORY:
		return err_set(err, ERR_NOT_FOUND, "'%s' in the guest is in no git repository",
			       job->folder);
	case ENDS_WITHOUT_BASE:
		r = job->base ? err_set(err, ERR_NOT_FOUND,
					"the guest's repository has no commit '%s'", job->base)
			      : err_set(err, ERR_NOT_FOUND,
					"the guest's repository does not know what it was given");
		err_hint(err, "name a commit that it has with --base-commit");
		return r;
	default:
		return err_set(err, ERR_SYSTEM, "git in the guest failed with status %d: %s",
			       status, shown.len ? shown.ptr : "it said nothing");
	}
}

/* --- what came --- */

static int judge_patch(const struct export_job *job, struct export_result *result, struct err *err)
{
	CLEANUP(patch_check_freep) struct patch_check *check = patch_check_new();
	AUTO_FREE uint8_t *piece = mem_alloc(1, PIECE_SIZE);
	uint64_t at = 0;

	for (;;) {
		const ssize_t n = pread(job->out_fd, piece, PIECE_SIZE, (off_t)at);
		int r;

		if (n < 0)
			return err_sys(err, -errno, "read what came");
		if (n == 0)
			break;
		r = cancel_check(job->cancel, err);
		if (r == 0)
			r = patch_check_feed(check, span_of(piece, (size_t)n), err);
		if (r < 0)
			return r;
		at += (uint64_t)n;
	}
	return patch_check_end(check, &result->summary, err);
}

static int judge_bundle(const struct export_job *job, struct export_result *result, struct err *err)
{
	AUTO_BUF head = BUF_INIT;

	while (head.len < BUNDLE_HEAD_MAX) {
		ssize_t n;
		int r;

		buf_reserve(&head, PIECE_SIZE);
		n = pread(job->out_fd, head.ptr + head.len, PIECE_SIZE, (off_t)head.len);
		if (n < 0)
			return err_sys(err, -errno, "read what came");
		if (n == 0)
			break;
		buf_advance(&head, (size_t)n);
		r = bundle_check(buf_span(&head), &result->commits, err);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	return err_set(err, ERR_PROTOCOL, "the guest's bundle has no end of its head");
}

static int judge(const struct export_job *job, struct export_result *result, struct err *err)
{
	int r;

	if (result->bytes == 0)
		return job->is_bundle ? err_set(err, ERR_PROTOCOL, "the guest's bundle is empty")
				      : 0;
	r = job->is_bundle ? judge_bundle(job, result, err) : judge_patch(job, result, err);
	return r < 0 && err->kind == ERR_PROTOCOL
		       ? err_context(err, r, "the guest sent what cannot be trusted")
		       : r;
}

static void find_submodules(const struct buf *errors, struct export_result *result)
{
	struct span rest = buf_span(errors), line;

	while (parse_until(&rest, '\n', &line)) {
		AUTO_BUF name = BUF_INIT;

		if (!parse_literal(&line, SUBMODULE) || result->submodule_count++ >= SUBMODULES_MAX)
			continue;
		text_escape(&name, line, NAME_SHOWN_MAX);
		strv_take(&result->submodules, buf_detach(&name));
	}
}

int export_run(const struct export_job *job, struct export_result *ret, struct err *err)
{
	AUTO_CLOSE int errors_fd = memfd_create("export-errors", MFD_CLOEXEC);
	struct guest_exec_io io = {
		.stdin_fd = -1,
		.stdout_fd = job->out_fd,
		.stderr_fd = errors_fd,
		.stdout_max = job->bytes_max,
		.stderr_max = ERRORS_MAX,
		.signal_fd = -1,
		.window_fd = -1,
		.cancel = job->cancel,
	};
	struct guest_exec_status status = { .status = 0 };
	AUTO_BUF errors = BUF_INIT;
	off_t size;
	int r;

	if (errors_fd < 0)
		return err_sys(err, -errno, "keep the guest's errors");
	r = start(job, err);
	if (r == 0)
		r = guest_exec_run(job->fd, &io, &status, err);
	if (r == 0)
		r = read_errors(errors_fd, &errors, err);
	if (r < 0)
		return r;
	find_submodules(&errors, ret);
	if (job->is_bundle && status.status == ENDS_WITHOUT_COMMITS)
		return 0;
	if (status.status != 0)
		return fail_with(job, status.status, &errors, err);
	size = lseek(job->out_fd, 0, SEEK_END);
	if (size < 0)
		return err_sys(err, -errno, "look at what came");
	ret->bytes = (uint64_t)size;
	ret->has_uncommitted = job->is_bundle && strstr(errors.ptr, UNCOMMITTED);
	return judge(job, ret, err);
}
