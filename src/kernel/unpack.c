#include "kernel/unpack.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "kernel/digest.h"
#include "kernel/package.h"
#include "kernel/sums.h"
#include "kernel/unzstd.h"
#include "kernel/ustar.h"

#define PIECE_SIZE ((size_t)256 * 1024)
#define HOLE_SIZE  ((size_t)4096) /* zeros of this size and alignment are not written */

struct unpacking {
	const struct bundle_rules *rules; /* borrowed, as the next two */
	const struct cancel *cancel;
	const struct progress *progress;
	int folder_fd;	       /* borrowed */
	uint64_t file_size;    /* of the bundle */
	struct unzstd *stream; /* owned */
	struct sums sums;      /* what must be there */
	uint8_t *piece;	       /* owned */
	uint64_t bytes;	       /* of all members so far */
};

static void unpacking_done(struct unpacking *unpacking)
{
	unzstd_free(unpacking->stream);
	sums_done(&unpacking->sums);
	mem_free(unpacking->piece);
}

/* --- which members --- */

/* How large a member of this name may be; false when there may be none. */
static bool allows(const struct bundle_rules *rules, const char *name, uint64_t *ret_size_max,
		   const char **ret_key)
{
	*ret_key = NULL;
	for (size_t i = 0; i < rules->name_count; i++) {
		if (!str_eq(name, rules->names[i].name))
			continue;
		*ret_size_max = rules->names[i].size_max;
		*ret_key = rules->names[i].limit_key;
		return true;
	}
	return rules->allow_other && rules->allow_other(name, ret_size_max);
}

static int not_allowed(const char *name, struct err *err)
{
	return err_set(err, ERR_INVALID, "'%s' may not be in a bundle of this kind", name);
}

static int check_sums(const struct unpacking *unpacking, struct err *err)
{
	const struct bundle_rules *rules = unpacking->rules;

	for (size_t i = 0; i < unpacking->sums.count; i++) {
		const char *name = unpacking->sums.items[i].name;
		const char *key;
		uint64_t size_max;

		if (!allows(rules, name, &size_max, &key))
			return not_allowed(name, err);
	}
	for (size_t i = 0; i < rules->name_count; i++)
		if (rules->names[i].is_required &&
		    !sums_find(&unpacking->sums, rules->names[i].name))
			return err_set(err, ERR_INVALID, "'%s' is missing", rules->names[i].name);
	return 0;
}

static int too_large(const struct ustar_member *member, uint64_t size_max, const char *key,
		     struct err *err)
{
	int r;

	if (!key)
		return err_set(err, ERR_LIMIT, "'%s' has %llu bytes; at most %llu", member->name,
			       (unsigned long long)member->size, (unsigned long long)size_max);
	r = err_set(err, ERR_LIMIT, "'%s' has %llu bytes; at most %llu (limits.%s)", member->name,
		    (unsigned long long)member->size, (unsigned long long)size_max, key);
	err_hint(err, "if that is meant to be so, raise %s in [limits] of the configuration", key);
	return r;
}

/* The entry for a member that may be there, and has not been. */
static int expect_member(struct unpacking *unpacking, const struct ustar_member *member,
			 struct sum **ret, struct err *err)
{
	const char *key;
	uint64_t size_max = 0;
	struct sum *sum;

	if (!allows(unpacking->rules, member->name, &size_max, &key))
		return not_allowed(member->name, err);
	sum = sums_find(&unpacking->sums, member->name);
	if (!sum)
		return err_set(err, ERR_INVALID, "'%s' is not in %s", member->name,
			       BUNDLE_SUMS_FILE);
	if (sum->is_seen)
		return err_set(err, ERR_INVALID, "'%s' is there twice", member->name);
	if (member->size > size_max)
		return too_large(member, size_max, key, err);
	unpacking->bytes += member->size;
	if (unpacking->bytes > unpacking->rules->total_max)
		return err_set(err, ERR_LIMIT, "the members have more than %llu bytes together",
			       (unsigned long long)unpacking->rules->total_max);
	sum->is_seen = true;
	*ret = sum;
	return 0;
}

