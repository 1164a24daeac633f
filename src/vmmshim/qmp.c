#include "vmmshim/qmp.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"

#define VERSION_PART_MAX 1000000

void qmp_init(struct qmp *qmp, const struct qmp_ops *ops, void *context)
{
	*qmp = (struct qmp){
		.state = QMP_GREETING,
		.ops = ops,
		.context = context,
		.input = BUF_INIT,
		.output = BUF_INIT,
		.held = BUF_INIT,
		.next_id = 1,
	};
}

void qmp_done(struct qmp *qmp)
{
	struct err err = ERR_INIT;

	(void)err_set(&err, ERR_CANCELLED, "the QMP connection was closed");
	qmp_disconnect(qmp, &err);
	buf_done(&qmp->input);
	buf_done(&qmp->output);
	buf_done(&qmp->held);
}

static struct qmp_pending *find_pending(struct qmp *qmp, uint64_t id)
{
	for (size_t i = 0; i < QMP_PENDING_MAX; i++) {
		if (qmp->pending[i].id == id)
			return &qmp->pending[i];
	}
	return NULL;
}

/* The slot is free before the callback runs: it may send the next command. */
static void complete(struct qmp_pending *slot, const json_t *result, const struct err *err)
{
	const struct qmp_pending done = *slot;

	*slot = (struct qmp_pending){ .id = 0 };
	if (done.reply)
		done.reply(done.context, result, err);
}

static void queue(struct qmp *qmp, struct buf *out, const char *name, json_t *arguments,
		  qmp_reply_fn reply, void *context)
{
	struct qmp_pending *slot = find_pending(qmp, 0);
	json_t *line = json_new_object();
	struct err err = ERR_INIT;

	json_put_str(line, "execute", name);
	if (arguments)
		json_put(line, "arguments", arguments);
	if (!slot || qmp->state == QMP_CLOSED) {
		json_decref(line);
		if (slot)
			(void)err_set(&err, ERR_BAD_STATE, "QEMU is gone");
		else
			(void)err_set(&err, ERR_BUSY, "too many commands wait for QEMU");
		if (reply)
			reply(context, NULL, &err);
		return;
	}
	*slot = (struct qmp_pending){ .id = qmp->next_id++, .reply = reply, .context = context };
	json_put_u64(line, "id", slot->id);
	json_write(line, out);
	buf_add_byte(out, '\n');
	json_decref(line);
}

void qmp_command(struct qmp *qmp, const char *name, json_t *arguments, qmp_reply_fn reply,
		 void *context)
{
	queue(qmp, qmp->state == QMP_READY ? &qmp->output : &qmp->held, name, arguments, reply,
	      context);
}

/* The answer to qmp_capabilities; a refusal is dealt with where the line is read. */
static void capabilities_done(void *context, const json_t *result, const struct err *err)
{
	struct qmp *qmp = context;

	(void)err;
	if (!result)
		return;
	qmp->state = QMP_READY;
	buf_add(&qmp->output, buf_span(&qmp->held));
	buf_clear(&qmp->held);
	if (qmp->ops->ready)
		qmp->ops->ready(qmp->context, &qmp->version);
}

static bool read_version_part(const json_t *qemu, const char *name, unsigned *ret)
{
	const json_t *value = json_object_get(qemu, name);

	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    json_integer_value(value) > VERSION_PART_MAX)
		return false;
	*ret = (unsigned)json_integer_value(value);
	return true;
}

static int read_greeting(struct qmp *qmp, const json_t *greeting, struct err *err)
{
	const json_t *version = json_object_get(greeting, "version");
	const json_t *qemu = json_object_get(version, "qemu");
	const char *package = json_get_str(version, "package");

	if (qmp->state != QMP_GREETING)
		return err_set(err, ERR_PROTOCOL, "QEMU greeted twice");
	if (!read_version_part(qemu, "major", &qmp->version.major) ||
	    !read_version_part(qemu, "minor", &qmp->version.minor) ||
	    !read_version_part(qemu, "micro", &qmp->version.micro))
		return err_set(err, ERR_PROTOCOL, "QEMU's greeting has no version");
	if (package)
		(void)snprintf(qmp->version.package, sizeof(qmp->version.package), "%s", package);
	qmp->state = QMP_CAPABILITIES;
	queue(qmp, &qmp->output, "qmp_capabilities", NULL, capabilities_done, qmp);
	return 0;
}

static int read_event(struct qmp *qmp, const json_t *line, const json_t *event, struct err *err)
{
	const json_t *details = json_object_get(line, "data");

	if (!json_is_string(event) || (details && !json_is_object(details)))
		return err_set(err, ERR_PROTOCOL, "QEMU sent a malformed event");
	if (qmp->ops->event)
		qmp->ops->event(qmp->context, json_string_value(event), details);
	return 0;
}

