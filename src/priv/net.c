#include "priv/net.h"

#include <cap-ng.h>

#include "base/fd.h"
#include "base/mem.h"
#include "priv/net_backend.h"
#include "priv/priv.h"

bool priv_net_may(void)
{
	return capng_get_caps_process() == 0 &&
	       capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN) == 1;
}

void priv_net_close(struct priv_net *net)
{
	if (net)
		net->backend->close(net);
}

int priv_net_look(struct priv_net *net, struct priv_net_state *ret, struct err *err)
{
	return net->backend->look(net, ret, err);
}

void priv_net_state_done(struct priv_net_state *state)
{
	if (!state)
		return;
	mem_free(state->taps);
	*state = (struct priv_net_state){ 0 };
}

int priv_net_traffic(struct priv_net *net, struct priv_traffic **ret, size_t *ret_count,
		     struct err *err)
{
	return net->backend->traffic(net, ret, ret_count, err);
}

int priv_net_census(struct priv_net *net, priv_net_visit *visit, void *context, struct err *err)
{
	return net->backend->census(net, visit, context, err);
}

int priv_net_raise(struct priv_net *net, const struct net_guest *guests, size_t count,
		   struct err *err)
{
	return net->backend->raise(net, guests, count, err);
}

bool priv_net_is_whole(struct priv_net *net, const struct net_guest *guests, size_t count)
{
	return net->backend->is_whole(net, guests, count);
}

int priv_net_clear(struct priv_net *net, struct err *err)
{
	return net->backend->clear(net, err);
}

int priv_tap_make(struct priv_net *net, uint32_t index, uid_t owner, struct err *err)
{
	return net->backend->tap_make(net, index, owner, err);
}

int priv_tap_delete(struct priv_net *net, uint32_t index, struct err *err)
{
	return net->backend->tap_delete(net, index, err);
}

int priv_tap_reattach(struct priv_net *net, uint32_t index, pid_t pid, struct err *err)
{
	return net->backend->tap_reattach(net, index, pid, err);
}

int priv_guest_join(struct priv_net *net, const struct net_guest *guest, struct err *err)
{
	const int r = priv_check_id(guest->vm_id, err);

	return r < 0 ? r : net->backend->join(net, guest, err);
}

int priv_guest_leave(struct priv_net *net, const struct net_guest *guest, struct err *err)
{
	const int r = priv_check_id(guest->vm_id, err);

	return r < 0 ? r : net->backend->leave(net, guest, err);
}

int priv_guest_set_nat(struct priv_net *net, const struct net_guest *guest, struct err *err)
{
	const int r = priv_check_id(guest->vm_id, err);

	return r < 0 ? r : net->backend->set_nat(net, guest, err);
}

int priv_net_set_forwarding(struct priv_net *net, bool is_on, struct err *err)
{
	return net->backend->set_forwarding(net, is_on, err);
}

int priv_net_watch_fd(struct priv_net *net)
{
	return net->backend->watch_fd(net);
}

bool priv_net_watch_read(struct priv_net *net)
{
	return net->backend->watch_read(net);
}

int priv_net_enter(struct priv_net *net, struct priv_net_spaces *ret, struct err *err)
{
	return net->backend->enter(net, ret, err);
}

void priv_net_spaces_done(struct priv_net_spaces *spaces)
{
	for (size_t i = 0; i < spaces->count; i++)
		fd_closep(&spaces->fds[i]);
	spaces->count = 0;
}

uint64_t priv_net_silences(const struct priv_net *net)
{
	return net->backend->silences ? net->backend->silences(net) : 0;
}

bool priv_net_way_out(struct priv_net *net, struct err *ret)
{
	return net->backend->way_out(net, ret);
}
