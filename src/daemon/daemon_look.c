/* What `bangerd --plan` and `bangerd --census` print: a look at everything without a daemon. */
#include "daemon/daemon.h"

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/census.h"
#include "daemon/lease.h"
#include "daemon/look.h"
#include "daemon/private.h"
#include "daemon/vm_table.h"
#include "priv/priv.h"

/* No more than looking takes; the rest stays NULL. */
static int open_to_look(struct daemon *daemon, struct err *err)
{
	struct path_environment environment;
	int r;

	path_environment_read(&environment);
	r = paths_resolve(&environment, &daemon->paths, err);
	if (r == 0)
		r = config_load(daemon->paths.config_file, &daemon->config, err);
	if (r < 0)
		return r;
	daemon->images_dir = mem_printf("%s/images", daemon->paths.state_dir);
	daemon->kernels_dir = mem_printf("%s/kernels", daemon->paths.state_dir);
	daemon->vms_dir = mem_printf("%s/vms", daemon->paths.state_dir);
	daemon->templates_dir = mem_printf("%s/templates", daemon->paths.state_dir);
	daemon->locks = keylock_new(-1);
	daemon->leases = leases_new();
	r = process_boot_id(daemon->boot_id);
	if (r < 0)
		return err_sys(err, r, "tell this boot from others");
	r = store_open_to_look(daemon->paths.database, &daemon->store, err);
	if (r == 0)
		r = vm_table_new(&daemon->table, err);
	if (r == 0)
		r = priv_open_to_look(daemon->paths.state_dir, &daemon->priv, err);
	if (r == 0)
		r = daemon_open_network(daemon, err);
	return r;
}

static int put_view(struct daemon *daemon, enum daemon_view view, json_t *result, struct err *err)
{
	json_t *found = NULL;
	AUTO_PLAN plan = { 0 };
	int r;

	json_put_bool(result, "daemon_runs", false);
	if (view == DAEMON_VIEW_PLAN) {
		r = look_at_all(daemon, true, &plan, err);
		if (r == 0)
			plan_put_json(&plan, result);
		return r;
	}
	r = census_take(daemon, 0, &found, err);
	if (r == 0)
		json_put(result, "objects", found);
	return r;
}

int daemon_look(enum daemon_view view, struct buf *out, struct err *err)
{
	struct daemon daemon = { .stop = CANCEL_INIT, .released = CANCEL_INIT };
	AUTO_JSON *result = json_new_object();
	int r;

	r = open_to_look(&daemon, err);
	if (r == 0)
		r = put_view(&daemon, view, result, err);
	daemon_done(&daemon);
	if (r < 0)
		return r;
	json_write(result, out);
	buf_add_byte(out, '\n');
	return 0;
}
