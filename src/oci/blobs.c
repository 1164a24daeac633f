#include "oci/blobs.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "oci/blobs_private.h"
#include "oci/verify.h"

#define HASH_CHUNK_BYTES 65536
#define LOCK_TRY_MS	 100 /* flock() cannot be waited for together with a cancel */
#define PRUNES_MAX	 32  /* that take a folder away just when it is needed */

/* One blob being fetched. All but the descriptors and the verifier borrowed. */
struct job {
	struct oci_blobs *blobs;
	const struct oci_descriptor *blob;
	const struct oci_blob_source *source;
	int64_t began;	    /* wall clock, as files have it */
	int partial_dir_fd; /* owned */
	int fd;		    /* owned: the partial file, locked */
	char name[OCI_DIGEST_TEXT_SIZE];
	bool is_wrong; /* the bytes are not those of the digest; not a failure of fetching them */
	bool is_origin_only;
	const char *mirror; /* that gave any of the bytes; NULL: none did */
	struct oci_verifier verifier;
};

static void job_done(struct job *job)
{
	fd_close(job->fd);
	fd_close(job->partial_dir_fd);
	oci_verifier_done(&job->verifier);
}

int oci_blobs_open(const char *cache_dir, struct oci_blobs **ret, struct err *err)
{
	CLEANUP(oci_blobs_freep) struct oci_blobs *blobs = mem_alloc(1, sizeof(*blobs));
	int r;

	assert(cache_dir[0] == '/');
	blobs->dir = mem_strdup(cache_dir);
	blobs->locks = keylock_new(-1);
	r = dir_make_path(cache_dir, 0700);
	if (r < 0)
		return err_sys(err, r, "make the cache '%s'", cache_dir);
	*ret = TAKE_PTR(blobs);
	return 0;
}

void oci_blobs_free(struct oci_blobs *blobs)
{
	if (!blobs)
		return;
	keylock_free(blobs->locks);
	mem_free(blobs->dir);
	mem_free(blobs);
}

/*
 * Opens a folder of the cache, made if it is missing. By path each time: a prune, or the user, may
 * have taken the last one away, or be about to.
 */
static int open_folder(const struct oci_blobs *blobs, const char *folder, const char *subfolder)
{
	AUTO_FREE char *path = mem_printf("%s/%s%s%s", blobs->dir, folder, subfolder ? "/" : "",
					  subfolder ? subfolder : "");
	int r = -ENOENT;

	for (unsigned int i = 0; r == -ENOENT && i < PRUNES_MAX; i++) {
		r = dir_make_path(path, 0700);
		if (r == 0)
			r = dir_open(path);
	}
	return r;
}

static int read_failed(const struct oci_blobs *blobs, int r, struct err *err)
{
	return err_sys(err, r, "read the cache '%s'", blobs->dir);
}

/* Opens what has the blob's final name; *ret_fd is -1 when that is no file of its size. */
static int open_final(const struct job *job, int *ret_fd, struct err *err)
{
	const struct oci_digest *digest = &job->blob->digest;
	AUTO_FREE char *path =
		mem_printf("%s/" BLOBS_FOLDER "/%s/%s", job->blobs->dir,
			   oci_algorithm_name(digest->algorithm), oci_digest_hex(digest));
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat status;

	*ret_fd = -1;
	if (fd < 0 && errno != ENOENT && errno != ELOOP)
		return read_failed(job->blobs, -errno, err);
	if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
	    (uint64_t)status.st_size == job->blob->size)
		*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Whether the file got its name since the job began: then its bytes were verified just now. */
static bool is_new(const struct job *job, int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 && status.st_ctime > job->began;
}

/*
 * Opens the blob if it is there: *ret_fd is -1 when it is not, or when it has been damaged since it
 * was stored; what will be fetched then replaces that.
 */
