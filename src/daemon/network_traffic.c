/* What passes the VMs' devices. */
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "daemon/network_private.h"

int network_count_traffic(struct network *network, struct network_traffic *ret, struct err *err)
{
	int r;

	if (!network->net)
		return 0;
	r = priv_net_traffic(network->net, &ret->items, &ret->count, err);
	/* That nobody answers is often noticed here first: the worker waits for the end of it. */
	if (r < 0)
		network_wake(network);
	return r;
}

void network_traffic_done(struct network_traffic *traffic)
{
	if (!traffic)
		return;
	mem_free(traffic->items);
	*traffic = (struct network_traffic){ .items = NULL };
}

const struct priv_traffic *network_traffic_of(const struct network_traffic *traffic,
					      const char *vm_id)
{
	for (size_t i = 0; i < traffic->count; i++) {
		if (str_eq(traffic->items[i].vm_id, vm_id))
			return &traffic->items[i];
	}
	return NULL;
}
