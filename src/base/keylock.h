/*
 * Locks by name: one holder a key, waiters in the order they came, waiting can be cancelled. Keys
 * exist only while they are held, so any number of VMs costs nothing. All functions may be called
 * from any thread.
 */
#pragma once

#include <stdbool.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"

struct keylock;

/* Each release writes to the eventfd `notify_fd` (borrowed; -1 for none): for who only tries. */
struct keylock *keylock_new(int notify_fd) MUST_CHECK;

/* Nothing may be held any more. NULL is accepted. */
void keylock_free(struct keylock *locks);
DEFINE_FREEP(keylock, keylock_free);

/* A held key, released by keylock_release() or at the end of its scope. */
struct keyhold {
	struct keylock *locks; /* borrowed; NULL when nothing is held */
	char *key;	       /* owned */
};

#define KEYHOLD_INIT ((struct keyhold){ .locks = NULL })

/* Waits its turn. ERR_CANCELLED, or ERR_SYSTEM when descriptors are gone. */
int keylock_acquire(struct keylock *locks, const char *key, const struct cancel *cancel,
		    struct keyhold *ret, struct err *err) MUST_CHECK;

/* Takes the key if nobody has it: whether it did. */
bool keylock_try(struct keylock *locks, const char *key, struct keyhold *ret) MUST_CHECK;

/* Gives the key to who waited longest. Nothing held is accepted. */
void keylock_release(struct keyhold *hold);

#define AUTO_KEYHOLD CLEANUP(keylock_release) struct keyhold
