/* The cache of blobs: nothing unverified under a final name, one fetch for all, resuming, pruning.
 */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "oci/blobs.h"

#define CONTENT_BYTES 300000
#define PIECE_BYTES   16384

/* A cache in a folder of its own, a blob, and a source that counts and misbehaves as told. */
struct fixture {
	char *dir;
	struct oci_blobs *blobs;
	uint8_t *content;
	struct oci_descriptor blob;

	_Atomic unsigned int fetches;
	_Atomic uint64_t sent; /* bytes given to sinks */
	uint64_t last_offset;  /* of the last fetch */
	_Atomic uint64_t
		stop_after;    /* fails when so many bytes of the content are sent; 0: never */
	bool is_cancel;	       /* then waits there for the cancel */
	struct cancel reached; /* fired when it waits there */
	void (*before_end)(struct fixture *fixture);
	const uint8_t *bytes; /* what is sent instead of the content; NULL: the content */
	uint64_t size;
	const uint8_t *mirrors; /* what a mirror sends, so much of it; NULL: there is none */
	uint64_t mirrors_size;
	unsigned int origin_only; /* fetches */
	bool origin_fails;
};

/* The mirror gives what it has, the origin the rest, as a registry does. */
static int fetch_from_mirror(const struct fixture *f, const struct oci_fetch *fetch,
			     const struct fetch_sink *sink, struct err *err)
{
	if (!f->mirrors || fetch->is_origin_only || fetch->offset >= f->mirrors_size)
		return 0;
	*fetch->mirror = "the.mirror";
	return sink->take(sink->context,
			  span_of(f->mirrors + fetch->offset, f->mirrors_size - fetch->offset),
			  err);
}

static int fetch(void *context, const struct oci_fetch *fetch, const struct fetch_sink *sink,
		 struct err *err)
{
	struct fixture *f = context;
	const uint8_t *bytes = f->bytes ? f->bytes : f->content;
	const uint64_t size = f->bytes ? f->size : CONTENT_BYTES;
	uint64_t at = fetch->offset;
	int r;

	atomic_fetch_add(&f->fetches, 1);
	f->last_offset = fetch->offset;
	f->origin_only += fetch->is_origin_only ? 1U : 0U;
	r = fetch_from_mirror(f, fetch, sink, err);
	if (r < 0)
		return r;
	if (f->mirrors && !fetch->is_origin_only && at < f->mirrors_size)
		at = f->mirrors_size;
	if (f->origin_fails && at < size)
		return err_set(err, ERR_NOT_FOUND, "the origin has it not");
	while (at < size) {
		uint64_t n = size - at < PIECE_BYTES ? size - at : PIECE_BYTES;

		if (f->stop_after && at >= f->stop_after) {
			if (!f->is_cancel)
				return err_set(err, ERR_TIMEOUT, "stalled");
			cancel_fire(&f->reached);
			r = cancel_poll(fetch->cancel, -1, 0, UINT64_MAX);
			return err_sys(err, r, "wait");
		}
		r = sink->take(sink->context, span_of(bytes + at, n), err);
		if (r < 0)
			return r;
		atomic_fetch_add(&f->sent, n);
		at += n;
	}
	if (f->before_end)
		f->before_end(f);
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = mem_alloc(1, sizeof(*f));
	char name[] = "/tmp/oci-blobs-XXXXXX";
	struct err err = ERR_INIT;

