#include "workspace/ship_private.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "workspace/packing.h"
#include "workspace/scripts.h"

/* What the guest was given last, as far as this repository has it. */
static int find_base(const struct ship *ship, char **ret, struct err *err)
{
	AUTO_FREE char *commit = mem_printf("%s^{commit}", ship->had.head ? ship->had.head : "");
	const char *const args[] = { "rev-parse", "-q", "--verify", commit, NULL };
	const struct git_call call = { .args = args,
				       .cancel = ship->way->cancel,
				       .may_say_no = true };

	*ret = NULL;
	if (ship_is_first(ship) || str_empty(ship->had.head))
		return 0;
	return git_line(&ship->workspace->git, &call, ret, err);
}

/* Objects for the guest: the commit with its files and what is staged, without what it has. */
static int start_pack(struct ship *ship, struct packing *ret, struct err *err)
{
	const struct facts *facts = &ship->workspace->facts;
	const bool is_full = ship->workspace->wish.is_full;
	AUTO_FREE char *base = NULL;
	AUTO_BUF revisions = BUF_INIT;
	int r;

	r = find_base(ship, &base, err);
	if (r < 0)
		return r;
	if (facts->head && !is_full)
		buf_addf(&revisions, "--shallow %s\n", facts->head);
	if (base && !is_full)
		buf_addf(&revisions, "--shallow %s\n", base);
	if (facts->head)
		buf_addf(&revisions, "%s\n", facts->head);
	buf_add(&revisions, buf_span(&ship->plan.objects));
	/* With history wanted where there was none, all of it is new. */
	if (base && (!is_full || str_eq(ship->had.mode, "full_copy")))
		buf_addf(&revisions, "^%s\n", base);
	const struct packing_wish wish = { .revisions = buf_span(&revisions),
					   .has_deltas = is_full,
					   .cancel = ship->way->cancel };

	return packing_start(&ship->workspace->git, &wish, ret, err);
}

static bool wants_pack(const struct ship *ship)
{
	if (ship->plan.objects.len > 0)
		return true;
	return ship->gets.head[0] &&
	       (ship_is_first(ship) || !str_eq(ship->gets.head, ship->had.head) ||
		!str_eq(ship->gets.mode, ship->had.mode));
}

/* How the guest takes the pack; workspace/scripts.h. */
static const char *pack_kind(const struct ship *ship)
{
	return !wants_pack(ship) ? "none" : ship->workspace->wish.is_full ? "whole" : "bare";
}

/* Runs a script on the pack, or on nothing; `pack_index` is empty where the guest makes it. */
static int send_pack(struct ship *ship, const struct guest_script *what, struct buf *ret,
		     struct buf *pack_index, struct err *err)
{
	struct guest_script script = *what;
	AUTO_PACKING packing = PACKING_INIT;
	struct err pack_err = ERR_INIT;
	int r;

	script.input_fd = -1;
	if (!wants_pack(ship))
		return guest_script_run(ship->way, &script, ret, err);
	r = start_pack(ship, &packing, err);
	if (r < 0)
		return r;
	script.read = packing_read;
	script.context = &packing;
	script.stage = "objects";
	r = guest_script_run(ship->way, &script, ret, err);
	/* When git has failed of itself, the guest's complaint about half a pack is only its echo.
	 */
	if (err->kind != ERR_CANCELLED &&
	    packing_end(&packing, pack_index, ship->pack_name, &pack_err) < 0 &&
	    (r == 0 || pack_err.errnum != EPIPE)) {
		*err = pack_err;
		return err_context(err, -EIO, "cannot pack '%s'", ship->workspace->git.root);
	}
	return r;
}

/* Nobody could tidy up after Ctrl-C, or a kill, between two scripts. */
static int hold(struct ship *ship, struct err *err)
{
	const char *const args[] = { ship->folder, NULL };
	const struct guest_script script = { .text = script_hold, .args = args };

	return guest_script_hold(ship->way, &script, &ship->hold_fd, err);
}

static int send_index(struct ship *ship, const struct buf *pack_index, struct err *err)
{
	const char *const args[] = { ship->folder, ship_is_first(ship) ? "new" : "old",
				     ship->pack_name, NULL };
	const struct guest_script script = { .text = script_index,
					     .args = args,
					     .what = "take the index of the objects",
					     .input_fd = -1,
					     .input = buf_span(pack_index) };

	return guest_script_run(ship->way, &script, NULL, err);
}

static int begin(struct ship *ship, struct buf *pack_index, struct err *err)
{
	const struct facts *facts = &ship->workspace->facts;
	const char *const args[] = { ship->wish->guest_path,
				     ship->workspace->git.is_sha256 ? "sha256" : "sha1",
				     pack_kind(ship),
				     facts->origin ? facts->origin : "",
				     facts->user_name ? facts->user_name : "",
				     facts->user_email ? facts->user_email : "",
				     NULL };
	struct guest_script script = { .text = script_begin,
				       .args = args,
				       .what = "make the repository",
				       .output_max = PATH_SAID_MAX };
	AUTO_BUF folder = BUF_INIT;
	int r;

	r = send_pack(ship, &script, &folder, pack_index, err);
	if (r < 0)
		return r;
	if (folder.len == 0 || folder.ptr[0] != '/' || strlen(folder.ptr) != folder.len)
		return err_set(err, ERR_PROTOCOL,
			       "the guest does not say where it made the repository");
	ship->folder = buf_detach(&folder);
	return hold(ship, err);
}

int ship_send_objects(struct ship *ship, struct err *err)
{
	const char *const args[] = { ship->wish->guest_path, pack_kind(ship), NULL };
	struct guest_script script = { .text = script_pack,
				       .args = args,
				       .what = "take the objects" };
	AUTO_BUF pack_index = BUF_INIT;
	int r = 0;

	if (ship_is_first(ship)) {
		r = begin(ship, &pack_index, err);
	} else {
		ship->folder = mem_strdup(ship->wish->guest_path);
		if (wants_pack(ship))
			r = send_pack(ship, &script, NULL, &pack_index, err);
	}
	return r == 0 && pack_index.len > 0 ? send_index(ship, &pack_index, err) : r;
}
