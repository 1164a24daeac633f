#include <nftables/libnftables.h>
#include <string.h>

#include "base/text.h"
#include "priv/net_private.h"

#define MESSAGE_BYTES_MAX 300

/* The first line of what libnftables complains of, without where in our text it was. */
static int describe(struct net_direct *net, struct err *err)
{
	const char *text = nft_ctx_get_error_buffer(net->nft);
	const char *message = text ? strstr(text, "Error: ") : NULL;
	size_t len;

	message = message ? message + strlen("Error: ") : text;
	len = message ? strcspn(message, "\n") : 0;
	if (len == 0)
		return err_set(err, ERR_SYSTEM, "nftables refused, and did not say why");
	return err_set(err, ERR_SYSTEM, "nftables: %.*s",
		       (int)(len < MESSAGE_BYTES_MAX ? len : MESSAGE_BYTES_MAX), message);
}

int net_nft_run(struct net_direct *net, const char *commands, struct err *err)
{
	/* libnftables takes its text for writable in this version's prototype only by convention.
	 */
	const int r = nft_run_cmd_from_buffer(net->nft, commands);
	int result = 0;

	if (r != 0)
		result = describe(net, err);
	(void)nft_ctx_get_output_buffer(net->nft); /* emptied by the next command */
	return result;
}

static int list_table(struct net_direct *net, const char *family, struct buf *ret, struct err *err)
{
	AUTO_BUF command = BUF_INIT;
	char table[NET_TABLE_SIZE];
	const char *text;
	int r;

	net_table_name(net->policy.bridge_name, table);
	buf_addf(&command, "list table %s %s", family, table);
	r = nft_run_cmd_from_buffer(net->nft, command.ptr);
	text = nft_ctx_get_output_buffer(net->nft);
	if (r != 0)
		return describe(net, err);
	buf_add_str(ret, text ? text : "");
	return 0;
}

int net_nft_list(struct net_direct *net, bool is_terse, struct buf *ret, struct err *err)
{
	int r;

	nft_ctx_output_set_flags(net->nft,
				 NFT_CTX_OUTPUT_STATELESS | (is_terse ? NFT_CTX_OUTPUT_TERSE : 0U));
	/* In one go libnftables would look for both in the family of the last. */
	r = list_table(net, "bridge", ret, err);
	return r < 0 ? r : list_table(net, "inet", ret, err);
}

int net_nft_tables(struct net_direct *net, struct buf *ret, struct err *err)
{
	const char *text;
	int r;

	nft_ctx_output_set_flags(net->nft, NFT_CTX_OUTPUT_STATELESS | NFT_CTX_OUTPUT_TERSE);
	r = nft_run_cmd_from_buffer(net->nft, "list tables");
	text = nft_ctx_get_output_buffer(net->nft);
	if (r != 0)
		return describe(net, err);
	buf_add_str(ret, text ? text : "");
	return 0;
}

/* Whether a table of our name is there whose owner is us, or somebody else. */
static bool has_table(struct net_direct *net, bool is_ours)
{
	static const char *const families[] = { "bridge", "inet" };
	bool found = false;

	nft_ctx_output_set_flags(net->nft, NFT_CTX_OUTPUT_STATELESS | NFT_CTX_OUTPUT_TERSE);
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		struct err ignored = ERR_INIT;
		AUTO_BUF listing = BUF_INIT;

		found |= list_table(net, families[i], &listing, &ignored) == 0 &&
			 net_rules_are_owned(&net->policy, listing.ptr) == is_ours;
	}
	return found;
}

bool net_nft_is_there(struct net_direct *net)
{
	return has_table(net, true);
}

bool net_nft_is_foreign(struct net_direct *net)
{
	return has_table(net, false);
}
