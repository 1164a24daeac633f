#include "rpc/frame.h"

#include <assert.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"

void rpc_request_done(struct rpc_request *request)
{
	if (!request)
		return;

	json_decref(request->id);
	json_decref(request->params);
	mem_free(request->method);
	*request = RPC_REQUEST_INIT;
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool is_blank(uint8_t byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static bool is_batch(struct span frame)
{
	size_t i = 0;

	while (i < frame.len && is_blank(frame.ptr[i]))
		i++;
	return i < frame.len && frame.ptr[i] == '[';
}

/*
 * An upper bound of the values in a text: each is the first one, or follows a comma or an opening
 * bracket. Right for well-formed text; for the rest the parser says what is wrong.
 */
static size_t count_values(struct span text)
{
	bool in_string = false;
	size_t count = 1;

	for (size_t i = 0; i < text.len; i++) {
		const uint8_t byte = text.ptr[i];

		if (in_string && byte == '\\')
			i++;
		else if (byte == '"')
			in_string = !in_string;
		else if (!in_string && (byte == ',' || byte == '[' || byte == '{'))
			count++;
	}
	return count;
}

static int refuse(int *ret_code, int code, int r)
{
	*ret_code = code;
	return r;
}

static int read_document(struct span frame, json_t **ret, int *ret_code, struct err *err)
{
	AUTO_JSON *document = NULL;
	int r;

	if (frame.len > LIMIT_RPC_FRAME_BYTES)
		return refuse(ret_code, RPC_CODE_INVALID_REQUEST,
			      err_set(err, ERR_LIMIT, "the request is over %d bytes",
				      LIMIT_RPC_FRAME_BYTES));
	/* Before parsing: a batch of a million elements must not cost its memory first. */
	if (is_batch(frame))
		return refuse(ret_code, RPC_CODE_INVALID_REQUEST,
			      err_set(err, ERR_INVALID, "batches are not supported"));
	if (count_values(frame) > RPC_VALUES_MAX)
		return refuse(ret_code, RPC_CODE_INVALID_REQUEST,
			      err_set(err, ERR_LIMIT, "the request has more than %d values",
				      RPC_VALUES_MAX));

	r = json_read(frame, &document, err);
	if (r < 0)
		return refuse(ret_code, RPC_CODE_PARSE, r);
	if (!json_is_object(document))
		return refuse(ret_code, RPC_CODE_INVALID_REQUEST,
			      err_set(err, ERR_INVALID, "a request must be an object"));

	*ret = TAKE_PTR(document);
	return 0;
}

static int read_id(const json_t *document, json_t **ret, struct err *err)
{
	json_t *id = json_object_get(document, "id");

	if (!id && (json_object_get(document, "result") || json_object_get(document, "error")))
		return err_set(err, ERR_INVALID, "a reply where a request was expected");
	if (!id)
		return err_set(err, ERR_INVALID,
			       "the request has no 'id': notifications are not accepted");
	if (!json_is_integer(id) && !json_is_string(id))
		return err_set(err, ERR_INVALID, "'id' must be a string or an integer");
	if (json_is_string(id) && json_string_length(id) > RPC_ID_BYTES_MAX)
		return err_set(err, ERR_LIMIT, "'id' is over %d bytes", RPC_ID_BYTES_MAX);

	*ret = json_incref(id);
	return 0;
}

static int check_envelope(json_t *document, struct err *err)
{
	static const char *const known[] = { "jsonrpc", "id", "method", "params" };
	const char *version = json_get_str(document, "jsonrpc");
	const json_t *method = json_object_get(document, "method");
	const char *key;
	json_t *value;

	if (!str_eq(version, "2.0"))
		return err_set(err, ERR_INVALID, "'jsonrpc' must be \"2.0\"");
	if (!json_is_string(method) || json_string_length(method) == 0)
		return err_set(err, ERR_INVALID, "'method' must be a string");
	if (json_string_length(method) > RPC_METHOD_BYTES_MAX)
		return err_set(err, ERR_LIMIT, "'method' is over %d bytes", RPC_METHOD_BYTES_MAX);

	json_object_foreach(document, key, value) {
		bool is_known = false;

		for (size_t i = 0; i < ARRAY_LEN(known); i++)
			is_known = is_known || str_eq(key, known[i]);
		if (!is_known)
			return err_set(err, ERR_INVALID, "unknown member '%s' in the request", key);
	}
	return 0;
}

int rpc_request_parse(struct span frame, struct rpc_request *ret, int *ret_code, struct err *err)
{
	AUTO_JSON *document = NULL;
	json_t *params;
	int r;

	*ret = RPC_REQUEST_INIT;
	r = read_document(frame, &document, ret_code, err);
	if (r < 0)
		return r;

	r = read_id(document, &ret->id, err);
	if (r == 0)
		r = check_envelope(document, err);
	if (r < 0)
		return refuse(ret_code, RPC_CODE_INVALID_REQUEST, r);

	params = json_object_get(document, "params");
	if (params && !json_is_object(params))
		return refuse(ret_code, RPC_CODE_BAD_PARAMS,
			      err_set(err, ERR_INVALID, "'params' must be an object"));

	ret->method = mem_strdup(json_get_str(document, "method"));
	ret->params = params ? json_incref(params) : json_new_object();
	*ret_code = RPC_CODE_NONE;
	return 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

static json_t *new_envelope(void)
{
	json_t *envelope = json_new_object();

	json_put_str(envelope, "jsonrpc", "2.0");
	return envelope;
}

static json_t *id_or_null(json_t *id)
{
	return id ? json_incref(id) : json_null();
}

static void write_line(const json_t *envelope, struct buf *out)
{
	json_write(envelope, out);
	buf_add_byte(out, '\n');
}

void rpc_request_write(json_t *id, const char *method, json_t *params, struct buf *out)
{
	AUTO_JSON *envelope = new_envelope();

	json_put(envelope, "id", id_or_null(id));
	json_put_str(envelope, "method", method);
	if (params)
		json_put(envelope, "params", json_incref(params));
	write_line(envelope, out);
}

void rpc_reply_write(json_t *id, json_t *result, struct buf *out)
{
	AUTO_JSON *envelope = new_envelope();

	json_put(envelope, "id", id_or_null(id));
	json_put(envelope, "result", json_incref(result));
	write_line(envelope, out);
}

void rpc_reply_write_text(json_t *id, struct span result, struct buf *out)
{
	AUTO_JSON *envelope = new_envelope();

	json_put(envelope, "id", id_or_null(id));
	json_write(envelope, out);
	buf_truncate(out, out->len - 1); /* its brace */
	buf_add_str(out, ",\"result\":");
	buf_add(out, result);
	buf_add_str(out, "}\n");
}

void rpc_error_write(json_t *id, int code, const struct err *err, struct buf *out)
{
	AUTO_JSON *envelope = new_envelope();
	json_t *error = json_new_object();
	json_t *details = json_new_object();

	json_put_str(details, "kind", err_kind_name(err->kind));
	json_put_i64(details, "errno", err->errnum);
	json_put_str(details, "hint", err->hint);
	json_put_i64(error, "code", code);
	json_put_str(error, "message", err->message);
	json_put(error, "data", details);

	json_put(envelope, "id", id_or_null(id));
	json_put(envelope, "error", error);
	write_line(envelope, out);
}

void rpc_progress_write(json_t *id, const struct progress_event *event, uint64_t elapsed_ms,
			struct buf *out)
{
	AUTO_JSON *envelope = new_envelope();
	json_t *params = json_new_object();

	json_put(params, "id", id_or_null(id));
	json_put_str(params, "stage", event->stage);
	json_put_str(params, "detail", event->detail);
	json_put_u64(params, "done", event->done);
	json_put_u64(params, "total", event->total);
	json_put_u64(params, "elapsed_ms", elapsed_ms);

	json_put_str(envelope, "method", "progress");
	json_put(envelope, "params", params);
	write_line(envelope, out);
}

/* --- errors ----------------------------------------------------------------------------------- */

int rpc_code_of(const struct err *err)
{
	if (err->kind == ERR_INVALID)
		return RPC_CODE_BAD_PARAMS;
	return RPC_CODE_KIND_BASE - (int)err->kind;
}

/* For peers that send no "data.kind". */
static enum err_kind kind_of_code(int64_t code)
{
	if (code == RPC_CODE_UNKNOWN_METHOD)
		return ERR_UNSUPPORTED;
	if (code == RPC_CODE_BAD_PARAMS)
		return ERR_INVALID;
	if (code < RPC_CODE_KIND_BASE && code > RPC_CODE_KIND_BASE - ERR_KIND_COUNT)
		return (enum err_kind)(RPC_CODE_KIND_BASE - code);
	return ERR_PROTOCOL;
}

int rpc_error_read(const json_t *error, struct err *err)
{
	const json_t *details = json_object_get(error, "data");
	const char *message = json_get_str(error, "message");
	const char *kind_name = json_get_str(details, "kind");
	const char *hint = json_get_str(details, "hint");
	const uint64_t errnum = json_get_u64(details, "errno");
	enum err_kind kind;
	int r;

	kind = kind_name ? err_kind_from_name(kind_name)
			 : kind_of_code(json_integer_value(json_object_get(error, "code")));
	if (kind == ERR_NONE)
		kind = ERR_PROTOCOL;

	/* The message says already why; ERR_SYSTEM would make err_fill() say it again. */
	r = err_fill(err, kind == ERR_SYSTEM ? ERR_INVALID : kind, 0, "%s",
		     message ? message : "the daemon gave no reason");
	err->kind = kind;
	err->errnum = errnum <= INT16_MAX ? (int)errnum : 0;
	if (!str_empty(hint))
		err_hint(err, "%s", hint);
	return err_negative(err->errnum > 0 ? -err->errnum : r);
}
