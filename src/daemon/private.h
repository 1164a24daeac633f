/* What the daemon's own files share. */
#pragma once

#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/keylock.h"
#include "base/progress.h"
#include "base/spawn.h"
#include "config/config.h"
#include "config/paths.h"
#include "model/spec.h"
#include "model/vm.h"
#include "store/store.h"

struct autostop;
struct engine;
struct leases;
struct listing;
struct names;
struct network;
struct oci_blobs;
struct operations;
struct priv;
struct publish;
struct resolver;
struct stats;
struct template_builder;
struct templates;
struct vm_table;

struct daemon {
	struct paths paths;
	struct config config;
	struct spec_host host;
	struct vm_defaults defaults;
	struct store *store;	       /* owned */
	struct keylock *locks;	       /* owned */
	struct operations *operations; /* owned */
	struct vm_table *table;	       /* owned */
	struct engine *engine;	       /* owned */
	struct leases *leases;	       /* owned */
	struct publish *publish;       /* owned: published ports */
	struct network *network;       /* owned */
	struct oci_blobs *blobs;       /* owned: what was downloaded */
	struct priv *priv;	       /* owned: what of VMs is in the kernel */
	struct stats *stats;	       /* owned: what VMs use */
	struct templates *templates;   /* owned: which VMs are begun from */
	struct listing *listing;       /* owned: the answer to vm.list */
	struct names *names;	       /* owned: what DNS says of the VMs */
	struct resolver *resolver;     /* owned while clients are served; how programs find them */
	struct template_builder *template_builder; /* as the next; NULL: none are built */
	struct autostop *autostop; /* owned while clients are served; NULL: VMs run for ever */
	struct cancel stop;	   /* fired by daemon.stop and by signals */
	struct cancel released;	   /* written at each release of a key: the watcher retries */
	uint64_t started_ns;
	char boot_id[BOOT_ID_SIZE];
	char *images_dir; /* owned, as the next four: absolute */
	char *kernels_dir;
	char *vms_dir;
	char *templates_dir;
	char *ssh_key_path; /* owned: the user's private key; its public half authorises */
	char *agent_path;   /* the static agent that travels in every initramfs */
};

/* Who is asked, by whom, and how to tell them. All borrowed; `cancel` and `progress` may be NULL.
 */
struct job {
	struct daemon *daemon;
	const struct cancel *cancel;
	const struct progress *progress;
	bool is_background; /* nobody waits for it: it has what the processors can spare, and makes
			     * no image and no kernel */
	bool is_for_copies; /* the guest will be copied: nothing of the user's goes into it */
};

/* With what is open of it; the rest is NULL, and may be. */
int daemon_open_network(struct daemon *daemon, struct err *err) MUST_CHECK;
void daemon_done(struct daemon *daemon);

/* Takes the VM's key; `id` is a full id. */
int daemon_lock_vm(struct daemon *daemon, const char *id, const struct cancel *cancel,
		   struct keyhold *ret, struct err *err) MUST_CHECK;

/* Finds the VM that a user's reference means and loads it; `ret` is uninitialised. */
int daemon_find_vm(struct daemon *daemon, const char *reference, struct vm *ret, struct err *err)
	MUST_CHECK;

/*
 * find, lock, and load again under the lock (somebody may have changed it while we waited). What an
 * earlier verb could not finish or undo is finished or undone first.
 */
int daemon_claim_vm(struct daemon *daemon, const char *reference, const struct cancel *cancel,
		    struct keyhold *ret_hold, struct vm *ret, struct err *err) MUST_CHECK;

/* The same for who ends it: that it stands still to be copied, and cannot go on, is no matter. */
int daemon_claim_vm_to_end(struct daemon *daemon, const char *reference,
			   const struct cancel *cancel, struct keyhold *ret_hold, struct vm *ret,
			   struct err *err) MUST_CHECK;

/* The same, but what was left half done stays so. */
int daemon_claim_vm_as_is(struct daemon *daemon, const char *reference, const struct cancel *cancel,
			  struct keyhold *ret_hold, struct vm *ret, struct err *err) MUST_CHECK;
