/* One question about a path of the guest. */
#include "base/json.h"
#include "base/text.h"
#include "guest/connect.h"
#include "guest/copy.h"
#include "guest/transfer.h"
#include "wire/protocol.h"

static int read_answer(const json_t *reply, enum guest_file *ret, uint64_t *ret_size,
		       struct err *err)
{
	static const struct {
		const char *name;
		enum guest_file type;
	} rows[] = { { "file", GUEST_FILE }, { "folder", GUEST_FOLDER }, { "other", GUEST_OTHER } };
	const char *type = json_get_str(reply, "type");

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!str_eq(type, rows[i].name))
			continue;
		*ret = rows[i].type;
		*ret_size = json_get_u64(reply, "size");
		return 0;
	}
	return err_set(err, ERR_PROTOCOL,
		       "wrong answer from the agent: 'type' is none of its words");
}

int guest_look(const struct guest_copy *copy, const char *path, enum guest_file *ret,
	       uint64_t *ret_size, struct err *err)
{
	AUTO_JSON *request = json_new_object();
	AUTO_JSON *reply = NULL;
	struct err call_err = ERR_INIT;
	int r;

	r = transfer_check_path(path, err);
	if (r < 0)
		return r;
	json_put_str(request, "op", wire_op_name(WIRE_OP_LOOK));
	json_put_str(request, "path", path);
	r = guest_call(copy->fd, request, copy->cancel, copy->deadline_ns, &reply, &call_err);
	if (r < 0 && call_err.kind == ERR_NOT_FOUND) {
		*ret = GUEST_NOTHING;
		*ret_size = 0;
		return 0;
	}
	if (r < 0) {
		*err = call_err;
		return err_context(err, r, "look at '%s'", path);
	}
	return read_answer(reply, ret, ret_size, err);
}
