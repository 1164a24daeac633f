#include "agent/freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/parse.h"

#define MOUNTS_FILE	"/proc/self/mountinfo"
#define MOUNTS_FILE_MAX (1UL << 20)
#define LOOK_MS		50
#define THAW_WAIT_MS	5000

struct mounts {
	size_t count;
	struct freeze_mount items[FREEZE_MOUNTS_MAX]; /* in the order in which they were mounted */
};

/* --- which --- */

/* Blanks and backslashes in names are written as \ and three octal digits. */
static void add_unescaped(struct buf *out, struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		const uint8_t *at = text.ptr + i;

		if (at[0] == '\\' && text.len - i >= 4 && at[1] >= '0' && at[1] <= '3' &&
		    at[2] >= '0' && at[2] <= '7' && at[3] >= '0' && at[3] <= '7') {
			buf_add_byte(out, (uint8_t)((at[1] - '0') << 6 | (at[2] - '0') << 3 |
						    (at[3] - '0')));
			i += 3;
		} else {
			buf_add_byte(out, at[0]);
		}
	}
}

static bool begins_with(struct span text, const char *prefix)
{
	return parse_literal(&text, prefix);
}

bool freeze_parse_mount(struct span line, struct freeze_mount *ret)
{
	struct freeze_mount mount = { .id = 0 };
	struct span parent, root, path, options, word, source;

	if (!parse_u64(&line, INT32_MAX, &mount.id) || !parse_byte(&line, ' ') ||
	    !parse_until(&line, ' ', &parent) || !parse_u64(&line, UINT32_MAX, &mount.major) ||
	    !parse_byte(&line, ':') || !parse_u64(&line, UINT32_MAX, &mount.minor) ||
	    !parse_byte(&line, ' ') || !parse_until(&line, ' ', &root) ||
	    !parse_until(&line, ' ', &path) || !parse_until(&line, ' ', &options))
		return false;
	do {
		if (!parse_until(&line, ' ', &word))
			return false;
	} while (!span_eq(word, span_str("-")));
	/* What is left are the file system's own options: "rw" whatever this mount of it is. */
	if (!parse_until(&line, ' ', &word) || !parse_until(&line, ' ', &source) ||
	    !begins_with(source, "/dev/") ||
	    !(span_eq(line, span_str("rw")) || begins_with(line, "rw,")))
		return false;
	add_unescaped(&mount.path, path);
	*ret = mount;
	return true;
}

static bool is_known(const struct mounts *mounts, const struct freeze_mount *mount)
{
	for (size_t i = 0; i < mounts->count; i++) {
		if (mounts->items[i].major == mount->major &&
		    mounts->items[i].minor == mount->minor)
			return true;
	}
	return false;
}

/* A descriptor of the mount, unless another one lies over its path by now. */
static int open_mount(const struct freeze_mount *mount)
{
	AUTO_CLOSE int fd = open(mount->path.ptr, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	struct statx status;

	if (fd < 0)
		return -errno;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) < 0)
		return -errno;
	if ((status.stx_mask & STATX_MNT_ID) != 0 && status.stx_mnt_id != mount->id)
		return -ESTALE;
	return TAKE_FD(fd);
}

static void mounts_done(struct mounts *mounts)
{
	for (size_t i = 0; i < mounts->count; i++)
		buf_done(&mounts->items[i].path);
	mounts->count = 0;
}

/* Each file system once, by a mount of it that can be reached. */
static int find_mounts(struct mounts *mounts, struct err *err)
{
	AUTO_BUF text = BUF_INIT;
	const int r = file_read(AT_FDCWD, MOUNTS_FILE, MOUNTS_FILE_MAX, &text);
	struct span rest = buf_span(&text);
	struct span line;

	if (r < 0)
		return err_sys(err, r, "read %s", MOUNTS_FILE);
	while (mounts->count < FREEZE_MOUNTS_MAX && parse_until(&rest, '\n', &line)) {
		struct freeze_mount mount;
		int fd;

		if (!freeze_parse_mount(line, &mount))
			continue;
		fd = is_known(mounts, &mount) ? -EEXIST : open_mount(&mount);
		fd_close(fd);
		if (fd >= 0)
			mounts->items[mounts->count++] = mount;
		else
			buf_done(&mount.path);
	}
	return 0;
}

/* --- still and on --- */

static int mount_ioctl(const struct freeze_mount *mount, unsigned long request)
{
	AUTO_CLOSE int fd = open_mount(mount);

	if (fd < 0)
		return fd;
	return ioctl(fd, request, 0) < 0 ? -errno : 0;
}

/* All are tried; not to have stood still is no failure. */
static int thaw_mounts(struct err *err)
{
	struct mounts mounts = { .count = 0 };
	int result = find_mounts(&mounts, err);

	for (size_t i = 0; i < mounts.count; i++) {
		const int r = mount_ioctl(&mounts.items[i], FITHAW);

		if (r < 0 && r != -EINVAL && r != -EOPNOTSUPP && result == 0)
			result = err_sys(err, r, "thaw %s", mounts.items[i].path.ptr);
	}
	mounts_done(&mounts);
	return result;
}

