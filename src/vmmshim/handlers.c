#include "vmmshim/handlers.h"

#include <stdlib.h>

#include "base/json.h"
#include "vmmshim/snapshot.h"

/* Says what the caller must do. */
static int act(struct api_outcome *ret, enum api_action action, uint64_t number)
{
	ret->action = action;
	ret->number = number;
	return 0;
}

HANDLER(handle_get_info)
{
	static const char *const names[API_PHASE_COUNT] = {
		[API_NOT_STARTED] = "Not started",
		[API_RUNNING] = "Running",
		[API_PAUSED] = "Paused",
	};

	(void)body;
	(void)err;
	ret->result = json_new_object();
	json_put_str(ret->result, "id", api->id);
	json_put_str(ret->result, "state", names[api->phase]);
	json_put_str(ret->result, "vmm_version", API_FIRECRACKER_VERSION);
	json_put_str(ret->result, "app_name", "banger-vmm");
	return 0;
}

HANDLER(handle_get_version)
{
	(void)api;
	(void)body;
	(void)err;
	ret->result = json_new_object();
	json_put_str(ret->result, "firecracker_version", API_FIRECRACKER_VERSION);
	return 0;
}

HANDLER(handle_get_config)
{
	(void)body;
	(void)err;
	ret->result = config_write(&api->config);
	return 0;
}

HANDLER(handle_get_machine)
{
	(void)body;
	(void)err;
	ret->result = config_write_machine(&api->config);
	return 0;
}

/* --- balloon --- */

static int need_balloon(const struct api *api, const char *what, struct err *err)
{
	if (api->config.balloon.given != 0)
		return 0;
	return err_set(err, ERR_NOT_FOUND, "%s: No balloon device found.", what);
}

HANDLER(handle_get_balloon)
{
	const int r = need_balloon(api, "Balloon config error", err);

	(void)body;
	if (r == 0)
		ret->result = shape_write(&balloon_shape, &api->config.balloon);
	return r;
}

HANDLER(handle_get_balloon_stats)
{
	const int r = need_balloon(api, "Internal VMM error", err);

	(void)body;
	if (r < 0)
		return r;
	if (api->config.balloon.stats_polling_interval_s == 0)
		return err_set(err, ERR_BAD_STATE,
			       "Internal VMM error: Balloon: Received stats query when stats are "
			       "disabled.");
	return act(ret, API_GET_BALLOON_STATS, 0);
}

HANDLER(handle_put_balloon)
{
	(void)ret;
	return config_put_balloon(&api->config, &body->balloon, err);
}

HANDLER(handle_patch_balloon)
{
	const uint64_t amount = body->balloon_patch.amount_mib;
	const int r = need_balloon(api, "Balloon update error", err);

	if (r < 0)
		return r;
	if (amount > api->config.machine.mem_size_mib)
		return err_set(
			err, ERR_INVALID,
			"Balloon update error: Balloon: Requested memory should be less than "
			"%uMiB",
			(unsigned)api->config.machine.mem_size_mib);
	return act(ret, API_SET_BALLOON, amount);
}

HANDLER(handle_patch_balloon_stats)
{
	const uint64_t old = api->config.balloon.stats_polling_interval_s;
	const uint64_t interval = body->balloon_stats_patch.stats_polling_interval_s;
	const int r = need_balloon(api, "Balloon update error", err);

	if (r < 0)
		return r;
	if ((old == 0) != (interval == 0))
		return err_set(err, ERR_BAD_STATE,
			       "Balloon update error: Balloon: Statistics cannot be "
			       "enabled/disabled after activation.");
	return interval == 0 ? 0 : act(ret, API_SET_BALLOON_INTERVAL, interval);
}

/* --- actions --- */

HANDLER(handle_action)
{
	int r;

	switch ((enum action_type)body->action.action_type) {
	case ACTION_FLUSH_METRICS:
		r = api_check_phase(api, API_WHEN_AFTER, err);
		return r < 0 ? r : api->ops->flush_metrics(api->context, err);
	case ACTION_INSTANCE_START:
		r = api_check_phase(api, API_WHEN_BEFORE, err);
		if (r < 0)
			return r;
		if (api->config.boot.given == 0)
			return err_set(err, ERR_BAD_STATE,
				       "Start microvm error: Cannot start microvm without kernel "
				       "configuration.");
		return act(ret, API_START, 0);
	case ACTION_SEND_CTRL_ALT_DEL:
		r = api_check_phase(api, API_WHEN_AFTER, err);
		return r < 0 ? r : act(ret, API_CTRL_ALT_DEL, 0);
	}
	abort(); /* the table of words has no others */
}

