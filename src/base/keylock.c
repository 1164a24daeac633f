#include "base/keylock.h"

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"

/*
 * A waiter sleeps on an eventfd of its own, because it must also hear its cancel. The releaser
 * marks it granted under the mutex, so that a waiter that is cancelled at that moment knows that
 * the key is its own and passes it on.
 */
struct waiter {
	struct cancel granted; /* fired when the key is ours */
	bool has_key;
	struct waiter *next;
};

struct entry {
	char *key;		/* owned */
	struct waiter *waiters; /* borrowed from their threads' stacks, oldest first */
	struct entry *next;
};

struct keylock {
	pthread_mutex_t mutex;
	struct entry *entries; /* held keys: as many as operations at a time, so a list will do */
	int notify_fd;	       /* borrowed */
};

struct keylock *keylock_new(int notify_fd)
{
	struct keylock *locks = mem_alloc(1, sizeof(*locks));

	(void)pthread_mutex_init(&locks->mutex, NULL);
	locks->notify_fd = notify_fd;
	return locks;
}

void keylock_free(struct keylock *locks)
{
	if (!locks)
		return;
	assert(!locks->entries);
	(void)pthread_mutex_destroy(&locks->mutex);
	mem_free(locks);
}

static struct entry **find(struct keylock *locks, const char *key)
{
	struct entry **at = &locks->entries;

	while (*at && !str_eq((*at)->key, key))
		at = &(*at)->next;
	return at;
}

static void hold_new(struct keylock *locks, const char *key)
{
	struct entry *entry = mem_alloc(1, sizeof(*entry));

	entry->key = mem_strdup(key);
	entry->next = locks->entries;
	locks->entries = entry;
}

bool keylock_try(struct keylock *locks, const char *key, struct keyhold *ret)
{
	bool is_free;

	(void)pthread_mutex_lock(&locks->mutex);
	is_free = !*find(locks, key);
	if (is_free)
		hold_new(locks, key);
	(void)pthread_mutex_unlock(&locks->mutex);
	if (is_free)
		*ret = (struct keyhold){ .locks = locks, .key = mem_strdup(key) };
	return is_free;
}

/* Queues for a held key. False when it was free and is ours now. */
static bool enqueue(struct keylock *locks, const char *key, struct waiter *waiter)
{
	struct entry *entry;
	struct waiter **end;

	(void)pthread_mutex_lock(&locks->mutex);
	entry = *find(locks, key);
	if (!entry) {
		hold_new(locks, key);
		(void)pthread_mutex_unlock(&locks->mutex);
		return false;
	}
	end = &entry->waiters;
	while (*end)
		end = &(*end)->next;
	*end = waiter;
	(void)pthread_mutex_unlock(&locks->mutex);
	return true;
}

/* Leaves the queue; false when the key had been given to us already. */
static bool leave(struct keylock *locks, const char *key, struct waiter *waiter)
{
	bool was_waiting;

	(void)pthread_mutex_lock(&locks->mutex);
	was_waiting = !waiter->has_key;
	if (was_waiting) {
		struct entry *entry = *find(locks, key);
		struct waiter **at;

		assert(entry);
		at = &entry->waiters;
		while (*at && *at != waiter)
			at = &(*at)->next;
		assert(*at);
		*at = waiter->next;
	}
	(void)pthread_mutex_unlock(&locks->mutex);
	return was_waiting;
}

int keylock_acquire(struct keylock *locks, const char *key, const struct cancel *cancel,
		    struct keyhold *ret, struct err *err)
{
	CLEANUP(cancel_done) struct cancel granted = CANCEL_INIT;
	struct waiter waiter;
	int r;

	if (keylock_try(locks, key, ret))
		return 0;
	r = cancel_init(&granted);
	if (r < 0)
		return err_sys(err, r, "wait for '%s'", key);
	waiter = (struct waiter){ .granted = granted };
	if (enqueue(locks, key, &waiter)) {
		r = cancel_poll(cancel, granted.fd, POLLIN, UINT64_MAX);
		/* Also when it is granted: with the mutex, what the last holder wrote is surely
		 * seen, and the releaser is done with our eventfd. */
		if (leave(locks, key, &waiter))
			return err_sys(err, r, "wait for '%s'", key);
	}
	*ret = (struct keyhold){ .locks = locks, .key = mem_strdup(key) };
	if (r < 0) {
		keylock_release(ret);
		return err_sys(err, r, "wait for '%s'", key);
	}
	return 0;
}

void keylock_release(struct keyhold *hold)
{
	struct keylock *locks = hold->locks;
	struct entry **at, *entry;

	if (!locks)
		return;
	(void)pthread_mutex_lock(&locks->mutex);
	at = find(locks, hold->key);
	entry = *at;
	assert(entry);
	if (entry->waiters) {
		struct waiter *next = entry->waiters;

		entry->waiters = next->next;
		next->has_key = true;
		/* Under the mutex: the waiter's stack is gone as soon as it has seen this. */
		cancel_fire(&next->granted);
	} else {
		*at = entry->next;
		mem_free(entry->key);
		mem_free(entry);
	}
	(void)pthread_mutex_unlock(&locks->mutex);
	if (locks->notify_fd >= 0)
		cancel_fire(&(struct cancel){ .fd = locks->notify_fd });
	mem_free(hold->key);
	*hold = KEYHOLD_INIT;
}