static int check_all_seen(const struct unpacking *unpacking, struct err *err)
{
	for (size_t i = 0; i < unpacking->sums.count; i++)
		if (!unpacking->sums.items[i].is_seen)
			return err_set(err, ERR_INVALID, "'%s' is in %s, but not in the bundle",
				       unpacking->sums.items[i].name, BUNDLE_SUMS_FILE);
	return 0;
}

/* --- reading --- */

static int read_exact(struct unpacking *unpacking, void *into, size_t size, struct err *err)
{
	size_t got = 0;
	int r;

	r = unzstd_read(unpacking->stream, into, size, &got, err);
	if (r == 0 && got < size)
		r = err_set(err, ERR_INVALID, "the tar is cut short");
	return r;
}

static int read_header(struct unpacking *unpacking, struct ustar_member *ret, struct err *err)
{
	uint8_t block[USTAR_BLOCK_SIZE];
	int r;

	r = read_exact(unpacking, block, sizeof(block), err);
	return r < 0 ? r : ustar_read(span_of(block, sizeof(block)), ret, err);
}

/* What fills a member's last block; it has to be zero, so that nothing hides there. */
static int read_padding(struct unpacking *unpacking, uint64_t size, struct err *err)
{
	static const uint8_t zeros[USTAR_BLOCK_SIZE];
	uint8_t block[USTAR_BLOCK_SIZE];
	const size_t len =
		(size_t)((USTAR_BLOCK_SIZE - size % USTAR_BLOCK_SIZE) % USTAR_BLOCK_SIZE);
	int r;

	r = read_exact(unpacking, block, len, err);
	if (r == 0 && memcmp(block, zeros, len) != 0)
		r = err_set(err, ERR_INVALID, "the tar has bytes between its members");
	return r;
}

/* One block of zeros has been read: another must follow, and then only zeros. */
static int read_trailer(struct unpacking *unpacking, struct err *err)
{
	uint64_t total = USTAR_BLOCK_SIZE;

	for (;;) {
		size_t got = 0;
		int r;

		r = unzstd_read(unpacking->stream, unpacking->piece, PIECE_SIZE, &got, err);
		if (r < 0)
			return r;
		for (size_t i = 0; i < got; i++)
			if (unpacking->piece[i] != 0)
				return err_set(err, ERR_INVALID, "the tar goes on behind its end");
		total += got;
		if (total > BUNDLE_TRAILER_MAX)
			return err_set(err, ERR_LIMIT,
				       "the tar has more than %llu zeros at its end",
				       BUNDLE_TRAILER_MAX);
		if (got < PIECE_SIZE)
			break;
	}
	if (total < 2 * USTAR_BLOCK_SIZE || total % USTAR_BLOCK_SIZE != 0)
		return err_set(err, ERR_INVALID, "the tar is cut short");
	return 0;
}

static int read_sums(struct unpacking *unpacking, struct err *err)
{
	struct ustar_member member;
	AUTO_BUF text = BUF_INIT;
	int r;

	r = read_header(unpacking, &member, err);
	if (r < 0)
		return r;
	if (r == 0 || !str_eq(member.name, BUNDLE_SUMS_FILE))
		return err_set(err, ERR_INVALID, "the first member is not %s", BUNDLE_SUMS_FILE);
	if (member.size > BUNDLE_SUMS_MAX)
		return err_set(err, ERR_LIMIT, "%s has %llu bytes; at most %llu", BUNDLE_SUMS_FILE,
			       (unsigned long long)member.size, BUNDLE_SUMS_MAX);
	buf_reserve(&text, (size_t)member.size);
	r = read_exact(unpacking, text.ptr, (size_t)member.size, err);
	if (r < 0)
		return r;
	buf_advance(&text, (size_t)member.size);
	r = read_padding(unpacking, member.size, err);
	if (r < 0)
		return r;
	r = sums_parse(buf_span(&text), BUNDLE_MEMBERS_MAX, &unpacking->sums, err);
	if (r == 0)
		r = check_sums(unpacking, err);
	return r < 0 ? err_context(err, r, BUNDLE_SUMS_FILE) : 0;
}

