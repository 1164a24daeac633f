#include "cli/workspace_state.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/request.h"
#include "cli/workspace_args.h"

int workspace_state_ask(struct cli *cli, const char *vm, json_t **ret_answer, struct err *err)
{
	json_t *params = json_new_object();

	json_put_str(params, "vm", vm);
	return request_call(cli, "vm.show", params, NULL, ret_answer, err);
}

const json_t *workspace_state_of(const json_t *answer)
{
	const json_t *workspace = json_object_get(json_object_get(answer, "vm"), "workspace");

	return json_is_object(workspace) ? workspace : NULL;
}

struct workspace_last workspace_state_last(const json_t *answer, const char *guest_path)
{
	const json_t *workspace = workspace_state_of(answer);

	if (!workspace || !str_eq(json_get_str(workspace, "guest_path"), guest_path))
		return (struct workspace_last){ .host = NULL };
	return (struct workspace_last){ .host = json_get_str(workspace, "host_path"),
					.branch = json_get_str(workspace, "branch"),
					.from = json_get_str(workspace, "from") };
}

static int look(struct cli *cli, const json_t *workspace, enum workspace_state *ret,
		struct err *err)
{
	static const char *const head_args[] = { "rev-parse", "-q", "--verify", "HEAD", NULL };
	const struct git_call head_call = { .args = head_args,
					    .cancel = &cli->cancel,
					    .may_say_no = true };
	const struct fingerprint_wish wish = {
		.includes_untracked = json_get_bool(workspace, "include_untracked"),
		.is_full = str_eq(json_get_str(workspace, "mode"), "full_copy"),
		.from = json_get_str(workspace, "from"),
	};
	const char *head = json_get_str(workspace, "head");
	char print[FINGERPRINT_SIZE];
	AUTO_GIT git = GIT_INIT;
	AUTO_FREE char *now = NULL;
	int r;

	r = git_open(json_get_str(workspace, "host_path"), &cli->cancel, &git, err);
	if (r == 0)
		r = git_line(&git, &head_call, &now, err);
	if (r < 0)
		return r;
	if (json_get_bool(workspace, "pending")) {
		*ret = WORKSPACE_PENDING;
		return 0;
	}
	if (!str_eq(now ? now : "", head ? head : "")) {
		*ret = WORKSPACE_STALE;
		return 0;
	}
	r = fingerprint_checkout(&git, &wish, &cli->cancel, print, err);
	if (r == 0)
		*ret = str_eq(print, json_get_str(workspace, "fingerprint")) ? WORKSPACE_CURRENT
									     : WORKSPACE_DIRTY;
	return r;
}

int workspace_state_look(struct cli *cli, const json_t *workspace, enum workspace_state *ret,
			 struct err *err)
{
	struct err look_err = ERR_INIT;
	const int r = look(cli, workspace, ret, &look_err);

	if (r == 0)
		return 0;
	*err = look_err;
	if (look_err.kind == ERR_CANCELLED)
		return r;
	*ret = WORKSPACE_UNKNOWN;
	return 0;
}

int workspace_state_renew(struct cli *cli, const json_t *answer, struct err *err)
{
	const json_t *vm = json_object_get(answer, "vm");
	const json_t *recorded = workspace_state_of(answer);
	const struct workspace_target target = { .vm = json_get_str(vm, "id"),
						 .name = json_get_str(vm, "name") };
	const struct workspace_args args = { .guest_path = json_get_str(recorded, "guest_path"),
					     .mode = json_get_str(recorded, "mode"),
					     .include_untracked =
						     json_get_bool(recorded, "include_untracked") };
	const struct workspace_last last = workspace_state_last(answer, args.guest_path);
	AUTO_WORKSPACE workspace = WORKSPACE_INIT;
	int r;

	r = workspace_args_open(cli, json_get_str(recorded, "host_path"), &args, &last, &workspace,
				err);
	return r < 0 ? r : workspace_args_ship(cli, &workspace, &args, &target, NULL, err);
}
