#include "net/rules.h"

#include <string.h>

#include "base/macros.h"
#include "base/text.h"

#define OWNER_MARK "vm "

/* Sets that the kernel fills: how many connections each guest has, and how many it may begin. */
static const char *const tallies[] = { "connections", "beginnings" };

/* --- elements --- */

/* device . MAC . IP of a guest. */
static void add_identity(const struct net_policy *policy, const struct net_guest *guest,
			 struct buf *out)
{
	const uint32_t address = net_index_address(&policy->subnet, guest->index);
	char name[NET_NAME_SIZE];
	char mac_text[NET_MAC_TEXT_SIZE];
	char address_text[NET_ADDRESS_TEXT_SIZE];
	uint8_t mac[NET_MAC_SIZE];

	net_tap_name(policy->bridge_name, guest->index, name);
	net_address_mac(address, mac);
	net_mac_text(mac, mac_text);
	net_address_text(address, address_text);
	buf_addf(out, "\"%s\" . %s . %s", name, mac_text, address_text);
}

static void add_address(const struct net_policy *policy, const struct net_guest *guest,
			struct buf *out)
{
	char text[NET_ADDRESS_TEXT_SIZE];

	net_address_text(net_index_address(&policy->subnet, guest->index), text);
	buf_add_str(out, text);
}

static void add_comment(const struct net_guest *guest, struct buf *out)
{
	buf_addf(out, " comment \"" OWNER_MARK "%s\"", guest->vm_id);
}

/* "add element bridge banger guests { " or the like. */
static void begin_element(const struct net_policy *policy, const char *verb, const char *family,
			  const char *set, struct buf *out)
{
	char table[NET_TABLE_SIZE];

	net_table_name(policy->bridge_name, table);
	buf_addf(out, "%s element %s %s %s { ", verb, family, table, set);
}

static void end_element(struct buf *out)
{
	buf_add_str(out, " }\n");
}

static void add_nat(const struct net_policy *policy, const struct net_guest *guest, struct buf *out)
{
	begin_element(policy, "add", "inet", "nat", out);
	add_address(policy, guest, out);
	add_comment(guest, out);
	end_element(out);
}

/* Deleting what is not there is an error, so it is added first, in the same transaction. */
static void remove_nat(const struct net_policy *policy, const struct net_guest *guest,
		       struct buf *out)
{
	add_nat(policy, guest, out);
	begin_element(policy, "delete", "inet", "nat", out);
	add_address(policy, guest, out);
	end_element(out);
}

/* What the kernel has counted for the guest is not for the next one at its address. */
static void forget_tallies(const struct net_policy *policy, const struct net_guest *guest,
			   struct buf *out)
{
	static const char *const verbs[] = { "add", "delete" };

	for (size_t i = 0; i < ARRAY_LEN(tallies) * ARRAY_LEN(verbs); i++) {
		begin_element(policy, verbs[i % 2], "inet", tallies[i / 2], out);
		add_address(policy, guest, out);
		end_element(out);
	}
}

static void add_guest(const struct net_policy *policy, const struct net_guest *guest,
		      struct buf *out)
{
	begin_element(policy, "add", "bridge", "guests", out);
	add_identity(policy, guest, out);
	add_comment(guest, out);
	end_element(out);
}

void net_rules_add_guest(const struct net_policy *policy, const struct net_guest *guest,
			 struct buf *out)
{
	add_guest(policy, guest, out);
	net_rules_set_nat(policy, guest, out);
}

void net_rules_remove_guest(const struct net_policy *policy, const struct net_guest *guest,
			    struct buf *out)
{
	add_guest(policy, guest, out);
	begin_element(policy, "delete", "bridge", "guests", out);
	add_identity(policy, guest, out);
	end_element(out);
	remove_nat(policy, guest, out);
	forget_tallies(policy, guest, out);
}

void net_rules_set_nat(const struct net_policy *policy, const struct net_guest *guest,
		       struct buf *out)
{
	if (guest->has_nat)
		add_nat(policy, guest, out);
	else
		remove_nat(policy, guest, out);
}

