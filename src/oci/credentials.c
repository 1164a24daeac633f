/* The files that docker and podman keep credentials in. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/base64.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "oci/credentials.h"
#include "oci/secret.h"

#define DOCKER_HUB    "docker.io"
#define DOCKER_SERVER "https://index.docker.io/v1/" /* what docker calls it */

void oci_credentials_done(struct oci_credentials *credentials)
{
	secret_free(credentials->username);
	secret_free(credentials->password);
	secret_free(credentials->identity_token);
	secret_free(credentials->registry_token);
	*credentials = OCI_CREDENTIALS_INIT;
}

bool oci_credentials_are_empty(const struct oci_credentials *credentials)
{
	return !credentials->username && !credentials->identity_token &&
	       !credentials->registry_token;
}

const char *auth_variable(const struct oci_auth *auth, const char *name)
{
	const size_t len = strlen(name);

	for (size_t i = 0; auth->environment && auth->environment[i]; i++) {
		const char *entry = auth->environment[i];

		if (strncmp(entry, name, len) == 0 && entry[len] == '=')
			return entry[len + 1] != '\0' ? entry + len + 1 : NULL;
	}
	return NULL;
}

/* --- which entry is ours ---------------------------------------------------------------------- */

/* The names under which the host has been written down. */
static bool means_host(struct span name, const char *host)
{
	static const char *const hub[] = { DOCKER_HUB, "index.docker.io", "registry-1.docker.io" };

	if (span_eq(name, span_str(host)))
		return true;
	for (size_t i = 0; str_eq(host, DOCKER_HUB) && i < ARRAY_LEN(hub); i++)
		if (span_eq(name, span_str(hub[i])))
			return true;
	return false;
}

/*
 * How well a key of "auths" fits: 0 not at all, 1 the host, more for each byte of the repository
 * that it has, too. A URL stands for its host.
 */
static size_t fit(const char *key, const char *host, const char *repository)
{
	struct span name = span_str(key), path;
	const uint8_t *slash;
	bool is_url = false;

	if (str_starts(key, "https://") || str_starts(key, "http://")) {
		name = span_skip(name, (size_t)(strstr(key, "//") - key) + 2);
		is_url = true;
	}
	slash = memchr(name.ptr, '/', name.len);
	path = slash ? span_skip(name, (size_t)(slash - name.ptr) + 1) : span_of(name.ptr, 0);
	if (slash)
		name.len = (size_t)(slash - name.ptr);
	if (!means_host(name, host))
		return 0;
	if (is_url || path.len == 0)
		return 1;
	if (path.len > strlen(repository) || memcmp(path.ptr, repository, path.len) != 0)
		return 0;
	return repository[path.len] == '\0' || repository[path.len] == '/' ? 1 + path.len : 0;
}

/* --- entries ---------------------------------------------------------------------------------- */

static int fail(const char *file, const char *key, const char *why, struct err *err)
{
	return err_set(err, ERR_INVALID, "'%s': the entry of '%.100s' %s", file, key, why);
}

/* "auth": base64 of USER:PASSWORD. */
static int read_basic(const char *file, const char *key, const char *text,
		      struct oci_credentials *ret, struct err *err)
{
	AUTO_SECRET_BUF pair = BUF_INIT;
	const char *colon;

	buf_reserve(&pair, strlen(text)); /* so that it is never moved */
	if (!base64_decode(span_str(text), &pair))
		return fail(file, key, "has an \"auth\" that is no base64", err);
	while (pair.len > 0 &&
	       pair.ptr[pair.len - 1] == '\0') /* as old versions of docker pad it */
		buf_truncate(&pair, pair.len - 1);
	colon = strchr(pair.ptr, ':');
	if (!colon || strlen(pair.ptr) != pair.len)
		return fail(file, key, "has an \"auth\" that is not USER:PASSWORD", err);

	ret->username = mem_strndup(pair.ptr, (size_t)(colon - pair.ptr));
	ret->password = mem_strdup(colon + 1);
	return 0;
}

/* Whether the entry has anything; podman and docker leave empty ones for what helpers have. */
static bool has_credentials(const json_t *entry)
{
	return !str_empty(json_get_str(entry, "auth")) ||
	       !str_empty(json_get_str(entry, "username")) ||
	       !str_empty(json_get_str(entry, "identitytoken")) ||
	       !str_empty(json_get_str(entry, "registrytoken"));
}

static int read_entry(const char *file, const char *key, const json_t *entry,
		      struct oci_credentials *ret, struct err *err)
{
	const char *registry_token = json_get_str(entry, "registrytoken");
	const char *identity_token = json_get_str(entry, "identitytoken");
	const char *auth = json_get_str(entry, "auth");
	const char *password = json_get_str(entry, "password");