static int open_whole(const struct job *job, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r = open_final(job, &fd, err);

	*ret_fd = -1;
	if (r < 0 || fd < 0)
		return r;
	if (!is_new(job, fd)) {
		r = oci_verify_file(fd, job->blob, "download", job->source->cancel,
				    job->source->progress, err);
		if (r < 0 && err->kind == ERR_PROTOCOL) {
			*err = ERR_INIT;
			return 0;
		}
		if (r < 0)
			return err_context(err, r, "the cache '%s'", job->blobs->dir);
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Whether the descriptor is still what the name means, and not what somebody has moved or removed.
 */
static bool is_linked(int dir_fd, const char *name, int fd)
{
	struct stat by_name, by_fd;

	return fstatat(dir_fd, name, &by_name, AT_SYMLINK_NOFOLLOW) == 0 &&
	       fstat(fd, &by_fd) == 0 && by_name.st_dev == by_fd.st_dev &&
	       by_name.st_ino == by_fd.st_ino;
}

/* Waits for other processes. -errno. */
static int lock_file(int fd, const struct cancel *cancel)
{
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int r;

		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		r = cancel_poll(cancel, -1, 0, clock_now_ns() + LOCK_TRY_MS * NSEC_PER_MSEC);
		if (r < 0 && r != -ETIMEDOUT)
			return r;
	}
	return 0;
}

/* Opens and locks the partial file, made if it is missing. */
static int lock_partial(struct job *job, struct err *err)
{
	const struct oci_digest *digest = &job->blob->digest;
	int r = open_folder(job->blobs, PARTIAL_FOLDER, NULL);

	if (r < 0)
		return err_sys(err, r, "open the cache '%s'", job->blobs->dir);
	job->partial_dir_fd = r;
	(void)snprintf(job->name, sizeof(job->name), "%s-%s", oci_algorithm_name(digest->algorithm),
		       oci_digest_hex(digest));
	do {
		fd_assign(&job->fd,
			  openat(job->partial_dir_fd, job->name,
				 O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
		r = job->fd < 0 ? -errno : lock_file(job->fd, job->source->cancel);
		if (r < 0)
			return err_sys(err, r, "lock '%s' in the cache '%s'", job->name,
				       job->blobs->dir);
	} while (!is_linked(job->partial_dir_fd, job->name, job->fd));
	failpoint("oci.blob.partial");
	return 0;
}

static void report(const struct job *job)
{
	progress_report(job->source->progress, "download", job->blob->digest.text,
			job->verifier.taken, job->blob->size);
}

static int write_failed(const struct job *job, int r, struct err *err)
{
	const int result = err_sys(err, r, "write to the cache '%s'", job->blobs->dir);

	if (r == -ENOSPC || r == -EDQUOT)
		err_hint(err, "'banger image cache prune' frees what can be downloaded again");
	return result;
}

/* Hashes what is there already; anything that cannot be its beginning is thrown away. */
static int rehash(struct job *job, struct err *err)
{
	AUTO_FREE uint8_t *chunk = mem_alloc(HASH_CHUNK_BYTES, 1);
	struct stat status;
	ssize_t n;
	int r = oci_verifier_begin(&job->verifier, &job->blob->digest, job->blob->size, err);

	if (r < 0)
		return r;
	if (fstat(job->fd, &status) < 0)
		return read_failed(job->blobs, -errno, err);
	if (!S_ISREG(status.st_mode))
		return err_set(err, ERR_INVALID, "'%s' in the cache '%s' is not a file", job->name,
			       job->blobs->dir);
	if ((uint64_t)status.st_size > job->blob->size)
		return ftruncate(job->fd, 0) < 0 ? write_failed(job, -errno, err) : 0;
	if (lseek(job->fd, 0, SEEK_SET) < 0)
		return read_failed(job->blobs, -errno, err);
	while ((n = fd_read_some(job->fd, chunk, HASH_CHUNK_BYTES)) > 0) {
		r = oci_verifier_take(&job->verifier, span_of(chunk, (size_t)n), err);
		if (r == 0)
			r = cancel_check(job->source->cancel, err);
		if (r < 0)
			return r;
	}
	return n < 0 ? read_failed(job->blobs, (int)n, err) : 0;
}

static int take(void *context, struct span bytes, struct err *err)
{
	struct job *job = context;
	const uint64_t offset = job->verifier.taken;
	int r = oci_verifier_take(&job->verifier, bytes, err);

	if (r < 0) {
		job->is_wrong = true;
		return r;
	}
	r = fd_pwrite_all(job->fd, bytes, offset);
	if (r < 0)
		return write_failed(job, r, err);
	failpoint("oci.blob.written");
	report(job);
	return 0;
}

/* From what is there to all of it, verified. */
static int fill(struct job *job, bool *ret_had_some, struct err *err)
{
	const struct fetch_sink sink = { .take = take, .context = job };
	struct oci_fetch fetch = { .blob = job->blob,
				   .is_origin_only = job->is_origin_only,
				   .mirror = &job->mirror,
				   .cancel = job->source->cancel };
	int r = rehash(job, err);

	if (r < 0)
		return r;
	report(job);
	fetch.offset = job->verifier.taken;
	*ret_had_some = fetch.offset > 0;
	if (fetch.offset < job->blob->size)
		r = job->source->fetch(job->source->context, &fetch, &sink, err);
	if (r < 0)
		return err_negative(r);
	r = oci_verifier_finish(&job->verifier, err);
	job->is_wrong = r < 0;
	return r;
}

/* Whether the wrong bytes may be somebody's who need not be asked the next time. */
static bool has_suspect(struct job *job, bool had_some)
{
	if (!job->is_wrong)
		return false;
	if (had_some) { /* what a crash left, perhaps; the next time there is nothing */
		job->mirror = NULL;
		return true;
	}
	if (!job->mirror || job->is_origin_only)
		return false;
	job->is_origin_only = true;
	return true;
}

/* The file without its old bytes, which have not the digest. */
static int start_over(struct job *job, struct err *err)
{
	job->is_wrong = false;
	*err = ERR_INIT;
	return ftruncate(job->fd, 0) < 0 ? write_failed(job, -errno, err) : 0;
}

/* Leaves what a later try can go on with, and nothing else. */
static void leave_partial(struct job *job)
{
	struct stat status;

	if (job->is_wrong || (fstat(job->fd, &status) == 0 && status.st_size == 0))
		(void)unlinkat(job->partial_dir_fd, job->name, 0);
}

/* What the user should know of the mirror when the origin failed as well. */
static int name_mirror(const struct job *job, int r, struct err *err)
{
	if (!job->is_origin_only || err->kind == ERR_CANCELLED)
		return r;
	if (job->is_wrong)
		return err_context(err, r, "neither the mirror '%s' nor '%s' has it whole",
				   job->mirror, job->source->origin);
	return err_context(err, r, "the mirror '%s' has it damaged", job->mirror);
}

static int fill_or_leave(struct job *job, struct err *err)
{
	bool had_some = false;
	int r = fill(job, &had_some, err);

	while (r < 0 && has_suspect(job, had_some)) {
		r = start_over(job, err);
		if (r == 0)
			r = fill(job, &had_some, err);
	}
	if (r < 0) {
		leave_partial(job);
		return name_mirror(job, r, err);
	}
	failpoint("oci.blob.verified");
	return 0;
}

/* Moves the verified file to its final name. */
static int publish(struct job *job, struct err *err)
{
	const char *folder = oci_algorithm_name(job->blob->digest.algorithm);
	int r = 0;

	if (fsync(job->fd) < 0)
		return write_failed(job, -errno, err);
	failpoint("oci.blob.synced");
	for (unsigned int i = 0; i < PRUNES_MAX; i++) {
		AUTO_CLOSE int dir_fd = open_folder(job->blobs, BLOBS_FOLDER, folder);

		if (dir_fd < 0)
			return write_failed(job, dir_fd, err);
		if (renameat(job->partial_dir_fd, job->name, dir_fd,
			     oci_digest_hex(&job->blob->digest)) == 0) {
			failpoint("oci.blob.renamed");
			/* Not before: a partial file that nobody may write would never be whole. */
			if (fchmod(job->fd, 0400) < 0 || fsync(dir_fd) < 0)
				return write_failed(job, -errno, err);
			return 0;
		}
		r = -errno;
		if (r != -ENOENT)
			break;
		/* Somebody emptied the cache by hand. Our caller has the file all the same. */
		if (!is_linked(job->partial_dir_fd, job->name, job->fd))
			return 0;
	}
	return write_failed(job, r, err);
}

/* The same file for reading only, wherever its name is now. */
static int reopen(const struct job *job, int *ret_fd, struct err *err)
{
	char path[sizeof("/proc/self/fd/") + 11];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", job->fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, -errno, "open %s in the cache", job->blob->digest.text);
	*ret_fd = fd;
	return 0;
}

static int fetch_blob(struct job *job, int *ret_fd, struct err *err)
{
	int r = lock_partial(job, err);

	/* Another process may have been faster. */
	if (r == 0)
		r = open_whole(job, ret_fd, err);
	if (r < 0)
		return r;
	if (*ret_fd >= 0) {
		leave_partial(job);
		return 0;
	}
	r = fill_or_leave(job, err);
	if (r == 0)
		r = publish(job, err);
	return r < 0 ? r : reopen(job, ret_fd, err);
}

int oci_blobs_get(struct oci_blobs *blobs, const struct oci_descriptor *blob,
		  const struct oci_blob_source *source, int *ret_fd, struct err *err)
{
	CLEANUP(job_done)
	struct job job = { .blobs = blobs,
			   .blob = blob,
			   .source = source,
			   .began = clock_wall_seconds(),
			   .partial_dir_fd = -1,
			   .fd = -1,
			   .verifier = OCI_VERIFIER_INIT };
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	int fd = -1;
	int r = open_whole(&job, &fd, err);

	if (r == 0 && fd < 0) {
		r = keylock_acquire(blobs->locks, blob->digest.text, source->cancel, &hold, err);
		/* Who held the key may have fetched it. */
		if (r == 0)
			r = open_whole(&job, &fd, err);
		if (r == 0 && fd < 0)
			r = fetch_blob(&job, &fd, err);
	}
	if (r < 0)
		return r;
	progress_report(source->progress, "download", blob->digest.text, blob->size, blob->size);
	*ret_fd = fd;
	return 0;
}