bool net_rules_can_name(const char *interface)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-@";

	return *interface != '\0' && strlen(interface) < NET_NAME_SIZE &&
	       strspn(interface, allowed) == strlen(interface);
}

static void add_opened(const struct net_policy *policy, const struct strv *opened, struct buf *out)
{
	for (size_t i = 0; i < opened->count; i++) {
		begin_element(policy, "add", "inet", "opened", out);
		buf_addf(out, "\"%s\"", opened->items[i]);
		end_element(out);
	}
}

void net_rules_set_opened(const struct net_policy *policy, const struct strv *opened,
			  struct buf *out)
{
	char table[NET_TABLE_SIZE];

	net_table_name(policy->bridge_name, table);
	buf_addf(out, "flush set inet %s opened\n", table);
	add_opened(policy, opened, out);
}

/* --- tables --- */

/* Makes sure that there is none: one that is not there cannot be deleted, hence the addition. */
static void drop_table(const char *family, const char *table, struct buf *out)
{
	buf_addf(out, "add table %s %s\ndelete table %s %s\n", family, table, family, table);
}

void net_rules_remove(const struct net_policy *policy, struct buf *out)
{
	char table[NET_TABLE_SIZE];

	net_table_name(policy->bridge_name, table);
	drop_table("bridge", table, out);
	drop_table("inet", table, out);
}

static void make_bridge_table(const struct net_policy *policy, const char *table, struct buf *out)
{
	char bridge_ip[NET_ADDRESS_TEXT_SIZE];
	char taps[NET_NAME_SIZE];

	net_address_text(policy->subnet.bridge, bridge_ip);
	net_tap_prefix(policy->bridge_name, taps);
	buf_addf(out, "table bridge %s {\n\tcomment \"banger %s\"\n", table, policy->tag);
	buf_add_str(out, "\tset guests {\n\t\ttype ifname . ether_addr . ipv4_addr\n\t}\n");
	buf_addf(
		out,
		"\tchain from_tap {\n"
		"\t\ttype filter hook prerouting priority -300; policy accept;\n"
		"\t\tiifname != \"%s*\" accept\n"
		"\t\tether type { 8021q, 8021ad } counter drop\n"
		"\t\tether type ip ip hdrlength 5 iifname . ether saddr . ip saddr @guests accept\n"
		"\t\tether type arp arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp daddr ip %s"
		" iifname . ether saddr . arp saddr ip @guests"
		" iifname . arp saddr ether . arp saddr ip @guests accept\n"
		"\t\tcounter drop\n\t}\n",
		taps, bridge_ip);
	/* LACP takes another way than the hook above. */
	buf_addf(out,
		 "\tchain link_local {\n"
		 "\t\ttype filter hook input priority -300; policy accept;\n"
		 "\t\tiifname \"%s*\" ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00"
		 " counter drop\n\t}\n}\n",
		 taps);
}

/* A TAP that somebody has taken out of the bridge leads straight to the host. */
static void drop_strays(const struct net_policy *policy, struct buf *out)
{
	char taps[NET_NAME_SIZE];

	net_tap_prefix(policy->bridge_name, taps);
	buf_addf(out, "\t\tiifname \"%s*\" counter drop\n", taps);
}

/* One whose first packet has passed is in the table, and stays. */
static void make_allowed(struct buf *out)
{
	buf_addf(out,
		 "\tchain allowed {\n"
		 "\t\tct status & confirmed == confirmed accept\n"
		 "\t\tupdate @beginnings { ip saddr limit rate over %d/second burst %d packets }"
		 " counter drop\n"
		 "\t\tadd @connections { ip saddr ct count over %d } counter drop\n"
		 "\t\taccept\n\t}\n",
		 NET_CONNECTIONS_PER_SECOND, NET_CONNECTIONS_MAX, NET_CONNECTIONS_MAX);
}

