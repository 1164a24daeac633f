/* What there is under names as ours: links and tables, ours and others'. */
#include <nftables/libnftables.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "priv/net_private.h"

#define BRIDGE_PREFIX "br-fc"
#define TAP_PREFIX    "bgr"
#define TABLE_PREFIX  "banger"

struct tally {
	struct net_direct *net;
	priv_net_visit *visit;
	void *context;
};

static void tell_link(void *context, const struct link *link)
{
	static const char vm_mark[] = " vm ";
	const struct tally *tally = context;
	const char *words = net_owner_words(tally->net, link->alias);
	const bool is_tap = str_starts(link->name, TAP_PREFIX);
	const char *vm_id = NULL;

	if (!is_tap && !str_starts(link->name, BRIDGE_PREFIX))
		return;
	if (words && str_starts(words, vm_mark) && name_is_vm_id(words + strlen(vm_mark)))
		vm_id = words + strlen(vm_mark);
	tally->visit(tally->context, is_tap ? "tap" : "bridge", link->name, words != NULL, vm_id);
}

/* One line of `list tables`: "table FAMILY NAME". */
static void tell_table(const struct tally *tally, struct span line, bool is_foreign)
{
	AUTO_FREE char *name = NULL;
	AUTO_FREE char *table = NULL;
	char own[NET_TABLE_SIZE];
	struct span family;

	if (!parse_literal(&line, "table ") || !parse_until(&line, ' ', &family))
		return;
	table = mem_strndup((const char *)line.ptr, line.len);
	if (!str_starts(table, TABLE_PREFIX))
		return;
	net_table_name(tally->net->policy.bridge_name, own);
	name = mem_printf("%.*s %s", (int)family.len, (const char *)family.ptr, table);
	tally->visit(tally->context, "rules", name, str_eq(table, own) && !is_foreign, NULL);
}

static int tell_tables(const struct tally *tally, struct err *err)
{
	AUTO_BUF text = BUF_INIT;
	struct span rest, line;
	bool is_foreign;
	int r;

	r = net_nft_tables(tally->net, &text, err);
	if (r < 0)
		return r;
	is_foreign = net_nft_is_foreign(tally->net);
	rest = buf_span(&text);
	while (parse_until(&rest, '\n', &line))
		tell_table(tally, line, is_foreign);
	return 0;
}

int net_direct_census(struct priv_net *base, priv_net_visit *visit, void *context, struct err *err)
{
	struct net_direct *net = net_direct_of(base);
	struct tally tally = { .net = net, .visit = visit, .context = context };
	int r;

	(void)pthread_mutex_lock(&net->lock);
	r = link_each(net->route, tell_link, &tally);
	r = r < 0 ? err_sys(err, r, "list network devices") : tell_tables(&tally, err);
	(void)pthread_mutex_unlock(&net->lock);
	return r;
}
