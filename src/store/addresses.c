/* Several VMs' addresses at once. */
#include "base/err.h"
#include "store/private.h"

struct addresses {
	const struct store_address *items;
	size_t count;
};

static int set(struct connection *writer, const char *id, uint32_t net_index, const char *ip,
	       struct err *err)
{
	AUTO_STATEMENT *statement = NULL;
	int r;

	r = connection_prepare(writer, QUERY_VM_SET_ADDRESS, &statement, err);
	if (r < 0)
		return r;
	statement_bind_text(statement, 1, id);
	statement_bind_number(statement, 2, net_index);
	statement_bind_text(statement, 3, ip);
	return statement_step(writer, statement, err, "store the VMs' addresses");
}

/* First nobody has one, so that two may exchange theirs. */
static int set_all(struct connection *writer, const void *context, struct err *err)
{
	const struct addresses *all = context;
	int r = 0;

	for (size_t i = 0; i < all->count && r == 0; i++)
		r = set(writer, all->items[i].vm_id, 0, NULL, err);
	for (size_t i = 0; i < all->count && r == 0; i++)
		r = set(writer, all->items[i].vm_id, all->items[i].net_index, all->items[i].ip,
			err);
	return r;
}

int store_vm_set_addresses(struct store *store, const struct store_address *addresses, size_t count,
			   struct err *err)
{
	const struct addresses all = { .items = addresses, .count = count };
	const int r =
		store_write(store, KEEP_RESERVE, "store the VMs' addresses", set_all, &all, err);

	for (size_t i = 0; i < count && r == 0 && store->vm_changed; i++)
		store->vm_changed(store->vm_context, addresses[i].vm_id);
	return r;
}