/* The last mounted first: it may lie in a file of one before. */
static int freeze_mounts(json_t *frozen, struct err *err)
{
	struct mounts mounts = { .count = 0 };
	int r = find_mounts(&mounts, err);

	for (size_t i = mounts.count; r == 0 && i > 0; i--) {
		const struct freeze_mount *mount = &mounts.items[i - 1];

		r = mount_ioctl(mount, FIFREEZE);
		if (r == -EOPNOTSUPP)
			r = 0;
		else if (r < 0)
			r = err_sys(err, r, "freeze %s", mount->path.ptr);
		else
			json_add(frozen, json_new_str(mount->path.ptr));
	}
	mounts_done(&mounts);
	return r;
}

/* --- the requests --- */

/* From one step to a later one, unless somebody else was first. */
static bool go_to(struct agent_state *state, uint32_t from, enum freeze_step step)
{
	return atomic_compare_exchange_strong(&state->freeze, &from,
					      from - from % FREEZE_STEPS + step);
}

static void go_to_none(struct agent_state *state)
{
	const uint32_t now = atomic_load(&state->freeze);

	atomic_store(&state->freeze, now - now % FREEZE_STEPS + FREEZE_STEPS);
}

int freeze_end(struct agent_state *state, bool *ret_held, struct err *err)
{
	const uint64_t deadline_ns = clock_now_ns() + THAW_WAIT_MS * NSEC_PER_MSEC;
	int r;

	*ret_held = false;
	for (;;) {
		const uint32_t now = atomic_load(&state->freeze);

		switch (now % FREEZE_STEPS) {
		case FREEZE_NONE:
		case FREEZE_CALLED_OFF:
			return 0;
		case FREEZE_BEGUN:
			/* It is not waited for: it may be writing for minutes. */
			if (go_to(state, now, FREEZE_CALLED_OFF))
				return 0;
			break;
		case FREEZE_HELD:
			if (!go_to(state, now, FREEZE_ENDING))
				break;
			*ret_held = true;
			r = thaw_mounts(err);
			go_to_none(state);
			return r;
		default: /* another is about to */
			if (clock_now_ns() >= deadline_ns)
				return err_set(err, ERR_TIMEOUT, "another thaw does not end");
			(void)poll(NULL, 0, 1);
		}
	}
}

static void watch(struct agent_state *state, uint32_t held, uint64_t deadline_ns)
{
	struct err ignored = ERR_INIT;
	bool was_held;

	while (atomic_load(&state->freeze) == held) {
		if (clock_now_ns() >= deadline_ns) {
			IGNORE_RESULT(freeze_end(state, &was_held, &ignored));
			return;
		}
		(void)poll(NULL, 0, LOOK_MS);
	}
}

/* What `begun` says has begun: they stand still at the end, or go on. */
static int hold(struct agent_state *state, uint32_t begun, json_t *frozen, struct err *err)
{
	struct err thaw_err = ERR_INIT;
	int r = 0;

	sync(); /* so that the standstill itself is short */
	if (atomic_load(&state->freeze) == begun)
		r = freeze_mounts(frozen, err);
	if (r == 0 && go_to(state, begun, FREEZE_HELD))
		return 0;
	if (r == 0)
		r = err_set(err, ERR_BAD_STATE, "a thaw came before the file systems stood still");
	/* None is held that nobody watches. */
	if (thaw_mounts(&thaw_err) < 0)
		err_append(err, &thaw_err);
	go_to_none(state);
	return r;
}

int freeze_serve(struct conn *conn, const struct request *request, struct err *err)
{
	const uint64_t timeout_ms = request->timeout_ms ? request->timeout_ms : FREEZE_TIMEOUT_MS;
	struct agent_state *state = conn->state;
	const uint32_t before = atomic_load(&state->freeze);
	const uint32_t begun = before + FREEZE_BEGUN;
	json_t *answer;
	json_t *frozen;
	struct err ignored = ERR_INIT;
	bool was_held;
	int r;

	if (!state->is_booted)
		return err_set(err, ERR_UNSUPPORTED,
			       "this agent did not boot the machine and does not change it");
	if (before % FREEZE_STEPS != FREEZE_NONE || !go_to(state, before, FREEZE_BEGUN))
		return err_set(err, ERR_BAD_STATE, "the file systems stand still already");
	answer = json_new_object();
	frozen = json_new_array();
	r = hold(state, begun, frozen, err);
	json_put(answer, "frozen", frozen);
	if (r < 0) {
		json_decref(answer);
		return r;
	}
	r = conn_reply(conn, answer, err);
	if (r < 0) {
		IGNORE_RESULT(freeze_end(state, &was_held, &ignored));
		return r;
	}

	const uint64_t deadline_ns = clock_now_ns() + timeout_ms * NSEC_PER_MSEC;

	/* The host has its answer now; it is not waited for, as it may be gone. */
	(void)shutdown(conn->fd, SHUT_WR);
	watch(state, before + FREEZE_HELD, deadline_ns);
	return 0;
}

int thaw_serve(struct conn *conn, const struct request *request, struct err *err)
{
	json_t *answer;
	bool held = false;
	int r;

	(void)request;
	if (!conn->state->is_booted)
		return err_set(err, ERR_UNSUPPORTED,
			       "this agent did not boot the machine and does not change it");
	r = freeze_end(conn->state, &held, err);
	if (r < 0)
		return r;
	answer = json_new_object();
	json_put_bool(answer, "held", held);
	return conn_reply(conn, answer, err);
}
