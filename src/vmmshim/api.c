#include "vmmshim/api.h"

#include <ctype.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "vmmshim/handlers.h"

#define PATH_PARTS_MAX 4
#define DESERIALIZE    "An error occurred when deserializing the json body of a request"

#define GET(path_, when_, function)                                                     \
	{                                                                               \
		.method = "GET", .path = (path_), .when = (when_), .handle = (function) \
	}
#define WITH_BODY(method_, path_, shape_, when_, function)                                 \
	{                                                                                  \
		.method = (method_), .path = (path_), .shape = &(shape_), .when = (when_), \
		.handle = (function)                                                       \
	}
#define REFUSED(method_, path_, shape_, when_, what)                                      \
	{                                                                                 \
		.method = (method_), .path = (path_), .shape = (shape_), .when = (when_), \
		.unsupported = (what)                                                     \
	}
#define ALWAYS API_WHEN_ALWAYS
#define BEFORE API_WHEN_BEFORE
#define AFTER  API_WHEN_AFTER

const struct api_route api_routes[] = {
	GET("/", ALWAYS, handle_get_info),
	GET("/version", ALWAYS, handle_get_version),
	GET("/vm/config", ALWAYS, handle_get_config),
	GET("/machine-config", ALWAYS, handle_get_machine),
	GET("/balloon", ALWAYS, handle_get_balloon),
	GET("/balloon/statistics", AFTER, handle_get_balloon_stats),
	REFUSED("GET", "/balloon/hinting/status", NULL, AFTER, "free page hinting"),
	REFUSED("GET", "/mmds", NULL, ALWAYS, "MMDS"),
	REFUSED("GET", "/hotplug/memory", NULL, AFTER, "memory hotplug"),

	WITH_BODY("PUT", "/actions", action_shape, ALWAYS, handle_action),
	WITH_BODY("PUT", "/balloon", balloon_shape, BEFORE, handle_put_balloon),
	WITH_BODY("PUT", "/boot-source", boot_shape, BEFORE, handle_put_boot),
	REFUSED("PUT", "/cpu-config", &cpu_config_shape, BEFORE, "a custom CPU template"),
	WITH_BODY("PUT", "/drives/{id}", drive_shape, BEFORE, handle_put_drive),
	WITH_BODY("PUT", "/entropy", entropy_shape, BEFORE, handle_put_entropy),
	REFUSED("PUT", "/hotplug/memory", &memory_hotplug_shape, BEFORE, "memory hotplug"),
	WITH_BODY("PUT", "/logger", logger_shape, BEFORE, handle_put_logger),
	WITH_BODY("PUT", "/machine-config", machine_shape, BEFORE, handle_put_machine),
	WITH_BODY("PUT", "/metrics", metrics_shape, BEFORE, handle_put_metrics),
	{ .method = "PUT",
	  .path = "/mmds",
	  .has_any_body = true,
	  .when = ALWAYS,
	  .unsupported = "MMDS" },
	REFUSED("PUT", "/mmds/config", &mmds_config_shape, BEFORE, "MMDS"),
	WITH_BODY("PUT", "/network-interfaces/{id}", net_shape, BEFORE, handle_put_net),
	REFUSED("PUT", "/pmem/{id}", &pmem_shape, BEFORE, "a pmem device"),
	WITH_BODY("PUT", "/serial", serial_shape, BEFORE, handle_put_serial),
	WITH_BODY("PUT", "/snapshot/create", snapshot_create_shape, AFTER, handle_snapshot_create),
	/* Its body has a rule of its own, which comes before the phase. */
	WITH_BODY("PUT", "/snapshot/load", snapshot_load_shape, ALWAYS, handle_snapshot_load),
	WITH_BODY("PUT", "/vsock", vsock_shape, BEFORE, handle_put_vsock),

	WITH_BODY("PATCH", "/balloon", balloon_patch_shape, AFTER, handle_patch_balloon),
	WITH_BODY("PATCH", "/balloon/statistics", balloon_stats_patch_shape, AFTER,
		  handle_patch_balloon_stats),
	{ .method = "PATCH",
	  .path = "/balloon/hinting/start",
	  .shape = &balloon_hinting_shape,
	  .is_body_optional = true,
	  .when = AFTER,
	  .unsupported = "free page hinting" },
	{ .method = "PATCH",
	  .path = "/balloon/hinting/stop",
	  .has_any_body = true,
	  .is_body_optional = true,
	  .when = AFTER,
	  .unsupported = "free page hinting" },
	WITH_BODY("PATCH", "/drives/{id}", drive_patch_shape, AFTER, handle_patch_drive),
	REFUSED("PATCH", "/hotplug/memory", &memory_hotplug_patch_shape, AFTER, "memory hotplug"),
	WITH_BODY("PATCH", "/machine-config", machine_patch_shape, BEFORE, handle_patch_machine),
	{ .method = "PATCH",
	  .path = "/mmds",
	  .has_any_body = true,
	  .when = ALWAYS,
	  .unsupported = "MMDS" },
	WITH_BODY("PATCH", "/network-interfaces/{id}", net_patch_shape, AFTER, handle_patch_net),
	REFUSED("PATCH", "/pmem/{id}", &pmem_patch_shape, AFTER, "a pmem device"),
	WITH_BODY("PATCH", "/vm", vm_shape, AFTER, handle_patch_vm),

	REFUSED("DELETE", "/drives/{id}", NULL, AFTER, "unplugging a drive"),
	REFUSED("DELETE", "/network-interfaces/{id}", NULL, AFTER,
		"unplugging a network interface"),
	REFUSED("DELETE", "/pmem/{id}", NULL, AFTER, "a pmem device"),
};
const size_t api_route_count = ARRAY_LEN(api_routes);

