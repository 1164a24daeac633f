/* Challenges of servers, and the credentials that docker, podman and their helpers keep. */
#include "check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "oci/auth.h"

/* --- challenges ------------------------------------------------------------------------------- */

static void test_challenges(void **state)
{
	static const struct {
		const char *header;
		enum oci_scheme scheme;
		const char *realm, *service, *scope;
	} rows[] = {
		{ "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\","
		  "scope=\"repository:a/b:pull,push\"",
		  OCI_SCHEME_BEARER, "https://auth.docker.io/token", "registry.docker.io",
		  "repository:a/b:pull,push" },
		{ "bearer REALM=https", OCI_SCHEME_BEARER, "https", NULL, NULL },
		{ "Bearer  realm = \"a\" , service\t=\"b\"", OCI_SCHEME_BEARER, "a", "b", NULL },
		{ "Bearer error=\"x\",realm=\"a\\\"b\\\\\"", OCI_SCHEME_BEARER, "a\"b\\", NULL,
		  NULL },
		{ "Bearer realm=\"\"", OCI_SCHEME_NONE, NULL, NULL, NULL },
		{ "Bearer service=\"a\"", OCI_SCHEME_NONE, NULL, NULL, NULL },
		{ "Bearer", OCI_SCHEME_NONE, NULL, NULL, NULL },
		{ "Basic", OCI_SCHEME_BASIC, NULL, NULL, NULL },
		{ "Basic realm=\"Registry\"", OCI_SCHEME_BASIC, "Registry", NULL, NULL },
		{ "BASIC realm=\"a, Bearer realm=b\"", OCI_SCHEME_BASIC, "a, Bearer realm=b", NULL,
		  NULL },
		{ "Basic realm=a, Bearer realm=b", OCI_SCHEME_BEARER, "b", NULL, NULL },
		{ "Bearer realm=b, Basic realm=a", OCI_SCHEME_BEARER, "b", NULL, NULL },
		{ "Basic, Bearer realm=b", OCI_SCHEME_BEARER, "b", NULL, NULL },
		{ "Negotiate YIIa+/b==, Basic realm=a", OCI_SCHEME_BASIC, "a", NULL, NULL },
		{ "Negotiate, Basic realm=a", OCI_SCHEME_BASIC, "a", NULL, NULL },
		{ ", ,Basic realm=a,,", OCI_SCHEME_BASIC, "a", NULL, NULL },
		{ "Digest realm=\"x\", nonce=\"y\"", OCI_SCHEME_NONE, NULL, NULL, NULL },
		{ "", OCI_SCHEME_NONE, NULL, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_OCI_CHALLENGE challenge = OCI_CHALLENGE_INIT;

		CHECK_ROW(i, oci_challenge_read(span_str(rows[i].header), &challenge));
		CHECK_ROW(i, challenge.scheme == rows[i].scheme);
		CHECK_ROW(i, str_eq(challenge.realm, rows[i].realm));
		CHECK_ROW(i, str_eq(challenge.service, rows[i].service));
		CHECK_ROW(i, str_eq(challenge.scope, rows[i].scope));
	}
}

static void test_malformed_challenges(void **state)
{
	static const char *const rows[] = {
		"Bearer realm=\"a",
		"Bearer realm=\"a\" service=\"b\"",
		"Bearer realm=\"a\\",
		"=",
		"Bearer realm=\"a\nb\"",
		"Bearer realm=a, realm=b",
		"Basic realm=a b=c",
		"Bearer realm=\"a\"x",
		"\"x\"",
		"Basic =x",
		"Basic realm=\"\x7f\"",
		"Basic;x",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_OCI_CHALLENGE challenge = { .scheme = OCI_SCHEME_BASIC,
						 .realm = mem_strdup("before") };

		CHECK_ROW(i, !oci_challenge_read(span_str(rows[i]), &challenge));
		CHECK_ROW(i, challenge.scheme == OCI_SCHEME_BASIC);
		CHECK_STR(challenge.realm, "before");
	}
}

static void test_challenges_in_several_headers(void **state)
{
	AUTO_OCI_CHALLENGE challenge = OCI_CHALLENGE_INIT;

	(void)state;
	assert_true(oci_challenge_read(span_str("Basic realm=a"), &challenge));
	assert_true(oci_challenge_read(span_str("Bearer realm=b"), &challenge));
	assert_true(oci_challenge_read(span_str("Bearer realm=c"), &challenge));
	assert_true(oci_challenge_read(span_str("Basic realm=d"), &challenge));
	CHECK_STR(challenge.realm, "b");
}

static void test_challenge_limits(void **state)
{
	(void)state;
	for (size_t extra = 0; extra < 2; extra++) {
		AUTO_OCI_CHALLENGE challenge = OCI_CHALLENGE_INIT;
		AUTO_BUF header = BUF_INIT, many = BUF_INIT;

		buf_add_str(&header, "Bearer realm=");
		while (header.len < OCI_CHALLENGE_BYTES_MAX + extra)
			buf_add_byte(&header, 'a');
		CHECK_INT(oci_challenge_read(buf_span(&header), &challenge), extra == 0);

		buf_add_str(&many, "Bearer realm=a");
		for (size_t i = 1; i < 16 + extra; i++)
			buf_addf(&many, ",p%zu=x", i);
		CHECK_INT(oci_challenge_read(buf_span(&many), &challenge), extra == 0);
	}
}

/* --- authorization ---------------------------------------------------------------------------- */

static void test_authorization(void **state)
{
	AUTO_OCI_CREDENTIALS credentials = { .username = mem_strdup("Aladdin"),
					     .password = mem_strdup("open sesame") };
	char *basic = oci_basic_authorization(&credentials);
	char *bearer = oci_bearer_authorization("abc");

	(void)state;
	CHECK_STR(basic, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
	CHECK_STR(bearer, "Bearer abc");
	oci_secret_free(basic);
	oci_secret_free(bearer);
	oci_secret_free(NULL);
}

/* --- entries of a file ------------------------------------------------------------------------ */

#define AUTH(pair) "{\"auth\":\"" pair "\"}"
#define A_B	   "YTpi"     /* a:b */
#define C_D	   "YzpkOmU=" /* c:d:e */
#define PADDED	   "YTpiAAAA" /* a:b and zeros */
#define NO_COLON   "YWJj"     /* abc */
#define ZERO	   "YQA6Yg==" /* a, zero, :b */

static const struct oci_auth nothing = { .environment = NULL };

static int read_entry(const char *json, const char *host, const char *repository,
		      struct oci_credentials *ret, struct err *err)
{
	const struct oci_credentials_query query = { .auth = &nothing,
						     .host = host,
						     .repository = repository };

	return oci_credentials_read("f", span_str(json), &query, ret, err);
}

static void test_entries(void **state)
{
	static const struct {
		const char *json, *host, *repository;
		const char *user, *password;
	} rows[] = {
		{ "{}", "h", "r", NULL, NULL },
		{ "{\"auths\":{}}", "h", "r", NULL, NULL },
		{ "{\"auths\":{\"h\":" AUTH(A_B) "}}", "h", "r", "a", "b" },
		{ "{\"auths\":{\"h\":" AUTH(C_D) "}}", "h", "r", "c", "d:e" },
		{ "{\"auths\":{\"h\":" AUTH(PADDED) "}}", "h", "r", "a", "b" },
		{ "{\"auths\":{\"h:5000\":" AUTH(A_B) "}}", "h:5000", "r", "a", "b" },
		{ "{\"auths\":{\"h\":" AUTH(A_B) "}}", "h:5000", "r", NULL, NULL },
		{ "{\"auths\":{\"h:5000\":" AUTH(A_B) "}}", "h", "r", NULL, NULL },
		{ "{\"auths\":{\"evil-h\":" AUTH(A_B) "}}", "h", "r", NULL, NULL },
		{ "{\"auths\":{\"h.evil\":" AUTH(A_B) "}}", "h", "r", NULL, NULL },
		{ "{\"auths\":{\"https://h\":" AUTH(A_B) "}}", "h", "r", "a", "b" },
		{ "{\"auths\":{\"https://h/v1/\":" AUTH(A_B) "}}", "h", "r", "a", "b" },
		{ "{\"auths\":{\"http://h/v2/\":" AUTH(A_B) "}}", "h", "r", "a", "b" },
		{ "{\"auths\":{\"h/\":" AUTH(A_B) "}}", "h", "r", "a", "b" },
		{ "{\"auths\":{\"h/r\":" AUTH(A_B) "}}", "h", "r/s", "a", "b" },
		{ "{\"auths\":{\"h/r\":" AUTH(A_B) "}}", "h", "rs", NULL, NULL },
		{ "{\"auths\":{\"h/r/s\":" AUTH(A_B) "}}", "h", "r", NULL, NULL },
		{ "{\"auths\":{\"h\":" AUTH(A_B) ",\"h/r\":" AUTH(C_D) "}}", "h", "r", "c", "d:e" },
		{ "{\"auths\":{\"h/r/s\":" AUTH(C_D) ",\"h\":" AUTH(A_B) "}}", "h", "r", "a", "b" },
		{ "{\"auths\":{\"h/r\":{},\"h\":" AUTH(A_B) "}}", "h", "r", "a", "b" },
		{ "{\"auths\":{\"h\":{}}}", "h", "r", NULL, NULL },
		{ "{\"auths\":{\"h\":{\"auth\":\"\"}}}", "h", "r", NULL, NULL },
		{ "{\"auths\":{\"h\":[]}}", "h", "r", NULL, NULL },
		{ "{\"auths\":[]}", "h", "r", NULL, NULL },
		{ "{\"auths\":{\"https://index.docker.io/v1/\":" AUTH(A_B) "}}", "docker.io", "r",
		  "a", "b" },
		{ "{\"auths\":{\"registry-1.docker.io\":" AUTH(A_B) "}}", "docker.io", "r", "a",
		  "b" },
		{ "{\"auths\":{\"docker.io\":" AUTH(A_B) "}}", "docker.io", "r", "a", "b" },
		{ "{\"auths\":{\"docker.io\":" AUTH(A_B) "}}", "index.docker.io.evil", "r", NULL,
		  NULL },
		{ "{\"auths\":{\"h\":{\"username\":\"u\",\"password\":\"p\"}}}", "h", "r", "u",
		  "p" },
		{ "{\"auths\":{\"h\":" AUTH(A_B) "},\"HttpHeaders\":{\"a\":1}}", "h", "r", "a",
		  "b" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_OCI_CREDENTIALS found = OCI_CREDENTIALS_INIT;
		struct err err = ERR_INIT;

		CHECK_ROW(i, read_entry(rows[i].json, rows[i].host, rows[i].repository, &found,
					&err) == 0);
		CHECK_ROW(i, str_eq(found.username, rows[i].user));
		CHECK_ROW(i, str_eq(found.password, rows[i].password));
		CHECK_ROW(i, oci_credentials_are_empty(&found) == (rows[i].user == NULL));
	}
}

static void test_tokens_in_entries(void **state)
{
	static const char identity[] =
		"{\"auths\":{\"h\":{\"auth\":\"" A_B "\",\"identitytoken\":\"idt\"}}}";
	static const char registry[] = "{\"auths\":{\"h\":{\"registrytoken\":\"rgt\"}}}";
	AUTO_OCI_CREDENTIALS found = OCI_CREDENTIALS_INIT;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(read_entry(identity, "h", "r", &found, &err), 0);
	CHECK_STR(found.identity_token, "idt");
	assert_null(found.username);
	assert_int_equal(read_entry(registry, "h", "r", &found, &err), 0);
	CHECK_STR(found.registry_token, "rgt");
	assert_null(found.identity_token);
}

/* No message has anything of what might be a secret. */
static void test_bad_entries(void **state)
{
	static const struct {
		const char *json, *message;
	} rows[] = {
		{ "", "'f' is no JSON object" },
		{ "[]", "'f' is no JSON object" },
		{ "{\"auths\":{\"h\":{\"auth\":\"s3cr3t\"", "'f' is no JSON object" },
		{ "{\"auths\":{\"h\":{\"auth\":\"s3cr3t\" \"s3cr3t\"}}}", "'f' is no JSON object" },
		{ "{\"auths\":{},\"auths\":{}}", "'f' is no JSON object" },
		{ "{\"auths\":{\"h\":{\"auth\":\"s3cr3t\"}}}",
		  "'f': the entry of 'h' has an \"auth\" that is no base64" },
		{ "{\"auths\":{\"h\":" AUTH(NO_COLON) "}}",
		  "'f': the entry of 'h' has an \"auth\" that is not USER:PASSWORD" },
		{ "{\"auths\":{\"h\":" AUTH(ZERO) "}}",
		  "'f': the entry of 'h' has an \"auth\" that is not USER:PASSWORD" },
		{ "{\"auths\":{\"h\":{\"registrytoken\":\"s3cr3t\\r\\nX: y\"}}}",
		  "'f': the entry of 'h' has a \"registrytoken\" that is none" },
		{ "{\"auths\":{\"h\":{\"username\":\"a:b\",\"password\":\"s3cr3t\"}}}",
		  "'f': the entry of 'h' has a \"username\" with ':'" },
		{ "{\"credHelpers\":{\"h\":\"../x\"}}",
		  "'../x' is no name of a credential helper" },
		{ "{\"credsStore\":\"a b\"}", "'a b' is no name of a credential helper" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_OCI_CREDENTIALS found = OCI_CREDENTIALS_INIT;
		struct err err = ERR_INIT;

		CHECK_ROW(i, read_entry(rows[i].json, "h", "r", &found, &err) < 0);
		CHECK_INT(err.kind, ERR_INVALID);
		CHECK_STR(err.message, rows[i].message);
		CHECK_ROW(i, oci_credentials_are_empty(&found));
	}
}

/* --- files and helpers ------------------------------------------------------------------------ */

struct place {
	char *folder; /* owned; HOME, XDG_RUNTIME_DIR, ... are below it */
	struct strv environment;
	struct oci_auth auth;
};

static void put(const struct place *place, const char *path, const char *content, mode_t mode)
{
	AUTO_FREE char *full = mem_printf("%s/%s", place->folder, path);
	AUTO_FREE char *folder = mem_strndup(full, (size_t)(strrchr(full, '/') - full));
	const char *name = strrchr(full, '/') + 1;
	AUTO_CLOSE int fd = -1;

	assert_int_equal(dir_make_path(folder, 0700), 0);
	fd = dir_open(folder);
	assert_true(fd >= 0);
	assert_int_equal(file_replace(fd, name, span_str(content), mode), 0);
}

static int make_place(void **state)
{
	char folder[] = "/tmp/test-oci-auth-XXXXXX";
	static struct place place;

	place = (struct place){ .folder = mem_strdup(mkdtemp(folder)) };
	strv_addf(&place.environment, "HOME=%s/home", place.folder);
	strv_addf(&place.environment, "PATH=%s/bin:/usr/bin:/bin", place.folder);
	strv_addf(&place.environment, "XDG_RUNTIME_DIR=%s/run", place.folder);
	strv_add(&place.environment, "SEEN=by-helpers");
	place.auth.environment = strv_argv(&place.environment);
	/* Programs are looked up in our own PATH. */
	if (setenv("PATH", strchr(place.environment.items[1], '=') + 1, 1) < 0)
		return -1;
	*state = &place;
	return 0;
}

static int remove_place(void **state)
{
	struct place *place = *state;

	IGNORE_RESULT(dir_remove_tree(AT_FDCWD, place->folder));
	mem_free(place->folder);
	strv_done(&place->environment);
	return 0;
}

static int find(const struct place *place, const char *host, const struct cancel *cancel,
		struct oci_credentials *ret, struct err *err)
{
	const struct oci_credentials_query query = {
		.auth = &place->auth, .host = host, .repository = "r", .cancel = cancel
	};

	return oci_credentials_find(&query, ret, err);
}

static void want_user(const struct place *place, const char *host, const char *user)
{
	AUTO_OCI_CREDENTIALS found = OCI_CREDENTIALS_INIT;
	struct err err = ERR_INIT;

	if (find(place, host, NULL, &found, &err) < 0) {
		print_error("%s\n", err.message);
		fail();
	}
	if (!str_eq(found.username, user)) {
		print_error("got %s, wanted %s\n", found.username ? found.username : "nobody",
			    user ? user : "nobody");
		fail();
	}
}

static void set(struct place *place, const char *assignment)
{
	strv_add(&place->environment, assignment);
	place->auth.environment = strv_argv(&place->environment);
}

#define USER_FILE(name) "{\"auths\":{\"h\":{\"username\":\"" name "\",\"password\":\"p\"}}}"

static void test_order_of_files(void **state)
{
	struct place *place = *state;
	AUTO_FREE char *config = mem_printf("XDG_CONFIG_HOME=%s/config", place->folder);
	AUTO_FREE char *docker = mem_printf("DOCKER_CONFIG=%s/docker", place->folder);
	AUTO_FREE char *only = mem_printf("REGISTRY_AUTH_FILE=%s/only", place->folder);

	want_user(place, "h", NULL);
	put(place, "home/.docker/config.json", USER_FILE("docker"), 0600);
	want_user(place, "h", "docker");
	want_user(place, "i", NULL);
	put(place, "home/.config/containers/auth.json", USER_FILE("podman"), 0600);
	want_user(place, "h", "podman");
	put(place, "run/containers/auth.json", USER_FILE("runtime"), 0600);
	want_user(place, "h", "runtime");
	put(place, "run/containers/auth.json", "{\"auths\":{\"i\":{\"auth\":\"" A_B "\"}}}", 0600);
	want_user(place, "h", "podman"); /* an empty hand is no answer */
	set(place, config);
	want_user(place, "h", "docker");
	set(place, docker);
	want_user(place, "h", NULL);
	put(place, "docker/config.json", USER_FILE("docker-config"), 0600);
	want_user(place, "h", "docker-config");
	put(place, "config/containers/auth.json", USER_FILE("config-home"), 0600);
	want_user(place, "h", "config-home");
	set(place, only);
	want_user(place, "h", NULL);
	put(place, "only", USER_FILE("only"), 0600);
	want_user(place, "h", "only");
}

static void refuse(const struct place *place, enum err_kind kind, const char *message)
{
	AUTO_OCI_CREDENTIALS found = OCI_CREDENTIALS_INIT;
	struct err err = ERR_INIT;

	assert_true(find(place, "h", NULL, &found, &err) < 0);
	CHECK_HAS(err.message, message);
	CHECK_INT(err.kind, kind);
	assert_null(strstr(err.message, "s3cr3t"));
}

static void test_bad_files(void **state)
{
	struct place *place = *state;
	AUTO_BUF big = BUF_INIT;

	put(place, "home/.docker/config.json", "s3cr3t", 0600);
	refuse(place, ERR_INVALID, "/home/.docker/config.json' is no JSON object");
	buf_addf(&big, "{\"a\":\"%*s\"}", OCI_AUTH_FILE_BYTES_MAX, "");
	put(place, "home/.docker/config.json", big.ptr, 0600);
	refuse(place, ERR_SYSTEM, "/home/.docker/config.json': File too large");
}

/* What the helper is asked, it writes down. */
#define HELPER(answer) \
	"#!/bin/sh\n{ echo \"$# $1 $SEEN\"; cat; echo; } >>\"${0%/*}/asked\"\n" answer "\n"

static void test_helpers(void **state)
{
	struct place *place = *state;
	AUTO_FREE char *asked_path = mem_printf("%s/bin/asked", place->folder);
	AUTO_BUF asked = BUF_INIT;

	put(place, "home/.docker/config.json",
	    "{\"credHelpers\":{\"h\":\"one\",\"https://docker.io/"
	    "x\":\"one\"},\"credsStore\":\"two\","
	    "\"auths\":{\"h\":{\"auth\":\"" A_B "\"},\"k\":{\"auth\":\"" A_B "\"},\"i\":{}}}",
	    0600);
	put(place, "bin/docker-credential-one",
	    HELPER("echo '{\"ServerURL\":\"h\",\"Username\":\"one\",\"Secret\":\"s\"}'"), 0700);
	put(place, "bin/docker-credential-two",
	    HELPER("echo '{\"Username\":\"two\",\"Secret\":\"s\"}'"), 0700);
	want_user(place, "h", "one");
	want_user(place, "docker.io", "one");
	want_user(place, "i", "two");
	want_user(place, "k", "a"); /* its own entry goes before the store */
	assert_int_equal(file_read(AT_FDCWD, asked_path, 4096, &asked), 0);
	CHECK_STR(asked.ptr, "1 get by-helpers\nh\n1 get by-helpers\nhttps://index.docker.io/v1/\n"
			     "1 get by-helpers\ni\n");
}

static void test_helpers_that_have_nothing_or_fail(void **state)
{
	static const struct {
		const char *body;
		enum err_kind kind; /* NONE: nothing found */
		const char *message;
	} rows[] = {
		{ "echo 'credentials not found in native keychain'; exit 1", ERR_NONE, NULL },
		{ "echo s3cr3t; echo locked >&2; exit 1", ERR_SYSTEM,
		  "ask for the credentials of 'h': 'docker-credential-x' ended with status 1: "
		  "locked" },
		{ "echo s3cr3t", ERR_PROTOCOL,
		  "'docker-credential-x' did not print a JSON object" },
		{ "echo '{\"Username\":\"u\"}'", ERR_PROTOCOL,
		  "did not print Username and Secret" },
		{ "echo '{\"Username\":\"u\",\"Secret\":\"\"}'", ERR_PROTOCOL,
		  "did not print Username and Secret" },
		{ "yes s3cr3t", ERR_LIMIT, "printed more than 65536 bytes" },
	};
	struct place *place = *state;

	put(place, "home/.docker/config.json", "{\"credsStore\":\"x\"}", 0600);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *script = mem_printf("#!/bin/sh\n%s\n", rows[i].body);

		put(place, "bin/docker-credential-x", script, 0700);
		if (rows[i].kind == ERR_NONE)
			want_user(place, "h", NULL);
		else
			refuse(place, rows[i].kind, rows[i].message);
	}
	put(place, "home/.docker/config.json", "{\"credsStore\":\"none-such\"}", 0600);
	refuse(place, ERR_SYSTEM, "docker-credential-none-such");
}

static void test_identity_tokens_of_helpers(void **state)
{
	struct place *place = *state;
	AUTO_OCI_CREDENTIALS found = OCI_CREDENTIALS_INIT;
	struct err err = ERR_INIT;

	put(place, "home/.docker/config.json", "{\"credsStore\":\"x\"}", 0600);
	put(place, "bin/docker-credential-x",
	    "#!/bin/sh\necho '{\"Username\":\"<token>\",\"Secret\":\"idt\"}'\n", 0700);
	assert_int_equal(find(place, "h", NULL, &found, &err), 0);
	CHECK_STR(found.identity_token, "idt");
	assert_null(found.username);
}

static void test_cancelled_helper(void **state)
{
	struct place *place = *state;
	AUTO_OCI_CREDENTIALS found = OCI_CREDENTIALS_INIT;
	struct cancel cancel;
	struct err err = ERR_INIT;

	assert_int_equal(cancel_init(&cancel), 0);
	cancel_fire(&cancel);
	put(place, "home/.docker/config.json", "{\"credsStore\":\"x\"}", 0600);
	put(place, "bin/docker-credential-x", "#!/bin/sh\nexec sleep 60\n", 0700);
	assert_true(find(place, "h", &cancel, &found, &err) < 0);
	CHECK_INT(err.kind, ERR_CANCELLED);
	cancel_done(&cancel);
}

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_challenges),
		cmocka_unit_test(test_malformed_challenges),
		cmocka_unit_test(test_challenges_in_several_headers),
		cmocka_unit_test(test_challenge_limits),
		cmocka_unit_test(test_authorization),
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_tokens_in_entries),
		cmocka_unit_test(test_bad_entries),
		IN_PLACE(test_order_of_files),
		IN_PLACE(test_bad_files),
		IN_PLACE(test_helpers),
		IN_PLACE(test_helpers_that_have_nothing_or_fail),
		IN_PLACE(test_identity_tokens_of_helpers),
		IN_PLACE(test_cancelled_helper),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
