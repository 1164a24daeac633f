/*
 * What is true of a VM only while it runs. Kept in memory by vm_table and, for the daemon that
 * comes after a crash, in handles.json; the database does not have it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "base/spawn.h"
#include "daemon/machine_key.h"
#include "net/address.h"
#include "vmm/engine.h"

struct handles {
	pid_t pid;
	uint64_t start_time; /* clock ticks since boot */
	char boot_id[BOOT_ID_SIZE];
	enum vmm_engine engine;
	enum vmm_accelerator accelerator;
	bool has_network;		     /* it was started with a network device */
	char address[NET_ADDRESS_TEXT_SIZE]; /* the guest's there, or "" when it is not known */
	char machine_key[MACHINE_KEY_SIZE];  /* what it was started with, or "" when that is not
						known */
	pid_t lease_pid; /* the client that an ephemeral VM lives for; 0: none */
	uint64_t lease_start_time;
};

/* Reads the bytes of handles.json. Pure. ERR_PROTOCOL for anything that we would not have written.
 */
int handles_parse(struct span text, struct handles *ret, struct err *err) MUST_CHECK;
void handles_format(const struct handles *handles, struct buf *out);

/* ERR_NOT_FOUND when there is no file. */
struct daemon;
int handles_load(const struct daemon *daemon, const char *id, struct handles *ret, struct err *err)
	MUST_CHECK;
/* Whether a file could not be read for want of something: then it may say anything. */
bool handles_is_shortage(int errnum);

int handles_save(const struct daemon *daemon, const char *id, const struct handles *handles,
		 struct err *err) MUST_CHECK;
int handles_remove(const struct daemon *daemon, const char *id, struct err *err) MUST_CHECK;