	assert_non_null(mkdtemp(name));
	f->dir = mem_strdup(name);
	f->content = mem_alloc(CONTENT_BYTES + 1, 1);
	for (size_t i = 0; i < CONTENT_BYTES + 1; i++)
		f->content[i] = (uint8_t)(i * 7 + i / 251);
	assert_int_equal(oci_digest_of(OCI_SHA256, span_of(f->content, CONTENT_BYTES),
				       &f->blob.digest, &err),
			 0);
	f->blob.size = CONTENT_BYTES;
	assert_int_equal(cancel_init(&f->reached), 0);
	assert_int_equal(oci_blobs_open(f->dir, &f->blobs, &err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	oci_blobs_free(f->blobs);
	assert_int_equal(dir_remove_tree(AT_FDCWD, f->dir), 0);
	cancel_done(&f->reached);
	mem_free(f->content);
	mem_free(f->dir);
	mem_free(f);
	return 0;
}

static int get(struct fixture *f, const struct cancel *cancel, int *ret_fd, struct err *err)
{
	const struct oci_blob_source source = {
		.fetch = fetch, .context = f, .origin = "the.origin", .cancel = cancel
	};

	*err = ERR_INIT;
	return oci_blobs_get(f->blobs, &f->blob, &source, ret_fd, err);
}

static char *final_path(const struct fixture *f)
{
	return mem_printf("%s/blobs/sha256/%s", f->dir, oci_digest_hex(&f->blob.digest));
}

static char *partial_path(const struct fixture *f)
{
	return mem_printf("%s/partial/sha256-%s", f->dir, oci_digest_hex(&f->blob.digest));
}

/* The size of a file, or -1 when there is none. */
static long long size_of(char *path)
{
	struct stat status;
	const long long size = stat(path, &status) < 0 ? -1 : (long long)status.st_size;

	mem_free(path);
	return size;
}

static void check_content(struct fixture *f, int fd)
{
	AUTO_FREE uint8_t *got = mem_alloc(CONTENT_BYTES, 1);
	uint8_t more;

	assert_int_equal(fd_read_exact(fd, got, CONTENT_BYTES), 0);
	assert_memory_equal(got, f->content, CONTENT_BYTES);
	CHECK_INT(fd_read_some(fd, &more, 1), 0);
	CHECK_INT(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	fd_close(fd);
}

static void write_file(char *path, const uint8_t *bytes, size_t size)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(fd_write_all(fd, span_of(bytes, size)), 0);
	mem_free(path);
}

/* What another process that fetched a blob would have made. */
static void make_folder(const struct fixture *f)
{
	AUTO_FREE char *path = mem_printf("%s/blobs/sha256", f->dir);

	assert_int_equal(dir_make_path(path, 0700), 0);
}

static void test_get(void **state)
{
	struct fixture *f = *state;
	struct err err;
	int fd = -1;

	CHECK_INT(get(f, NULL, &fd, &err), 0);
	check_content(f, fd);
	CHECK_INT(size_of(final_path(f)), CONTENT_BYTES);
	CHECK_INT(size_of(partial_path(f)), -1);
	/* From the cache now, also after a restart. */
	CHECK_INT(get(f, NULL, &fd, &err), 0);
	check_content(f, fd);
	oci_blobs_free(f->blobs);
	CHECK_INT(oci_blobs_open(f->dir, &f->blobs, &err), 0);
	CHECK_INT(get(f, NULL, &fd, &err), 0);
	check_content(f, fd);
	CHECK_INT(f->fetches, 1);
}

static void test_sha512(void **state)
{
	struct fixture *f = *state;
	struct err err;
	int fd = -1;

	assert_int_equal(oci_digest_of(OCI_SHA512, span_of(f->content, CONTENT_BYTES),
				       &f->blob.digest, &err),
			 0);
	CHECK_INT(get(f, NULL, &fd, &err), 0);
	check_content(f, fd);
	CHECK_INT(
		size_of(mem_printf("%s/blobs/sha512/%s", f->dir, oci_digest_hex(&f->blob.digest))),
		CONTENT_BYTES);
}

/* A blob whose bytes or size are not what was said: refused, and nothing is left of it. */
static void test_wrong(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE uint8_t *flipped = mem_alloc(CONTENT_BYTES + 1, 1);
	const struct {
		const uint8_t *bytes;
		uint64_t sent, said;
		const char *message;
	} rows[] = {
		{ flipped, CONTENT_BYTES, CONTENT_BYTES, "has the digest sha256:" },
		{ f->content, CONTENT_BYTES - 1, CONTENT_BYTES,
		  "ended after 299999 of its 300000" },
		{ f->content, CONTENT_BYTES + 1, CONTENT_BYTES, "longer than its 300000 bytes" },
		{ f->content, CONTENT_BYTES, CONTENT_BYTES - 1, "longer than its 299999 bytes" },
		{ f->content, CONTENT_BYTES, CONTENT_BYTES + 1,
		  "ended after 300000 of its 300001" },
		{ f->content, CONTENT_BYTES + 1, CONTENT_BYTES + 1, "has the digest sha256:" },
		{ f->content, 0, CONTENT_BYTES, "ended after 0 of its 300000" },
	};

	memcpy(flipped, f->content, CONTENT_BYTES);
	flipped[CONTENT_BYTES - 1] ^= 1;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err;
		int fd = -1;

		f->bytes = rows[i].bytes;
		f->size = rows[i].sent;
		f->blob.size = rows[i].said;
		CHECK_ROW(i, get(f, NULL, &fd, &err) == -EPROTO);
		CHECK_INT(err.kind, ERR_PROTOCOL);
		CHECK_HAS(err.message, rows[i].message);
		CHECK_ROW(i, fd == -1);
		CHECK_INT(size_of(final_path(f)), -1);
		CHECK_INT(size_of(partial_path(f)), -1);
		CHECK_INT(f->fetches, i + 1);
	}
}

/* A mirror that lies costs a fetch from the origin; only when that lies as well is it the end. */
static void test_lying_mirror(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE uint8_t *flipped = mem_alloc(CONTENT_BYTES + 1, 1);
	const struct {
		const uint8_t *mirrors;
		uint64_t mirrors_size;
		size_t partial; /* wrong bytes from before */
		const uint8_t *origins;
		bool origin_fails;
		unsigned int fetches, origin_only;
		const char *message; /* NULL: it succeeds */
	} rows[] = {
		{ f->content, CONTENT_BYTES, 0, NULL, false, 1, 0, NULL },
		{ flipped, CONTENT_BYTES, 0, NULL, false, 2, 1, NULL },
		{ flipped, 1, 0, NULL, false, 2, 1, NULL }, /* it broke off, the origin went on */
		{ flipped, 0, 0, flipped, false, 1, 0, "the content has the digest" },
		{ flipped, CONTENT_BYTES, 0, flipped, false, 2, 1,
		  "neither the mirror 'the.mirror' nor 'the.origin' has it whole: the content "
		  "has" },
		{ flipped, CONTENT_BYTES, 0, NULL, true, 2, 1,
		  "the mirror 'the.mirror' has it damaged: the origin has it not" },
		/* What was there before is suspected first. */
		{ f->content, CONTENT_BYTES, 9, NULL, false, 2, 0, NULL },
		{ flipped, CONTENT_BYTES, 9, NULL, false, 3, 1, NULL },
		{ NULL, 0, 9, flipped, false, 2, 0, "the content has the digest" },
	};

	for (size_t i = 0; i < CONTENT_BYTES; i++)
		flipped[i] = (uint8_t)~f->content[i];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *partial = mem_printf("%s/partial", f->dir);
		struct oci_blobs_usage usage;
		struct err err;
		int fd = -1;
		int r;

		CHECK_INT(oci_blobs_prune(f->blobs, false, &usage, &err), 0);
		assert_int_equal(dir_make_path(partial, 0700), 0);
		if (rows[i].partial > 0)
			write_file(partial_path(f), flipped, rows[i].partial);
		f->mirrors = rows[i].mirrors;
		f->mirrors_size = rows[i].mirrors_size;
		f->bytes = rows[i].origins;
		f->size = CONTENT_BYTES;
		f->origin_fails = rows[i].origin_fails;
		f->fetches = f->origin_only = 0;
		r = get(f, NULL, &fd, &err);
		CHECK_ROW(i, (r == 0) == !rows[i].message);
		if (r == 0)
			check_content(f, fd);
		else
			CHECK_HAS(err.message, rows[i].message);
		CHECK_INT(f->fetches, rows[i].fetches);
		CHECK_INT(f->origin_only, rows[i].origin_only);
		CHECK_INT(f->last_offset, 0);
	}
}

