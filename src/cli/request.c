#include "cli/request.h"

#include <poll.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/link.h"
#include "cli/progress_view.h"
#include "rpc/client.h"

#define TICK_MS 100 /* how often the live line's clock moves */

/* One connection and the request that it is busy with. */
struct slot {
	struct rpc_client *client; /* NULL: none yet */
	bool is_owned;		   /* false for the program's, which is the first slot's */
	struct request *request;   /* borrowed; NULL while idle */
	struct progress_view view;
	struct progress progress; /* into the view */
};

struct run {
	struct cli *cli;
	struct slot slots[REQUESTS_AT_ONCE];
	size_t slot_count;
	int *ret_fd; /* of the only request; NULL otherwise */
};

void requests_done(struct request *requests, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		json_decref(requests[i].params);
		json_decref(requests[i].result);
		requests[i].params = NULL;
		requests[i].result = NULL;
	}
}

static int connect_slot(struct slot *slot, struct err *err)
{
	AUTO_PATHS paths = { .socket = NULL };
	int r;

	if (slot->client && (!slot->is_owned || rpc_client_fd(slot->client) >= 0))
		return 0;
	rpc_client_freep(&slot->client);
	r = link_paths(&paths, err);
	if (r < 0)
		return r;
	slot->is_owned = true;
	return rpc_connect(paths.socket, &slot->client, err);
}

static void end(struct slot *slot)
{
	progress_view_finish(&slot->view, slot->request->r == 0);
	slot->request = NULL;
}

/* Gives the slot its next request; one that cannot even be sent has its outcome at once. */
static void begin(struct run *run, struct slot *slot, struct request *request)
{
	struct rpc_options options = { .progress = &slot->progress, .ret_fd = run->ret_fd };
	json_t *params = TAKE_PTR(request->params);

	slot->request = request;
	progress_view_init(&slot->view, &run->cli->out, request->label);
	slot->progress = progress_view_sink(&slot->view);
	request->err = ERR_INIT;
	request->r = connect_slot(slot, &request->err);
	if (request->r < 0)
		json_decref(params);
	else
		request->r =
			rpc_begin(slot->client, request->method, params, &options, &request->err);
	if (request->r < 0)
		end(slot);
}

/* Takes what has come for the slot; it is idle again when the reply is complete. */
static void step(struct slot *slot)
{
	struct request *request = slot->request;
	int r;

	r = rpc_step(slot->client, &request->result, &request->err);
	if (r == 0)
		return;
	request->r = r < 0 ? r : 0;
	end(slot);
}

static void cancel_all(struct run *run)
{
	for (size_t i = 0; i < run->slot_count; i++) {
		struct slot *slot = &run->slots[i];

		if (!slot->request)
			continue;
		slot->request->r = err_set(&slot->request->err, ERR_CANCELLED, "cancelled");
		end(slot);
		/* Closing is what tells the daemon. */
		rpc_client_close(slot->client);
	}
}

/* The first that has something to say has the live line; the others only keep count. */
static bool show_first(struct run *run)
{
	bool is_taken = false;

	for (size_t i = 0; i < run->slot_count; i++) {
		struct slot *slot = &run->slots[i];

		slot->view.is_hidden = is_taken;
		if (!slot->request || !slot->view.stage)
			continue;
		if (!is_taken)
			progress_view_tick(&slot->view);
		is_taken = true;
	}
	return is_taken;
}

/* Waits for any of the busy slots. False when a signal asked to end. */
static bool wait_any(struct run *run)
{
	struct pollfd fds[REQUESTS_AT_ONCE + 1];
	size_t count = 0;
	const bool ticks = show_first(run) && run->cli->out.err_is_terminal;

	fds[count++] = (struct pollfd){ .fd = run->cli->cancel.fd, .events = POLLIN };
	for (size_t i = 0; i < run->slot_count; i++) {
		if (run->slots[i].request)
			fds[count++] = (struct pollfd){ .fd = rpc_client_fd(run->slots[i].client),
							.events = POLLIN };
	}
	/* Interrupted or out of memory: the callers look again at everything. */
	(void)poll(fds, (nfds_t)count, ticks ? TICK_MS : -1);
	return !cancel_is_fired(&run->cli->cancel);
}

static bool is_busy(const struct run *run)
{
	for (size_t i = 0; i < run->slot_count; i++) {
		if (run->slots[i].request)
			return true;
	}
	return false;
}

static void run_all(struct run *run, struct request *requests, size_t count)
{
	size_t next = 0;

	for (;;) {
		for (size_t i = 0; i < run->slot_count; i++) {
			while (!run->slots[i].request && next < count)
				begin(run, &run->slots[i], &requests[next++]);
		}
		if (!is_busy(run))
			return;
		if (!wait_any(run))
			break;
		for (size_t i = 0; i < run->slot_count; i++) {
			if (run->slots[i].request)
				step(&run->slots[i]);
		}
	}

	cancel_all(run);
	for (; next < count; next++)
		requests[next].r = err_set(&requests[next].err, ERR_CANCELLED, "cancelled");
}

static void run_requests(struct cli *cli, struct request *requests, size_t count, int *ret_fd)
{
	AUTO_FREE struct run *run = mem_alloc(1, sizeof(*run));

	run->cli = cli;
	run->ret_fd = ret_fd;
	run->slot_count = count < REQUESTS_AT_ONCE ? count : REQUESTS_AT_ONCE;
	run->slots[0].client = cli->client;

	run_all(run, requests, count);

	for (size_t i = 0; i < run->slot_count; i++) {
		progress_view_done(&run->slots[i].view);
		if (run->slots[i].is_owned)
			rpc_client_free(run->slots[i].client);
	}
}

int request_call(struct cli *cli, const char *method, json_t *params, int *ret_fd, json_t **ret,
		 struct err *err)
{
	struct request request = { .method = method, .params = params };

	run_requests(cli, &request, 1, ret_fd);
	if (request.r < 0) {
		*err = request.err;
		requests_done(&request, 1);
		return request.r;
	}
	*ret = request.result;
	return 0;
}

void requests_run(struct cli *cli, struct request *requests, size_t count)
{
	run_requests(cli, requests, count, NULL);
}
