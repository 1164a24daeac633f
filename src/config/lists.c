/* [[file_sync]] and [[registry]]: arrays of small tables. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "config/private.h"

#define PATH_BYTES_MAX 4095
#define HOST_BYTES_MAX 261 /* a DNS name and a port */
#define URL_BYTES_MAX  2048
#define SYNC_MODE      0600U

static const char *const sync_names[] = { "guest", "host", "mode" };
static const char *const registry_names[] = { "ca", "host", "insecure", "mirror" };

static const struct toml_node *child(const struct toml_node *table, const char *key)
{
	for (size_t i = 0; i < table->child_count; i++)
		if (str_eq(table->children[i].key, key))
			return &table->children[i];
	return NULL;
}

/* An array of tables with keys of `names` only, at most CONFIG_LIST_MAX of them. */
static int check_list(const char *file, const struct toml_node *node, const char *const *names,
		      size_t count, struct err *err)
{
	if (node->type != TOML_ARRAY)
		return config_fail(file, node->line, node->column, err,
				   "'%s' must be an array of tables: [[%s]]", node->key, node->key);
	if (node->child_count > CONFIG_LIST_MAX)
		return config_fail(file, node->line, node->column, err,
				   "'%s' has %zu entries: at most %d are allowed", node->key,
				   node->child_count, CONFIG_LIST_MAX);

	for (size_t i = 0; i < node->child_count; i++) {
		const struct toml_node *entry = &node->children[i];

		if (entry->type != TOML_TABLE)
			return config_fail(file, entry->line, entry->column, err,
					   "'%s' must be an array of tables: [[%s]]", node->key,
					   node->key);
		for (size_t k = 0; k < entry->child_count; k++) {
			bool known = false;

			for (size_t n = 0; n < count; n++)
				known = known || str_eq(entry->children[k].key, names[n]);
			if (!known)
				return config_fail_unknown(file, node->key, &entry->children[k],
							   names, count, err);
		}
	}
	return 0;
}

/* The string `key` of an entry; required unless `is_optional`, then *ret may become NULL. */
static int want_string(const char *file, const struct toml_node *entry, const char *key,
		       bool is_optional, const struct toml_node **ret, struct err *err)
{
	const struct toml_node *node = child(entry, key);

	*ret = node;
	if (node)
		return config_want_type(file, node, TOML_STRING, err);
	if (is_optional)
		return 0;
	return config_fail(file, entry->line, entry->column, err, "the entry lacks '%s'", key);
}

static bool has_bad_part(const char *path)
{
	const char *at = path;

	assert(path);
	while (at) {
		const char *slash = strchr(at, '/');
		const size_t len = slash ? (size_t)(slash - at) : strlen(at);

		if (len == 2 && memcmp(at, "..", 2) == 0)
			return true;
		at = slash ? slash + 1 : NULL;
	}
	return strlen(path) > PATH_BYTES_MAX || config_has_control(path);
}

/* Three or four octal digits, none of the special bits. */
static bool parse_mode(const char *text, uint32_t *ret)
{
	const size_t len = strlen(text);
	uint32_t mode = 0;

	if (len < 3 || len > 4 || (len == 4 && text[0] != '0'))
		return false;

	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '7')
			return false;
		mode = mode << 3 | (uint32_t)(text[i] - '0');
	}
	*ret = mode;
	return true;
}

/* Whether a path in the guest names something below the home that it begins with. */
static bool names_something(const char *path)
{
	const char *at = strchr(path + 1, '/');
	size_t skipped = 0;

	/* Past "~/" or "/root/"; "." and empty parts name nothing. */
	while (at && *at) {
		skipped = strspn(at, "/");
		at += skipped;
		skipped = strcspn(at, "/");
		if (skipped > 0 && !(skipped == 1 && at[0] == '.'))
			return true;
		at += skipped;
	}
	return false;
}

static int read_sync(const char *file, const struct toml_node *entry, struct config_file_sync *sync,
		     struct err *err)
{
	const struct toml_node *host = NULL, *guest = NULL, *mode = NULL;
	int r;

	r = want_string(file, entry, "host", false, &host, err);
	if (r == 0)
		r = want_string(file, entry, "guest", false, &guest, err);
	if (r == 0)
		r = want_string(file, entry, "mode", true, &mode, err);
	if (r < 0)
		return r;
	assert(host && guest);

	if ((host->text[0] != '/' && !str_starts(host->text, "~/")) || has_bad_part(host->text))
		return config_fail(
			file, host->value_line, host->value_column, err,
			"host is '%.100s': it must be absolute or begin with ~/, without '..'",
			host->text);
	if ((!str_starts(guest->text, "~/") && !str_starts(guest->text, "/root/")) ||
	    has_bad_part(guest->text))
		return config_fail(
			file, guest->value_line, guest->value_column, err,
			"guest is '%.100s': it must begin with ~/ or /root/, without '..'",
			guest->text);
	if (!names_something(guest->text))
		return config_fail(file, guest->value_line, guest->value_column, err,
				   "guest is '%.100s': it must name something below the home",
				   guest->text);
	sync->mode = SYNC_MODE;
	if (mode && !parse_mode(mode->text, &sync->mode))
		return config_fail(
			file, mode->value_line, mode->value_column, err,
			"mode is '%.100s': it must be octal digits from \"0000\" to \"0777\"",
			mode->text);

