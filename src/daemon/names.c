#include "daemon/names.h"

#include <arpa/inet.h>
#include <pthread.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "dns/server.h"
#include "dns/zone.h"
#include "store/store.h"

struct names {
	struct store *store; /* borrowed */
	bool has_addresses;  /* that lead anywhere from here */
	struct dns_zone *zone;
	pthread_mutex_t lock;	   /* of all below */
	json_t *name_of;	   /* owned; id to name, of what is in the zone */
	json_t *id_of;		   /* owned; the other way */
	struct dns_server *server; /* owned; NULL while nobody is answered */
	struct err failure;	   /* why */
};

static uint32_t address_of(const struct names *names, const struct vm *vm)
{
	struct in_addr address;

	if (!names->has_addresses || !vm->ip ||
	    (vm->state != VM_RUNNING && vm->state != VM_PAUSED) ||
	    inet_pton(AF_INET, vm->ip, &address) != 1)
		return 0;
	return ntohl(address.s_addr);
}

/* A name may have gone over to another VM before we hear that its first one has given it up. */
static void forget(struct names *names, const char *id)
{
	const char *name = json_get_str(names->name_of, id);

	if (!name)
		return;
	if (str_eq(json_get_str(names->id_of, name), id)) {
		dns_zone_remove(names->zone, name);
		IGNORE_RESULT(json_object_del(names->id_of, name));
	}
	IGNORE_RESULT(json_object_del(names->name_of, id));
}

static void learn(struct names *names, const struct vm *vm)
{
	const char *before = json_get_str(names->name_of, vm->id);

	if (before && !str_eq(before, vm->name))
		forget(names, vm->id);
	json_put_str(names->name_of, vm->id, vm->name);
	json_put_str(names->id_of, vm->name, vm->id);
	dns_zone_set(names->zone, vm->name, address_of(names, vm));
}

/* What cannot be read for another reason stays as it is: the next change comes. */
static void on_change(void *context, const char *id)
{
	struct names *names = context;
	struct err err = ERR_INIT;
	AUTO_VM vm = { 0 };
	int r;

	(void)pthread_mutex_lock(&names->lock);
	r = store_vm_get(names->store, id, &vm, &err);
	if (r == 0)
		learn(names, &vm);
	else if (err.kind == ERR_NOT_FOUND)
		forget(names, id);
	(void)pthread_mutex_unlock(&names->lock);
}

int names_new(struct store *store, bool has_addresses, struct names **ret, struct err *err)
{
	AUTO_VM_LIST list = { .items = NULL };
	struct names *names;
	int r;

	r = store_vm_list(store, &list, err);
	if (r < 0)
		return r;
	names = mem_alloc(1, sizeof(*names));
	names->store = store;
	names->has_addresses = has_addresses;
	names->zone = dns_zone_new();
	names->name_of = json_new_object();
	names->id_of = json_new_object();
	(void)pthread_mutex_init(&names->lock, NULL);
	for (size_t i = 0; i < list.count; i++)
		learn(names, &list.items[i]);
	store_watch_vms(store, on_change, names);
	*ret = names;
	return 0;
}

void names_lend(struct names *names, const char *name, uint32_t address)
{
	dns_zone_set(names->zone, name, address);
}

void names_take_back(struct names *names, const char *name)
{
	dns_zone_remove(names->zone, name);
}

void names_listen(struct names *names, const char *address)
{
	struct err err = ERR_INIT;

	(void)pthread_mutex_lock(&names->lock);
	if (!names->server &&
	    dns_server_start(names->zone, &address, 1, &names->server, &err) < 0) {
		err_hint(&err, "end what listens there, or set dns_listen to another address");
		if (!str_eq(err.message, names->failure.message))
			log_write(LOG_LEVEL_WARN, &(struct log_fields){ .err = &err },
				  "names of VMs are not answered, trying again each minute");
		names->failure = err;
	}
	(void)pthread_mutex_unlock(&names->lock);
}

void names_stop(struct names *names)
{
	if (!names)
		return;
	store_watch_vms(names->store, NULL, NULL);
	dns_server_stop(TAKE_PTR(names->server));
}

void names_free(struct names *names)
{
	if (!names)
		return;
	dns_server_stop(names->server);
	dns_zone_free(names->zone);
	json_decref(names->name_of);
	json_decref(names->id_of);
	(void)pthread_mutex_destroy(&names->lock);
	mem_free(names);
}

int names_check(struct names *names, struct err *err)
{
	int r = 0;

	(void)pthread_mutex_lock(&names->lock);
	if (!names->server) {
		*err = names->failure;
		r = -EADDRNOTAVAIL;
	}
	(void)pthread_mutex_unlock(&names->lock);
	return r;
}

uint64_t names_answers(struct names *names, bool *ret_is_listening)
{
	uint64_t answers = 0;

	(void)pthread_mutex_lock(&names->lock);
	*ret_is_listening = names->server != NULL;
	if (names->server)
		answers = dns_server_answers(names->server);
	(void)pthread_mutex_unlock(&names->lock);
	return answers;
}