void api_init(struct api *api, const char *id, const struct api_ops *ops, void *context)
{
	*api = (struct api){ .id = id, .ops = ops, .context = context };
	config_init(&api->config);
}

void api_done(struct api *api)
{
	config_done(&api->config);
	shape_done(&snapshot_create_shape, &api->snapshot_create);
	shape_done(&snapshot_load_shape, &api->snapshot_load);
}

void api_fault(struct api_reply *reply, unsigned status, const char *text)
{
	AUTO_JSON *json = json_new_object();

	json_put_str(json, "fault_message", text);
	reply->status = status;
	buf_clear(&reply->body);
	json_write(json, &reply->body);
}

void api_complete(struct api_reply *reply, json_t *result, const struct err *failure)
{
	if (failure) {
		api_fault(reply, 400, failure->message);
	} else if (result) {
		reply->status = 200;
		json_write(result, &reply->body);
	} else {
		reply->status = 204;
	}
	json_decref(result);
}

/* --- paths --- */

struct parts {
	char text[256]; /* the path, cut at its slashes */
	const char *part[PATH_PARTS_MAX];
	size_t count; /* PATH_PARTS_MAX also means "more than any route has" */
};

static void split_path(const char *path, struct parts *ret)
{
	size_t len;

	*ret = (struct parts){ .count = 0 };
	while (*path == '/')
		path++;
	len = strlen(path);
	if (len > 0 && path[len - 1] == '/')
		len--;
	if (len == 0)
		return;
	if (len >= sizeof(ret->text)) {
		/* Longer than any path there is; its beginning still names it in the answer. */
		len = sizeof(ret->text) - 1;
		ret->count = PATH_PARTS_MAX;
	}
	memcpy(ret->text, path, len);
	for (char *rest = ret->text; rest && ret->count < PATH_PARTS_MAX;) {
		ret->part[ret->count++] = rest;
		rest = strchr(rest, '/');
		if (rest)
			*rest++ = '\0';
	}
	if (!ret->part[0]) {
		ret->part[0] = ret->text;
		ret->text[strcspn(ret->text, "/")] = '\0';
	}
}

