#include "config/config.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "config/private.h"

#define ROUTE_TABLE	      "/proc/net/route"
#define ROUTE_TABLE_BYTES_MAX 16777216U

void config_init(struct config *config)
{
	*config = (struct config){ .is_present = false };

	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
		const struct config_key_def *def = &config_keys[i];
		void *slot = config_slot(config, def);

		if (config_type_is_text(def->type))
			*(char **)slot = mem_strdup(def->initial_text);
		else if (def->type == VALUE_CHOICE)
			*(unsigned int *)slot = (unsigned int)def->initial;
		else if (def->type == VALUE_BOOL)
			*(bool *)slot = def->initial != 0;
		else
			*(uint64_t *)slot = def->initial;
	}
}

void config_done(struct config *config)
{
	if (!config)
		return;

	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
		if (config_type_is_text(config_keys[i].type))
			mem_free(*(char **)config_slot(config, &config_keys[i]));
	for (size_t i = 0; i < config->file_sync_count; i++) {
		mem_free(config->file_sync[i].host);
		mem_free(config->file_sync[i].guest);
	}
	for (size_t i = 0; i < config->registry_count; i++) {
		mem_free(config->registries[i].host);
		mem_free(config->registries[i].mirror);
		mem_free(config->registries[i].ca_file);
	}
	mem_free(config->file_sync);
	mem_free(config->registries);
	mem_free(config->file);
	*config = (struct config){ .is_present = false };
}

/* The part of a row's name behind `section` and its dot, or NULL when it is not of that section. */
static const char *name_in_section(const char *section, const char *name)
{
	const size_t len = strlen(section);

	if (len == 0)
		return strchr(name, '.') ? NULL : name;
	if (strncmp(name, section, len) != 0 || name[len] != '.')
		return NULL;
	return name + len + 1;
}

int config_fail_unknown(const char *file, const char *section, const struct toml_node *node,
			const char *const *names, size_t count, struct err *err)
{
	const char *dot = section[0] ? "." : "";
	const char *nearest = text_nearest(node->key, names, count);

	if (nearest)
		return config_fail(file, node->line, node->column, err,
				   "unknown key '%s%s%.100s': did you mean '%s%s%s'?", section, dot,
				   node->key, section, dot, nearest);

	/* A key of some section that was written outside of it. */
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
		const char *name = config_keys[i].row.name;
		const char *last = strrchr(name, '.');

		if (str_eq(last ? last + 1 : name, node->key))
			return config_fail(file, node->line, node->column, err,
					   "unknown key '%s%s%.100s': did you mean '%s'?", section,
					   dot, node->key, name);
	}
	return config_fail(file, node->line, node->column, err, "unknown key '%s%s%.100s'", section,
			   dot, node->key);
}

/* Refuses a key that is in no row of the section, naming the nearest that is. */
static int unknown_key(const char *file, const char *section, const struct toml_node *node,
		       struct err *err)
{
	static const char *const tables[] = { "limits", "vm_defaults", "file_sync", "registry" };
	const char *names[CONFIG_KEY_COUNT + ARRAY_LEN(tables)];
	size_t count = 0;

	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
		const char *name = name_in_section(section, config_keys[i].row.name);

		if (name)
			names[count++] = name;
	}
	for (size_t i = 0; section[0] == '\0' && i < ARRAY_LEN(tables); i++)
		names[count++] = tables[i];

	return config_fail_unknown(file, section, node, names, count, err);
}

static int read_key(const char *file, const char *section, const struct toml_node *node,
		    struct config *config, struct err *err)
{
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
		const char *name = name_in_section(section, config_keys[i].row.name);

		if (!name || !str_eq(name, node->key))
			continue;
		config->is_set[i] = true;
		config->position[i] = (struct config_position){ node->line, node->column };
		return config_read_value(file, &config_keys[i], node, config, err);
	}
	return unknown_key(file, section, node, err);
}

static int read_section(const char *file, const struct toml_node *section, struct config *config,
			struct err *err)
{
	int r;

	r = config_want_type(file, section, TOML_TABLE, err);
	for (size_t i = 0; r == 0 && i < section->child_count; i++)
		r = read_key(file, section->key, &section->children[i], config, err);
	return r;
}

static int read_top(const char *file, const struct toml_node *node, struct config *config,
		    struct err *err)
{
	if (str_eq(node->key, "limits") || str_eq(node->key, "vm_defaults"))
		return read_section(file, node, config, err);
	if (str_eq(node->key, "file_sync"))
		return config_read_file_sync(file, node, config, err);
	if (str_eq(node->key, "registry"))
		return config_read_registries(file, node, config, err);
	return read_key(file, "", node, config, err);
}

/* What no key can say alone: the bridge's address must be one that a host can have in its network.
 */
