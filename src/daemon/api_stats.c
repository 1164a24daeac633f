/* vm.stats: what VMs and the host use. */
#include "daemon/api.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/stats.h"

#define VMS_MAX	       1024
#define GUESTS_WAIT_NS (1500 * NSEC_PER_MSEC) /* for all guests of one question */

struct stats_params {
	struct strv vms;
};

static const struct json_field stats_fields[] = {
	{ "vms", JSON_FIELD_STRINGS, false, offsetof(struct stats_params, vms), VMS_MAX,
	  "names, ids, or unique prefixes of either; all that run when absent or empty" },
};

static void put_if(json_t *json, const char *key, bool is_known, uint64_t value)
{
	if (is_known)
		json_put_u64(json, key, value);
	else
		json_put(json, key, json_null());
}

static uint64_t less(uint64_t whole, uint64_t part)
{
	return part < whole ? whole - part : 0;
}

static void put_guest(json_t *json, const struct vm_load *load)
{
	const struct guest_stats *guest = &load->guest;
	const uint64_t total = guest->root_total_bytes + guest->work_total_bytes;
	const bool is_known = load->has_guest;

	put_if(json, "guest_memory_total_bytes", is_known, guest->memory_total_bytes);
	put_if(json, "guest_memory_used_bytes", is_known,
	       less(guest->memory_total_bytes, guest->memory_available_bytes));
	put_if(json, "guest_disk_total_bytes", is_known, total);
	put_if(json, "guest_disk_used_bytes", is_known,
	       less(total, guest->root_free_bytes + guest->work_free_bytes));
	put_if(json, "guest_processes", is_known, guest->processes);
	put_if(json, "guest_load_milli", is_known, guest->load_milli);
	put_if(json, "guest_uptime_ms", is_known, guest->uptime_ms);
}

static void put_traffic(json_t *json, const struct vm_load *load)
{
	const struct priv_traffic *traffic = &load->traffic;

	put_if(json, "net_in_bytes", load->has_network, traffic->in_bytes);
	put_if(json, "net_in_packets", load->has_network, traffic->in_packets);
	put_if(json, "net_in_rate", load->has_rate, load->in_rate);
	put_if(json, "net_out_bytes", load->has_network, traffic->out_bytes);
	put_if(json, "net_out_packets", load->has_network, traffic->out_packets);
	put_if(json, "net_out_rate", load->has_rate, load->out_rate);
}

static json_t *load_json(const struct vm *vm, const struct vm_load *load)
{
	json_t *json = json_new_object();
	const bool is_known = load->is_measured;

	json_put_str(json, "id", vm->id);
	json_put_str(json, "name", vm->name);
	json_put_str(json, "state", vm_state_name(vm->state));
	json_put_bool(json, "frozen", load->is_frozen);
	json_put_u64(json, "vcpu", vm->spec.vcpu);
	json_put_u64(json, "vm_memory_bytes", vm->spec.memory_bytes);
	put_if(json, "cpu_milli", load->has_load, load->cpu_milli);
	put_if(json, "cpu_ms", is_known, load->cpu_us / 1000);
	put_if(json, "memory_bytes", is_known, load->memory_bytes);
	put_if(json, "memory_max_bytes", load->memory_max_bytes > 0, load->memory_max_bytes);
	put_if(json, "disk_read_bytes", is_known, load->read_bytes);
	put_if(json, "disk_written_bytes", is_known, load->written_bytes);
	put_traffic(json, load);
	put_guest(json, load);
	return json;
}

/* What passed all their devices together, since each was started. */
static void put_total_traffic(json_t *json, const struct vm_load *loads, size_t count)
{
	struct priv_traffic sum = { 0 };
	uint64_t in_rate = 0, out_rate = 0;
	bool has_network = false, has_rate = false;

	for (size_t i = 0; i < count; i++) {
		const struct vm_load *load = &loads[i];

		has_network = has_network || load->has_network;
		has_rate = has_rate || load->has_rate;
		sum.in_bytes += load->traffic.in_bytes;
		sum.out_bytes += load->traffic.out_bytes;
		in_rate += load->in_rate;
		out_rate += load->out_rate;
	}
	put_if(json, "vms_net_in_bytes", has_network, sum.in_bytes);
	put_if(json, "vms_net_out_bytes", has_network, sum.out_bytes);
	put_if(json, "vms_net_in_rate", has_rate, in_rate);
	put_if(json, "vms_net_out_rate", has_rate, out_rate);
}

static json_t *host_json(struct daemon *daemon, size_t running)
{
	json_t *json = json_new_object();
	struct host_load load;

	stats_measure_host(daemon, &load);
	json_put_u64(json, "cpus", load.sample.cpus);
	put_if(json, "cpu_milli", load.has_load, load.cpu_milli);
	json_put_u64(json, "load_milli", load.sample.load_milli);
	json_put_u64(json, "memory_total_bytes", load.sample.memory_total_bytes);
	json_put_u64(json, "memory_used_bytes",
		     less(load.sample.memory_total_bytes, load.sample.memory_available_bytes));
	json_put_u64(json, "vms_running", running);
	return json;
}

