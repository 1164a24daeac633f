#include "agent/identity.h"

#include <arpa/inet.h>
#include <string.h>

#include "agent/machine_id.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"

#define HOSTNAME_MAX	 63
#define SSH_KEY_TEXT_MAX (16UL * 1024)
#define ENTROPY_TEXT_MAX 1024
#define BOOT_TOKEN_MAX	 256
#define AUTHORIZED_MAX	 8192
#define WALL_SECONDS_MAX 4102444800 /* the year 2100: beyond it a clock is wrong */

static const struct json_field identity_fields[] = {
	{ "hostname", JSON_FIELD_STRING, true, offsetof(struct identity, hostname), HOSTNAME_MAX,
	  "name of the machine" },
	{ "authorized_keys", JSON_FIELD_STRINGS, false, offsetof(struct identity, authorized_keys),
	  IDENTITY_KEYS_MAX, "lines for root's authorized_keys" },
	{ "ssh_host_key", JSON_FIELD_STRING, false, offsetof(struct identity, ssh_host_key),
	  SSH_KEY_TEXT_MAX, "sshd's private Ed25519 key" },
	{ "ssh_host_key_pub", JSON_FIELD_STRING, false, offsetof(struct identity, ssh_host_key_pub),
	  SSH_KEY_TEXT_MAX, "its public half" },
	{ "network", JSON_FIELD_JSON, false, offsetof(struct identity, network_json), 0,
	  "address of the first interface, or null" },
	{ "wall_seconds", JSON_FIELD_I64, false, offsetof(struct identity, wall_seconds), 0,
	  "seconds since 1970" },
	{ "wall_nanoseconds", JSON_FIELD_U64, false, offsetof(struct identity, wall_nanoseconds),
	  NSEC_PER_SEC - 1, "of that second" },
	{ "machine_id", JSON_FIELD_STRING, false, offsetof(struct identity, machine_id),
	  MACHINE_ID_SIZE - 1, "machine-id(5)" },
	{ "entropy", JSON_FIELD_STRING, false, offsetof(struct identity, entropy_base64),
	  ENTROPY_TEXT_MAX, "randomness for the kernel's pool" },
	{ "boot_token", JSON_FIELD_STRING, false, offsetof(struct identity, boot_token),
	  BOOT_TOKEN_MAX, "the host's word for this boot" },
};

struct network_text {
	char *mac;
	char *address;
	uint64_t prefix;
	char *gateway;
	struct strv dns;
};

static const struct json_field network_fields[] = {
	{ "mac", JSON_FIELD_STRING, false, offsetof(struct network_text, mac), 17, NULL },
	{ "address", JSON_FIELD_STRING, true, offsetof(struct network_text, address), 15, NULL },
	{ "prefix", JSON_FIELD_U64, true, offsetof(struct network_text, prefix), 32, NULL },
	{ "gateway", JSON_FIELD_STRING, false, offsetof(struct network_text, gateway), 15, NULL },
	{ "dns", JSON_FIELD_STRINGS, false, offsetof(struct network_text, dns), IDENTITY_DNS_MAX,
	  NULL },
};

static bool is_label(const char *text)
{
	const size_t len = strlen(text);

	if (len == 0 || len > HOSTNAME_MAX || text[0] == '-' || text[len - 1] == '-')
		return false;
	return strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

/* One line of printable text: a newline would be a second line of the file that it goes into. */
static bool is_line(const char *text)
{
	if (*text == '\0' || strlen(text) > AUTHORIZED_MAX)
		return false;
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	}
	return true;
}

static bool hex_digit(char digit, uint8_t *ret)
{
	if (digit >= '0' && digit <= '9')
		*ret = (uint8_t)(digit - '0');
	else if (digit >= 'a' && digit <= 'f')
		*ret = (uint8_t)(digit - 'a' + 10);
	else if (digit >= 'A' && digit <= 'F')
		*ret = (uint8_t)(digit - 'A' + 10);
	else
		return false;
	return true;
}