/* --- writing --- */

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* Writes runs of blocks that are not zero; `offset` is a multiple of HOLE_SIZE. */
static int write_sparse(int fd, const uint8_t *bytes, size_t size, uint64_t offset)
{
	size_t at = 0;

	while (at < size) {
		size_t end = at;

		while (end < size) {
			const size_t len = size - end < HOLE_SIZE ? size - end : HOLE_SIZE;

			if (is_zero(bytes + end, len))
				break;
			end += len;
		}
		if (end > at) {
			const int r = fd_pwrite_all(fd, span_of(bytes + at, end - at), offset + at);

			if (r < 0)
				return r;
		}
		at = end + HOLE_SIZE;
	}
	return 0;
}

static int write_content(struct unpacking *unpacking, const struct ustar_member *member, int fd,
			 struct digest *digest, struct err *err)
{
	uint64_t done = 0;

	while (done < member->size) {
		const uint64_t left = member->size - done;
		const size_t len = left < PIECE_SIZE ? (size_t)left : PIECE_SIZE;
		int r;

		r = cancel_check(unpacking->cancel, err);
		if (r == 0)
			r = read_exact(unpacking, unpacking->piece, len, err);
		if (r == 0)
			r = digest_add(digest, span_of(unpacking->piece, len), err);
		if (r < 0)
			return r;
		r = write_sparse(fd, unpacking->piece, len, done);
		if (r < 0)
			return err_sys(err, r, "write '%s'", member->name);
		done += len;
		progress_report(unpacking->progress, unpacking->rules->stage, "unpacking",
				unzstd_position(unpacking->stream), unpacking->file_size);
	}
	if (ftruncate(fd, (off_t)member->size) < 0)
		return err_sys(err, -errno, "write '%s'", member->name);
	return 0;
}

static int unpack_member(struct unpacking *unpacking, const struct ustar_member *member,
			 struct err *err)
{
	CLEANUP(digest_freep) struct digest *digest = NULL;
	char sha256[SHA256_TEXT_SIZE];
	AUTO_CLOSE int fd = -1;
	struct sum *sum = NULL;
	int r;

	r = expect_member(unpacking, member, &sum, err);
	if (r == 0)
		r = package_create_file(unpacking->folder_fd, member->name, &fd, err);
	if (r == 0)
		r = digest_new(&digest, err);
	if (r == 0)
		r = write_content(unpacking, member, fd, digest, err);
	if (r == 0)
		r = read_padding(unpacking, member->size, err);
	if (r == 0)
		r = digest_finish(digest, sha256, err);
	if (r == 0 && !str_eq(sha256, sum->sha256))
		r = err_set(err, ERR_INVALID, "'%s' is not what %s says", member->name,
			    BUNDLE_SUMS_FILE);
	return r;
}

static int unpack_members(struct unpacking *unpacking, struct err *err)
{
	for (;;) {
		struct ustar_member member;
		int r;

		r = read_header(unpacking, &member, err);
		if (r == 0)
			return read_trailer(unpacking, err);
		if (r > 0)
			r = unpack_member(unpacking, &member, err);
		if (r < 0)
			return r;
	}
}

int bundle_unpack(int fd, const struct bundle_rules *rules, int folder_fd,
		  const struct cancel *cancel, const struct progress *progress, struct err *err)
{
	CLEANUP(unpacking_done)
	struct unpacking unpacking = {
		.rules = rules,
		.cancel = cancel,
		.progress = progress,
		.folder_fd = folder_fd,
		.piece = mem_alloc(1, PIECE_SIZE),
	};
	struct stat info;
	int r;

	if (lseek(fd, 0, SEEK_SET) < 0 || fstat(fd, &info) < 0)
		return err_sys(err, -errno, "read the bundle");
	unpacking.file_size = (uint64_t)info.st_size;
	r = unzstd_new(fd, BUNDLE_WINDOW_LOG_MAX, &unpacking.stream, err);
	if (r == 0)
		r = read_sums(&unpacking, err);
	if (r == 0)
		r = unpack_members(&unpacking, err);
	return r == 0 ? check_all_seen(&unpacking, err) : r;
}