/* Whether `path` is the route's; an absent id still matches, so that it can be named. */
static bool route_matches(const struct api_route *route, const struct parts *parts,
			  const char **ret_id)
{
	struct parts wanted;

	split_path(route->path, &wanted);
	if (wanted.count == 2 && str_eq(wanted.part[1], "{id}")) {
		*ret_id = parts->count == 2 ? parts->part[1] : "";
		return parts->count >= 1 && parts->count <= 2 &&
		       str_eq(wanted.part[0], parts->part[0]);
	}
	*ret_id = NULL;
	if (wanted.count != parts->count)
		return false;
	for (size_t i = 0; i < wanted.count; i++) {
		if (!str_eq(wanted.part[i], parts->part[i]))
			return false;
	}
	return true;
}

/* Presence of a body is judged before the path. */
static int check_presence(const struct api_request *request, bool is_optional, struct err *err)
{
	const bool has_body = request->body.len > 0;

	if (str_eq(request->method, "GET") && has_body)
		return err_set(err, ERR_INVALID, "GET request cannot have a body.");
	if (str_eq(request->method, "PUT") && !has_body)
		return err_set(err, ERR_INVALID, "Empty PUT request.");
	if (str_eq(request->method, "PATCH") && !has_body && !is_optional)
		return err_set(err, ERR_INVALID, "Empty PATCH request.");
	if (str_eq(request->method, "DELETE") && has_body)
		return err_set(err, ERR_INVALID, "Empty Delete request.");
	return 0;
}

/* Paths that Firecracker answers in words of their own. */
static int unknown_path(const struct api_request *request, const struct parts *parts,
			struct err *err)
{
	const char *first = parts->count > 0 || parts->part[0] ? parts->part[0] : "";
	const char *second = parts->count > 1 ? parts->part[1] : NULL;
	const bool is_get = str_eq(request->method, "GET");
	const bool is_put = str_eq(request->method, "PUT");

	if (str_eq(first, "balloon") && str_eq(second, "hinting") && !is_put)
		return err_set(err, ERR_INVALID, "Unrecognized %s request path `/hinting/%s`.",
			       request->method, parts->count > 2 ? parts->part[2] : "");
	if ((str_eq(first, "balloon") && second && is_get) ||
	    (str_eq(first, "mmds") && second && is_put))
		return err_set(err, ERR_INVALID, "Unrecognized %s request path `%s`.",
			       request->method, second);
	if (str_eq(first, "snapshot") && is_put) {
		if (!second)
			return err_set(err, ERR_INVALID, "Missing snapshot operation type.");
		return err_set(err, ERR_INVALID,
			       "Invalid request method and/or path: PUT /snapshot/%s.", second);
	}
	return err_set(err, ERR_INVALID, "Invalid request method and/or path: %s %s.",
		       request->method, first);
}

static const struct api_route *find_route(const struct api_request *request, const char **ret_id,
					  struct parts *parts, struct err *err)
{
	const struct api_route *found = NULL;

	split_path(request->path, parts);
	for (size_t i = 0; i < api_route_count && !found; i++) {
		if (str_eq(api_routes[i].method, request->method) &&
		    route_matches(&api_routes[i], parts, ret_id))
			found = &api_routes[i];
	}
	if (check_presence(request, found && found->is_body_optional, err) < 0)
		return NULL;
	if (!found)
		(void)unknown_path(request, parts, err);
	return found;
}

/* --- bodies --- */

static int check_id(const char *id, struct err *err)
{
	if (id[0] == '\0')
		return err_set(err, ERR_INVALID, "The ID cannot be empty.");
	for (const char *c = id; *c; c++) {
		if (*c != '_' && !isalnum((uint8_t)*c))
			return err_set(err, ERR_INVALID,
				       "API Resource IDs can only contain alphanumeric characters "
				       "and underscores.");
	}
	return 0;
}

/* What every shape with an id has as its first field. */
static int compare_id(const struct api_route *route, const char *id, const union any_body *body,
		      struct err *err)
{
	const char *other = body->checked.id;

