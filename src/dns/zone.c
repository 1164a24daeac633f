#include "dns/zone.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"

struct entry {
	char name[DNS_LABEL_BYTES_MAX + 1];
	uint32_t address;
};

struct dns_zone {
	pthread_rwlock_t lock;
	struct entry *entries; /* owned; in order of names */
	size_t count;
	size_t room;
	uint32_t serial;
};

struct dns_zone *dns_zone_new(void)
{
	struct dns_zone *zone = mem_alloc(1, sizeof(*zone));
	const int r = pthread_rwlock_init(&zone->lock, NULL);

	assert(r == 0);
	zone->serial = 1;
	return zone;
}

void dns_zone_free(struct dns_zone *zone)
{
	if (!zone)
		return;
	(void)pthread_rwlock_destroy(&zone->lock);
	mem_free(zone->entries);
	mem_free(zone);
}

/* Where `name` is, or where it would have to be. */
static bool search(const struct dns_zone *zone, const char *name, size_t *ret)
{
	size_t from = 0, to = zone->count;

	while (from < to) {
		const size_t middle = from + (to - from) / 2;
		const int order = strcmp(zone->entries[middle].name, name);

		if (order == 0) {
			*ret = middle;
			return true;
		}
		if (order < 0)
			from = middle + 1;
		else
			to = middle;
	}
	*ret = from;
	return false;
}

static void insert(struct dns_zone *zone, size_t at, const char *name)
{
	if (zone->count == zone->room) {
		zone->room = zone->room ? zone->room * 2 : 16;
		zone->entries = mem_grow(zone->entries, zone->room, sizeof(*zone->entries));
	}
	memmove(zone->entries + at + 1, zone->entries + at,
		(zone->count - at) * sizeof(*zone->entries));
	zone->entries[at] = (struct entry){ 0 };
	memcpy(zone->entries[at].name, name, strlen(name) + 1);
	zone->count++;
}

void dns_zone_set(struct dns_zone *zone, const char *name, uint32_t address)
{
	size_t at;

	assert(strlen(name) <= DNS_LABEL_BYTES_MAX);
	(void)pthread_rwlock_wrlock(&zone->lock);
	if (!search(zone, name, &at))
		insert(zone, at, name);
	zone->entries[at].address = address;
	zone->serial++;
	(void)pthread_rwlock_unlock(&zone->lock);
}

void dns_zone_remove(struct dns_zone *zone, const char *name)
{
	size_t at;

	(void)pthread_rwlock_wrlock(&zone->lock);
	if (search(zone, name, &at)) {
		zone->count--;
		memmove(zone->entries + at, zone->entries + at + 1,
			(zone->count - at) * sizeof(*zone->entries));
		zone->serial++;
	}
	(void)pthread_rwlock_unlock(&zone->lock);
}

/* False when no VM can be called so. */
static bool to_name(struct span label, char name[static DNS_LABEL_BYTES_MAX + 1])
{
	if (label.len == 0 || label.len > DNS_LABEL_BYTES_MAX)
		return false;
	for (size_t i = 0; i < label.len; i++) {
		const uint8_t byte = label.ptr[i];

		if (byte == '\0')
			return false;
		name[i] = (char)(byte >= 'A' && byte <= 'Z' ? byte - 'A' + 'a' : byte);
	}
	name[label.len] = '\0';
	return true;
}

enum dns_found dns_zone_find(struct dns_zone *zone, struct span label, uint32_t *ret_address)
{
	char name[DNS_LABEL_BYTES_MAX + 1];
	enum dns_found found = DNS_UNKNOWN;
	uint32_t address = 0;
	size_t at;

	if (!to_name(label, name))
		return DNS_UNKNOWN;
	(void)pthread_rwlock_rdlock(&zone->lock);
	if (search(zone, name, &at)) {
		address = zone->entries[at].address;
		found = address ? DNS_ADDRESS : DNS_NO_ADDRESS;
	}
	(void)pthread_rwlock_unlock(&zone->lock);
	if (found == DNS_ADDRESS)
		*ret_address = address;
	return found;
}

uint32_t dns_zone_serial(struct dns_zone *zone)
{
	uint32_t serial;

	(void)pthread_rwlock_rdlock(&zone->lock);
	serial = zone->serial;
	(void)pthread_rwlock_unlock(&zone->lock);
	return serial;
}
