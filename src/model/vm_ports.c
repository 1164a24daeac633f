/* Published ports as text: "8080:80,2222:22". */
#include "base/parse.h"
#include "model/vm.h"

static bool parse_port(struct span *cursor, uint16_t *ret)
{
	uint64_t port;

	if (!parse_u64(cursor, UINT16_MAX, &port) || port == 0)
		return false;

	*ret = (uint16_t)port;
	return true;
}

static bool has_host_port(const struct vm_port *ports, size_t count, uint16_t host)
{
	for (size_t i = 0; i < count; i++)
		if (ports[i].host == host)
			return true;
	return false;
}

bool vm_ports_parse(const char *text, struct vm_port ret_ports[static VM_PORTS_MAX],
		    size_t *ret_count)
{
	struct vm_port ports[VM_PORTS_MAX] = { { .host = 0 } };
	struct span cursor = span_str(text);
	size_t count = 0;

	while (!parse_end(&cursor)) {
		struct vm_port port = { .host = 0 };

		if (count == VM_PORTS_MAX || (count > 0 && !parse_byte(&cursor, ',')))
			return false;
		if (!parse_port(&cursor, &port.host) || !parse_byte(&cursor, ':') ||
		    !parse_port(&cursor, &port.guest) || has_host_port(ports, count, port.host))
			return false;
		ports[count++] = port;
	}

	for (size_t i = 0; i < count; i++)
		ret_ports[i] = ports[i];
	*ret_count = count;
	return true;
}

void vm_ports_format(struct buf *out, const struct vm_port *ports, size_t count)
{
	for (size_t i = 0; i < count; i++)
		buf_addf(out, "%s%u:%u", i ? "," : "", (unsigned int)ports[i].host,
			 (unsigned int)ports[i].guest);
}
