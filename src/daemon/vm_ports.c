/* What listens in a guest, as people want to see it: once for both families, with what it speaks.
 */
#include "daemon/vm_service.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/autostop.h"
#include "daemon/vm_files.h"
#include "guest/ports.h"

#define PORTS_TIMEOUT_MS 15000 /* for the whole: the list, and two greetings to each port */

/* A listener: one or more sockets that are one to its clients. */
struct listener {
	const struct guest_port *port; /* borrowed: the first of its sockets */
	const struct guest_port *twin; /* borrowed: the other family's; NULL: none */
	enum guest_speaks speaks;
};

static bool is_everywhere(const struct guest_port *port)
{
	return str_eq(port->address, "0.0.0.0") || str_eq(port->address, "::");
}

/* The agent connects to the guest's loopback: only there can it be asked. */
static bool is_on_loopback(const struct guest_port *port)
{
	return is_everywhere(port) || str_starts(port->address, "127.") ||
	       str_eq(port->address, "::1");
}

/* Takes the socket into a listener that is there: several workers on one, or the other family. */
static bool join(struct listener *listener, const struct guest_port *port)
{
	const struct guest_port *first = listener->port;

	if (first->is_udp != port->is_udp || first->port != port->port)
		return false;
	if (str_eq(first->address, port->address))
		return true;
	if (!is_everywhere(first) || !is_everywhere(port))
		return false;
	if (first->pid != port->pid && first->pid != 0 && port->pid != 0)
		return false; /* two servers that share a port number */
	listener->twin = port;
	return true;
}

static size_t collect(const struct guest_ports *ports, struct listener *ret)
{
	size_t count = 0;

	for (size_t i = 0; i < ports->count; i++) {
		bool is_new = true;

		for (size_t k = 0; k < count && is_new; k++)
			is_new = !join(&ret[k], &ports->items[i]);
		if (is_new)
			ret[count++] = (struct listener){ .port = &ports->items[i] };
	}
	return count;
}

static int probe(const struct guest_target *target, struct listener *listeners, size_t count,
		 struct err *err)
{
	AUTO_FREE uint16_t *numbers = mem_alloc(count + 1, sizeof(*numbers));
	AUTO_FREE size_t *indexes = mem_alloc(count + 1, sizeof(*indexes));
	AUTO_FREE enum guest_speaks *speaks = mem_alloc(count + 1, sizeof(*speaks));
	size_t wanted = 0;
	int r;

	for (size_t i = 0; i < count; i++) {
		if (listeners[i].port->is_udp || !is_on_loopback(listeners[i].port))
			continue;
		numbers[wanted] = listeners[i].port->port;
		indexes[wanted++] = i;
	}
	r = guest_probe(target, numbers, wanted, speaks, err);
	for (size_t i = 0; i < wanted && r == 0; i++)
		listeners[indexes[i]].speaks = speaks[i];
	return r;
}

static const char *protocol_of(const struct listener *listener)
{
	if (listener->port->is_udp)
		return "udp";
	if (listener->speaks == GUEST_SPEAKS_HTTPS)
		return "https";
	return listener->speaks == GUEST_SPEAKS_HTTP ? "http" : "tcp";
}

static json_t *listener_json(const struct listener *listener)
{
	const struct guest_port *port = listener->port;
	AUTO_FREE char *endpoint = mem_printf(port->is_ipv6 ? "[%s]:%u" : "%s:%u", port->address,
					      (unsigned)port->port);
	AUTO_FREE char *both = mem_printf("*:%u", (unsigned)port->port);
	json_t *json = json_new_object();
	json_t *addresses = json_new_array();

	json_add(addresses, json_new_str(port->address));
	if (listener->twin)
		json_add(addresses, json_new_str(listener->twin->address));
	json_put_str(json, "protocol", protocol_of(listener));
	json_put_str(json, "transport", port->is_udp ? "udp" : "tcp");
	json_put_str(json, "endpoint", listener->twin ? both : endpoint);
	json_put(json, "addresses", addresses);
	json_put_u64(json, "port", port->port);
	if (port->pid)
		json_put_u64(json, "pid", port->pid);
	else
		json_put_str(json, "pid", NULL);
	json_put_str(json, "process", port->process[0] ? port->process : NULL);
	json_put_str(json, "command", port->command[0] ? port->command : NULL);
	return json;
}

int vm_ports_json(const struct guest_target *target, const struct guest_ports *ports, json_t **ret,
		  struct err *err)
{
	AUTO_FREE struct listener *listeners = mem_alloc(ports->count + 1, sizeof(*listeners));
	const size_t count = collect(ports, listeners);
	int r;

	r = probe(target, listeners, count, err);
	if (r < 0)
		return r;
	*ret = json_new_array();
	for (size_t i = 0; i < count; i++)
		json_add(*ret, listener_json(&listeners[i]));
	return 0;
}

int vm_ports(const struct job *job, const char *reference, json_t **ret, struct err *err)
{
	struct daemon *daemon = job->daemon;
	AUTO_GUEST_PORTS ports = { .items = NULL };
	AUTO_FREE char *socket = NULL;
	AUTO_VM vm = { 0 };
	int r;

	r = daemon_find_vm(daemon, reference, &vm, err);
	if (r == 0)
		r = vm_check_verb(&vm, VM_VERB_PORTS, err);
	if (r < 0)
		return r;
	socket = vm_file(daemon, vm.id, VM_FILE_VSOCK_SOCKET);
	const struct guest_target target = {
		.socket_path = socket,
		.cancel = job->cancel,
		.deadline_ns = clock_now_ns() + PORTS_TIMEOUT_MS * NSEC_PER_MSEC,
	};

	autostop_touch(daemon->autostop, vm.id);
	r = guest_ports(&target, &ports, err);
	if (r == 0)
		r = vm_ports_json(&target, &ports, ret, err);
	return r < 0 ? err_context(err, r, "cannot list the ports of '%s'", vm.name) : 0;
}

int vm_ping(const struct job *job, const char *reference, uint64_t timeout_ms, uint64_t *ret_us,
	    struct err *err)
{
	AUTO_FREE char *socket = NULL;
	AUTO_VM vm = { 0 };
	int r;

	r = daemon_find_vm(job->daemon, reference, &vm, err);
	if (r == 0)
		r = vm_check_verb(&vm, VM_VERB_PING, err);
	if (r < 0)
		return r;
	socket = vm_file(job->daemon, vm.id, VM_FILE_VSOCK_SOCKET);
	const struct guest_target target = {
		.socket_path = socket,
		.cancel = job->cancel,
		.deadline_ns = clock_now_ns() + timeout_ms * NSEC_PER_MSEC,
	};

	return guest_ping(&target, ret_us, err);
}