	sync->host = mem_strdup(host->text);
	sync->guest = mem_strdup(guest->text);
	return 0;
}

int config_read_file_sync(const char *file, const struct toml_node *node, struct config *config,
			  struct err *err)
{
	int r;

	r = check_list(file, node, sync_names, ARRAY_LEN(sync_names), err);
	if (r < 0)
		return r;

	config->file_sync = mem_alloc(node->child_count + 1, sizeof(*config->file_sync));
	for (size_t i = 0; i < node->child_count; i++) {
		r = read_sync(file, &node->children[i], &config->file_sync[i], err);
		if (r < 0)
			return r;
		config->file_sync_count++;
	}
	return 0;
}

/* HOST, HOST:PORT, IPv4 or [IPv6], as it stands in an image reference. */
static bool is_registry_host(const char *text)
{
	const char *colon = strrchr(text, ':');
	size_t len = strlen(text);
	uint64_t port;

	if (len == 0 || len > HOST_BYTES_MAX)
		return false;
	if (colon && !str_ends(text, "]")) {
		if (!parse_u64_text(colon + 1, UINT16_MAX, &port) || port == 0)
			return false;
		len = (size_t)(colon - text);
	}
	if (len == 0)
		return false;
	if (text[0] == '[')
		return text[len - 1] == ']' && len > 2 &&
		       strspn(text + 1, "0123456789abcdefABCDEF:.") == len - 2;
	return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") ==
	       len;
}

static bool is_url(const char *text)
{
	const char *rest = NULL;

	if (str_starts(text, "https://"))
		rest = text + strlen("https://");
	else if (str_starts(text, "http://"))
		rest = text + strlen("http://");
	if (!rest || *rest == '\0' || *rest == '/' || strlen(text) > URL_BYTES_MAX)
		return false;

	for (const char *at = rest; *at; at++)
		if ((unsigned char)*at <= 0x20 || (unsigned char)*at >= 0x7f || *at == '@')
			return false;
	return true;
}

static int read_registry(const char *file, const struct toml_node *entry,
			 struct config_registry *registry, struct err *err)
{
	const struct toml_node *host = NULL, *mirror = NULL, *ca = NULL;
	const struct toml_node *insecure = child(entry, "insecure");
	int r;

	r = want_string(file, entry, "host", false, &host, err);
	if (r == 0)
		r = want_string(file, entry, "mirror", true, &mirror, err);
	if (r == 0)
		r = want_string(file, entry, "ca", true, &ca, err);
	if (r == 0 && insecure)
		r = config_want_type(file, insecure, TOML_BOOLEAN, err);
	if (r < 0)
		return r;
	assert(host);

	if (!is_registry_host(host->text))
		return config_fail(file, host->value_line, host->value_column, err,
				   "host is '%.100s': it must be HOST or HOST:PORT", host->text);
	if (mirror && !is_url(mirror->text))
		return config_fail(
			file, mirror->value_line, mirror->value_column, err,
			"mirror is '%.100s': it must be an http or https URL without a user",
			mirror->text);

	if (ca && ca->text[0] != '/' && !str_starts(ca->text, "~/"))
		return config_fail(file, ca->value_line, ca->value_column, err,
				   "ca is '%.100s': it must be absolute or begin with ~/",
				   ca->text);

	registry->host = mem_strdup(host->text);
	registry->mirror = mirror ? mem_strdup(mirror->text) : NULL;
	registry->ca_file = ca ? mem_strdup(ca->text) : NULL;
	registry->insecure = insecure && insecure->boolean;
	return 0;
}

int config_read_registries(const char *file, const struct toml_node *node, struct config *config,
			   struct err *err)
{
	int r;

	r = check_list(file, node, registry_names, ARRAY_LEN(registry_names), err);
	if (r < 0)
		return r;

	config->registries = mem_alloc(node->child_count + 1, sizeof(*config->registries));
	for (size_t i = 0; i < node->child_count; i++) {
		r = read_registry(file, &node->children[i], &config->registries[i], err);
		if (r < 0)
			return r;
		config->registry_count++;
		for (size_t k = 0; k < i; k++)
			if (str_eq(config->registries[k].host, config->registries[i].host))
				return config_fail(file, node->children[i].line,
						   node->children[i].column, err,
						   "registry '%s' has an entry already",
						   config->registries[i].host);
	}
	return 0;
}