static void look_around(struct fixture *f)
{
	CHECK_INT(size_of(final_path(f)), -1);
	CHECK_INT(size_of(partial_path(f)), CONTENT_BYTES);
}

static void test_invisible_until_verified(void **state)
{
	struct fixture *f = *state;
	struct err err;
	int fd = -1;

	f->before_end = look_around;
	CHECK_INT(get(f, NULL, &fd, &err), 0);
	check_content(f, fd);
}

static void test_resume(void **state)
{
	struct fixture *f = *state;
	struct err err;
	int fd = -1;

	f->stop_after = 100000;
	CHECK_INT(get(f, NULL, &fd, &err), -ETIMEDOUT);
	CHECK_HAS(err.message, "stalled");
	CHECK_INT(size_of(final_path(f)), -1);
	CHECK_INT(size_of(partial_path(f)), 7 * PIECE_BYTES);
	f->stop_after = 0;
	CHECK_INT(get(f, NULL, &fd, &err), 0);
	check_content(f, fd);
	CHECK_INT(f->last_offset, 7 * PIECE_BYTES);
	CHECK_INT(f->sent, CONTENT_BYTES);
}

/* What is there from before may be anything. */
static void test_old_partials(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE uint8_t *wrong = mem_alloc(CONTENT_BYTES + 1, 1);
	AUTO_FREE char *partial = mem_printf("%s/partial", f->dir);
	const struct {
		const uint8_t *bytes;
		size_t size;
		unsigned int fetches;
		uint64_t last_offset;
	} rows[] = {
		{ f->content, 1, 1, 1 },
		{ f->content, CONTENT_BYTES - 1, 1, CONTENT_BYTES - 1 },
		{ f->content, CONTENT_BYTES, 0, 77 }, /* whole, but not yet renamed */
		{ f->content, 0, 1, 0 },
		{ wrong, 100, 2, 0 }, /* zeros of a crash: found wrong at the end */
		{ wrong, CONTENT_BYTES, 1, 0 },
		{ f->content, CONTENT_BYTES + 1, 1, 0 },
	};

	assert_int_equal(mkdir(partial, 0700), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct oci_blobs_usage usage;
		struct err err;
		int fd = -1;

		CHECK_INT(oci_blobs_prune(f->blobs, false, &usage, &err), 0);
		f->fetches = 0;
		f->last_offset = 77;
		write_file(partial_path(f), rows[i].bytes, rows[i].size);
		CHECK_ROW(i, get(f, NULL, &fd, &err) == 0);
		check_content(f, fd);
		CHECK_INT(f->fetches, rows[i].fetches);
		CHECK_INT(f->last_offset, rows[i].last_offset);
		CHECK_INT(size_of(partial_path(f)), -1);
	}
}

