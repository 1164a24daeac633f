/* One value by the rules of its key. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "config/private.h"
#include "model/names.h"

#define BRIDGE_NAME_MAX 15 /* IFNAMSIZ less the terminator */
#define TEXT_MAX	4096

int config_fail(const char *file, uint32_t line, uint32_t column, struct err *err,
		const char *format, ...)
{
	AUTO_BUF text = BUF_INIT;
	va_list args;

	va_start(args, format);
	buf_vaddf(&text, format, args);
	va_end(args);
	return err_set(err, ERR_INVALID, "%s:%" PRIu32 ":%" PRIu32 ": %s", file, line, column,
		       text.ptr);
}

int config_want_type(const char *file, const struct toml_node *node, enum toml_type type,
		     struct err *err)
{
	if (node->type == type)
		return 0;

	return config_fail(file, node->value_line, node->value_column, err,
			   "'%s' must be %s, not %s", node->key, toml_type_phrase(type),
			   toml_type_phrase(node->type));
}

/* "KEY is 'VALUE': it must be RULE", at the value. */
static int refuse_text(const char *file, const struct config_key_def *def,
		       const struct toml_node *node, struct err *err)
{
	return config_fail(file, node->value_line, node->value_column, err,
			   "%s is '%.100s': it must be %s", def->row.name, node->text,
			   def->row.type);
}

static int refuse_number(const char *file, const struct config_key_def *def,
			 const struct toml_node *node, struct err *err)
{
	return config_fail(file, node->value_line, node->value_column, err,
			   "%s is %" PRId64 ": it must be %s", def->row.name, node->integer,
			   def->row.type);
}

static bool in_range(const struct config_key_def *def, uint64_t value)
{
	return value >= def->min && value <= def->max &&
	       (def->multiple == 0 || value % def->multiple == 0);
}

static int read_choice(const char *file, const struct config_key_def *def,
		       const struct toml_node *node, unsigned int *ret, struct err *err)
{
	for (unsigned int i = 0; def->choices[i]; i++) {
		if (!str_eq(node->text, def->choices[i]))
			continue;
		*ret = i;
		return 0;
	}
	return refuse_text(file, def, node, err);
}

static int read_number(const char *file, const struct config_key_def *def,
		       const struct toml_node *node, uint64_t *ret, struct err *err)
{
	if (node->integer < 0 || !in_range(def, (uint64_t)node->integer))
		return refuse_number(file, def, node, err);

	*ret = (uint64_t)node->integer;
	return 0;
}

static int read_size(const char *file, const struct config_key_def *def,
		     const struct toml_node *node, uint64_t *ret, struct err *err)
{
	uint64_t bytes;

	if (node->type == TOML_INTEGER)
		return read_number(file, def, node, ret, err);
	if (!parse_size_text(node->text, 1, &bytes))
		return config_fail(file, node->value_line, node->value_column, err,
				   "%s is '%.100s': it must be a size such as \"8GiB\"",
				   def->row.name, node->text);
	if (!in_range(def, bytes))
		return refuse_text(file, def, node, err);

	*ret = bytes;
	return 0;
}

static int read_duration(const char *file, const struct config_key_def *def,
			 const struct toml_node *node, uint64_t *ret, struct err *err)
{
	uint64_t ms;

	if (!parse_duration_text(node->text, &ms))
		return config_fail(
			file, node->value_line, node->value_column, err,
			"%s is '%.100s': it must be a duration such as \"90s\" or \"1h30m\"",
			def->row.name, node->text);
	if (!in_range(def, ms))
		return refuse_text(file, def, node, err);

	*ret = ms;
	return 0;
}

bool config_has_control(const char *text)
{
	for (const char *at = text; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			return true;
	return false;
}

static bool is_bridge_name(const char *name)
{
	const char *rest;

	if (str_eq(name, "br-fc"))
		return true;
	if (!str_starts(name, "br-fc-") || strlen(name) > BRIDGE_NAME_MAX)
		return false;

	rest = name + strlen("br-fc-");
	return *rest != '\0' && name_is_artifact(rest);
}

static bool is_ipv4(const char *text, uint32_t *ret)
{
	struct in_addr address;

	if (inet_pton(AF_INET, text, &address) != 1)
		return false;
	*ret = ntohl(address.s_addr);
	return true;
}

static bool is_address(const char *text)
{
	struct in6_addr address;
	uint32_t ipv4;

	return is_ipv4(text, &ipv4) || inet_pton(AF_INET6, text, &address) == 1;
}

/* "127.0.0.1:53" or "[::1]:53". */
static bool is_listen(const char *text)
{
	const char *colon = strrchr(text, ':');
	AUTO_FREE char *address = NULL;
	size_t len;
	uint64_t port;

	if (!colon || !parse_u64_text(colon + 1, UINT16_MAX, &port) || port == 0)
		return false;

	len = (size_t)(colon - text);
	if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
		struct in6_addr ipv6;

		address = mem_strndup(text + 1, len - 2);
		return inet_pton(AF_INET6, address, &ipv6) == 1;
	}

	address = mem_strndup(text, len);
	return is_ipv4(address, &(uint32_t){ 0 });
}

static bool is_good_text(enum config_value_type type, const char *text)
{
	uint32_t ipv4;

	if (text[0] == '\0' || strlen(text) > TEXT_MAX || config_has_control(text))
		return false;

	switch (type) {
	case VALUE_PROGRAM:
		return text[0] == '/' && !str_ends(text, "/");
	case VALUE_PATH:
		return (text[0] == '/' || str_starts(text, "~/")) && !str_ends(text, "/");
	case VALUE_IMAGE_NAME:
		return name_is_artifact(text);
	case VALUE_BRIDGE_NAME:
		return is_bridge_name(text);
	case VALUE_IPV4:
		return is_ipv4(text, &ipv4);
	case VALUE_ADDRESS:
		return is_address(text);
	case VALUE_LISTEN:
		return is_listen(text);
	case VALUE_CHOICE:
	case VALUE_BOOL:
	case VALUE_NUMBER:
	case VALUE_SIZE:
	case VALUE_DURATION:
		break;
	}
	return false;
}

static enum toml_type wanted_type(const struct config_key_def *def, const struct toml_node *node)
{
	if (def->type == VALUE_BOOL)
		return TOML_BOOLEAN;
	if (def->type == VALUE_NUMBER)
		return TOML_INTEGER;
	if (def->type == VALUE_SIZE && node->type == TOML_INTEGER)
		return TOML_INTEGER;
	return TOML_STRING;
}

int config_read_value(const char *file, const struct config_key_def *def,
		      const struct toml_node *node, struct config *config, struct err *err)
{
	void *slot = config_slot(config, def);
	int r;

	r = config_want_type(file, node, wanted_type(def, node), err);
	if (r < 0)
		return r;

	if (config_type_is_text(def->type)) {
		char **text = slot;

		if (!is_good_text(def->type, node->text))
			return refuse_text(file, def, node, err);
		mem_free(*text);
		*text = mem_strdup(node->text);
		return 0;
	}

	if (def->type == VALUE_CHOICE)
		return read_choice(file, def, node, slot, err);
	if (def->type == VALUE_NUMBER)
		return read_number(file, def, node, slot, err);
	if (def->type == VALUE_SIZE)
		return read_size(file, def, node, slot, err);
	if (def->type == VALUE_DURATION)
		return read_duration(file, def, node, slot, err);

	*(bool *)slot = node->boolean;
	return 0;
}
