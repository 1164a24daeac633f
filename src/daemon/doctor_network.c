/* What doctor says of the VMs' network. */
#include <fcntl.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "daemon/doctor_private.h"
#include "daemon/network.h"
#include "daemon/private.h"
#include "priv/net.h"
#include "priv/net_holder.h"

#define ROUTES_BYTES_MAX (4UL << 20)

static void check_subnet(const struct daemon *daemon, json_t *checks)
{
	AUTO_BUF table = BUF_INIT;
	struct err err = ERR_INIT;
	AUTO_FREE char *text = mem_printf("%s/%u is no other network's", daemon->config.bridge_ip,
					  (unsigned)daemon->config.cidr);

	if (file_read(AT_FDCWD, "/proc/net/route", ROUTES_BYTES_MAX, &table) < 0)
		return;
	if (config_check_routes(&daemon->config, buf_span(&table), &err) < 0) {
		err_hint(&err, "set bridge_ip and cidr to a network that is free, and start VMs "
			       "again");
		doctor_add_err(checks, "subnet", WARN, &err);
		return;
	}
	doctor_add(checks, "subnet", PASS, text, NULL);
}

static void check_no_network(const struct daemon *daemon, json_t *checks)
{
	const bool is_wanted = daemon->config.network == CONFIG_NETWORK_NONE;
	const struct err *absence = network_absence(daemon->network);
	AUTO_BUF text = BUF_INIT;

	buf_addf(&text, "VMs have no network device: %s", absence->message);
	doctor_add(checks, "network", is_wanted ? PASS : WARN, text.ptr,
		   is_wanted	      ? NULL
		   : absence->hint[0] ? absence->hint
				      : "commands, shells and files go through the agent");
}

/* How guests with NAT get out of an isolated network. */
static void check_way_out(json_t *checks, struct network_summary *summary)
{
	struct err missing = ERR_INIT;

	if (priv_net_check_way_out(&missing) < 0)
		doctor_add_err(checks, "way out", WARN, &missing);
	else if (summary->way_out.kind != ERR_NONE)
		doctor_add_err(checks, "way out", WARN, &summary->way_out);
	else
		doctor_add(checks, "way out", PASS, "pasta, while a VM with NAT runs", NULL);
}

/* Those that run, and should have a network. */
static void check_guests(struct daemon *daemon, json_t *checks)
{
	AUTO_VM_LIST list = { 0 };
	struct err err = ERR_INIT;

	if (store_vm_list(daemon->store, &list, &err) < 0) {
		doctor_add_err(checks, "network of VMs", WARN, &err);
		return;
	}
	for (size_t i = 0; i < list.count; i++) {
		const struct vm *vm = &list.items[i];
		const char *trouble = network_trouble(daemon->network, vm);
		AUTO_FREE char *text = mem_printf("'%s': %s", vm->name, trouble ? trouble : "");
		AUTO_FREE char *hint = mem_printf("'banger vm restart %s'", vm->name);

		if (trouble)
			doctor_add(checks, "network of a VM", WARN, text, hint);
	}
}

/* Nothing of it can be known, then. */
static void check_silence(const struct daemon *daemon, json_t *checks)
{
	const bool is_isolated = network_is_isolated(daemon->network);
	AUTO_BUF text = BUF_INIT;

	network_describe(daemon->network, &text);
	buf_add_str(&text, is_isolated ? "; its process, " NET_HOLDER_NAME ", does not answer"
				       : "; what an earlier bangerd left cannot be taken over");
	doctor_add(checks, "network", WARN, text.ptr,
		   is_isolated ? "VMs go on as they are; 'pkill -CONT -x " NET_HOLDER_NAME
				 "' if somebody has stopped it"
			       : "VMs go on as they are, and bangerd tries again; see its log");
}

static void check_bridge(const struct daemon *daemon, const struct network_summary *summary,
			 json_t *checks)
{
	AUTO_BUF text = BUF_INIT;

	network_describe(daemon->network, &text);
	buf_add_str(&text, "; ");
	if (!summary->is_up)
		buf_add_str(&text, "made when the first VM is started");
	else
		buf_addf(&text, "%zu of %u addresses in use, %zu TAP devices ready",
			 summary->guests, summary->capacity, summary->ready);
	doctor_add(checks, "network", PASS, text.ptr, NULL);
}

void doctor_check_network(struct daemon *daemon, json_t *checks)
{
	struct network_summary summary;

	if (!network_is_on(daemon->network)) {
		check_no_network(daemon, checks);
		return;
	}
	network_summarise(daemon->network, &summary);
	if (!summary.answers) {
		check_silence(daemon, checks);
		return;
	}
	check_bridge(daemon, &summary, checks);
	check_guests(daemon, checks);
	if (summary.is_up)
		doctor_add(checks, "packet rules", summary.is_whole ? PASS : WARN,
			   summary.is_whole ? "as bangerd made them"
					    : "somebody has changed rules or links",
			   summary.is_whole ? NULL
					    : "bangerd puts them back within seconds; see its log");
	if (network_is_isolated(daemon->network))
		check_way_out(checks, &summary);
	else
		check_subnet(daemon, checks);
}
