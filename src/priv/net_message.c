#include "priv/net_message.h"

#include <string.h>

#include "base/mem.h"
#include "base/text.h"

#define GUEST_SIZE    40
#define RANGE_SIZE    8
#define SETTINGS_SIZE 44
#define ID_SIZE	      32
#define TAG_SIZE      16

enum body { BODY_NONE, BODY_SETTINGS, BODY_GUEST, BODY_GUESTS, BODY_RANGES };

/* What a request has behind its header, and how large its value may be. */
static const struct {
	enum body body;
	uint32_t value_max;
} shapes[NET_OP_COUNT] = {
	[NET_OP_HELLO] = { BODY_SETTINGS, UINT32_MAX },
	[NET_OP_SPACE] = { BODY_NONE, 1 },
	[NET_OP_WATCH] = { BODY_NONE, 0 },
	[NET_OP_END] = { BODY_NONE, 0 },
	[NET_OP_STATUS] = { BODY_NONE, 0 },
	[NET_OP_HOST] = { BODY_RANGES, 0 },
	[NET_OP_LOOK] = { BODY_NONE, 0 },
	[NET_OP_TRAFFIC] = { BODY_NONE, 0 },
	[NET_OP_CENSUS] = { BODY_NONE, 0 },
	[NET_OP_RAISE] = { BODY_GUESTS, 0 },
	[NET_OP_IS_WHOLE] = { BODY_GUESTS, 0 },
	[NET_OP_TAP_MAKE] = { BODY_NONE, UINT32_MAX },
	[NET_OP_TAP_DELETE] = { BODY_NONE, UINT32_MAX },
	[NET_OP_JOIN] = { BODY_GUEST, 0 },
	[NET_OP_LEAVE] = { BODY_GUEST, 0 },
	[NET_OP_SET_NAT] = { BODY_GUEST, 0 },
	[NET_OP_SET_FORWARDING] = { BODY_NONE, 1 },
};

static const struct {
	size_t size;
	uint32_t min;
	uint32_t max;
} bodies[] = {
	[BODY_NONE] = { 0, 0, 0 },
	[BODY_SETTINGS] = { SETTINGS_SIZE, 1, 1 },
	[BODY_GUEST] = { GUEST_SIZE, 1, 1 },
	[BODY_GUESTS] = { GUEST_SIZE, 0, NET_GUESTS_MAX },
	[BODY_RANGES] = { RANGE_SIZE, 0, NET_RANGES_MAX },
};

void net_request_done(struct net_request *request)
{
	mem_free(request->guests);
	mem_free(request->ids);
	mem_free(request->ranges);
	*request = NET_REQUEST_INIT;
}

static void put_u32(struct buf *out, uint32_t number)
{
	buf_add(out, span_of(&number, sizeof(number)));
}

/* The bytes are there: sizes are checked first. */
static uint32_t take_u32(struct span *from)
{
	uint32_t number;

	memcpy(&number, from->ptr, sizeof(number));
	*from = span_skip(*from, sizeof(number));
	return number;
}

/* A text of a field that has only zeroes behind its end, and that fits with its terminator. */
static bool take_text(struct span *from, size_t field, char *ret, size_t size)
{
	const uint8_t *end = memchr(from->ptr, '\0', field);
	const size_t len = end ? (size_t)(end - from->ptr) : field;

	if (len >= size)
		return false;
	for (size_t i = len; i < field; i++) {
		if (from->ptr[i] != '\0')
			return false;
	}
	memcpy(ret, from->ptr, len);
	ret[len] = '\0';
	*from = span_skip(*from, field);
	return true;
}

static void put_text(struct buf *out, const char *text, size_t field)
{
	const size_t len = strnlen(text, field);

	buf_add(out, span_of(text, len));
	for (size_t i = len; i < field; i++)
		buf_add_byte(out, '\0');
}

static int malformed(struct err *err, const char *what)
{
	return err_set(err, ERR_PROTOCOL, "a request to the isolated network has %s", what);
}

static int parse_header(struct span header, struct net_request *ret, uint32_t *ret_count,
			struct err *err)
{
	uint32_t op;

	if (header.len < NET_HEADER_SIZE)
		return malformed(err, "no header");
	if (take_u32(&header) != NET_MESSAGE_MAGIC)
		return malformed(err, "another version's header");
	op = take_u32(&header);
	if (op == 0 || op >= NET_OP_COUNT)
		return malformed(err, "an unknown operation");
	ret->op = (enum net_op)op;
	ret->value = take_u32(&header);
	*ret_count = take_u32(&header);
	if (ret->value > shapes[op].value_max)
		return malformed(err, "a value that is too large");
	if (*ret_count < bodies[shapes[op].body].min || *ret_count > bodies[shapes[op].body].max)
		return malformed(err, "too many or too few parts");
	return 0;
}

