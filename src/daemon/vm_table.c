#include "daemon/vm_table.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"

/*
 * epoll carries the slot's index and generation, never a pointer: an event for a VM that was taken
 * out meanwhile meets another generation and is dropped.
 */
struct slot {
	bool is_used;
	uint32_t generation;
	char id[VM_ID_SIZE];
	struct handles handles;
	int pidfd; /* owned */
};

struct vm_table {
	pthread_mutex_t mutex;
	int epoll_fd;	    /* owned */
	struct slot *slots; /* owned; as many as ever ran at a time */
	size_t slot_count;
	size_t used;
	uint32_t generation;
	_Atomic uint64_t changes;
};

int vm_table_new(struct vm_table **ret, struct err *err)
{
	struct vm_table *table;
	const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

	if (epoll_fd < 0)
		return err_sys(err, -errno, "make the table of VMs");
	table = mem_alloc(1, sizeof(*table));
	(void)pthread_mutex_init(&table->mutex, NULL);
	table->epoll_fd = epoll_fd;
	*ret = table;
	return 0;
}

void vm_table_free(struct vm_table *table)
{
	if (!table)
		return;
	for (size_t i = 0; i < table->slot_count; i++) {
		if (table->slots[i].is_used)
			fd_close(table->slots[i].pidfd);
	}
	mem_free(table->slots);
	fd_close(table->epoll_fd);
	(void)pthread_mutex_destroy(&table->mutex);
	mem_free(table);
}

static struct slot *find(struct vm_table *table, const char *id)
{
	for (size_t i = 0; i < table->slot_count; i++) {
		if (table->slots[i].is_used && str_eq(table->slots[i].id, id))
			return &table->slots[i];
	}
	return NULL;
}

static size_t free_slot(struct vm_table *table)
{
	size_t i = 0;

	while (i < table->slot_count && table->slots[i].is_used)
		i++;
	if (i == table->slot_count) {
		const size_t count = table->slot_count ? table->slot_count * 2 : 8;

		table->slots = mem_grow(table->slots, count, sizeof(*table->slots));
		memset(table->slots + table->slot_count, 0,
		       (count - table->slot_count) * sizeof(*table->slots));
		table->slot_count = count;
	}
	return i;
}

int vm_table_add(struct vm_table *table, const char *id, const struct handles *handles, int pidfd,
		 struct err *err)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT };
	struct slot *slot;
	size_t index;
	int r = 0;

	(void)pthread_mutex_lock(&table->mutex);
	assert(!find(table, id) && strlen(id) < sizeof(slot->id));
	index = free_slot(table);
	slot = &table->slots[index];
	*slot = (struct slot){ .generation = ++table->generation,
			       .handles = *handles,
			       .pidfd = pidfd };
	memcpy(slot->id, id, strlen(id) + 1);
	event.data.u64 = (uint64_t)index << 32 | slot->generation;
	if (epoll_ctl(table->epoll_fd, EPOLL_CTL_ADD, pidfd, &event) < 0) {
		r = -errno;
	} else {
		slot->is_used = true;
		table->used++;
		table->changes++;
	}
	(void)pthread_mutex_unlock(&table->mutex);
	if (r < 0) {
		fd_close(pidfd);
		return err_sys(err, r, "watch process %d", (int)handles->pid);
	}
	return 0;
}

void vm_table_remove(struct vm_table *table, const char *id)
{
	struct slot *slot;

	(void)pthread_mutex_lock(&table->mutex);
	slot = find(table, id);
	if (slot) {
		/* Others may hold copies of the pidfd: closing ours alone would not take it out of
		 * epoll. */
		(void)epoll_ctl(table->epoll_fd, EPOLL_CTL_DEL, slot->pidfd, NULL);
		fd_close(slot->pidfd);
		*slot = (struct slot){ .pidfd = -1 };
		table->used--;
		table->changes++;
	}
	(void)pthread_mutex_unlock(&table->mutex);
}

bool vm_table_get(struct vm_table *table, const char *id, struct handles *ret, int *ret_pidfd)
{
	const struct slot *slot;

	(void)pthread_mutex_lock(&table->mutex);
	slot = find(table, id);
	if (slot && ret)
		*ret = slot->handles;
	if (slot && ret_pidfd)
		*ret_pidfd = fd_clone(slot->pidfd);
	(void)pthread_mutex_unlock(&table->mutex);
	return slot != NULL;
}

uint64_t vm_table_changes(const struct vm_table *table)
{
	return table->changes;
}

size_t vm_table_count(struct vm_table *table)
{
	size_t used;

	(void)pthread_mutex_lock(&table->mutex);
	used = table->used;
	(void)pthread_mutex_unlock(&table->mutex);
	return used;
}

int vm_table_watch_fd(const struct vm_table *table)
{
	return table->epoll_fd;
}

void vm_table_ended(struct vm_table *table, struct strv *ids)
{
	struct epoll_event events[16];
	int n;

	(void)pthread_mutex_lock(&table->mutex);
	while ((n = epoll_wait(table->epoll_fd, events, ARRAY_LEN(events), 0)) > 0) {
		for (int i = 0; i < n; i++) {
			const size_t index = (size_t)(events[i].data.u64 >> 32);
			const uint32_t generation = (uint32_t)(events[i].data.u64 & UINT32_MAX);
			const struct slot *slot;

			if (index >= table->slot_count)
				continue;
			slot = &table->slots[index];
			if (slot->is_used && slot->generation == generation)
				strv_add(ids, slot->id);
		}
	}
	(void)pthread_mutex_unlock(&table->mutex);
}
