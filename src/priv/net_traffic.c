/* What passes the guests' TAPs. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "model/names.h"
#include "priv/net_private.h"

struct count {
	const struct net_direct *net;
	struct priv_traffic *items; /* owned */
	size_t count;
};

static void note_link(void *context, const struct link *link)
{
	struct count *count = context;
	const char *words = net_owner_words(count->net, link->alias);
	const char *vm_id = words ? net_vm_of_words(words) : NULL;
	struct priv_traffic *traffic;
	uint32_t index;

	if (!vm_id || !str_eq(link->kind, "tun") ||
	    !net_tap_index(count->net->policy.bridge_name, link->name, &index))
		return;
	count->items = mem_grow(count->items, count->count + 1, sizeof(*count->items));
	traffic = &count->items[count->count++];
	/* What the host sends to the TAP is what comes in there. */
	*traffic = (struct priv_traffic){ .in_bytes = link->counters.sent_bytes,
					  .in_packets = link->counters.sent_packets,
					  .out_bytes = link->counters.received_bytes,
					  .out_packets = link->counters.received_packets };
	(void)snprintf(traffic->vm_id, sizeof(traffic->vm_id), "%s", vm_id);
}

int net_direct_traffic(struct priv_net *base, struct priv_traffic **ret, size_t *ret_count,
		       struct err *err)
{
	struct net_direct *net = net_direct_of(base);
	struct count count = { .net = net };
	int r;

	(void)pthread_mutex_lock(&net->lock);
	r = link_each(net->route, note_link, &count);
	(void)pthread_mutex_unlock(&net->lock);
	if (r < 0) {
		mem_free(count.items);
		return err_sys(err, r, "list network devices");
	}
	*ret = count.items;
	*ret_count = count.count;
	return 0;
}