int net_request_body_size(struct span header, size_t *ret, struct err *err)
{
	struct net_request request = NET_REQUEST_INIT;
	uint32_t count;
	const int r = parse_header(header, &request, &count, err);

	if (r < 0)
		return r;
	*ret = count * bodies[shapes[request.op].body].size;
	return 0;
}

static bool parse_guest(struct span *from, struct net_guest *ret, char id[static VM_ID_SIZE])
{
	uint32_t flags;

	ret->index = take_u32(from);
	flags = take_u32(from);
	if (flags > 1 || !take_text(from, ID_SIZE, id, VM_ID_SIZE) || !name_is_vm_id(id))
		return false;
	ret->has_nat = flags == 1;
	ret->vm_id = id;
	return true;
}

static int parse_guests(struct span from, uint32_t count, struct net_request *ret, struct err *err)
{
	ret->guests = mem_alloc((size_t)count + 1, sizeof(*ret->guests));
	ret->ids = mem_alloc((size_t)count + 1, sizeof(*ret->ids));
	ret->guest_count = count;
	for (uint32_t i = 0; i < count; i++) {
		if (!parse_guest(&from, &ret->guests[i], ret->ids[i]))
			return malformed(err, "a guest that is none");
	}
	return 0;
}

static int parse_ranges(struct span from, uint32_t count, struct net_request *ret, struct err *err)
{
	ret->ranges = mem_alloc((size_t)count + 1, sizeof(*ret->ranges));
	ret->range_count = count;
	for (uint32_t i = 0; i < count; i++) {
		ret->ranges[i].address = take_u32(&from);
		ret->ranges[i].prefix = take_u32(&from);
		if (ret->ranges[i].prefix > 32)
			return malformed(err, "addresses that are none");
	}
	return 0;
}

static int parse_settings(struct span from, struct net_settings *ret, struct err *err)
{
	uint32_t port;

	ret->subnet.bridge = take_u32(&from);
	ret->subnet.prefix = take_u32(&from);
	port = take_u32(&from);
	ret->dns_port = (uint16_t)port;
	if (port > UINT16_MAX || !take_text(&from, TAG_SIZE, ret->tag, sizeof(ret->tag)) ||
	    !take_text(&from, NET_NAME_SIZE, ret->bridge_name, sizeof(ret->bridge_name)))
		return malformed(err, "settings that are none");
	return 0;
}

int net_request_parse(struct span message, struct net_request *ret, struct err *err)
{
	AUTO_NET_REQUEST request = NET_REQUEST_INIT;
	struct span body;
	uint32_t count;
	int r;

	r = parse_header(message, &request, &count, err);
	if (r < 0)
		return r;
	body = span_skip(message, NET_HEADER_SIZE);
	if (body.len != count * bodies[shapes[request.op].body].size)
		return malformed(err, "another length than it says");
	switch (shapes[request.op].body) {
	case BODY_SETTINGS:
		r = parse_settings(body, &request.settings, err);
		break;
	case BODY_GUEST:
	case BODY_GUESTS:
		r = parse_guests(body, count, &request, err);
		break;
	case BODY_RANGES:
		r = parse_ranges(body, count, &request, err);
		break;
	case BODY_NONE:
		break;
	}
	if (r < 0)
		return r;
	*ret = request;
	request = NET_REQUEST_INIT;
	return 0;
}

static void write_settings(const struct net_settings *settings, struct buf *out)
{
	put_u32(out, settings->subnet.bridge);
	put_u32(out, settings->subnet.prefix);
	put_u32(out, settings->dns_port);
	put_text(out, settings->tag, TAG_SIZE);
	put_text(out, settings->bridge_name, NET_NAME_SIZE);
}

void net_request_write(const struct net_request *request, struct buf *out)
{
	const enum body body = shapes[request->op].body;
	size_t count = body == BODY_SETTINGS ? 1 : 0;

	if (body == BODY_GUEST || body == BODY_GUESTS)
		count = request->guest_count;
	if (body == BODY_RANGES)
		count = request->range_count;
	put_u32(out, NET_MESSAGE_MAGIC);
	put_u32(out, (uint32_t)request->op);
	put_u32(out, request->value);
	put_u32(out, (uint32_t)count);
	if (body == BODY_SETTINGS)
		write_settings(&request->settings, out);
	for (size_t i = 0; body == BODY_RANGES && i < count; i++) {
		put_u32(out, request->ranges[i].address);
		put_u32(out, request->ranges[i].prefix);
	}
	for (size_t i = 0; (body == BODY_GUEST || body == BODY_GUESTS) && i < count; i++) {
		put_u32(out, request->guests[i].index);
		put_u32(out, request->guests[i].has_nat);
		put_text(out, request->guests[i].vm_id, ID_SIZE);
	}
}

/* --- replies --- */

void net_reply_write(const struct net_reply *reply, struct buf *out)
{
	put_u32(out, NET_MESSAGE_MAGIC);
	put_u32(out, (uint32_t)reply->err.kind);
	put_u32(out, (uint32_t)reply->err.errnum);
	put_u32(out, 0);
	put_u32(out, reply->value);
	put_u32(out, reply->count);
	put_text(out, reply->err.message, ERR_MESSAGE_SIZE);
	put_text(out, reply->err.hint, ERR_HINT_SIZE);
}