HANDLER(handle_patch_vm)
{
	(void)api;
	(void)err;
	return act(ret, body->vm.state == STATE_PAUSED ? API_PAUSE : API_RESUME, 0);
}

/* --- configuration --- */

HANDLER(handle_put_boot)
{
	(void)ret;
	return config_put_boot(&api->config, &body->boot, err);
}

HANDLER(handle_put_drive)
{
	(void)ret;
	return config_put_drive(&api->config, &body->drive, err);
}

HANDLER(handle_patch_drive)
{
	(void)ret;
	return config_check_drive_patch(&api->config, &body->drive_patch, err);
}

HANDLER(handle_put_net)
{
	(void)ret;
	return config_put_net(&api->config, &body->net, err);
}

HANDLER(handle_patch_net)
{
	(void)ret;
	return config_check_net_patch(&api->config, &body->net_patch, err);
}

HANDLER(handle_put_vsock)
{
	(void)ret;
	return config_put_vsock(&api->config, &body->vsock, err);
}

HANDLER(handle_put_entropy)
{
	(void)ret;
	return config_put_entropy(&api->config, &body->entropy, err);
}

HANDLER(handle_put_serial)
{
	(void)ret;
	return config_put_serial(&api->config, &body->serial, err);
}

/* A PUT says everything: what is not given goes back to its default. */
HANDLER(handle_put_machine)
{
	(void)ret;
	body->machine.given |=
		1U << MACHINE_SMT | 1U << MACHINE_DIRTY_PAGES | 1U << MACHINE_HUGE_PAGES;
	return config_update_machine(&api->config, &body->machine, err);
}

HANDLER(handle_patch_machine)
{
	(void)ret;
	if (body->machine.given == 0)
		return err_set(err, ERR_INVALID, "Empty PATCH request.");
	return config_update_machine(&api->config, &body->machine, err);
}

HANDLER(handle_put_logger)
{
	const int r = api->ops->set_logger(api->context, &body->logger, err);

	(void)ret;
	if (r < 0)
		return r;
	shape_done(&logger_shape, &api->config.logger);
	api->config.logger = body->logger;
	body->logger = (struct logger_body){ 0 };
	return 0;
}

HANDLER(handle_put_metrics)
{
	int r;

	(void)ret;
	if (api->config.metrics.given != 0)
		return err_set(
			err, ERR_BAD_STATE,
			"Metrics error: Cannot initialize the metrics system due to bad user "
			"input: The metrics system was already initialized.");
	r = api->ops->set_metrics(api->context, &body->metrics, err);
	if (r < 0)
		return r;
	api->config.metrics = body->metrics;
	body->metrics = (struct metrics_body){ 0 };
	return 0;
}

HANDLER(handle_snapshot_create)
{
	const int r = snapshot_check_create(&body->snapshot_create, api->phase == API_PAUSED, err);

	if (r < 0)
		return r;
	shape_done(&snapshot_create_shape, &api->snapshot_create);
	api->snapshot_create = body->snapshot_create;
	body->snapshot_create = (struct snapshot_create_body){ .given = 0 };
	return act(ret, API_CREATE_SNAPSHOT, 0);
}

HANDLER(handle_snapshot_load)
{
	const bool has_file = field_given(body->given, LOAD_MEM_FILE);
	const bool has_backend = field_given(body->given, LOAD_MEM_BACKEND);
	int r;

	if (has_file == has_backend)
		return err_set(
			err, ERR_INVALID,
			"An error occurred when deserializing the json body of a request: %s: "
			"either `mem_backend` or `mem_file_path` %s required.",
			has_file ? "too many fields" : "missing field",
			has_file ? "exclusively is" : "is");
	r = api_check_phase(api, API_WHEN_BEFORE, err);
	if (r < 0)
		return r;
	if (api->is_configured)
		return err_set(err, ERR_BAD_STATE,
			       "Load snapshot error: Loading a microVM snapshot not allowed after "
			       "configuring boot-specific resources.");
	r = snapshot_check_load(&body->snapshot_load, err);
	if (r < 0)
		return r;
	shape_done(&snapshot_load_shape, &api->snapshot_load);
	api->snapshot_load = body->snapshot_load;
	body->snapshot_load = (struct snapshot_load_body){ .given = 0 };
	return act(ret, API_LOAD_SNAPSHOT, 0);
}
