/* Which of a host's package sources are Debian's archive. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/strv.h"
#include "check.h"
#include "kernel/apt_sources.h"

struct row {
	const char *text;
	const char *wanted; /* the lines, joined by "|" */
};

static void check_rows(const struct row *rows, size_t count,
		       void (*parse)(struct span text, const char *suite, struct strv *ret))
{
	size_t i, n;

	for (i = 0; i < count; i++) {
		AUTO_STRV got = { 0 };
		AUTO_BUF joined = BUF_INIT;

		parse(span_str(rows[i].text), "bookworm", &got);
		for (n = 0; n < got.count; n++)
			buf_addf(&joined, "%s%s", n > 0 ? "|" : "", got.items[n]);
		CHECK_STR(joined.ptr, rows[i].wanted);
	}
}

static void test_lines(void **state)
{
	static const struct row rows[] = {
		{ "", "" },
		{ "deb http://m/debian bookworm main", "deb http://m/debian bookworm main" },
		{ "deb\thttps://m.example/a/debian/   bookworm-updates non-free main # why\n",
		  "deb https://m.example/a/debian/ bookworm-updates main" },
		{ "deb [arch=amd64 trusted=no] http://m/debian-security bookworm-security main",
		  "deb http://m/debian-security bookworm-security main" },
		{ "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://m/debian "
		  "bookworm main",
		  "deb http://m/debian bookworm main" },
		{ "deb http://m/debian bookworm main\ndeb http://m/debian bookworm main\n"
		  "deb http://n/debian bookworm main",
		  "deb http://m/debian bookworm main|deb http://n/debian bookworm main" },
		{ "deb http://snapshot.debian.org/archive/debian/20250101T000000Z bookworm main",
		  "deb http://snapshot.debian.org/archive/debian/20250101T000000Z bookworm main" },
		/* Not Debian's, not binary, not this suite, not enabled, not whole. */
		{ "deb [signed-by=/etc/other.gpg] http://m/debian bookworm main", "" },
		{ "deb [arch=amd64 http://m/debian bookworm main", "" },
		{ "deb https://download.docker.com/linux/debian bookworm stable", "" },
		{ "deb https://packages.example/debian/12/prod bookworm main", "" },
		{ "deb https://apt.example.com bookworm main", "" },
		{ "deb-src http://m/debian bookworm main", "" },
		{ "#deb http://m/debian bookworm main", "" },
		{ "deb http://m/debian trixie main", "" },
		{ "deb http://m/debian bookworm-backports main", "" },
		{ "deb http://m/debian bookworm contrib", "" },
		{ "deb file:///srv/debian bookworm main", "" },
		{ "deb http://m/debian", "" },
		{ "deb", "" },
		{ "deb http://m/\x1b[2J/debian bookworm main", "" },
	};

	(void)state;
	check_rows(rows, ARRAY_LEN(rows), apt_sources_parse_list);
}

static void test_stanzas(void **state)
{
	static const struct row rows[] = {
		{ "", "" },
		{ "\n\n\n", "" },
		{ "Types: deb\n# a comment\nURIs: http://m/debian\nSuites: bookworm "
		  "bookworm-updates\n"
		  "Components: main contrib\nSigned-By: "
		  "/usr/share/keyrings/debian-archive-keyring.gpg\n\n"
		  "Types: deb deb-src\nuris: http://m/debian-security\nsuites: "
		  "bookworm-security\ncomponents: main",
		  "deb http://m/debian bookworm main|deb http://m/debian bookworm-updates main|"
		  "deb http://m/debian-security bookworm-security main" },
		{ "Types: deb\nURIs:\n http://m/debian\n http://n/debian\nSuites: "
		  "bookworm\nComponents: main\n",
		  "deb http://m/debian bookworm main|deb http://n/debian bookworm main" },
		{ "Types: deb\nURIs: http://m/debian\nSuites: bookworm\nComponents: main\nEnabled: "
		  "no\n",
		  "" },
		{ "Types: deb-src\nURIs: http://m/debian\nSuites: bookworm\nComponents: main\n",
		  "" },
		{ "Types: deb\nURIs: https://deb.nodesource.com/node_20.x\nSuites: "
		  "nodistro\nComponents: main\n",
		  "" },
		{ "Types: deb\nURIs: http://m/debian\nSuites: bookworm\nComponents: "
		  "main\nSigned-By:\n"
		  " -----BEGIN PGP PUBLIC KEY BLOCK-----\n",
		  "" },
		{ "nonsense\n continued\nTypes deb\n", "" },
	};

	(void)state;
	check_rows(rows, ARRAY_LEN(rows), apt_sources_parse_stanzas);
}

static void put(const char *dir, const char *name, const char *text)
{
	AUTO_CLOSE int fd = dir_open(dir);

	assert_true(fd >= 0);
	assert_int_equal(file_replace(fd, name, span_str(text), 0600), 0);
}

static void test_files(void **state)
{
	char dir[] = "/tmp/banger-test-apt-XXXXXX";
	AUTO_STRV got = { 0 };
	AUTO_FREE char *folder = NULL;

	(void)state;
	assert_int_equal(apt_sources_read("/nowhere/at/all", "bookworm", &got), 0);
	assert_non_null(mkdtemp(dir));
	folder = mem_printf("%s/sources.list.d", dir);
	assert_int_equal(apt_sources_read(dir, "bookworm", &got), 0);
	assert_int_equal(mkdir(folder, 0700), 0);
	put(folder, "b.list", "deb http://m/debian bookworm-updates main\n");
	put(folder, "c.list.save", "deb http://no/debian bookworm main\n");
	/* Without the suite itself, nothing. */
	assert_int_equal(apt_sources_read(dir, "bookworm", &got), 0);
	CHECK_INT(got.count, 0);
	put(folder, "a.sources",
	    "Types: deb\nURIs: http://m/debian\nSuites: bookworm\nComponents: main\n");
	assert_int_equal(apt_sources_read(dir, "bookworm", &got), 0);
	CHECK_INT(got.count, 2);
	CHECK_STR(got.items[0], "deb http://m/debian bookworm main");
	CHECK_STR(got.items[1], "deb http://m/debian bookworm-updates main");
	assert_int_equal(dir_remove_tree(AT_FDCWD, dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_stanzas),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
