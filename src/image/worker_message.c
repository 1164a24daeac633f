#include "image/worker_message.h"

#include "base/json.h"
#include "base/text.h"

struct orders {
	uint64_t size_bytes;
	uint64_t seed_size_bytes;
	uint64_t entries;
	uint64_t bytes;
	int64_t epoch;
	bool has_epoch;
	bool has_seed;
};

struct answer {
	bool ok;
	uint64_t size_bytes;
	uint64_t used_bytes;
	uint64_t content_bytes;
	uint64_t entries;
	uint64_t inodes;
	uint64_t seed_size_bytes;
	bool has_init;
	char *kind;
	char *message;
	char *hint;
	uint64_t errnum;
};

#define FIELD(struct_, name_, type_, required_)                           \
	{                                                                 \
		.name = #name_, .type = (type_), .required = (required_), \
		.offset = offsetof(struct struct_, name_),                \
	}

static const struct json_field order_fields[] = {
	FIELD(orders, size_bytes, JSON_FIELD_U64, true),
	FIELD(orders, seed_size_bytes, JSON_FIELD_U64, true),
	FIELD(orders, entries, JSON_FIELD_U64, true),
	FIELD(orders, bytes, JSON_FIELD_U64, true),
	FIELD(orders, epoch, JSON_FIELD_I64, true),
	FIELD(orders, has_epoch, JSON_FIELD_BOOL, true),
	FIELD(orders, has_seed, JSON_FIELD_BOOL, true),
};

static const struct json_field answer_fields[] = {
	FIELD(answer, ok, JSON_FIELD_BOOL, true),
	FIELD(answer, size_bytes, JSON_FIELD_U64, false),
	FIELD(answer, used_bytes, JSON_FIELD_U64, false),
	FIELD(answer, content_bytes, JSON_FIELD_U64, false),
	FIELD(answer, entries, JSON_FIELD_U64, false),
	FIELD(answer, inodes, JSON_FIELD_U64, false),
	FIELD(answer, seed_size_bytes, JSON_FIELD_U64, false),
	FIELD(answer, has_init, JSON_FIELD_BOOL, false),
	FIELD(answer, kind, JSON_FIELD_STRING, false),
	FIELD(answer, message, JSON_FIELD_STRING, false),
	FIELD(answer, hint, JSON_FIELD_STRING, false),
	FIELD(answer, errnum, JSON_FIELD_U64, false),
};

static void write_line(const json_t *object, struct buf *out)
{
	json_write(object, out);
	buf_add_byte(out, '\n');
}

static struct span without_newline(struct span line)
{
	if (line.len > 0 && line.ptr[line.len - 1] == '\n')
		line.len--;
	return line;
}

void worker_write_orders(const struct ext4_options *options, bool has_seed, struct buf *out)
{
	AUTO_JSON *object = json_new_object();

	json_put_u64(object, "size_bytes", options->size_bytes);
	json_put_u64(object, "seed_size_bytes", options->seed_size_bytes);
	json_put_u64(object, "entries", options->limits.entries);
	json_put_u64(object, "bytes", options->limits.bytes);
	json_put_i64(object, "epoch", options->epoch);
	json_put_bool(object, "has_epoch", options->has_epoch);
	json_put_bool(object, "has_seed", has_seed);
	write_line(object, out);
}

int worker_read_orders(struct span line, struct ext4_options *ret, bool *ret_has_seed,
		       struct err *err)
{
	AUTO_JSON *object = NULL;
	struct orders orders = { 0 };
	int r;

	r = json_read(without_newline(line), &object, err);
	if (r == 0)
		r = json_read_fields(object, order_fields, ARRAY_LEN(order_fields), &orders, err);
	if (r < 0)
		return r;
	*ret = EXT4_OPTIONS_INIT;
	ret->size_bytes = orders.size_bytes;
	ret->seed_size_bytes = orders.seed_size_bytes;
	ret->limits.entries = orders.entries;
	ret->limits.bytes = orders.bytes;
	ret->has_epoch = orders.has_epoch;
	ret->epoch = orders.epoch;
	*ret_has_seed = orders.has_seed;
	return 0;
}

void worker_write_answer(int r, const struct ext4_summary *summary, const struct err *failure,
			 struct buf *out)
{
	AUTO_JSON *object = json_new_object();

	json_put_bool(object, "ok", r == 0);
	if (r == 0) {
		json_put_u64(object, "size_bytes", summary->size_bytes);
		json_put_u64(object, "used_bytes", summary->used_bytes);
		json_put_u64(object, "content_bytes", summary->content_bytes);
		json_put_u64(object, "entries", summary->entries);
		json_put_u64(object, "inodes", summary->inodes);
		json_put_u64(object, "seed_size_bytes", summary->seed_size_bytes);
		json_put_bool(object, "has_init", summary->has_init);
	} else {
		json_put_str(object, "kind", err_kind_name(failure->kind));
		json_put_str(object, "message", failure->message);
		json_put_str(object, "hint", failure->hint);
		json_put_u64(object, "errnum", (uint64_t)failure->errnum);
	}
	write_line(object, out);
}

static void answer_done(struct answer *answer)
{
	json_fields_done(answer_fields, ARRAY_LEN(answer_fields), answer);
}

static int take_failure(const struct answer *answer, struct err *err)
{
	const enum err_kind kind = err_kind_from_name(answer->kind ? answer->kind : "");
	const char *message = answer->message ? answer->message : "the image worker failed";
	int r;

	r = err_set(err, kind == ERR_NONE ? ERR_PROTOCOL : kind, "%s", message);
	if (answer->errnum > 0 && answer->errnum < 4096)
		err->errnum = (int)answer->errnum;
	if (!str_empty(answer->hint))
		err_hint(err, "%s", answer->hint);
	return r;
}

int worker_read_answer(struct span line, struct ext4_summary *ret, struct err *err)
{
	CLEANUP(answer_done) struct answer answer = { .ok = false };
	AUTO_JSON *object = NULL;
	int r;

	r = json_read(without_newline(line), &object, err);
	if (r == 0)
		r = json_read_fields(object, answer_fields, ARRAY_LEN(answer_fields), &answer, err);
	if (r < 0) {
		struct err why = *err;

		return err_set(err, ERR_PROTOCOL, "the image worker's answer: %s", why.message);
	}
	if (!answer.ok)
		return take_failure(&answer, err);
	*ret = (struct ext4_summary){
		.size_bytes = answer.size_bytes,
		.used_bytes = answer.used_bytes,
		.content_bytes = answer.content_bytes,
		.entries = answer.entries,
		.inodes = answer.inodes,
		.seed_size_bytes = answer.seed_size_bytes,
		.has_init = answer.has_init,
	};
	return 0;
}
