/*
 * What bangerd and the process that keeps an isolated network say to one another: requests of fixed
 * records (numbers, flags, VM ids) behind a header that says how many, and replies of one size with
 * the same records behind them. Names and paths are in none, but for the settings that a greeting
 * compares. Both run on one host, so numbers are in its byte order. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "model/names.h"
#include "net/rules.h"
#include "priv/net.h"
#include "priv/priv.h"

/*
 * The version changes with every change of what follows; header, greeting and NET_OP_END stay as
 * they are, so that a newer bangerd can tell and end an older process.
 */
#define NET_MESSAGE_MAGIC   0x62676e01U
#define NET_MESSAGE_VERSION 1U

#define NET_HEADER_SIZE 16
#define NET_GUESTS_MAX	65536 /* more than any host runs; a /8 has room for more */
#define NET_RANGES_MAX	4096

enum net_op {
	NET_OP_HELLO = 1, /* with `settings`, and the version as `value`: ERR_BAD_STATE when its
			     own are others */
	NET_OP_END,	  /* the process ends, and all with it */
	NET_OP_SPACE,	  /* `value` 0: the user namespace, 1: that of the network, as descriptor */
	NET_OP_WATCH,	  /* from then on this connection gets a byte for each change */
	NET_OP_STATUS,	  /* fails with the reason why there is no way out that is wanted */
	NET_OP_HOST,	  /* with `ranges`: the host's own addresses */
	NET_OP_LOOK,	  /* the reply has TAPs; `value`: there is a bridge */
	NET_OP_TRAFFIC,	  /* the reply has guests' traffic */
	NET_OP_CENSUS,	  /* the reply has sightings */
	NET_OP_RAISE,	  /* with `guests`, as the next */
	NET_OP_IS_WHOLE,  /* `value` of the reply */
	NET_OP_TAP_MAKE,  /* `value` is the index, as for the next */
	NET_OP_TAP_DELETE,
	NET_OP_JOIN, /* with one guest, as the next two */
	NET_OP_LEAVE,
	NET_OP_SET_NAT,
	NET_OP_SET_FORWARDING, /* `value` 1: on */
	NET_OP_COUNT,
};

struct net_settings {
	char tag[PRIV_TAG_SIZE];
	char bridge_name[NET_NAME_SIZE];
	struct net_subnet subnet;
	uint16_t dns_port;
};

/* Which of these a request has follows from its `op`. */
struct net_request {
	enum net_op op;
	uint32_t value;
	struct net_settings settings;
	struct net_guest *guests; /* owned; their ids are in `ids` */
	size_t guest_count;
	char (*ids)[VM_ID_SIZE];  /* owned */
	struct net_range *ranges; /* owned */
	size_t range_count;
};

#define NET_REQUEST_INIT ((struct net_request){ .op = NET_OP_COUNT })

void net_request_done(struct net_request *request);
#define AUTO_NET_REQUEST CLEANUP(net_request_done) struct net_request

/* How many bytes follow a header; ERR_PROTOCOL when it is none. */
int net_request_body_size(struct span header, size_t *ret, struct err *err) MUST_CHECK;

/* Header and body. ERR_PROTOCOL when anything is not as it must be. */
int net_request_parse(struct span message, struct net_request *ret, struct err *err) MUST_CHECK;

void net_request_write(const struct net_request *request, struct buf *out);

/* --- replies --- */

struct net_reply {
	struct err err; /* ERR_NONE: it is done */
	uint32_t value;
	uint32_t count; /* how many records follow; of what kind, follows from the request */
};

#define NET_REPLY_SIZE	  (16 + 8 + ERR_MESSAGE_SIZE + ERR_HINT_SIZE)
#define NET_TAP_SIZE	  40 /* the size of its record, as of the next */
#define NET_TRAFFIC_SIZE  64
#define NET_SIGHTING_SIZE 92

void net_reply_write(const struct net_reply *reply, struct buf *out);
int net_reply_parse(struct span bytes, struct net_reply *ret, struct err *err) MUST_CHECK;

void net_tap_write(const struct priv_tap *tap, struct buf *out);
int net_tap_parse(struct span bytes, struct priv_tap *ret, struct err *err) MUST_CHECK;

/* Something that priv_net_census() tells of. */
struct net_sighting {
	char kind[8];
	char name[48];
	bool is_ours;
	char vm_id[VM_ID_SIZE]; /* "" for none */
};

void net_sighting_write(const struct net_sighting *sighting, struct buf *out);
int net_sighting_parse(struct span bytes, struct net_sighting *ret, struct err *err) MUST_CHECK;

void net_traffic_write(const struct priv_traffic *traffic, struct buf *out);
int net_traffic_parse(struct span bytes, struct priv_traffic *ret, struct err *err) MUST_CHECK;
