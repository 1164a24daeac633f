/*
 * What an isolated network's process is asked, and what it answers: everything that is accepted is
 * written again as the same bytes, and the size that a header announces is the one that is parsed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "fuzz.h"
#include "priv/net_message.h"

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void must_be(const struct buf *text, struct span message)
{
	must(text->len == message.len && memcmp(text->ptr, message.ptr, message.len) == 0);
}

static void check_request(struct span message)
{
	AUTO_NET_REQUEST request = NET_REQUEST_INIT;
	struct err err = ERR_INIT;
	AUTO_BUF again = BUF_INIT;
	size_t size;

	if (net_request_parse(message, &request, &err) < 0) {
		must(err.kind == ERR_PROTOCOL && err.message[0] != '\0');
		return;
	}
	must(net_request_body_size(span_of(message.ptr, NET_HEADER_SIZE), &size, &err) == 0 &&
	     size + NET_HEADER_SIZE == message.len);
	must(request.guest_count <= NET_GUESTS_MAX && request.range_count <= NET_RANGES_MAX);
	for (size_t i = 0; i < request.guest_count; i++)
		must(name_is_vm_id(request.guests[i].vm_id));
	net_request_write(&request, &again);
	must_be(&again, message);
}

static void check_answers(struct span message)
{
	struct net_reply reply = { .value = 0 };
	struct priv_tap tap = { .index = 0 };
	struct priv_traffic traffic = { .in_bytes = 0 };
	struct net_sighting sighting = { .is_ours = false };
	struct err err = ERR_INIT;
	AUTO_BUF again = BUF_INIT;

	if (net_reply_parse(message, &reply, &err) == 0)
		net_reply_write(&reply, &again);
	else if (net_tap_parse(message, &tap, &err) == 0)
		net_tap_write(&tap, &again);
	else if (net_traffic_parse(message, &traffic, &err) == 0)
		net_traffic_write(&traffic, &again);
	else if (net_sighting_parse(message, &sighting, &err) == 0)
		net_sighting_write(&sighting, &again);
	else
		return;
	must_be(&again, message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_request(span_of(data, size));
	check_answers(span_of(data, size));
	return 0;
}