/* What has the final name is not the blob (any more): replaced. */
static void test_damaged_whole(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE uint8_t *flipped = mem_alloc(CONTENT_BYTES + 1, 1);
	const struct {
		const uint8_t *bytes;
		size_t size;
	} rows[] = {
		{ f->content, CONTENT_BYTES - 1 },
		{ f->content, CONTENT_BYTES + 1 },
		{ f->content, 0 },
		{ flipped, CONTENT_BYTES },
	};

	memcpy(flipped, f->content, CONTENT_BYTES);
	flipped[7] ^= 1;
	make_folder(f);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *path = final_path(f);
		struct err err;
		int fd = -1;

		(void)unlink(path);
		write_file(final_path(f), rows[i].bytes, rows[i].size);
		CHECK_ROW(i, get(f, NULL, &fd, &err) == 0);
		CHECK_INT(err.kind, ERR_NONE);
		check_content(f, fd);
		CHECK_INT(f->fetches, i + 1);
		CHECK_ROW(i, get(f, NULL, &fd, &err) == 0);
		check_content(f, fd);
		CHECK_INT(f->fetches, i + 1);
	}
}

#define ASKERS 20

struct asker {
	struct fixture *fixture;
	const struct cancel *cancel;
	pthread_t thread;
	int r;
	int fd;
	struct err err;
};

static void *ask(void *context)
{
	struct asker *asker = context;

	asker->fd = -1;
	asker->r = get(asker->fixture, asker->cancel, &asker->fd, &asker->err);
	return NULL;
}

