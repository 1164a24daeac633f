#include "wire/args.h"

#include <string.h>

#include "base/mem.h"
#include "wire/protocol.h"

void wire_args_init(struct wire_args *args)
{
	*args = (struct wire_args){ .part = BUF_INIT };
}

void wire_args_done(struct wire_args *args)
{
	strv_done(&args->argv);
	strv_done(&args->env);
	buf_done(&args->part);
	wire_args_init(args);
}

static int add_bytes(struct wire_args *args, struct span bytes, size_t extra, struct err *err)
{
	if (bytes.len + extra > WIRE_ARGS_BYTES_MAX - args->bytes)
		return err_set(err, ERR_LIMIT, "arguments and environment of more than %d bytes",
			       WIRE_ARGS_BYTES_MAX);
	if (memchr(bytes.ptr, '\0', bytes.len))
		return err_set(err, ERR_INVALID, "argument or variable with a NUL byte");
	args->bytes += bytes.len + extra;
	buf_add(&args->part, bytes);
	return 0;
}

/* The string in `part` is complete. */
static int end_string(struct wire_args *args, enum wire_type type, struct err *err)
{
	const char *equals;

	if (args->argv.count + args->env.count == WIRE_ARGS_COUNT_MAX)
		return err_set(err, ERR_LIMIT, "more than %d arguments and variables",
			       WIRE_ARGS_COUNT_MAX);
	if (type == WIRE_ENV) {
		equals = strchr(args->part.ptr, '=');
		if (!equals || equals == args->part.ptr)
			return err_set(err, ERR_INVALID, "variable '%.64s' is not NAME=VALUE",
				       args->part.ptr);
	}
	strv_add(type == WIRE_ARG ? &args->argv : &args->env, args->part.ptr);
	buf_clear(&args->part);
	return 0;
}

static int check_start(struct wire_args *args, struct err *err)
{
	if (args->part.len > 0)
		return err_set(err, ERR_INVALID, "START in the middle of an argument");
	if (args->argv.count == 0 || args->argv.items[0][0] == '\0')
		return err_set(err, ERR_INVALID, "START without a program");
	args->is_complete = true;
	return 0;
}

int wire_args_take(struct wire_args *args, const struct wire_frame *frame, struct err *err)
{
	const bool is_end = frame->type == WIRE_ARG || frame->type == WIRE_ENV;
	int r;

	if (args->is_complete)
		return err_set(err, ERR_PROTOCOL, "%s frame after START",
			       wire_type_name(frame->type));
	if (frame->type == WIRE_START)
		return check_start(args, err);
	if (!is_end && frame->type != WIRE_PART)
		return err_set(err, ERR_PROTOCOL, "%s frame before START",
			       wire_type_name(frame->type));
	r = add_bytes(args, frame->payload, is_end ? 1 : 0, err);
	if (r < 0 || !is_end)
		return r;
	return end_string(args, frame->type, err);
}
