/*
 * The names that the .vm server knows: one label each, with the IPv4 address that it has at the
 * moment or none. Safe to use from several threads; its lock is inside.
 */
#pragma once

#include <stdint.h>

#include "base/macros.h"
#include "base/span.h"

#define DNS_LABEL_BYTES_MAX 63 /* RFC 1035, 2.3.4 */

struct dns_zone;

enum dns_found {
	DNS_UNKNOWN,	/* there is no such name */
	DNS_NO_ADDRESS, /* the name exists and has no address at the moment */
	DNS_ADDRESS,
};

void dns_zone_free(struct dns_zone *zone);
struct dns_zone *dns_zone_new(void) OWNED_BY(dns_zone_free) MUST_CHECK;

/*
 * Adds `name`, or gives it another address (host byte order; 0: none). The name is a lower-case
 * label of at most DNS_LABEL_BYTES_MAX bytes, as VM names are. In order of names; costs a search,
 * and a move of the names behind a new one.
 */
void dns_zone_set(struct dns_zone *zone, const char *name, uint32_t address);

/* Forgets `name` if it is there. */
void dns_zone_remove(struct dns_zone *zone, const char *name);

/* What is known of a label in any case of its letters. `ret_address` is set with DNS_ADDRESS only.
 */
enum dns_found dns_zone_find(struct dns_zone *zone, struct span label, uint32_t *ret_address)
	MUST_CHECK;

/* Grows by one with each change, for the serial of the SOA record. */
uint32_t dns_zone_serial(struct dns_zone *zone) MUST_CHECK;

DEFINE_FREEP(dns_zone, dns_zone_free);