static void test_twenty(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE struct asker *askers = mem_alloc(ASKERS, sizeof(*askers));

	for (size_t i = 0; i < ASKERS; i++) {
		askers[i] = (struct asker){ .fixture = f };
		assert_int_equal(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
	}
	for (size_t i = 0; i < ASKERS; i++) {
		assert_int_equal(pthread_join(askers[i].thread, NULL), 0);
		CHECK_ROW(i, askers[i].r == 0);
		check_content(f, askers[i].fd);
	}
	CHECK_INT(f->fetches, 1);
	CHECK_INT(f->sent, CONTENT_BYTES);
}

/* The one who downloads is cancelled half way: one who waits goes on from there. */
static void test_takeover(void **state)
{
	struct fixture *f = *state;
	CLEANUP(cancel_done) struct cancel cancel = CANCEL_INIT;
	struct asker first = { .fixture = f, .cancel = &cancel }, second = { .fixture = f };

	assert_int_equal(cancel_init(&cancel), 0);
	f->stop_after = 8 * PIECE_BYTES;
	f->is_cancel = true;
	assert_int_equal(pthread_create(&first.thread, NULL, ask, &first), 0);
	assert_true(cancel_poll(NULL, f->reached.fd, 1 /* POLLIN */, UINT64_MAX) > 0);
	f->stop_after = 0;
	assert_int_equal(pthread_create(&second.thread, NULL, ask, &second), 0);
	cancel_fire(&cancel);
	assert_int_equal(pthread_join(first.thread, NULL), 0);
	assert_int_equal(pthread_join(second.thread, NULL), 0);
	CHECK_INT(first.err.kind, ERR_CANCELLED);
	CHECK_INT(first.fd, -1);
	CHECK_INT(second.r, 0);
	check_content(f, second.fd);
	CHECK_INT(f->fetches, 2);
	CHECK_INT(f->sent, CONTENT_BYTES);
}

/* A waiter gives up without disturbing who downloads. */
static void test_cancelled_waiter(void **state)
{
	struct fixture *f = *state;
	CLEANUP(cancel_done) struct cancel stop = CANCEL_INIT, fired = CANCEL_INIT;
	struct asker first = { .fixture = f, .cancel = &stop };
	struct err err;
	int fd = -1;

	assert_int_equal(cancel_init(&stop), 0);
	assert_int_equal(cancel_init(&fired), 0);
	cancel_fire(&fired);
	f->stop_after = PIECE_BYTES;
	f->is_cancel = true;
	assert_int_equal(pthread_create(&first.thread, NULL, ask, &first), 0);
	assert_true(cancel_poll(NULL, f->reached.fd, 1, UINT64_MAX) > 0);
	CHECK_INT(get(f, &fired, &fd, &err), -ECANCELED);
	CHECK_INT(err.kind, ERR_CANCELLED);
	cancel_fire(&stop);
	assert_int_equal(pthread_join(first.thread, NULL), 0);
	CHECK_INT(size_of(partial_path(f)), PIECE_BYTES);
}

/* Another process has the partial file; it finishes, or it dies. */
static void test_other_process(void **state)
{
	struct fixture *f = *state;
	CLEANUP(cancel_done) struct cancel fired = CANCEL_INIT;
	AUTO_FREE char *partial = partial_path(f), *whole = final_path(f);
	struct asker asker = { .fixture = f };
	AUTO_CLOSE int lock_fd = -1;
	struct err err;
	int fd = -1;

	f->stop_after = PIECE_BYTES;
	CHECK_INT(get(f, NULL, &fd, &err), -ETIMEDOUT);
	lock_fd = open(partial, O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(lock_fd, LOCK_EX), 0);
	assert_int_equal(cancel_init(&fired), 0);
	cancel_fire(&fired);
	CHECK_INT(get(f, &fired, &fd, &err), -ECANCELED);
	/* It finishes: what waits finds the whole. */
	assert_int_equal(pthread_create(&asker.thread, NULL, ask, &asker), 0);
	assert_int_equal(fd_pwrite_all(lock_fd, span_of(f->content, CONTENT_BYTES), 0), 0);
	make_folder(f);
	assert_int_equal(rename(partial, whole), 0);
	fd_assign(&lock_fd, -1);
	assert_int_equal(pthread_join(asker.thread, NULL), 0);
	CHECK_INT(asker.r, 0);
	check_content(f, asker.fd);
	CHECK_INT(f->fetches, 1);
	CHECK_INT(size_of(partial_path(f)), -1);
}

static void test_prune(void **state)
{
	struct fixture *f = *state;
	struct oci_blobs_usage usage = { .files = 77 };
	struct err err;
	int fd = -1;

	CHECK_INT(oci_blobs_prune(f->blobs, false, &usage, &err), 0);
	CHECK_INT(usage.files, 0);
	CHECK_INT(usage.bytes, 0);
	CHECK_INT(get(f, NULL, &fd, &err), 0);
	CHECK_INT(oci_blobs_prune(f->blobs, true, &usage, &err), 0);
	CHECK_INT(usage.files, 1);
	assert_true(usage.bytes >= CONTENT_BYTES);
	CHECK_INT(size_of(final_path(f)), CONTENT_BYTES);
	CHECK_INT(oci_blobs_prune(f->blobs, false, &usage, &err), 0);
	CHECK_INT(usage.files, 1);
	CHECK_INT(size_of(final_path(f)), -1);
	/* Who has it keeps it. */
	check_content(f, fd);
	/* A partial file that nobody fetches, and a folder that a killed prune left. */
	f->stop_after = PIECE_BYTES;
	CHECK_INT(get(f, NULL, &fd, &err), -ETIMEDOUT);
	{
		AUTO_FREE char *blobs = mem_printf("%s/blobs", f->dir);
		AUTO_FREE char *aside = mem_printf("%s/.old-blobs-1-2", f->dir);

		make_folder(f);
		write_file(final_path(f), f->content, 10);
		assert_int_equal(rename(blobs, aside), 0);
	}
	CHECK_INT(oci_blobs_prune(f->blobs, true, &usage, &err), 0);
	CHECK_INT(usage.files, 2);
	CHECK_INT(oci_blobs_prune(f->blobs, false, &usage, &err), 0);
	CHECK_INT(usage.files, 2);
	CHECK_INT(size_of(partial_path(f)), -1);
	CHECK_INT(size_of(mem_printf("%s/.old-blobs-1-2", f->dir)), -1);
}

static void prune_now(struct fixture *f)
{
	struct oci_blobs_usage usage;
	struct err err = ERR_INIT;

	CHECK_INT(oci_blobs_prune(f->blobs, false, &usage, &err), 0);
	CHECK_INT(usage.files, 0);
}

static void test_prune_during_fetch(void **state)
{
	struct fixture *f = *state;
	struct err err;
	int fd = -1;

	f->before_end = prune_now;
	CHECK_INT(get(f, NULL, &fd, &err), 0);
	check_content(f, fd);
	CHECK_INT(size_of(final_path(f)), CONTENT_BYTES);
}

static void remove_all(struct fixture *f)
{
	assert_int_equal(dir_remove_tree(AT_FDCWD, f->dir), 0);
}

/* Somebody deletes the whole cache by hand. */
static void test_removed_during_fetch(void **state)
{
	struct fixture *f = *state;
	struct err err;
	int fd = -1;

	f->before_end = remove_all;
	CHECK_INT(get(f, NULL, &fd, &err), 0);
	check_content(f, fd);
	CHECK_INT(size_of(final_path(f)), -1);
	f->before_end = NULL;
	CHECK_INT(get(f, NULL, &fd, &err), 0);
	check_content(f, fd);
	CHECK_INT(size_of(final_path(f)), CONTENT_BYTES);
}

struct contest {
	struct fixture *fixture;
	_Atomic bool is_over;
	_Atomic unsigned int failures;
};

static void *prune_again_and_again(void *context)
{
	struct contest *contest = context;
	struct oci_blobs_usage usage;
	struct err err = ERR_INIT;

	while (!contest->is_over) {
		if (oci_blobs_prune(contest->fixture->blobs, false, &usage, &err) < 0)
			atomic_fetch_add(&contest->failures, 1);
	}
	return NULL;
}

static void test_prunes_all_the_time(void **state)
{
	struct fixture *f = *state;
	struct contest contest = { .fixture = f };
	pthread_t pruners[2];

	for (size_t i = 0; i < ARRAY_LEN(pruners); i++)
		assert_int_equal(pthread_create(&pruners[i], NULL, prune_again_and_again, &contest),
				 0);
	for (int i = 0; i < 100; i++) {
		struct err err;
		int fd = -1;

		CHECK_INT(get(f, NULL, &fd, &err), 0);
		check_content(f, fd);
	}
	contest.is_over = true;
	for (size_t i = 0; i < ARRAY_LEN(pruners); i++)
		assert_int_equal(pthread_join(pruners[i], NULL), 0);
	CHECK_INT(contest.failures, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_get, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sha512, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lying_mirror, setup, teardown),
		cmocka_unit_test_setup_teardown(test_invisible_until_verified, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resume, setup, teardown),
		cmocka_unit_test_setup_teardown(test_old_partials, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_twenty, setup, teardown),
		cmocka_unit_test_setup_teardown(test_takeover, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancelled_waiter, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_process, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prune, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prune_during_fetch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_removed_during_fetch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prunes_all_the_time, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
