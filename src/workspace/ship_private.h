/* One shipping, shared by the files that it takes: ship.c and ship_pack.c. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "workspace/manifest.h"
#include "workspace/plan.h"
#include "workspace/prepare.h"

#define PATH_SAID_MAX 4096

/* One shipping, from what the guest has to what it is to have. */
struct ship {
	struct workspace *workspace;
	const struct workspace_way *way;
	const struct workspace_ship *wish;
	struct workspace_result *result;
	struct buf said;	   /* owned: what the guest said of itself */
	struct guest_look look;	   /* into it */
	struct manifest_head had;  /* owned: what it was given last */
	struct span had_entries;   /* into `said` */
	struct manifest_head gets; /* owned: what it is to have */
	struct plan plan;	   /* owned */
	struct buf manifest;	   /* owned: its head; the entries are the scan's */
	char *folder;		   /* owned: where it is done */
	int hold_fd;		   /* owned: while it is open, a folder that is being made stays */
	char pack_name[GIT_OID_HEX_MAX + 1];
	char put_name[GIT_OID_HEX_MAX + 1]; /* of the branch under refs/banger/put/ */
	bool moves_head;
};

static inline bool ship_is_first(const struct ship *ship)
{
	return ship->look.state != GUEST_OURS && ship->look.state != GUEST_HALF;
}

/* Objects that the guest lacks; the first time also the repository that takes them. Sets
 * ship->folder. */
int ship_send_objects(struct ship *ship, struct err *err) MUST_CHECK;