static void make_host_chains(const struct net_policy *policy, struct buf *out)
{
	char bridge_ip[NET_ADDRESS_TEXT_SIZE];

	net_address_text(policy->subnet.bridge, bridge_ip);
	buf_add_str(out, "\tchain input {\n"
			 "\t\ttype filter hook input priority -10; policy accept;\n");
	drop_strays(policy, out);
	buf_addf(out, "\t\tiifname \"%s\" jump to_host\n", policy->bridge_name);
	/* Linux takes what is for one interface's address from any other, too. */
	if (policy->dns_port != 0)
		buf_addf(out,
			 "\t\tiifname != { \"lo\", \"%s\" } ip daddr %s meta l4proto { tcp, udp }"
			 " th dport %u counter drop\n",
			 policy->bridge_name, bridge_ip, policy->dns_port);
	buf_addf(out,
		 "\t}\n"
		 "\tchain to_host {\n"
		 "\t\ticmp type redirect counter drop\n"
		 "\t\tct state established accept\n"
		 "\t\tct state related meta l4proto icmp accept\n"
		 "\t\tip daddr %s udp dport 53 goto allowed\n"
		 "\t\tip daddr %s tcp dport 53 goto allowed\n",
		 bridge_ip, bridge_ip);
	if (policy->dns_port != 0 && policy->dns_port != 53)
		buf_addf(out,
			 "\t\tip daddr %s udp dport %u goto allowed\n"
			 "\t\tip daddr %s tcp dport %u goto allowed\n",
			 bridge_ip, policy->dns_port, bridge_ip, policy->dns_port);
	buf_add_str(out, "\t\tcounter drop\n\t}\n");
}

/* Only in a namespace of our own. */
static void make_isolation(const struct net_policy *policy, struct buf *out)
{
	buf_add_str(out, "\tchain host {\n");
	for (size_t i = 0; policy->host && i < policy->host_count; i++) {
		char text[NET_ADDRESS_TEXT_SIZE];

		net_address_text(policy->host[i].address, text);
		buf_addf(out, "\t\tip daddr %s/%u counter drop\n", text, policy->host[i].prefix);
	}
	if (!policy->host)
		buf_add_str(out, "\t\tcounter drop\n");
	buf_add_str(out, "\t}\n"
			 "\tchain output {\n"
			 "\t\ttype filter hook output priority -10; policy accept;\n"
			 "\t\tct state established,related accept\n"
			 "\t\tcounter drop\n\t}\n");
}

void net_rules_set_host(const struct net_policy *policy, struct buf *out)
{
	char table[NET_TABLE_SIZE];

	net_table_name(policy->bridge_name, table);
	buf_addf(out, "flush chain inet %s host\n", table);
	for (size_t i = 0; policy->host && i < policy->host_count; i++) {
		char text[NET_ADDRESS_TEXT_SIZE];

		net_address_text(policy->host[i].address, text);
		buf_addf(out, "add rule inet %s host ip daddr %s/%u counter drop\n", table, text,
			 policy->host[i].prefix);
	}
	if (!policy->host)
		buf_addf(out, "add rule inet %s host counter drop\n", table);
}