static int wrong_reply(struct err *err)
{
	return err_set(err, ERR_PROTOCOL, "the isolated network's answer makes no sense");
}

int net_reply_parse(struct span bytes, struct net_reply *ret, struct err *err)
{
	struct net_reply reply = { .err = ERR_INIT };
	uint32_t kind, errnum;

	if (bytes.len != NET_REPLY_SIZE || take_u32(&bytes) != NET_MESSAGE_MAGIC)
		return wrong_reply(err);
	kind = take_u32(&bytes);
	errnum = take_u32(&bytes);
	if (take_u32(&bytes) != 0 || kind >= ERR_KIND_COUNT || errnum > INT16_MAX)
		return wrong_reply(err);
	reply.err.kind = (enum err_kind)kind;
	reply.err.errnum = (int)errnum;
	reply.value = take_u32(&bytes);
	reply.count = take_u32(&bytes);
	if (reply.count > NET_GUESTS_MAX ||
	    !take_text(&bytes, ERR_MESSAGE_SIZE, reply.err.message, ERR_MESSAGE_SIZE) ||
	    !take_text(&bytes, ERR_HINT_SIZE, reply.err.hint, ERR_HINT_SIZE))
		return wrong_reply(err);
	if (kind != ERR_NONE && reply.err.message[0] == '\0')
		return wrong_reply(err);
	*ret = reply;
	return 0;
}

void net_tap_write(const struct priv_tap *tap, struct buf *out)
{
	put_u32(out, tap->index);
	put_u32(out, 0);
	put_text(out, tap->vm_id, ID_SIZE);
}

int net_tap_parse(struct span bytes, struct priv_tap *ret, struct err *err)
{
	struct priv_tap tap = { .index = 0 };

	if (bytes.len != NET_TAP_SIZE)
		return wrong_reply(err);
	tap.index = take_u32(&bytes);
	if (take_u32(&bytes) != 0 || !take_text(&bytes, ID_SIZE, tap.vm_id, VM_ID_SIZE) ||
	    (tap.vm_id[0] != '\0' && !name_is_vm_id(tap.vm_id)))
		return wrong_reply(err);
	*ret = tap;
	return 0;
}

void net_sighting_write(const struct net_sighting *sighting, struct buf *out)
{
	put_text(out, sighting->kind, sizeof(sighting->kind));
	put_text(out, sighting->name, sizeof(sighting->name));
	put_u32(out, sighting->is_ours);
	put_text(out, sighting->vm_id, ID_SIZE);
}

int net_sighting_parse(struct span bytes, struct net_sighting *ret, struct err *err)
{
	struct net_sighting sighting = { .is_ours = false };
	uint32_t is_ours;

	if (bytes.len != NET_SIGHTING_SIZE ||
	    !take_text(&bytes, sizeof(sighting.kind), sighting.kind, sizeof(sighting.kind)) ||
	    !take_text(&bytes, sizeof(sighting.name), sighting.name, sizeof(sighting.name)))
		return wrong_reply(err);
	is_ours = take_u32(&bytes);
	sighting.is_ours = is_ours == 1;
	if (is_ours > 1 || !take_text(&bytes, ID_SIZE, sighting.vm_id, VM_ID_SIZE) ||
	    (sighting.vm_id[0] != '\0' && !name_is_vm_id(sighting.vm_id)))
		return wrong_reply(err);
	*ret = sighting;
	return 0;
}

static void put_u64(struct buf *out, uint64_t number)
{
	buf_add(out, span_of(&number, sizeof(number)));
}

static uint64_t take_u64(struct span *from)
{
	uint64_t number;

	memcpy(&number, from->ptr, sizeof(number));
	*from = span_skip(*from, sizeof(number));
	return number;
}

void net_traffic_write(const struct priv_traffic *traffic, struct buf *out)
{
	put_text(out, traffic->vm_id, ID_SIZE);
	put_u64(out, traffic->in_bytes);
	put_u64(out, traffic->in_packets);
	put_u64(out, traffic->out_bytes);
	put_u64(out, traffic->out_packets);
}

int net_traffic_parse(struct span bytes, struct priv_traffic *ret, struct err *err)
{
	struct priv_traffic traffic = { .in_bytes = 0 };

	if (bytes.len != NET_TRAFFIC_SIZE ||
	    !take_text(&bytes, ID_SIZE, traffic.vm_id, VM_ID_SIZE) || !name_is_vm_id(traffic.vm_id))
		return wrong_reply(err);
	traffic.in_bytes = take_u64(&bytes);
	traffic.in_packets = take_u64(&bytes);
	traffic.out_bytes = take_u64(&bytes);
	traffic.out_packets = take_u64(&bytes);
	*ret = traffic;
	return 0;
}
