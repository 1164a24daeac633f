#include "image/worker_message.h"

#include <string.h>

#include "base/json.h"
#include "base/text.h"

struct orders {
	uint64_t size_bytes;
	uint64_t seed_size_bytes;
	uint64_t entries;
	uint64_t bytes;
	uint64_t layer_bytes;
	uint64_t name_bytes;
	uint64_t xattr_bytes;
	uint64_t layers;
	int64_t epoch;
	bool has_epoch;
	bool has_seed;
};

struct failure {
	char *kind;
	char *message;
	char *hint;
	uint64_t errnum;
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
	struct failure failure;
};

#define FIELD(struct_, name_, type_, required_)                           \
	{                                                                 \
		.name = #name_, .type = (type_), .required = (required_), \
		.offset = offsetof(struct struct_, name_),                \
	}

#define FAILURE_FIELD(struct_, name_, type_)                       \
	{                                                          \
		.name = #name_, .type = (type_),                   \
		.offset = offsetof(struct struct_, failure.name_), \
	}

/* What every answer may have instead. */
#define FAILURE_FIELDS(struct_)                                     \
	FAILURE_FIELD(struct_, kind, JSON_FIELD_STRING),            \
		FAILURE_FIELD(struct_, message, JSON_FIELD_STRING), \
		FAILURE_FIELD(struct_, hint, JSON_FIELD_STRING),    \
		FAILURE_FIELD(struct_, errnum, JSON_FIELD_U64)

static const struct json_field order_fields[] = {
	FIELD(orders, size_bytes, JSON_FIELD_U64, true),
	FIELD(orders, seed_size_bytes, JSON_FIELD_U64, true),
	FIELD(orders, entries, JSON_FIELD_U64, true),
	FIELD(orders, bytes, JSON_FIELD_U64, true),
	FIELD(orders, layer_bytes, JSON_FIELD_U64, true),
	FIELD(orders, name_bytes, JSON_FIELD_U64, true),
	FIELD(orders, xattr_bytes, JSON_FIELD_U64, true),
	FIELD(orders, layers, JSON_FIELD_U64, true),
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
	FAILURE_FIELDS(answer),
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

void worker_write_orders(const struct worker_orders *orders, struct buf *out)
{
	const struct ext4_options *options = &orders->options;
	AUTO_JSON *object = json_new_object();

	json_put_u64(object, "size_bytes", options->size_bytes);
	json_put_u64(object, "seed_size_bytes", options->seed_size_bytes);
	json_put_u64(object, "entries", options->limits.entries);
	json_put_u64(object, "bytes", options->limits.bytes);
	json_put_u64(object, "layer_bytes", options->limits.layer_bytes);
	json_put_u64(object, "name_bytes", options->limits.name_bytes);
	json_put_u64(object, "xattr_bytes", options->limits.xattr_bytes);
	json_put_u64(object, "layers", orders->layers);
	json_put_i64(object, "epoch", options->epoch);
	json_put_bool(object, "has_epoch", options->has_epoch);
	json_put_bool(object, "has_seed", orders->has_seed);
	write_line(object, out);
}

int worker_read_orders(struct span line, struct worker_orders *ret, struct err *err)
{
	AUTO_JSON *object = NULL;
	struct orders orders = { 0 };
	int r;

	r = json_read(without_newline(line), &object, err);
	if (r == 0)
		r = json_read_fields(object, order_fields, ARRAY_LEN(order_fields), &orders, err);
	if (r < 0)
		return r;
	*ret = (struct worker_orders){ .options = EXT4_OPTIONS_INIT,
				       .has_seed = orders.has_seed,
				       .layers = orders.layers };
	ret->options.size_bytes = orders.size_bytes;
	ret->options.seed_size_bytes = orders.seed_size_bytes;
	ret->options.limits.entries = orders.entries;
	ret->options.limits.bytes = orders.bytes;
	ret->options.limits.layer_bytes = orders.layer_bytes;
	ret->options.limits.name_bytes = orders.name_bytes;
	ret->options.limits.xattr_bytes = orders.xattr_bytes;
	ret->options.has_epoch = orders.has_epoch;
	ret->options.epoch = orders.epoch;
	return 0;
}

/* --- progress --- */

void worker_write_progress(const struct worker_progress *progress, struct buf *out)
{
	AUTO_JSON *object = json_new_object();

	json_put_u64(object, "progress", progress->done);
	json_put_u64(object, "layer", progress->layer);
	write_line(object, out);
}

bool worker_read_progress(struct span line, struct worker_progress *ret)
{
	static const struct json_field fields[] = {
		{ .name = "progress",
		  .type = JSON_FIELD_U64,
		  .required = true,
		  .offset = offsetof(struct worker_progress, done) },
		FIELD(worker_progress, layer, JSON_FIELD_U64, true),
	};
	struct worker_progress progress = { .done = 0 };
	struct err ignored = ERR_INIT;
	AUTO_JSON *object = NULL;

	if (json_read(without_newline(line), &object, &ignored) < 0 ||
	    json_read_fields(object, fields, ARRAY_LEN(fields), &progress, &ignored) < 0)
		return false;
	*ret = progress;
	return true;
}

/* --- answers --- */

static void put_failure(json_t *object, const struct err *failure)
{
	json_put_str(object, "kind", err_kind_name(failure->kind));
	json_put_str(object, "message", failure->message);
	json_put_str(object, "hint", failure->hint);
	json_put_u64(object, "errnum", (uint64_t)failure->errnum);
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
		put_failure(object, failure);
	}
	write_line(object, out);
}