/* Reads `{"class":..., "desc":...}` into an error. */
static int read_error(const json_t *error, struct err *ret, struct err *err)
{
	const char *desc = json_get_str(error, "desc");
	const char *word = json_get_str(error, "class");

	if (!desc || !word)
		return err_set(err, ERR_PROTOCOL, "QEMU sent a malformed error");
	(void)err_set(ret, str_eq(word, "CommandNotFound") ? ERR_UNSUPPORTED : ERR_BAD_STATE, "%s",
		      desc);
	return 0;
}

/*
 * QEMU writes unsigned 64-bit numbers where the guest did not say (balloon statistics), which do
 * not fit jansson's integers: such a line is read with all its numbers as reals.
 */
static int parse_line(struct span text, json_t **ret, struct err *err)
{
	const int r = json_read(text, ret, err);
	json_error_t problem;

	if (r == 0)
		return 0;
	*ret = json_loadb((const char *)text.ptr, text.len,
			  JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &problem);
	return *ret ? 0 : r;
}

bool qmp_number(const json_t *value, uint64_t *ret)
{
	if (json_is_integer(value) && json_integer_value(value) >= 0) {
		*ret = (uint64_t)json_integer_value(value);
		return true;
	}
	if (json_is_real(value) && json_real_value(value) >= 0 && json_real_value(value) < 0x1p63) {
		*ret = (uint64_t)json_real_value(value);
		return true;
	}
	return false;
}

static int read_reply(struct qmp *qmp, const json_t *line, struct err *err)
{
	const json_t *result = json_object_get(line, "return");
	const json_t *error = json_object_get(line, "error");
	uint64_t id = 0;
	struct qmp_pending *slot = NULL;
	struct err failure = ERR_INIT;
	const bool was_ready = qmp->state == QMP_READY;

	if (error) {
		const int r = read_error(error, &failure, err);

		if (r < 0)
			return r;
	}
	if (qmp_number(json_object_get(line, "id"), &id) && id != 0)
		slot = find_pending(qmp, id);
	if (!slot || qmp->state == QMP_GREETING)
		return err_set(err, ERR_PROTOCOL, "QEMU answered what nobody asked%s%s",
			       error ? ": " : "", failure.message);
	complete(slot, error ? NULL : result, error ? &failure : NULL);
	if (!was_ready && qmp->state != QMP_READY)
		return err_set(err, ERR_PROTOCOL, "QEMU refused the QMP handshake: %s",
			       failure.message);
	return 0;
}

static int read_line(struct qmp *qmp, struct span text, struct err *err)
{
	const json_t *greeting;
	const json_t *event;
	AUTO_JSON *line = NULL;
	int r;

	r = parse_line(text, &line, err);
	if (r < 0)
		return err_context(err, r, "QEMU sent a line that is no JSON");
	if (!json_is_object(line))
		return err_set(err, ERR_PROTOCOL, "QEMU sent a line that is no object");
	event = json_object_get(line, "event");
	if (event)
		return read_event(qmp, line, event, err);
	greeting = json_object_get(line, "QMP");
	if (greeting)
		return read_greeting(qmp, greeting, err);
	if (!json_object_get(line, "return") == !json_object_get(line, "error"))
		return err_set(err, ERR_PROTOCOL, "QEMU sent a line of an unknown form");
	return read_reply(qmp, line, err);
}

int qmp_feed(struct qmp *qmp, struct span bytes, struct err *err)
{
	size_t begin = 0;
	size_t seen;
	int r = 0;

	if (qmp->state == QMP_CLOSED)
		return err_set(err, ERR_BAD_STATE, "the QMP connection was closed");
	seen = qmp->input.len;
	buf_add(&qmp->input, bytes);
	for (size_t i = seen; r == 0 && i < qmp->input.len; i++) {
		if (qmp->input.ptr[i] == '\n') {
			const struct span line = span_of(qmp->input.ptr + begin, i - begin);

			begin = i + 1;
			r = read_line(qmp, line, err);
			/* A callback may have closed the connection. */
			if (qmp->state == QMP_CLOSED)
				return r;
		} else if (i - begin >= QMP_LINE_MAX) {
			r = err_set(err, ERR_PROTOCOL, "QEMU sent a line of more than %lu bytes",
				    QMP_LINE_MAX);
		}
	}
	buf_consume(&qmp->input, begin);
	return r;
}

struct span qmp_output(const struct qmp *qmp)
{
	return buf_span(&qmp->output);
}

void qmp_sent(struct qmp *qmp, size_t count)
{
	buf_consume(&qmp->output, count);
}

void qmp_disconnect(struct qmp *qmp, const struct err *why)
{
	if (qmp->state == QMP_CLOSED)
		return;
	qmp->state = QMP_CLOSED;
	buf_clear(&qmp->output);
	buf_clear(&qmp->held);
	for (size_t i = 0; i < QMP_PENDING_MAX; i++) {
		if (qmp->pending[i].id != 0)
			complete(&qmp->pending[i], NULL, why);
	}
}
