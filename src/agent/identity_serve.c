#include "agent/freeze.h"
#include "agent/renew.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"

static int refresh(const struct identity *identity, struct err *err)
{
	AUTO_CLOSE int root = dir_open("/");
	struct err later = ERR_INIT;
	const int kernel = identity_set_kernel(identity, IDENTITY_REFRESH, err);
	const int files = root < 0 ? err_sys(&later, root, "open /")
				   : identity_write_files(identity, IDENTITY_REFRESH, root, &later);

	if (kernel == 0 && files < 0)
		*err = later;
	return kernel < 0 ? kernel : files;
}

static void reach_identity(struct conn *conn, const struct identity *identity)
{
	if (identity->boot_token)
		state_set_token(conn->state, identity->boot_token);
	state_reach(conn->state, STAGE_IDENTITY);
}

static int renew(struct conn *conn, const struct identity *identity, struct err *err)
{
	struct renewal renewal = { .is_other = false };
	json_t *machine = NULL;
	json_t *answer;
	const uint64_t begun_ns = clock_now_ns();
	bool was_held;
	int r = identity_check_whole(identity, err);

	/* What was frozen for the copy that this machine is a clone of must be written now. */
	if (r == 0)
		r = freeze_end(conn->state, &was_held, err);
	if (r == 0)
		r = renew_run(identity, &renewal, err);
	if (r == 0)
		r = renew_confirm(identity, &machine, err);
	if (r < 0)
		return r;
	reach_identity(conn, identity);
	json_put_u64(machine, "took_us", (clock_now_ns() - begun_ns) / 1000);
	answer = json_new_object();
	json_put(answer, "machine", machine);
	r = conn_reply(conn, answer, err);
	/* Whether the host has heard it or not, what was begun is finished. */
	conn_finish(conn);
	renew_finish(&renewal);
	return r;
}

int identity_serve(struct conn *conn, const struct request *request, struct err *err)
{
	struct identity identity;
	int r;

	if (!conn->state->is_booted)
		return err_set(err, ERR_UNSUPPORTED,
			       "this agent did not boot the machine and does not change it");
	r = identity_parse(request->identity, &identity, err);
	if (r < 0)
		return r;
	if (request->is_renewal) {
		r = renew(conn, &identity, err);
	} else {
		r = refresh(&identity, err);
		if (r == 0) {
			reach_identity(conn, &identity);
			r = conn_reply(conn, NULL, err);
		}
	}
	identity_done(&identity);
	return r;
}
