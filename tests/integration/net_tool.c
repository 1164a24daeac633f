/*
 * The privileged operations of the network, for network.bats: net_tool STATE_DIR BRIDGE_IP/PREFIX
 * COMMAND...
 *
 *     look                       has_bridge, and each TAP: INDEX and VM's id or "idle"
 *     traffic                    of each guest: ID, bytes and packets in, bytes and packets out
 *     raise GUEST...             GUEST is INDEX:VM_ID or INDEX:VM_ID:nat
 *     whole GUEST...             raises, says "raised", waits for a line, then says "yes" or "no"
 *     clear
 *     tap INDEX UID              makes an idle one
 *     untap INDEX
 *     join|leave|nat GUEST       one guest's rules; join starts the rules as raise without guests
 *     time COUNT                 COUNT guests: for each the microseconds of making its TAP, and of
 *                                giving it to a VM; removes all of it
 *     forward on|off
 *
 * BRIDGE (environment) is the bridge's name, "br-fc" otherwise.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "priv/net.h"

#define GUESTS_MAX 1024

static int read_subnet(const char *text, struct net_subnet *ret, struct err *err)
{
	const char *slash = strchr(text, '/');
	AUTO_FREE char *address = mem_strndup(text, slash ? (size_t)(slash - text) : strlen(text));
	struct in_addr in;
	uint64_t prefix;

	if (!slash || inet_pton(AF_INET, address, &in) != 1 ||
	    !parse_u64_text(slash + 1, 30, &prefix))
		return err_set(err, ERR_INVALID, "'%s' is no subnet", text);
	*ret = (struct net_subnet){ .bridge = ntohl(in.s_addr), .prefix = (uint32_t)prefix };
	return 0;
}

static int read_guest(char *text, struct net_guest *ret, struct err *err)
{
	char *id = strchr(text, ':');
	char *nat = id ? strchr(id + 1, ':') : NULL;
	uint64_t index;

	if (nat)
		*nat++ = '\0';
	if (id)
		*id++ = '\0';
	if (!id || !parse_u64_text(text, 1U << 24, &index) || (nat && !str_eq(nat, "nat")))
		return err_set(err, ERR_INVALID, "'%s' is no guest", text);
	*ret = (struct net_guest){ .index = (uint32_t)index, .vm_id = id, .has_nat = nat != NULL };
	return 0;
}

static int look(struct priv_net *net, struct err *err)
{
	AUTO_PRIV_NET_STATE state = { 0 };
	const int r = priv_net_look(net, &state, err);

	if (r < 0)
		return r;
	(void)printf("bridge %s\n", state.has_bridge ? "yes" : "no");
	for (size_t i = 0; i < state.tap_count; i++)
		(void)printf("tap %u %s\n", state.taps[i].index,
			     state.taps[i].vm_id[0] ? state.taps[i].vm_id : "idle");
	return 0;
}

static int traffic(struct priv_net *net, struct err *err)
{
	AUTO_FREE struct priv_traffic *items = NULL;
	size_t count = 0;
	const int r = priv_net_traffic(net, &items, &count, err);

	for (size_t i = 0; i < count; i++)
		(void)printf("%s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", items[i].vm_id,
			     items[i].in_bytes, items[i].in_packets, items[i].out_bytes,
			     items[i].out_packets);
	return r;
}

static int one_number(const char *text, uint32_t *ret, struct err *err)
{
	uint64_t number;

	if (!text || !parse_u64_text(text, UINT32_MAX, &number))
		return err_set(err, ERR_INVALID, "'%s' is no number", text ? text : "");
	*ret = (uint32_t)number;
	return 0;
}

static int run_taps(struct priv_net *net, const char *command, char **args, struct err *err)
{
	uint32_t index = 0, owner = 0;
	int r;

	r = one_number(args[0], &index, err);
	if (r == 0 && str_eq(command, "untap"))
		return priv_tap_delete(net, index, err);
	if (r == 0)
		r = one_number(args[1], &owner, err);
	return r < 0 ? r : priv_tap_make(net, index, owner, err);
}

static int run_guests(struct priv_net *net, const char *command, char **args, struct err *err)
{
	static struct net_guest guests[GUESTS_MAX];
	size_t count = 0;
	int r = 0;

	for (; args[count] && count < GUESTS_MAX && r == 0; count++)
		r = read_guest(args[count], &guests[count], err);
	if (r < 0)
		return r;
	if (str_eq(command, "raise"))
		return priv_net_raise(net, guests, count, err);
	if (str_eq(command, "join"))
		return priv_guest_join(net, &guests[0], err);
	if (str_eq(command, "leave"))
		return priv_guest_leave(net, &guests[0], err);
	if (str_eq(command, "nat"))
		return priv_guest_set_nat(net, &guests[0], err);
	/* What another process raised is not known to be whole before it is raised here. */
	r = priv_net_raise(net, guests, count, err);
	if (r < 0)
		return r;
	if (puts("raised") < 0 || fflush(stdout) != 0 || fgetc(stdin) == EOF)
		return err_set(err, ERR_INVALID, "nobody asks");
	(void)printf("%s\n", priv_net_is_whole(net, guests, count) ? "yes" : "no");
	return 0;
}

