/*
 * Who this VM is: name, address, keys, time, randomness. One JSON object, from
 * /banger/identity.json of the initramfs or from the `identity` request; the same functions apply
 * both.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "base/strv.h"

#define IDENTITY_BYTES_MAX   (256UL * 1024) /* the file */
#define IDENTITY_KEYS_MAX    256
#define IDENTITY_ENTROPY_MIN 32 /* bytes, decoded */
#define IDENTITY_ENTROPY_MAX 512
#define IDENTITY_DNS_MAX     3 /* what resolvers look at */

struct identity_network {
	uint8_t mac[6];
	uint8_t address[4]; /* IPv4, network order */
	uint8_t gateway[4];
	uint8_t prefix;
	bool has_mac;
	bool has_gateway;
	struct strv dns; /* owned; each is an IPv4 or IPv6 address */
};

struct identity {
	char *hostname;		     /* owned */
	struct strv authorized_keys; /* owned */
	char *ssh_host_key;	     /* owned; NULL leaves the image's */
	char *ssh_host_key_pub;	     /* owned; NULL leaves the image's */
	char *entropy_base64;	     /* owned; NULL when none came */
	char *boot_token;	     /* owned; NULL when none came */
	char *machine_id;	     /* owned; NULL leaves the one that is there */
	int64_t wall_seconds;	     /* 0 when none came */
	uint64_t wall_nanoseconds;   /* of that second */
	bool has_nanoseconds;	     /* the time is exact, else it is up to a second old */
	json_t *network_json;	     /* owned: as it came */
	bool has_network;
	bool is_without_network; /* "network": null, which is not the same as no word about it */
	struct identity_network network;
};

/* Why it is applied. */
enum identity_occasion {
	IDENTITY_BOOT,	  /* written before the boot: its time only sets a clock that is behind */
	IDENTITY_REFRESH, /* the machine stays itself: it stood still, or has another name */
	IDENTITY_RENEWAL, /* the machine was another one: what is not given is taken away */
};

/*
 * Whether it has all that two machines must not share: without one of these a restored machine
 * would still be, in part, the one that it was.
 */
int identity_check_whole(const struct identity *identity, struct err *err) MUST_CHECK;

/* Checks everything and fills `ret` (release with identity_done()); untouched on failure. */
int identity_parse(const json_t *object, struct identity *ret, struct err *err) MUST_CHECK;
int identity_parse_text(struct span text, struct identity *ret, struct err *err) MUST_CHECK;
void identity_done(struct identity *identity);

/*
 * Writes /etc/hostname, /etc/hosts, resolv.conf, network files, keys and machine-id below
 * `root_fd`, the machine-id last. All of them are tried; the first failure is what `err` says.
 */
int identity_write_files(const struct identity *identity, enum identity_occasion occasion,
			 int root_fd, struct err *err) MUST_CHECK;

/* Sets the running kernel's hostname, clock, randomness and interface. All are tried, as above. */
int identity_set_kernel(const struct identity *identity, enum identity_occasion occasion,
			struct err *err) MUST_CHECK;
