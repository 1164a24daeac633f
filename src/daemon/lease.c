#include "daemon/lease.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/text.h"
#include "model/names.h"

struct entry {
	char id[VM_ID_SIZE];
	struct lease lease;
};

struct leases {
	pthread_mutex_t mutex;
	struct entry *entries; /* owned; as many as there are clients of ephemeral VMs, so a list
				  will do */
	size_t count;
};

struct leases *leases_new(void)
{
	struct leases *leases = mem_alloc(1, sizeof(*leases));

	(void)pthread_mutex_init(&leases->mutex, NULL);
	return leases;
}

void leases_free(struct leases *leases)
{
	if (!leases)
		return;
	(void)pthread_mutex_destroy(&leases->mutex);
	mem_free(leases->entries);
	mem_free(leases);
}

static struct entry *find(const struct leases *leases, const char *id)
{
	for (size_t i = 0; i < leases->count; i++) {
		if (str_eq(leases->entries[i].id, id))
			return &leases->entries[i];
	}
	return NULL;
}

void lease_put(struct leases *leases, const char *id, const struct lease *lease)
{
	struct entry *entry;

	(void)pthread_mutex_lock(&leases->mutex);
	entry = find(leases, id);
	if (!entry) {
		leases->entries =
			mem_grow(leases->entries, leases->count + 1, sizeof(*leases->entries));
		entry = &leases->entries[leases->count++];
		(void)snprintf(entry->id, sizeof(entry->id), "%s", id);
	}
	entry->lease = *lease;
	(void)pthread_mutex_unlock(&leases->mutex);
}

/* The last entry takes the place of the one that goes. */
static void forget(struct leases *leases, struct entry *entry)
{
	*entry = leases->entries[--leases->count];
}

void lease_drop(struct leases *leases, const char *id)
{
	struct entry *entry;

	(void)pthread_mutex_lock(&leases->mutex);
	entry = find(leases, id);
	if (entry)
		forget(leases, entry);
	(void)pthread_mutex_unlock(&leases->mutex);
}

bool lease_get(struct leases *leases, const char *id, struct lease *ret)
{
	const struct entry *entry;

	(void)pthread_mutex_lock(&leases->mutex);
	entry = find(leases, id);
	if (entry)
		*ret = entry->lease;
	(void)pthread_mutex_unlock(&leases->mutex);
	return entry != NULL;
}

bool lease_is_held(struct leases *leases, const char *id)
{
	struct lease lease;
	int fd;

	if (!lease_get(leases, id, &lease))
		return false;
	if (lease.connection != 0)
		return true;
	if (lease.pid <= 0)
		return false;
	fd = process_open(lease.pid, lease.start_time);
	fd_close(fd);
	return fd != -ESRCH;
}

bool lease_is_own(struct leases *leases, const char *id)
{
	struct lease lease;

	return lease_get(leases, id, &lease) && lease.connection == 0 && lease.pid == getpid();
}

void leases_end(struct leases *leases, uint64_t connection, struct strv *ids)
{
	(void)pthread_mutex_lock(&leases->mutex);
	for (size_t i = leases->count; i-- > 0;) {
		if (leases->entries[i].lease.connection != connection)
			continue;
		strv_add(ids, leases->entries[i].id);
		forget(leases, &leases->entries[i]);
	}
	(void)pthread_mutex_unlock(&leases->mutex);
}
