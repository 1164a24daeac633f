#include "agent/request.h"

#include <assert.h>
#include <string.h>
#include <sys/un.h>

#include "agent/freeze.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"

#define PATH_BYTES_MAX 4095
#define USER_BYTES_MAX 256
#define WINDOW_MAX     UINT16_MAX
#define UNIX_PATH_MAX  (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

#define OP_FIELD                                                                           \
	{                                                                                  \
		"op", JSON_FIELD_STRING, true, offsetof(struct request, op_name), 32, NULL \
	}

static const struct json_field plain_fields[] = { OP_FIELD };

static const struct json_field exec_fields[] = {
	OP_FIELD,
	{ "cwd", JSON_FIELD_STRING, false, offsetof(struct request, cwd), PATH_BYTES_MAX, NULL },
	{ "user", JSON_FIELD_STRING, false, offsetof(struct request, user), USER_BYTES_MAX, NULL },
	{ "tty", JSON_FIELD_BOOL, false, offsetof(struct request, has_tty), 0, NULL },
	{ "rows", JSON_FIELD_U64, false, offsetof(struct request, rows), WINDOW_MAX, NULL },
	{ "cols", JSON_FIELD_U64, false, offsetof(struct request, cols), WINDOW_MAX, NULL },
	{ "mise", JSON_FIELD_BOOL, false, offsetof(struct request, has_mise), 0, NULL },
};

static const struct json_field path_fields[] = {
	OP_FIELD,
	{ "path", JSON_FIELD_STRING, true, offsetof(struct request, path), PATH_BYTES_MAX, NULL },
};

static const struct json_field put_fields[] = {
	OP_FIELD,
	{ "path", JSON_FIELD_STRING, true, offsetof(struct request, path), PATH_BYTES_MAX, NULL },
	{ "staged", JSON_FIELD_BOOL, false, offsetof(struct request, is_staged), 0, NULL },
};

static const struct json_field get_fields[] = {
	OP_FIELD,
	{ "path", JSON_FIELD_STRING, true, offsetof(struct request, path), PATH_BYTES_MAX, NULL },
	{ "follow", JSON_FIELD_BOOL, false, offsetof(struct request, follows), 0, NULL },
};

static const struct json_field identity_request_fields[] = {
	OP_FIELD,
	{ "identity", JSON_FIELD_JSON, true, offsetof(struct request, identity), 0, NULL },
	{ "renew", JSON_FIELD_BOOL, false, offsetof(struct request, is_renewal), 0, NULL },
};

static const struct json_field freeze_fields[] = {
	OP_FIELD,
	{ "timeout_ms", JSON_FIELD_POSITIVE, false, offsetof(struct request, timeout_ms),
	  FREEZE_TIMEOUT_MAX_MS, NULL },
};

static const struct json_field grow_fields[] = {
	OP_FIELD,
	{ "system_bytes", JSON_FIELD_POSITIVE, false, offsetof(struct request, system_bytes), 0,
	  NULL },
	{ "work_bytes", JSON_FIELD_POSITIVE, false, offsetof(struct request, work_bytes), 0, NULL },
};

static const struct json_field shutdown_fields[] = {
	OP_FIELD,
	{ "mode", JSON_FIELD_STRING, true, offsetof(struct request, mode), 16, NULL },
};

static const struct json_field forward_fields[] = {
	OP_FIELD,
	{ "tcp", JSON_FIELD_U64, false, offsetof(struct request, tcp), UINT16_MAX, NULL },
	{ "unix", JSON_FIELD_STRING, false, offsetof(struct request, unix_path), UNIX_PATH_MAX,
	  NULL },
};

struct op_row {
	const struct json_field *fields;
	size_t count;
	int (*check)(struct request *request, const json_t *object, struct err *err);
};

static int check_exec(struct request *request, const json_t *object, struct err *err)
{
	if (request->cwd && request->cwd[0] != '/')
		return err_set(err, ERR_INVALID, "cwd '%s' is not absolute", request->cwd);
	if (request->user && request->user[0] == '\0')
		return err_set(err, ERR_INVALID, "user is empty");
	if ((json_object_get(object, "rows") && request->rows == 0) ||
	    (json_object_get(object, "cols") && request->cols == 0))
		return err_set(err, ERR_INVALID, "rows and cols must be from 1 to %d", WINDOW_MAX);
	if (!request->has_tty && (request->rows != 0 || request->cols != 0))
		return err_set(err, ERR_INVALID, "rows and cols go with a tty");
	return 0;
}

/* Also for look. */
static int check_put(struct request *request, const json_t *object, struct err *err)
{
	(void)object;
	if (request->path[0] != '/')
		return err_set(err, ERR_INVALID, "path '%s' is not absolute", request->path);
	return 0;
}

