#include "net/address.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"

#define BRIDGE_PREFIX "br-fc"
#define INDEX_MAX     ((1U << 24) - 1) /* of the widest network, a /8 */

uint32_t net_subnet_mask(const struct net_subnet *subnet)
{
	assert(subnet->prefix >= 8 && subnet->prefix <= 30);
	return UINT32_MAX << (32 - subnet->prefix);
}

static uint32_t broadcast_index(const struct net_subnet *subnet)
{
	return ~net_subnet_mask(subnet);
}

uint32_t net_subnet_capacity(const struct net_subnet *subnet)
{
	return broadcast_index(subnet) - 2;
}

bool net_index_is_valid(const struct net_subnet *subnet, uint32_t index)
{
	return index > 0 && index < broadcast_index(subnet) &&
	       net_index_address(subnet, index) != subnet->bridge;
}

uint32_t net_index_first_free(const struct net_subnet *subnet, const uint32_t *used, size_t count)
{
	size_t next = 0;

	for (uint32_t index = 1; index < broadcast_index(subnet); index++) {
		while (next < count && used[next] < index)
			next++;
		if (next < count && used[next] == index)
			continue;
		if (net_index_is_valid(subnet, index))
			return index;
	}
	return 0;
}

uint32_t net_index_address(const struct net_subnet *subnet, uint32_t index)
{
	return (subnet->bridge & net_subnet_mask(subnet)) + index;
}

static uint8_t address_byte(uint32_t address, unsigned place)
{
	return (uint8_t)(address >> (24 - 8 * place));
}

void net_address_mac(uint32_t address, uint8_t ret[static NET_MAC_SIZE])
{
	/* Locally administered, and no multicast. */
	ret[0] = 0x02;
	ret[1] = 0xfc;
	for (unsigned i = 0; i < 4; i++)
		ret[2 + i] = address_byte(address, i);
}

void net_address_text(uint32_t address, char ret[static NET_ADDRESS_TEXT_SIZE])
{
	(void)snprintf(ret, NET_ADDRESS_TEXT_SIZE, "%hhu.%hhu.%hhu.%hhu", address_byte(address, 0),
		       address_byte(address, 1), address_byte(address, 2),
		       address_byte(address, 3));
}

void net_mac_text(const uint8_t mac[static NET_MAC_SIZE], char ret[static NET_MAC_TEXT_SIZE])
{
	(void)snprintf(ret, NET_MAC_TEXT_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
		       mac[2], mac[3], mac[4], mac[5]);
}

void net_tap_prefix(const char *bridge_name, char ret[static NET_NAME_SIZE])
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	uint32_t hash = 2166136261U; /* FNV-1a */

	if (str_eq(bridge_name, BRIDGE_PREFIX)) {
		(void)snprintf(ret, NET_NAME_SIZE, "bgr-");
		return;
	}
	for (const char *c = bridge_name; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619U;
	(void)snprintf(ret, NET_NAME_SIZE, "bgr%c%c%c-", digits[hash % 36], digits[hash / 36 % 36],
		       digits[hash / 1296 % 36]);
}

void net_tap_name(const char *bridge_name, uint32_t index, char ret[static NET_NAME_SIZE])
{
	char prefix[NET_NAME_SIZE];
	int len;

	net_tap_prefix(bridge_name, prefix);
	len = snprintf(ret, NET_NAME_SIZE, "%.7s%u", prefix, index);
	assert(len > 0 && len < NET_NAME_SIZE && index <= INDEX_MAX);
}

bool net_tap_index(const char *bridge_name, const char *name, uint32_t *ret)
{
	char prefix[NET_NAME_SIZE];
	uint64_t index;

	net_tap_prefix(bridge_name, prefix);
	if (!str_starts(name, prefix) ||
	    !parse_u64_text(name + strlen(prefix), INDEX_MAX, &index) || index == 0)
		return false;
	*ret = (uint32_t)index;
	return true;
}

void net_table_name(const char *bridge_name, char ret[static NET_TABLE_SIZE])
{
	assert(str_starts(bridge_name, BRIDGE_PREFIX));
	(void)snprintf(ret, NET_TABLE_SIZE, "banger%.10s", bridge_name + strlen(BRIDGE_PREFIX));
}
