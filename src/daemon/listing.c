#include "daemon/listing.h"

#include <pthread.h>

#include "base/json.h"
#include "base/mem.h"
#include "daemon/lease.h"
#include "daemon/network.h"
#include "daemon/private.h"
#include "daemon/publish.h"
#include "daemon/vm_service.h"
#include "daemon/vm_table.h"

struct page {
	struct buf text;	/* empty: not made yet */
	uint64_t store_changes; /* when it was begun, as the next */
	uint64_t table_changes;
	uint64_t port_changes;
	uint64_t network_changes;
};

struct listing {
	pthread_mutex_t lock; /* taken before those of the store and the table */
	struct page pages[LISTING_FORM_COUNT];
};

struct listing *listing_new(void)
{
	struct listing *listing = mem_alloc(1, sizeof(*listing));

	(void)pthread_mutex_init(&listing->lock, NULL);
	for (size_t i = 0; i < ARRAY_LEN(listing->pages); i++)
		listing->pages[i].text = BUF_INIT;
	return listing;
}

void listing_free(struct listing *listing)
{
	if (!listing)
		return;
	(void)pthread_mutex_destroy(&listing->lock);
	for (size_t i = 0; i < ARRAY_LEN(listing->pages); i++)
		buf_done(&listing->pages[i].text);
	mem_free(listing);
}

/* What a table of VMs has, and what is said below it. */
static json_t *brief_of(const json_t *vm)
{
	static const char *const members[] = {
		"id",	"name",		"state",      "image",	   "ip",
		"vcpu", "memory_bytes", "disk_bytes", "workspace", "created_at",
	};
	json_t *brief = json_new_object();

	for (size_t i = 0; i < ARRAY_LEN(members); i++)
		json_put(brief, members[i], json_incref(json_object_get(vm, members[i])));
	if (json_get_str(vm, "last_error"))
		json_put_str(brief, "last_error", json_get_str(vm, "last_error"));
	return brief;
}

static int make(struct daemon *daemon, enum listing_form form, struct buf *out, struct err *err)
{
	AUTO_VM_LIST list = { .items = NULL };
	AUTO_JSON *result = json_new_object();
	json_t *vms = json_new_array();
	int r;

	json_put(result, "vms", vms);
	r = store_vm_list(daemon->store, &list, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < list.count; i++) {
		/* What a template is being made of is nobody's VM. */
		if (lease_is_own(daemon->leases, list.items[i].id))
			continue;
		AUTO_JSON *vm = vm_describe(daemon, &list.items[i], VM_DETAIL_LIST);

		json_add(vms, form == LISTING_BRIEF ? brief_of(vm) : json_incref(vm));
	}
	json_write(result, out);
	return 0;
}

/* What changes while it is made makes it old at once: the numbers are those from before. */
static int refresh(struct page *page, struct daemon *daemon, enum listing_form form,
		   struct err *err)
{
	const uint64_t store_now = store_changes(daemon->store);
	const uint64_t table_now = vm_table_changes(daemon->table);
	const uint64_t ports_now = publish_changes(daemon->publish);
	const uint64_t network_now = network_changes(daemon->network);
	AUTO_BUF text = BUF_INIT;
	int r;

	if (page->text.len > 0 && page->store_changes == store_now &&
	    page->table_changes == table_now && page->port_changes == ports_now &&
	    page->network_changes == network_now)
		return 0;
	r = make(daemon, form, &text, err);
	if (r < 0)
		return r;
	buf_done(&page->text);
	*page = (struct page){
		.text = text,
		.store_changes = store_now,
		.table_changes = table_now,
		.port_changes = ports_now,
		.network_changes = network_now,
	};
	text = BUF_INIT;
	return 0;
}

int listing_get(struct listing *listing, struct daemon *daemon, enum listing_form form,
		struct buf *out, struct err *err)
{
	struct page *page = &listing->pages[form];
	int r;

	(void)pthread_mutex_lock(&listing->lock);
	r = refresh(page, daemon, form, err);
	if (r == 0)
		buf_add(out, buf_span(&page->text));
	(void)pthread_mutex_unlock(&listing->lock);
	return r;
}