	if (!str_empty(registry_token)) {
		if (!secret_is_header_text(registry_token))
			return fail(file, key, "has a \"registrytoken\" that is none", err);
		ret->registry_token = mem_strdup(registry_token);
		return 0;
	}
	if (!str_empty(identity_token)) {
		ret->identity_token = mem_strdup(identity_token);
		return 0;
	}
	if (!str_empty(auth))
		return read_basic(file, key, auth, ret, err);

	ret->username = mem_strdup(json_get_str(entry, "username"));
	ret->password = mem_strdup(password ? password : "");
	if (strchr(ret->username, ':'))
		return fail(file, key, "has a \"username\" with ':'", err);
	return 0;
}

static int read_auths(const char *file, json_t *auths, const struct oci_credentials_query *query,
		      struct oci_credentials *ret, struct err *err)
{
	const char *key, *best_key = NULL;
	const json_t *entry, *best = NULL;
	size_t best_fit = 0;

	json_object_foreach(auths, key, entry) {
		const size_t fits = fit(key, query->host, query->repository);

		if (fits > best_fit && has_credentials(entry)) {
			best_fit = fits;
			best_key = key;
			best = entry;
		}
	}
	return best ? read_entry(file, best_key, best, ret, err) : 0;
}

/* The helper that "credHelpers" has for the host; NULL when none. */
static const char *find_helper(json_t *helpers, const char *host)
{
	const char *key;
	const json_t *value;

	json_object_foreach(helpers, key, value) {
		if (fit(key, host, "") == 1 && !str_empty(json_string_value(value)))
			return json_string_value(value);
	}
	return NULL;
}

int oci_credentials_read(const char *file, struct span text,
			 const struct oci_credentials_query *query, struct oci_credentials *ret,
			 struct err *err)
{
	const char *server = str_eq(query->host, DOCKER_HUB) ? DOCKER_SERVER : query->host;
	AUTO_OCI_CREDENTIALS found = OCI_CREDENTIALS_INIT;
	struct err ignored = ERR_INIT; /* it may quote what is secret */
	AUTO_JSON *document = NULL;
	const char *helper, *store;
	int r = 0;

	if (json_read(text, &document, &ignored) < 0 || !json_is_object(document))
		return err_set(err, ERR_INVALID, "'%s' is no JSON object", file);
	helper = find_helper(json_object_get(document, "credHelpers"), query->host);
	if (helper) {
		r = helper_ask(query->auth, helper, server, query->cancel, &found, err);
	} else {
		r = read_auths(file, json_object_get(document, "auths"), query, &found, err);
		store = json_get_str(document, "credsStore");
		if (r == 0 && oci_credentials_are_empty(&found) && !str_empty(store))
			r = helper_ask(query->auth, store, server, query->cancel, &found, err);
	}
	if (r < 0)
		return r;

	oci_credentials_done(ret);
	*ret = found;
	found = OCI_CREDENTIALS_INIT;
	return 0;
}

/* --- files ------------------------------------------------------------------------------------ */

/* "$FIRST/NAME", or "$SECOND/NAME2" when the first is unset. */
static void add_path(const struct oci_auth *auth, const char *first, const char *name,
		     const char *second_name, struct strv *paths)
{
	const char *folder = auth_variable(auth, first);
	const char *home = auth_variable(auth, "HOME");

	if (folder)
		strv_addf(paths, "%s/%s", folder, name);
	else if (home && second_name)
		strv_addf(paths, "%s/%s", home, second_name);
}

static void list_files(const struct oci_auth *auth, struct strv *paths)
{
	const char *only = auth_variable(auth, "REGISTRY_AUTH_FILE");

	if (only) {
		strv_add(paths, only);
		return;
	}
	add_path(auth, "XDG_RUNTIME_DIR", "containers/auth.json", NULL, paths);
	add_path(auth, "XDG_CONFIG_HOME", "containers/auth.json", ".config/containers/auth.json",
		 paths);
	add_path(auth, "DOCKER_CONFIG", "config.json", ".docker/config.json", paths);
}

int oci_credentials_find(const struct oci_credentials_query *query, struct oci_credentials *ret,
			 struct err *err)
{
	AUTO_STRV paths = { .items = NULL };

	list_files(query->auth, &paths);
	for (size_t i = 0; i < paths.count; i++) {
		AUTO_SECRET_BUF text = BUF_INIT;
		int r;

		r = file_read(AT_FDCWD, paths.items[i], OCI_AUTH_FILE_BYTES_MAX, &text);
		if (r == -ENOENT || r == -ENOTDIR)
			continue;
		if (r < 0)
			return err_sys(err, r, "read '%s'", paths.items[i]);
		r = oci_credentials_read(paths.items[i], buf_span(&text), query, ret, err);
		if (r < 0 || !oci_credentials_are_empty(ret))
			return r;
	}
	return 0;
}