static int take_failure(const struct failure *failure, struct err *err)
{
	const enum err_kind kind = err_kind_from_name(failure->kind ? failure->kind : "");
	const char *message = failure->message ? failure->message : "the worker failed";
	int r;

	r = err_set(err, kind == ERR_NONE ? ERR_PROTOCOL : kind, "%s", message);
	if (failure->errnum > 0 && failure->errnum < 4096)
		err->errnum = (int)failure->errnum;
	if (!str_empty(failure->hint))
		err_hint(err, "%s", failure->hint);
	return r;
}

/* Fills `into` from the answer of a worker of that kind. */
static int read_answer(struct span line, const char *kind, const struct json_field *fields,
		       size_t count, void *into, struct err *err)
{
	AUTO_JSON *object = NULL;
	struct err why;
	int r;

	r = json_read(without_newline(line), &object, err);
	if (r == 0)
		r = json_read_fields(object, fields, count, into, err);
	if (r == 0)
		return 0;
	why = *err;
	return err_set(err, ERR_PROTOCOL, "the %s worker's answer: %s", kind, why.message);
}

static void answer_done(struct answer *answer)
{
	json_fields_done(answer_fields, ARRAY_LEN(answer_fields), answer);
}

int worker_read_answer(struct span line, struct ext4_summary *ret, struct err *err)
{
	CLEANUP(answer_done) struct answer answer = { .ok = false };
	int r;

	r = read_answer(line, "image", answer_fields, ARRAY_LEN(answer_fields), &answer, err);
	if (r < 0)
		return r;
	if (!answer.ok)
		return take_failure(&answer.failure, err);
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

/* --- unpack workers --- */

static const char *const compression_names[] = {
	[IMAGE_COMPRESSION_NONE] = "none",
	[IMAGE_COMPRESSION_GZIP] = "gzip",
	[IMAGE_COMPRESSION_ZSTD] = "zstd",
};
_Static_assert(ARRAY_LEN(compression_names) == IMAGE_COMPRESSION_COUNT,
	       "every compression has a name");

struct unpack_order_fields {
	char *compression;
	uint64_t bytes_max;
};

static const struct json_field unpack_order_fields[] = {
	FIELD(unpack_order_fields, compression, JSON_FIELD_STRING, true),
	FIELD(unpack_order_fields, bytes_max, JSON_FIELD_U64, true),
};

struct unpack_answer {
	bool ok;
	uint64_t bytes;
	char *digest;
	struct failure failure;
};

static const struct json_field unpack_answer_fields[] = {
	FIELD(unpack_answer, ok, JSON_FIELD_BOOL, true),
	FIELD(unpack_answer, bytes, JSON_FIELD_U64, false),
	FIELD(unpack_answer, digest, JSON_FIELD_STRING, false),
	FAILURE_FIELDS(unpack_answer),
};

void unpack_write_orders(const struct unpack_orders *orders, struct buf *out)
{
	AUTO_JSON *object = json_new_object();

	json_put_str(object, "compression", compression_names[orders->compression]);
	json_put_u64(object, "bytes_max", orders->bytes_max);
	write_line(object, out);
}

static void unpack_order_done(struct unpack_order_fields *order)
{
	json_fields_done(unpack_order_fields, ARRAY_LEN(unpack_order_fields), order);
}

int unpack_read_orders(struct span line, struct unpack_orders *ret, struct err *err)
{
	CLEANUP(unpack_order_done) struct unpack_order_fields order = { .compression = NULL };
	AUTO_JSON *object = NULL;
	size_t i;
	int r;

	r = json_read(without_newline(line), &object, err);
	if (r == 0)
		r = json_read_fields(object, unpack_order_fields, ARRAY_LEN(unpack_order_fields),
				     &order, err);
	if (r < 0)
		return r;
	for (i = 0; i < ARRAY_LEN(compression_names); i++) {
		if (!str_eq(order.compression, compression_names[i]))
			continue;
		*ret = (struct unpack_orders){ .compression = (enum image_compression)i,
					       .bytes_max = order.bytes_max };
		return 0;
	}
	return err_set(err, ERR_INVALID, "compression '%s' is unknown", order.compression);
}

void unpack_write_answer(int r, const struct unpack_result *result, const struct err *failure,
			 struct buf *out)
{
	AUTO_JSON *object = json_new_object();

	json_put_bool(object, "ok", r == 0);
	if (r == 0) {
		json_put_u64(object, "bytes", result->bytes);
		json_put_str(object, "digest", result->digest);
	} else {
		put_failure(object, failure);
	}
	write_line(object, out);
}

static void unpack_answer_done(struct unpack_answer *answer)
{
	json_fields_done(unpack_answer_fields, ARRAY_LEN(unpack_answer_fields), answer);
}

int unpack_read_answer(struct span line, struct unpack_result *ret, struct err *err)
{
	CLEANUP(unpack_answer_done) struct unpack_answer answer = { .ok = false };
	int r;

	r = read_answer(line, "unpack", unpack_answer_fields, ARRAY_LEN(unpack_answer_fields),
			&answer, err);
	if (r < 0)
		return r;
	if (!answer.ok)
		return take_failure(&answer.failure, err);
	if (!answer.digest || strlen(answer.digest) >= sizeof(ret->digest))
		return err_set(err, ERR_PROTOCOL, "the unpack worker's answer has no digest");
	*ret = (struct unpack_result){ .bytes = answer.bytes };
	memcpy(ret->digest, answer.digest, strlen(answer.digest));
	return 0;
}
