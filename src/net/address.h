/*
 * Which address, MAC and TAP device a VM has. All of it follows from the VM's index, a small number
 * that is its own as long as it exists: IP = network + index, MAC = 02:fc and the bytes of the IP,
 * TAP = prefix and index. Nothing of it comes from a user or a guest. Pure.
 *
 * Addresses are IPv4 in host byte order.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

#define NET_NAME_SIZE	      16 /* IFNAMSIZ */
#define NET_ADDRESS_TEXT_SIZE 16
#define NET_MAC_SIZE	      6
#define NET_MAC_TEXT_SIZE     18
#define NET_TABLE_SIZE	      20 /* "banger" and what a bridge's name has after "br-fc" */

/* The bridge's network. `prefix` is 8 to 30. */
struct net_subnet {
	uint32_t bridge; /* the host's address in it */
	uint32_t prefix;
};

uint32_t net_subnet_mask(const struct net_subnet *subnet);

/* How many guests it has room for: all addresses but network, broadcast and bridge. */
uint32_t net_subnet_capacity(const struct net_subnet *subnet);

/* Whether a guest may have that index; 0, the bridge's and the broadcast address's are not. */
bool net_index_is_valid(const struct net_subnet *subnet, uint32_t index);

/* The lowest index that is not in `used` (ascending); 0 when all are taken. */
uint32_t net_index_first_free(const struct net_subnet *subnet, const uint32_t *used, size_t count);

uint32_t net_index_address(const struct net_subnet *subnet, uint32_t index);

void net_address_mac(uint32_t address, uint8_t ret[static NET_MAC_SIZE]);
void net_address_text(uint32_t address, char ret[static NET_ADDRESS_TEXT_SIZE]);
void net_mac_text(const uint8_t mac[static NET_MAC_SIZE], char ret[static NET_MAC_TEXT_SIZE]);

/*
 * The TAP's name: "bgr-" and the index for the bridge "br-fc". Another bridge is another bangerd's:
 * three characters that its name gives keep their TAPs apart.
 */
void net_tap_prefix(const char *bridge_name, char ret[static NET_NAME_SIZE]);
void net_tap_name(const char *bridge_name, uint32_t index, char ret[static NET_NAME_SIZE]);

/* The index of a name that net_tap_name() could have made for this bridge. */
bool net_tap_index(const char *bridge_name, const char *name, uint32_t *ret) MUST_CHECK;

/* The nftables tables of that bridge's guests: "banger" for "br-fc", "banger-x" for "br-fc-x". */
void net_table_name(const char *bridge_name, char ret[static NET_TABLE_SIZE]);
