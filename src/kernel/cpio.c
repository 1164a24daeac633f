#include "kernel/cpio.h"

#include <archive.h>
#include <archive_entry.h>

#include "base/mem.h"

#define BLOCK_SIZE 512

struct cpio {
	struct archive *archive;     /* owned */
	struct archive_entry *entry; /* owned; used again for each member */
	struct buf *out;	     /* borrowed */
	size_t start;		     /* length of `out` before */
	int64_t members;
};

static la_ssize_t append(struct archive *archive, void *context, const void *bytes, size_t size)
{
	struct cpio *cpio = context;

	(void)archive;
	buf_add(cpio->out, span_of(bytes, size));
	return (la_ssize_t)size;
}

static int failed(const struct cpio *cpio, struct err *err)
{
	const char *why = cpio->archive ? archive_error_string(cpio->archive) : NULL;

	return err_set(err, ERR_SYSTEM, "write a cpio archive: %s", why ? why : "out of memory");
}

void cpio_free(struct cpio *cpio)
{
	if (!cpio)
		return;
	if (cpio->entry)
		archive_entry_free(cpio->entry);
	if (cpio->archive)
		(void)archive_write_free(cpio->archive);
	mem_free(cpio);
}

int cpio_new(struct buf *out, struct cpio **ret, struct err *err)
{
	CLEANUP(cpio_freep) struct cpio *cpio = mem_alloc(1, sizeof(*cpio));

	cpio->out = out;
	cpio->start = out->len;
	cpio->archive = archive_write_new();
	cpio->entry = archive_entry_new();
	/* Neither blocks nor padding: the kernel wants none, and cpio_finish() makes its own. */
	if (!cpio->archive || !cpio->entry ||
	    archive_write_set_format_cpio_newc(cpio->archive) != ARCHIVE_OK ||
	    archive_write_set_bytes_per_block(cpio->archive, 0) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(cpio->archive, 1) != ARCHIVE_OK ||
	    archive_write_open2(cpio->archive, cpio, NULL, append, NULL, NULL) != ARCHIVE_OK)
		return failed(cpio, err);
	*ret = TAKE_PTR(cpio);
	return 0;
}

static int add_header(struct cpio *cpio, const char *path, unsigned int type, mode_t mode,
		      uint64_t size, struct err *err)
{
	struct archive_entry *entry = archive_entry_clear(cpio->entry);

	archive_entry_set_pathname(entry, path);
	archive_entry_set_filetype(entry, type);
	archive_entry_set_perm(entry, mode);
	archive_entry_set_uid(entry, 0);
	archive_entry_set_gid(entry, 0);
	archive_entry_set_mtime(entry, 0, 0);
	archive_entry_set_nlink(entry, 1);
	archive_entry_set_ino64(entry, ++cpio->members);
	archive_entry_set_size(entry, (la_int64_t)size);
	return archive_write_header(cpio->archive, entry) == ARCHIVE_OK ? 0 : failed(cpio, err);
}

int cpio_add_dir(struct cpio *cpio, const char *path, mode_t mode, struct err *err)
{
	return add_header(cpio, path, AE_IFDIR, mode, 0, err);
}

int cpio_add_file(struct cpio *cpio, const char *path, mode_t mode, struct span content,
		  struct err *err)
{
	int r;

	r = add_header(cpio, path, AE_IFREG, mode, content.len, err);
	if (r < 0)
		return r;
	if (content.len > 0 &&
	    archive_write_data(cpio->archive, content.ptr, content.len) != (la_ssize_t)content.len)
		return failed(cpio, err);
	return 0;
}

int cpio_finish(struct cpio *cpio, struct err *err)
{
	if (archive_write_close(cpio->archive) != ARCHIVE_OK)
		return failed(cpio, err);
	while ((cpio->out->len - cpio->start) % BLOCK_SIZE != 0)
		buf_add_byte(cpio->out, 0);
	return 0;
}