static int check_bridge(const char *file, struct config *config, struct err *err)
{
	const uint32_t host_bits = UINT32_MAX >> config->cidr;
	const enum config_key key =
		config->is_set[CONFIG_BRIDGE_IP] ? CONFIG_BRIDGE_IP : CONFIG_CIDR;
	const struct config_position at = config->position[key];
	struct in_addr address;
	uint32_t first;

	if (inet_pton(AF_INET, config->bridge_ip, &address) != 1)
		return config_fail(file, at.line, at.column, err, "bridge_ip is no IPv4 address");

	config->bridge_address = ntohl(address.s_addr);
	first = config->bridge_address >> 24;
	if (first == 0 || first == 127 || first >= 224)
		return config_fail(file, at.line, at.column, err,
				   "bridge_ip %s is no address that a network interface can have",
				   config->bridge_ip);
	if ((config->bridge_address & host_bits) == 0 ||
	    (config->bridge_address & host_bits) == host_bits)
		return config_fail(file, at.line, at.column, err,
				   "bridge_ip %s/%u is the %s address of its network",
				   config->bridge_ip, (unsigned int)config->cidr,
				   (config->bridge_address & host_bits) == 0 ? "first" : "last");
	return 0;
}

/* Names are answered to this host and its guests, never to the network (FAULTS DNS5). */
static int check_dns_listen(const char *file, const struct config *config, struct err *err)
{
	const struct config_position at = config->position[CONFIG_DNS_LISTEN];
	const char *listen = config->dns_listen;
	AUTO_FREE char *host = mem_strndup(listen, (size_t)(strrchr(listen, ':') - listen));

	if (str_eq(host, "[::1]") || str_starts(host, "127.") || str_eq(host, config->bridge_ip))
		return 0;
	return config_fail(file, at.line, at.column, err,
			   "dns_listen is '%s': it must be a loopback address or bridge_ip (%s)",
			   listen, config->bridge_ip);
}

int config_parse(const char *file, struct span text, struct config *ret, struct err *err)
{
	struct toml_problem problem = { .line = 1, .column = 1 };
	AUTO_TOML root = { .type = TOML_TABLE };
	AUTO_CONFIG config;
	int r = 0;

	config_init(&config);
	if (text.len > CONFIG_FILE_BYTES_MAX)
		return err_set(err, ERR_INVALID, "%s: it is larger than %d bytes", file,
			       CONFIG_FILE_BYTES_MAX);
	if (!toml_parse(text, CONFIG_DEPTH_MAX, &root, &problem))
		return config_fail(file, problem.line, problem.column, err, "%s", problem.message);

	for (size_t i = 0; r == 0 && i < root.child_count; i++)
		r = read_top(file, &root.children[i], &config, err);
	if (r == 0)
		r = check_bridge(file, &config, err);
	if (r == 0)
		r = check_dns_listen(file, &config, err);
	if (r < 0)
		return r;

	config.file = mem_strdup(file);
	config.is_present = true;
	*ret = config;
	config = (struct config){ .is_present = false };
	return 0;
}

/* The host's routes matter where the bridge is asked for and lies in the host's own network. */
static bool wants_route_check(const struct config *config)
{
	return (config->is_set[CONFIG_BRIDGE_IP] || config->is_set[CONFIG_CIDR]) &&
	       (config->network == CONFIG_NETWORK_HOST || config->network == CONFIG_NETWORK_AUTO);
}

static int check_host_routes(const struct config *config, struct err *err)
{
	AUTO_BUF table = BUF_INIT;
	int r;

	r = file_read(AT_FDCWD, ROUTE_TABLE, ROUTE_TABLE_BYTES_MAX, &table);
	if (r == -ENOENT)
		return 0; /* a kernel without IPv4 has no routes to overlap */
	if (r < 0)
		return err_sys(err, r, "read '%s'", ROUTE_TABLE);

	return config_check_routes(config, buf_span(&table), err);
}

int config_load(const char *path, struct config *ret, struct err *err)
{
	AUTO_CONFIG config;
	AUTO_BUF text = BUF_INIT;
	bool is_present = false;
	int r;

	config_init(&config);
	r = config_read_file(path, &text, &is_present, err);
	if (r < 0)
		return r;

	if (is_present) {
		struct config parsed;

		r = config_parse(path, buf_span(&text), &parsed, err);
		if (r < 0)
			return r;
		config_done(&config);
		config = parsed;
		if (wants_route_check(&config))
			r = check_host_routes(&config, err);
		if (r < 0)
			return r;
	} else {
		/* The defaults pass: this only fills in what is derived from them. */
		r = check_bridge(path, &config, err);
		if (r < 0)
			return r;
		config.file = mem_strdup(path);
	}

	*ret = config;
	config = (struct config){ .is_present = false };
	return 0;
}

uint16_t config_dns_port_on_bridge(const struct config *config)
{
	const size_t len = strlen(config->bridge_ip);
	uint64_t port;

	if (!str_starts(config->dns_listen, config->bridge_ip) || config->dns_listen[len] != ':' ||
	    !parse_u64_text(config->dns_listen + len + 1, UINT16_MAX, &port))
		return 0;
	return (uint16_t)port;
}
