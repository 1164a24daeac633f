/*
 * The operations behind the routes: each takes a body that has the right form, in a phase that
 * allows it, and changes the configuration, fills in a result, or names an action. `body` stays the
 * caller's to release, less what was taken over.
 */
#pragma once

#include "vmmshim/api.h"

#define HANDLER(name) \
	int name(struct api *api, union any_body *body, struct api_outcome *ret, struct err *err)

HANDLER(handle_get_info);
HANDLER(handle_get_version);
HANDLER(handle_get_config);
HANDLER(handle_get_machine);
HANDLER(handle_get_balloon);
HANDLER(handle_get_balloon_stats);
HANDLER(handle_action);
HANDLER(handle_put_balloon);
HANDLER(handle_patch_balloon);
HANDLER(handle_patch_balloon_stats);
HANDLER(handle_put_boot);
HANDLER(handle_put_drive);
HANDLER(handle_patch_drive);
HANDLER(handle_put_entropy);
HANDLER(handle_put_logger);
HANDLER(handle_put_machine);
HANDLER(handle_patch_machine);
HANDLER(handle_put_metrics);
HANDLER(handle_put_net);
HANDLER(handle_patch_net);
HANDLER(handle_put_serial);
HANDLER(handle_put_vsock);
HANDLER(handle_patch_vm);
HANDLER(handle_snapshot_create);
HANDLER(handle_snapshot_load);