static int check_get(struct request *request, const json_t *object, struct err *err)
{
	const char *path = request->path;

	if (check_put(request, object, err) < 0)
		return -EINVAL;
	if (str_ends(path, "/") || str_ends(path, "/.") || str_ends(path, "/.."))
		return err_set(err, ERR_INVALID, "path '%s' does not end in a name", path);
	return 0;
}

static int check_shutdown(struct request *request, const json_t *object, struct err *err)
{
	(void)object;
	request->is_reboot = str_eq(request->mode, "reboot");
	if (!request->is_reboot && !str_eq(request->mode, "poweroff"))
		return err_set(err, ERR_INVALID, "mode '%s' is neither poweroff nor reboot",
			       request->mode);
	return 0;
}

static int check_forward(struct request *request, const json_t *object, struct err *err)
{
	const json_t *tcp = json_object_get(object, "tcp");
	const bool has_tcp = tcp && !json_is_null(tcp);

	if (has_tcp == (request->unix_path != NULL))
		return err_set(err, ERR_INVALID, "forward wants either tcp or unix");
	if (has_tcp && request->tcp == 0)
		return err_set(err, ERR_INVALID, "tcp must be from 1 to %d", UINT16_MAX);
	if (request->unix_path && request->unix_path[0] != '/')
		return err_set(err, ERR_INVALID, "unix '%s' is not absolute", request->unix_path);
	return 0;
}

#define FIELDS(table) .fields = (table), .count = ARRAY_LEN(table)

static const struct op_row ops[WIRE_OP_COUNT] = {
	[WIRE_OP_EXEC] = { FIELDS(exec_fields), .check = check_exec },
	[WIRE_OP_PUT] = { FIELDS(put_fields), .check = check_put },
	[WIRE_OP_GET] = { FIELDS(get_fields), .check = check_get },
	[WIRE_OP_IDENTITY] = { FIELDS(identity_request_fields), .check = NULL },
	[WIRE_OP_SHUTDOWN] = { FIELDS(shutdown_fields), .check = check_shutdown },
	[WIRE_OP_STATS] = { FIELDS(plain_fields), .check = NULL },
	[WIRE_OP_FORWARD] = { FIELDS(forward_fields), .check = check_forward },
	[WIRE_OP_PING] = { FIELDS(plain_fields), .check = NULL },
	[WIRE_OP_SSH] = { FIELDS(plain_fields), .check = NULL },
	[WIRE_OP_QUIET] = { FIELDS(plain_fields), .check = NULL },
	[WIRE_OP_FREEZE] = { FIELDS(freeze_fields), .check = NULL },
	[WIRE_OP_GROW] = { FIELDS(grow_fields), .check = NULL },
	[WIRE_OP_THAW] = { FIELDS(plain_fields), .check = NULL },
	[WIRE_OP_LOOK] = { FIELDS(path_fields), .check = check_put },
};

int request_parse(struct span line, struct request *ret, struct err *err)
{
	AUTO_JSON *object = NULL;
	struct request request = { .op_name = NULL };
	const char *name;
	int r = json_read(line, &object, err);

	if (r < 0)
		return r;
	if (!json_is_object(object))
		return err_set(err, ERR_PROTOCOL, "a request is a JSON object");
	name = json_get_str(object, "op");
	if (!name)
		return err_set(err, ERR_INVALID, "field 'op' is missing");
	if (!wire_op_from_name(name, &request.op))
		return err_set(err, ERR_UNSUPPORTED, "there is no operation '%s'", name);

	const struct op_row *row = &ops[request.op];

	r = json_read_fields(object, row->fields, row->count, &request, err);
	if (r == 0 && row->check)
		r = row->check(&request, object, err);
	if (r < 0) {
		request_done(&request);
		return r;
	}
	*ret = request;
	return 0;
}

void request_done(struct request *request)
{
	if (!request)
		return;
	assert((size_t)request->op < WIRE_OP_COUNT);
	json_fields_done(ops[request->op].fields, ops[request->op].count, request);
}

static bool is_method(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < 'A' || text.ptr[i] > 'Z')
			return false;
	}
	return text.len > 0;
}

bool request_parse_http(struct span line, enum http_target *ret)
{
	struct span method, target;

	if (line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	if (!parse_until(&line, ' ', &method) || !is_method(method) ||
	    !parse_until(&line, ' ', &target) || target.len == 0 || target.ptr[0] != '/' ||
	    !parse_literal(&line, "HTTP/1.") ||
	    (!parse_byte(&line, '0') && !parse_byte(&line, '1')) || !parse_end(&line))
		return false;

	if (!span_eq(method, span_str("GET")))
		*ret = HTTP_BAD_METHOD;
	else if (span_eq(target, span_str(WIRE_HTTP_HEALTH)))
		*ret = HTTP_HEALTH;
	else if (span_eq(target, span_str(WIRE_HTTP_PORTS)))
		*ret = HTTP_PORTS;
	else
		*ret = HTTP_NOT_FOUND;
	return true;
}
