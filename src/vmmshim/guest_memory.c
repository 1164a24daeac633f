#include "vmmshim/guest_memory.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"

#define PAGE	    4096ULL /* x86's */
#define CHUNK_PAGES (GUEST_MEMORY_CHUNK / PAGE)
#define PAGE_THERE  (3ULL << 62) /* present or swapped; Documentation/admin-guide/mm/pagemap.rst */
#define PAGE_FILE   (1ULL << 61) /* a file's own page, or shared memory */

int guest_memory_begin(struct guest_memory *memory, struct err *err)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/pagemap", memory->pid);
	memory->map_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (memory->map_fd < 0)
		return err_sys(err, -errno, "look into QEMU's memory");
	memory->chunk = mem_alloc(1, GUEST_MEMORY_CHUNK);
	memory->is_reflinked =
		memory->base_fd >= 0 && ioctl(memory->out_fd, FICLONE, memory->base_fd) == 0;
	if (ftruncate(memory->out_fd, (off_t)memory->size) < 0)
		return err_sys(err, -errno, "write the memory file");
	return 0;
}

static int read_pages(const struct guest_memory *memory, uint64_t offset, uint64_t size)
{
	uint64_t done = 0;

	while (done < size) {
		const struct iovec local = { .iov_base = memory->chunk + done,
					     .iov_len = size - done };
		const struct iovec remote = {
			/* NOLINTNEXTLINE(performance-no-int-to-ptr): in the other process */
			.iov_base = (void *)(uintptr_t)(memory->address + offset + done),
			.iov_len = size - done,
		};
		const ssize_t n = process_vm_readv(memory->pid, &local, 1, &remote, 1, 0);

		if (n <= 0)
			return n < 0 ? -errno : -EFAULT;
		done += (uint64_t)n;
	}
	return 0;
}

static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0;
}

/* Writes what was read; a page of zeros over a hole needs no writing. */
static int write_pages(const struct guest_memory *memory, uint64_t offset, uint64_t size)
{
	uint64_t from = 0;

	while (from < size) {
		uint64_t to = from;
		int r;

		while (to < size && (memory->base_fd >= 0 || !is_zero(memory->chunk + to)))
			to += PAGE;
		if (to > from) {
			r = fd_pwrite_all(memory->out_fd, span_of(memory->chunk + from, to - from),
					  offset + from);
			if (r < 0)
				return r;
		}
		from = to < size ? to + PAGE : to;
	}
	return 0;
}

/* The runs of pages in the chunk at `offset` that are the process's own. */
static int copy_own(struct guest_memory *memory, uint64_t offset, const uint64_t *pages,
		    uint64_t count, struct err *err)
{
	const uint64_t unwanted = memory->base_fd >= 0 ? PAGE_FILE : 0;
	uint64_t first = 0;

	while (first < count) {
		uint64_t next = first;
		int r;

		while (next < count && (pages[next] & PAGE_THERE) != 0 &&
		       (pages[next] & unwanted) == 0)
			next++;
		if (next > first) {
			const uint64_t start = offset + first * PAGE;
			const uint64_t size = (next - first) * PAGE;

			r = read_pages(memory, start, size);
			if (r < 0)
				return err_sys(err, r, "read the guest's memory");
			memory->read += size;
			r = write_pages(memory, start, size);
			if (r < 0)
				return err_sys(err, r, "write the memory file");
		}
		first = next + 1;
	}
	return 0;
}

int guest_memory_step(struct guest_memory *memory, struct err *err)
{
	const uint64_t offset = memory->done;
	const uint64_t left = memory->size - offset;
	const uint64_t size = left < GUEST_MEMORY_CHUNK ? left : GUEST_MEMORY_CHUNK;
	uint64_t pages[CHUNK_PAGES];
	ssize_t n;
	int r = 0;

	if (size == 0)
		return 0;
	n = pread(memory->map_fd, pages, size / PAGE * sizeof(pages[0]),
		  (off_t)((memory->address + offset) / PAGE * sizeof(pages[0])));
	if (n != (ssize_t)(size / PAGE * sizeof(pages[0])))
		return err_sys(err, n < 0 ? -errno : -ENODATA, "look into QEMU's memory");
	if (memory->base_fd >= 0 && !memory->is_reflinked)
		r = file_copy_range(memory->base_fd, memory->out_fd, offset, offset + size, NULL);
	if (r < 0)
		return err_sys(err, r, "copy the memory file");
	r = copy_own(memory, offset, pages, size / PAGE, err);
	if (r < 0)
		return r;
	memory->done += size;
	return memory->done < memory->size ? 1 : 0;
}

void guest_memory_done(struct guest_memory *memory)
{
	fd_closep(&memory->map_fd);
	mem_free(memory->chunk);
	memory->chunk = NULL;
}