static bool parse_mac(const char *text, uint8_t ret[static 6])
{
	if (strlen(text) != 17)
		return false;
	for (size_t i = 0; i < 6; i++) {
		uint8_t high, low;

		if (!hex_digit(text[3 * i], &high) || !hex_digit(text[3 * i + 1], &low) ||
		    (i < 5 && text[3 * i + 2] != ':'))
			return false;
		ret[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static bool is_address(const char *text)
{
	uint8_t bytes[16];

	return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

static int network_check(const struct network_text *text, struct identity_network *ret,
			 struct err *err)
{
	if (text->mac && !parse_mac(text->mac, ret->mac))
		return err_set(err, ERR_INVALID, "network: '%s' is not a MAC address", text->mac);
	if (inet_pton(AF_INET, text->address, ret->address) != 1)
		return err_set(err, ERR_INVALID, "network: '%s' is not an IPv4 address",
			       text->address);
	if (text->gateway && inet_pton(AF_INET, text->gateway, ret->gateway) != 1)
		return err_set(err, ERR_INVALID, "network: '%s' is not an IPv4 address",
			       text->gateway);
	if (text->prefix == 0)
		return err_set(err, ERR_INVALID, "network: prefix 0 is no network");
	for (size_t i = 0; i < text->dns.count; i++) {
		if (!is_address(text->dns.items[i]))
			return err_set(err, ERR_INVALID, "network: '%s' is not an address",
				       text->dns.items[i]);
	}
	ret->prefix = (uint8_t)text->prefix;
	ret->has_mac = text->mac != NULL;
	ret->has_gateway = text->gateway != NULL;
	return 0;
}

static int network_parse(const json_t *object, struct identity_network *ret, struct err *err)
{
	struct network_text text = { .mac = NULL };
	struct identity_network network = { .prefix = 0 };
	int r = json_read_fields(object, network_fields, ARRAY_LEN(network_fields), &text, err);

	if (r < 0)
		return err_context(err, r, "network");
	r = network_check(&text, &network, err);
	if (r == 0) {
		network.dns = text.dns;
		text.dns = (struct strv){ .items = NULL };
		*ret = network;
	}
	json_fields_done(network_fields, ARRAY_LEN(network_fields), &text);
	return r;
}

static int entropy_check(const char *text, struct err *err)
{
	struct buf bytes = BUF_INIT;
	int r = 0;

	if (!base64_decode(span_str(text), &bytes))
		r = err_set(err, ERR_INVALID, "entropy is not base64");
	else if (bytes.len < IDENTITY_ENTROPY_MIN || bytes.len > IDENTITY_ENTROPY_MAX)
		r = err_set(err, ERR_INVALID, "entropy has %zu bytes, not %d to %d", bytes.len,
			    IDENTITY_ENTROPY_MIN, IDENTITY_ENTROPY_MAX);
	buf_done(&bytes);
	return r;
}

/* As machine-id(5) wants it: all zeros would be no id. */
static bool is_machine_id(const char *text)
{
	return strlen(text) == MACHINE_ID_SIZE - 1 &&
	       strspn(text, "0123456789abcdef") == MACHINE_ID_SIZE - 1 &&
	       strspn(text, "0") < MACHINE_ID_SIZE - 1;
}

static int identity_check(struct identity *identity, struct err *err)
{
	if (!is_label(identity->hostname))
		return err_set(err, ERR_INVALID, "hostname '%s' is not a DNS label",
			       identity->hostname);
	for (size_t i = 0; i < identity->authorized_keys.count; i++) {
		if (!is_line(identity->authorized_keys.items[i]))
			return err_set(err, ERR_INVALID, "authorized_keys[%zu] is not one line", i);
	}
	if (identity->wall_seconds < 0 || identity->wall_seconds > WALL_SECONDS_MAX)
		return err_set(err, ERR_INVALID, "wall_seconds is out of range");
	if (identity->has_nanoseconds && identity->wall_seconds == 0)
		return err_set(err, ERR_INVALID, "wall_nanoseconds goes with wall_seconds");
	if (identity->machine_id && !is_machine_id(identity->machine_id))
		return err_set(err, ERR_INVALID, "machine_id '%s' is not 32 hexadecimal digits",
			       identity->machine_id);
	if (!identity->ssh_host_key != !identity->ssh_host_key_pub)
		return err_set(err, ERR_INVALID, "ssh_host_key and ssh_host_key_pub go together");
	if (identity->entropy_base64) {
		const int r = entropy_check(identity->entropy_base64, err);

		if (r < 0)
			return r;
	}
	if (!identity->network_json)
		return 0;
	identity->has_network = true;
	return network_parse(identity->network_json, &identity->network, err);
}

int identity_parse(const json_t *object, struct identity *ret, struct err *err)
{
	struct identity identity = { .hostname = NULL };
	int r = json_read_fields(object, identity_fields, ARRAY_LEN(identity_fields), &identity,
				 err);

	identity.has_nanoseconds = json_is_integer(json_object_get(object, "wall_nanoseconds"));
	identity.is_without_network = json_is_null(json_object_get(object, "network"));
	if (r == 0)
		r = identity_check(&identity, err);
	if (r < 0) {
		identity_done(&identity);
		return err_context(err, r, "identity");
	}
	*ret = identity;
	return 0;
}

int identity_check_whole(const struct identity *identity, struct err *err)
{
	const struct {
		const char *name;
		bool is_given;
	} needed[] = {
		{ "machine_id", identity->machine_id != NULL },
		{ "ssh_host_key", identity->ssh_host_key != NULL },
		{ "entropy", identity->entropy_base64 != NULL },
		{ "wall_seconds", identity->wall_seconds > 0 },
		{ "network", identity->has_network || identity->is_without_network },
		{ "network.mac", !identity->has_network || identity->network.has_mac },
	};

	for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
		if (!needed[i].is_given)
			return err_set(err, ERR_INVALID, "identity: a renewal needs '%s'",
				       needed[i].name);
	}
	return 0;
}

int identity_parse_text(struct span text, struct identity *ret, struct err *err)
{
	AUTO_JSON *object = NULL;
	const int r = json_read(text, &object, err);

	return r < 0 ? err_context(err, r, "identity") : identity_parse(object, ret, err);
}

void identity_done(struct identity *identity)
{
	if (!identity)
		return;
	if (identity->ssh_host_key)
		explicit_bzero(identity->ssh_host_key, strlen(identity->ssh_host_key));
	json_fields_done(identity_fields, ARRAY_LEN(identity_fields), identity);
	strv_done(&identity->network.dns);
	*identity = (struct identity){ .hostname = NULL };
}
