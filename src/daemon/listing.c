#include "daemon/listing.h"

#include <pthread.h>

#include "base/json.h"
#include "base/mem.h"
#include "daemon/network.h"
#include "daemon/private.h"
#include "daemon/publish.h"
#include "daemon/vm_service.h"
#include "daemon/vm_table.h"

struct listing {
	pthread_mutex_t lock;	/* taken before those of the store and the table */
	struct buf text;	/* empty: not made yet */
	uint64_t store_changes; /* when it was begun, as the next */
	uint64_t table_changes;
	uint64_t port_changes;
	uint64_t network_changes;
};

struct listing *listing_new(void)
{
	struct listing *listing = mem_alloc(1, sizeof(*listing));

	(void)pthread_mutex_init(&listing->lock, NULL);
	listing->text = BUF_INIT;
	return listing;
}

void listing_free(struct listing *listing)
{
	if (!listing)
		return;
	(void)pthread_mutex_destroy(&listing->lock);
	buf_done(&listing->text);
	mem_free(listing);
}

static int make(struct daemon *daemon, struct buf *out, struct err *err)
{
	AUTO_VM_LIST list = { .items = NULL };
	AUTO_JSON *result = json_new_object();
	json_t *vms = json_new_array();
	int r;

	json_put(result, "vms", vms);
	r = store_vm_list(daemon->store, &list, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < list.count; i++)
		json_add(vms, vm_describe(daemon, &list.items[i], VM_DETAIL_LIST));
	json_write(result, out);
	return 0;
}

/* What changes while it is made makes it old at once: the numbers are those from before. */
static int refresh(struct listing *listing, struct daemon *daemon, struct err *err)
{
	const uint64_t store_now = store_changes(daemon->store);
	const uint64_t table_now = vm_table_changes(daemon->table);
	const uint64_t ports_now = publish_changes(daemon->publish);
	const uint64_t network_now = network_changes(daemon->network);
	AUTO_BUF text = BUF_INIT;
	int r;

	if (listing->text.len > 0 && listing->store_changes == store_now &&
	    listing->table_changes == table_now && listing->port_changes == ports_now &&
	    listing->network_changes == network_now)
		return 0;
	r = make(daemon, &text, err);
	if (r < 0)
		return r;
	buf_done(&listing->text);
	listing->text = text;
	text = BUF_INIT;
	listing->store_changes = store_now;
	listing->table_changes = table_now;
	listing->port_changes = ports_now;
	listing->network_changes = network_now;
	return 0;
}

int listing_get(struct listing *listing, struct daemon *daemon, struct buf *out, struct err *err)
{
	int r;

	(void)pthread_mutex_lock(&listing->lock);
	r = refresh(listing, daemon, err);
	if (r == 0)
		buf_add(out, buf_span(&listing->text));
	(void)pthread_mutex_unlock(&listing->lock);
	return r;
}