	_Static_assert(
		offsetof(struct checked_body, id) == offsetof(struct drive_body, drive_id) &&
			offsetof(struct checked_body, id) == offsetof(struct net_body, iface_id) &&
			offsetof(struct checked_body, id) ==
				offsetof(struct drive_patch, drive_id) &&
			offsetof(struct checked_body, id) == offsetof(struct net_patch, iface_id),
		"the id comes first in every body");
	if (str_eq(id, other))
		return 0;
	if (str_starts(route->path, "/network-interfaces"))
		return err_set(
			err, ERR_INVALID,
			"The id from the path [%s] does not match the id from the body [%s]!", id,
			other);
	return err_set(err, ERR_INVALID,
		       "The id from the path does not match the id from the body!");
}

static int deserialize_error(struct err *err)
{
	const struct err reason = *err;

	return err_set(err, ERR_INVALID, DESERIALIZE ": %s.", reason.message);
}

static int read_body(const struct api_route *route, const struct api_request *request,
		     const char *id, union any_body *ret, struct err *err)
{
	if (id) {
		const int r = check_id(id, err);

		if (r < 0)
			return r;
	}
	if (request->body.len == 0)
		return 0;
	if (route->has_any_body) {
		AUTO_JSON *json = NULL;

		return json_read(request->body, &json, err) < 0 ? deserialize_error(err) : 0;
	}
	if (!route->shape)
		return 0;
	if (shape_read(route->shape, request->body, ret, err) < 0)
		return deserialize_error(err);
	return id ? compare_id(route, id, ret, err) : 0;
}

static bool uses_deprecated(const struct api_route *route, const union any_body *body)
{
	if (route->shape == &machine_shape || route->shape == &machine_patch_shape)
		return field_given(body->given, MACHINE_CPU_TEMPLATE);
	if (route->shape == &snapshot_load_shape)
		return field_given(body->given, LOAD_MEM_FILE) ||
		       field_given(body->given, LOAD_DIFF);
	return route->shape == &vsock_shape && field_given(body->given, VSOCK_ID);
}

int api_check_phase(const struct api *api, unsigned when, struct err *err)
{
	if ((when >> api->phase & 1U) != 0)
		return 0;
	return err_set(err, ERR_BAD_STATE,
		       "The requested operation is not supported %s starting the microVM.",
		       api->phase == API_NOT_STARTED ? "before" : "after");
}

/* As in Firecracker the attempt counts: a snapshot is loaded into what nobody has touched. */
static bool configures_machine(const struct api_route *route)
{
	return route->when == BEFORE && route->shape != &logger_shape &&
	       route->shape != &metrics_shape && route->shape != &serial_shape;
}

/* A request with the route that it goes. */
struct call {
	const struct api_request *request;
	const struct api_route *route;
	const char *id; /* of the path, or NULL */
};

static int perform(struct api *api, const struct call *call, struct api_outcome *ret,
		   bool *ret_is_deprecated, struct err *err)
{
	const struct api_route *route = call->route;
	union any_body body;
	int r;

	memset(&body, 0, sizeof(body));
	r = read_body(route, call->request, call->id, &body, err);
	if (r == 0)
		r = api_check_phase(api, route->when, err);
	if (r == 0) {
		*ret_is_deprecated = uses_deprecated(route, &body);
		api->is_configured = api->is_configured || configures_machine(route);
		r = route->unsupported ? config_unsupported(err, route->unsupported)
				       : route->handle(api, &body, ret, err);
	}
	if (route->shape)
		shape_done(route->shape, &body);
	return r;
}

enum api_action api_handle(struct api *api, const struct api_request *request,
			   struct api_reply *reply, uint64_t *ret_number)
{
	struct api_outcome outcome = { .action = API_ANSWERED };
	struct call call = { .request = request };
	struct err err = ERR_INIT;
	struct parts parts;
	int r;

	*reply = (struct api_reply){ .body = BUF_INIT };
	call.route = find_route(request, &call.id, &parts, &err);
	if (!call.route) {
		api_fault(reply, 400, err.message);
		return API_ANSWERED;
	}
	r = perform(api, &call, &outcome, &reply->is_deprecated, &err);
	if (r < 0 || outcome.action == API_ANSWERED)
		api_complete(reply, outcome.result, r < 0 ? &err : NULL);
	*ret_number = outcome.number;
	return r < 0 ? API_ANSWERED : outcome.action;
}