static void make_inet_table(const struct net_policy *policy, const char *table, struct buf *out)
{
	const char *bridge = policy->bridge_name;

	buf_addf(out, "table inet %s {\n\tcomment \"banger %s\"\n", table, policy->tag);
	buf_add_str(out, "\tset nat {\n\t\ttype ipv4_addr\n\t}\n"
			 "\tset opened {\n\t\ttype ifname\n\t}\n");
	for (size_t i = 0; i < ARRAY_LEN(tallies); i++)
		buf_addf(out,
			 "\tset %s {\n\t\ttype ipv4_addr\n\t\tsize 65536\n\t\tflags dynamic\n"
			 "\t}\n",
			 tallies[i]);
	make_allowed(out);
	make_host_chains(policy, out);
	if (policy->is_isolated)
		make_isolation(policy, out);
	buf_add_str(out, "\tchain forward {\n"
			 "\t\ttype filter hook forward priority -10; policy accept;\n");
	drop_strays(policy, out);
	buf_addf(out,
		 "\t\tiifname \"%s\" jump from_guest\n"
		 "\t\toifname \"%s\" jump to_guest\n"
		 "\t\tiifname @opened oifname != \"%s\" counter drop\n\t}\n"
		 "\tchain from_guest {\n"
		 "\t\toifname \"%s\" counter drop\n"
		 "\t\tip daddr 169.254.0.0/16 counter drop\n"
		 "%s"
		 "\t\tct status dnat counter drop\n"
		 "\t\ticmp type redirect counter drop\n"
		 "\t\tct state invalid counter drop\n"
		 "\t\tip saddr @nat goto allowed\n"
		 "\t\tcounter drop\n\t}\n"
		 "\tchain to_guest {\n"
		 "\t\tip daddr @nat ct direction reply ct state established,related accept\n"
		 "\t\tcounter drop\n\t}\n"
		 "\tchain postrouting {\n"
		 "\t\ttype nat hook postrouting priority 100; policy accept;\n"
		 "\t\tip saddr @nat oifname != \"%s\" masquerade\n\t}\n}\n",
		 bridge, bridge, bridge, bridge, policy->is_isolated ? "\t\tjump host\n" : "",
		 bridge);
}

void net_rules_make(const struct net_policy *policy, const struct net_guest *guests, size_t count,
		    const struct strv *opened, struct buf *out)
{
	char table[NET_TABLE_SIZE];

	net_table_name(policy->bridge_name, table);
	net_rules_remove(policy, out);
	make_bridge_table(policy, table, out);
	make_inet_table(policy, table, out);
	for (size_t i = 0; i < count; i++) {
		add_guest(policy, &guests[i], out);
		if (guests[i].has_nat)
			add_nat(policy, &guests[i], out);
	}
	add_opened(policy, opened, out);
}

/* --- looking --- */

/* Whether what ends here is a set that the kernel fills. */
static bool is_tally(const char *listing, const char *end)
{
	static const char mark[] = "flags dynamic\n\t\t";
	const size_t len = strlen(mark);

	return (size_t)(end - listing) >= len && memcmp(end - len, mark, len) == 0;
}

/* Of all sets with names that we fill; those in rules are no `elements`. */
static size_t count_elements(const char *listing)
{
	static const char mark[] = "elements = {";
	size_t count = 0;

	for (const char *at = strstr(listing, mark); at; at = strstr(at, mark)) {
		if (is_tally(listing, at)) {
			at += strlen(mark);
			continue;
		}
		count++;
		for (; *at && *at != '}'; at++)
			count += *at == ',';
	}
	return count;
}

/* How many elements a guest has in a listing; 0 when one that it should have is not there. */
static size_t count_elements_of(const struct net_policy *policy, const struct net_guest *guest,
				const char *listing)
{
	AUTO_BUF text = BUF_INIT;

	add_identity(policy, guest, &text);
	add_comment(guest, &text);
	if (!strstr(listing, text.ptr))
		return 0;
	if (!guest->has_nat)
		return 1;
	buf_clear(&text);
	buf_add_byte(&text, ' '); /* not the end of another element */
	add_address(policy, guest, &text);
	add_comment(guest, &text);
	return strstr(listing, text.ptr) ? 2 : 0;
}

bool net_rules_have(const struct net_policy *policy, const struct net_guest *guests, size_t count,
		    size_t opened_count, const char *listing)
{
	size_t expected = opened_count;

	for (size_t i = 0; i < count; i++) {
		const size_t elements = count_elements_of(policy, &guests[i], listing);

		if (elements == 0)
			return false;
		expected += elements;
	}
	return count_elements(listing) == expected;
}

bool net_rules_are_owned(const struct net_policy *policy, const char *listing)
{
	AUTO_BUF mark = BUF_INIT;

	buf_addf(&mark, "\tcomment \"banger %s\"\n", policy->tag);
	return strstr(listing, mark.ptr);
}
