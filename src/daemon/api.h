/* The RPC methods: their tables, one file a noun. A test holds them, docs/rpc.md and the dispatch
 * together. */
#pragma once

#include <stddef.h>

#include "base/strv.h"
#include "daemon/private.h"
#include "rpc/server.h"

extern const struct rpc_method api_daemon_methods[];
extern const size_t api_daemon_method_count;
extern const struct rpc_method api_vm_methods[];
extern const size_t api_vm_method_count;
extern const struct rpc_method api_fork_methods[];
extern const size_t api_fork_method_count;
extern const struct rpc_method api_snapshot_methods[];
extern const size_t api_snapshot_method_count;
extern const struct rpc_method api_ssh_methods[];
extern const size_t api_ssh_method_count;
extern const struct rpc_method api_workspace_methods[];
extern const size_t api_workspace_method_count;
extern const struct rpc_method api_stats_methods[];
extern const size_t api_stats_method_count;
extern const struct rpc_method api_image_methods[];
extern const size_t api_image_method_count;
extern const struct rpc_method api_kernel_methods[];
extern const size_t api_kernel_method_count;
extern const struct rpc_method api_template_methods[];
extern const size_t api_template_method_count;

/* All of them in one array, owned by the caller. */
struct rpc_method *api_methods(size_t *ret_count) MUST_CHECK;

/* Runs around every request: operation table, log. `context` is the daemon. */
int api_around(void *context, struct rpc_call *call, const struct rpc_method *method,
	       const void *params, json_t *result, struct err *err) MUST_CHECK;

/* "defaults" of daemon.status. */
json_t *api_defaults_json(const struct vm_defaults *defaults) MUST_CHECK;

/* Texts as an array. */
json_t *api_strings_json(const struct strv *list) MUST_CHECK;

/* A time as RFC 3339; null for 0, which is unknown. */
void api_put_time(json_t *json, const char *key, int64_t wall_seconds);

/* The call's cancel and progress as a job. */
struct job api_job(struct rpc_call *call);