/* One guest: the rules know those before it. */
static int time_one(struct priv_net *net, uint32_t index, struct err *err)
{
	AUTO_FREE char *id = mem_printf("%032x", index);
	const struct net_guest guest = { .index = index, .vm_id = id };
	const uint64_t began_ns = clock_now_ns();
	uint64_t made_ns;
	int r;

	r = priv_tap_make(net, index, 0, err);
	if (r < 0)
		return r;
	made_ns = clock_now_ns();
	r = priv_guest_join(net, &guest, err);
	if (r < 0)
		return r;
	(void)printf("%" PRIu64 " %" PRIu64 "\n", (made_ns - began_ns) / 1000,
		     (clock_now_ns() - made_ns) / 1000);
	return 0;
}

static int time_guests(struct priv_net *net, const char *count_text, struct err *err)
{
	uint32_t count = 0;
	int r;

	r = one_number(count_text, &count, err);
	if (r == 0)
		r = priv_net_raise(net, NULL, 0, err);
	for (uint32_t i = 0; i < count && r == 0; i++)
		r = time_one(net, i + 2, err);
	for (uint32_t i = 0; i < count && r == 0; i++) {
		AUTO_FREE char *id = mem_printf("%032x", i + 2);

		r = priv_guest_leave(net, &(struct net_guest){ .index = i + 2, .vm_id = id }, err);
	}
	return r < 0 ? r : priv_net_clear(net, err);
}

static int run(struct priv_net *net, char **args, struct err *err)
{
	const char *command = args[0];

	if (str_eq(command, "look"))
		return look(net, err);
	if (str_eq(command, "traffic"))
		return traffic(net, err);
	if (str_eq(command, "time"))
		return time_guests(net, args[1], err);
	if (str_eq(command, "clear"))
		return priv_net_clear(net, err);
	if (str_eq(command, "forward"))
		return priv_net_set_forwarding(net, str_eq(args[1], "on"), err);
	if (str_eq(command, "tap") || str_eq(command, "untap"))
		return run_taps(net, command, args + 1, err);
	return run_guests(net, command, args + 1, err);
}

int main(int argc, char **argv)
{
	const char *bridge = getenv("BRIDGE");
	struct priv_net_config config = { .bridge_name = bridge ? bridge : "br-fc" };
	CLEANUP(priv_closep) struct priv *priv = NULL;
	CLEANUP(priv_net_closep) struct priv_net *net = NULL;
	struct err err = ERR_INIT;
	int r;

	if (argc < 4)
		return 2;
	r = read_subnet(argv[2], &config.subnet, &err);
	if (r == 0)
		r = priv_open(argv[1], &priv, &err);
	if (r == 0)
		r = priv_net_open(priv, &config, &net, &err);
	if (r == 0)
		r = run(net, argv + 3, &err);
	if (r < 0)
		(void)fprintf(stderr, "%s: %s\n", err_kind_name(err.kind), err.message);
	return r < 0;
}