/* The VMs that are meant; an empty list means those that run. */
static int choose(struct daemon *daemon, const struct strv *references, struct vm_list *ret,
		  struct err *err)
{
	AUTO_VM_LIST all = { 0 };
	int r;

	for (size_t i = 0; i < references->count; i++) {
		AUTO_VM vm = { 0 };

		r = daemon_find_vm(daemon, references->items[i], &vm, err);
		if (r < 0)
			return r;
		vm_copy(vm_list_add(ret), &vm);
	}
	if (references->count > 0)
		return 0;
	r = store_vm_list(daemon->store, &all, err);
	for (size_t i = 0; i < all.count && r == 0; i++) {
		if (vm_state_is_alive(all.items[i].state))
			vm_copy(vm_list_add(ret), &all.items[i]);
	}
	return r;
}

/* Whether each that runs has been measured twice. */
static bool measure(struct daemon *daemon, const struct vm_list *vms, const struct cancel *cancel,
		    struct vm_load *loads)
{
	const uint64_t deadline_ns = clock_now_ns() + GUESTS_WAIT_NS;
	AUTO_NETWORK_TRAFFIC traffic = { 0 };
	bool has_loads = true;

	stats_count_traffic(daemon, &traffic);
	for (size_t i = 0; i < vms->count; i++) {
		stats_measure(daemon, &vms->items[i], &traffic, cancel, deadline_ns, &loads[i]);
		has_loads = has_loads && (loads[i].has_load || !loads[i].is_measured);
	}
	return has_loads;
}

static int vm_stats_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct cancel *cancel = rpc_call_cancel(call);
	const struct stats_params *p = params;
	AUTO_FREE struct vm_load *loads = NULL;
	json_t *list = json_new_array();
	AUTO_VM_LIST vms = { 0 };
	struct host_load ignored;
	size_t running = 0;
	json_t *host;
	int r;

	json_put(result, "vms", list);
	r = choose(daemon, &p->vms, &vms, err);
	if (r < 0)
		return r;
	loads = mem_alloc(vms.count + 1, sizeof(*loads));
	stats_measure_host(daemon, &ignored);
	/* One that has just been started is measured a second time, a moment later. */
	if (!measure(daemon, &vms, cancel, loads)) {
		r = cancel_poll(cancel, -1, 0, clock_now_ns() + STATS_WINDOW_NS);
		if (r == -ECANCELED)
			return cancel_check(cancel, err);
		IGNORE_RESULT(measure(daemon, &vms, cancel, loads));
	}
	for (size_t i = 0; i < vms.count; i++) {
		json_add(list, load_json(&vms.items[i], &loads[i]));
		running += loads[i].is_measured;
	}
	host = host_json(daemon, running);
	put_total_traffic(host, loads, vms.count);
	json_put(result, "host", host);
	api_put_time(result, "time", clock_wall_seconds());
	return 0;
}

static const struct rpc_result_field stats_results[] = {
	{ "vms", "array",
	  "id, name, state, frozen (stopped by a signal), vcpu, vm_memory_bytes (the guest's); "
	  "cpu_milli (thousandths of a processor), cpu_ms (since its start), memory_bytes, "
	  "memory_max_bytes (of its cgroup), disk_read_bytes, disk_written_bytes; "
	  "net_in_bytes, net_in_packets, net_out_bytes, net_out_packets (as the guest sees it, "
	  "since its start), net_in_rate, net_out_rate (bytes a second); "
	  "guest_memory_total_bytes, guest_memory_used_bytes, guest_disk_total_bytes, "
	  "guest_disk_used_bytes, guest_processes, guest_load_milli, guest_uptime_ms; null where "
	  "it is not known" },
	{ "host", "object",
	  "cpus, cpu_milli, load_milli, memory_total_bytes, memory_used_bytes; of these "
	  "VMs together: vms_running, vms_net_in_bytes, vms_net_out_bytes, vms_net_in_rate, "
	  "vms_net_out_rate" },
	{ "time", "string", "of these figures" },
};

const struct rpc_method api_stats_methods[] = {
	{ .name = "vm.stats",
	  .summary = "what VMs and the host use now",
	  .fields = stats_fields,
	  .field_count = ARRAY_LEN(stats_fields),
	  .params_size = sizeof(struct stats_params),
	  .handler = vm_stats_call,
	  .results = stats_results,
	  .result_count = ARRAY_LEN(stats_results) },
};
const size_t api_stats_method_count = ARRAY_LEN(api_stats_methods);
