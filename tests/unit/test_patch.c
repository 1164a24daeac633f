/* What a hostile guest sends as its work: FAULTS.md GIT3, GIT6. */
#include "check.h"

#include "base/buf.h"
#include "base/macros.h"
#include "patch_judge.h"

#define OID  "0123456789012345678901234567890123456789"
#define OIDS "index " OID ".." OID

static void test_names(void **state)
{
	static const struct {
		const char *name;
		bool is_safe;
	} rows[] = {
		{ "a", true },
		{ "a/b c/\xff", true },
		{ ".gitignore", true },
		{ ".github/x", true },
		{ ".gitx", true },
		{ "x.git/y", true },
		{ "git", true },
		{ "git~x", true },
		{ "a\\b", true },
		{ "-rf", true },
		{ "...", true },
		{ "", false },
		{ "/a", false },
		{ "a/", false },
		{ "a//b", false },
		{ ".", false },
		{ "a/./b", false },
		{ "..", false },
		{ "a/../b", false },
		{ ".git", false },
		{ ".git/hooks/x", false },
		{ "sub/.GIT/config", false },
		{ ".gIt", false },
		{ ".git ", false },
		{ ".git...", false },
		{ ".git. . . . . . . . . .", false },
		{ ".git::$INDEX_ALLOCATION/x", false },
		{ "git~1/config", false },
		{ "GIT~2", false },
		{ ".g\xe2\x80\x8cit", false },
		{ "\xef\xbb\xbf.git", false },
		{ ".git\xe2\x81\xaf", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i, patch_name_is_safe(span_str(rows[i].name)) == rows[i].is_safe);
	assert_false(patch_name_is_safe(span_of("a\0b", 3)));
}

static void test_links(void **state)
{
	static const struct {
		const char *name;
		const char *target;
		bool leads_out;
	} rows[] = {
		{ "l", "a", false },	      { "l", "a/b", false },
		{ "d/l", "../a", false },     { "d/l", "..", false },
		{ "l", ".", false },	      { "l", "..", true },
		{ "l", "a/../../b", true },   { "d/l", "../../.ssh/authorized_keys", true },
		{ "l", "/etc/passwd", true }, { "l", "", true },
		{ "l", "a\nb", true },	      { "l", ".git/config", true },
		{ "d/l", "../.git", true },   { "a/b/l", "../../c", false },
		{ "l", "a/../b", true },      { "a/b/l", "../c/../d", true },
		{ "l", "./a/.", false },      { "a/l", ".././..", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i, patch_link_leads_out(span_str(rows[i].name),
						  span_str(rows[i].target)) == rows[i].leads_out);
}

#define FILE_X "diff --git a/x b/x\n" OIDS " 100644\n--- a/x\n+++ b/x\n"
#define NEW_LINK(name)                                                  \
	"diff --git a/" name " b/" name "\nnew file mode 120000\n" OIDS \
	"\n--- /dev/null\n+++ b/" name "\n"

static const struct {
	const char *text;
	uint64_t files;
	const char *link;   /* of far_links, NULL: none */
	const char *nested; /* of repositories, NULL: none */
} accepted[] = {
	{ "", 0, NULL, NULL },
	{ FILE_X "@@ -1 +1 @@\n-a\n+b\n", 1, NULL, NULL },
	{ FILE_X
	  "@@ -1,2 +1,3 @@ f()\n a\n-b\n\\ No newline at end of file\n+c\n+d\n@@ -9 +10,0 @@\n"
	  "-e\n\\ No newline at end of file\n" FILE_X "@@ -0,0 +1 @@\n+a\n",
	  2, NULL, NULL },
	/* what a hunk has may look like anything */
	{ FILE_X "@@ -1,3 +1,2 @@\n--- a/../x\n-diff --git a/.git b/.git\n+++ b/../x\n @@\n", 1,
	  NULL, NULL },
	{ "diff --git a/a b b/a b\nold mode 100644\nnew mode 100755\n", 1, NULL, NULL },
	{ "diff --git a/a b/a b/a b/a\nnew file mode 100644\n" OIDS "\n", 1, NULL, NULL },
	{ "diff --git \"a/\\tx\\377\" \"b/\\tx\\377\"\nnew file mode 100644\n", 1, NULL, NULL },
	{ "diff --git a/a b \"b/\\\"\"\nsimilarity index 100%\nrename from a b\nrename to "
	  "\"\\\"\"\n",
	  1, NULL, NULL },
	{ "diff --git a/x b/y\nsimilarity index 90%\ncopy from x\ncopy to y\n" OIDS
	  "\n--- a/x\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n",
	  1, NULL, NULL },
	{ "diff --git a/x b/x\ndeleted file mode 100644\n" OIDS
	  "\n--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n",
	  1, NULL, NULL },
	{ "diff --git a/b b/b\n" OIDS
	  " 100644\nGIT binary patch\ndelta 9\nQcmZo@W\n\nliteral 0\nHcmV?d00001\n\n",
	  1, NULL, NULL },
	{ NEW_LINK("d/l") "@@ -0,0 +1 @@\n+../x\n\\ No newline at end of file\n", 1, NULL, NULL },
	{ NEW_LINK("d/l") "@@ -0,0 +1 @@\n+../../.ssh/k\n\\ No newline at end of file\n", 1,
	  "d/l -> ../../.ssh/k", NULL },
	{ "diff --git a/l b/l\n" OIDS
	  " 120000\n--- a/l\n+++ b/l\n@@ -1 +1 @@\n-a\n\\ No newline at end of "
	  "file\n+/etc/\x1b[2J\n\\ No newline at end of file\n",
	  1, "l -> /etc/\\x1b[2J", NULL },
	{ "diff --git a/s b/s\nnew file mode 160000\n" OIDS
	  "\n--- /dev/null\n+++ b/s\n@@ -0,0 +1 @@\n+Subproject commit " OID "\n",
	  1, NULL, "s" },
};

static void test_accepted(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(accepted); i++) {
		for (size_t piece = 1; piece < 9; piece += 7) {
			struct patch_summary summary = { .files = 0 };
			struct err err = ERR_INIT;

			if (judge(span_str(accepted[i].text), piece, &summary, &err) < 0)
				print_error("%s\n", err.message);
			CHECK_ROW(i, err.kind == ERR_NONE);
			CHECK_ROW(i, summary.files == accepted[i].files);
			CHECK_ROW(i, (summary.far_link_count == 1) == (accepted[i].link != NULL));
			CHECK_ROW(i,
				  (summary.repository_count == 1) == (accepted[i].nested != NULL));
			if (accepted[i].link)
				CHECK_STR(summary.far_links.items[0], accepted[i].link);
			if (accepted[i].nested)
				CHECK_STR(summary.repositories.items[0], accepted[i].nested);
			patch_summary_done(&summary);
		}
	}
}

static const struct {
	const char *text;
	const char *message;
} refused[] = {
	{ "x\n", "line 1 of the patch, 'x': not as git writes it" },
	{ "\n", "not as git writes it" },
	{ "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n", "not as git writes it" },
	{ "diff --git a/.git/hooks/x b/.git/hooks/x\nnew file mode 100755\n",
	  "names the file '.git/hooks/x', which no checkout may have" },
	{ "diff --git a/../x b/../x\nnew file mode 100644\n", "names the file '../x'" },
	{ "diff --git a//etc/x b//etc/x\nnew file mode 100644\n", "names the file '/etc/x'" },
	{ "diff --git a/x b/y\nnew file mode 100644\n", "its file is not named as git does" },
	{ "diff --git a/x b/../y\nsimilarity index 100%\nrename from x\nrename to ../y\n",
	  "names the file '../y'" },
	{ "diff --git a/.git/config b/y\nsimilarity index 100%\ncopy from .git/config\ncopy to y\n",
	  "names the file '.git/config'" },
	{ "diff --git a/x b/y\nrename from x\n", "only half described" },
	{ "diff --git a/x b/y\nrename from x\nrename to z\n", "not named as git does" },
	{ "diff --git a/x b/y\nrename from x\nrename from x\nrename to y\n", "not as git writes" },
	{ "diff --git c/x d/x\nnew file mode 100644\n", "not named as git does" },
	{ "diff --git a/x b/x\nnew file mode 104755\n", "not as git writes it" },
	{ "diff --git a/x b/x\nnew file mode 040000\n", "not as git writes it" },
	{ "diff --git a/x b/x\n" OIDS "\n--- a/y\n", "not the file that 'diff --git' says" },
	{ "diff --git a/x b/x\n" OIDS "\n--- a/x\n+++ b/../../x\n",
	  "not the file that 'diff --git' says" },
	{ "diff --git a/x b/x\n" OIDS "\n--- /dev/null\n", "not the file" },
	{ "diff --git a/x b/x\nnew file mode 100644\n--- a/x\n", "not named as git does" },
	{ "diff --git \"a/x b/x\nnew file mode 100644\n", "not named as git does" },
	{ "diff --git \"a/\\400\" \"b/\\400\"\nnew file mode 100644\n", "not named as git does" },
	{ FILE_X "@@ -1 +1 @@\n-a\n+b\n+c\n", "not the head of a hunk" },
	{ FILE_X "@@ -1 +1 @@\n-a\n-b\n", "not a line of this hunk" },
	{ FILE_X "@@ -0,0 +0,0 @@\n", "not the head of a hunk" },
	{ FILE_X "@@ -1 +1 @@\n\\ No newline at end of file\n", "not a line of this hunk" },
	{ FILE_X "@@ -1 +1 @@\n-a\n", "the patch ends after line 6, within a file's content" },
	{ FILE_X "@@ -1 +1 @@\n-a\n+b", "the patch ends within it" },
	{ FILE_X, "within a file's content" },
	{ "diff --git a/b b/b\n" OIDS "\nBinary files a/b and b/b differ\n",
	  "not as git writes it" },
	{ "diff --git a/b b/b\n" OIDS "\nGIT binary patch\nliteral 3\nab\"c\n",
	  "not as git writes" },
	{ "diff --git a/b b/b\n" OIDS "\nGIT binary patch\nliteral 3\nabc\n", "ends after line 5" },
	{ "diff --git a/l b/l\nnew file mode 120000\n" OIDS "\nGIT binary patch\n",
	  "a link has no binary patch" },
	{ FILE_X "@@ -1 +1 @@\n-a\n+b\n\n", "not the head of a hunk" },
};

static void test_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		for (size_t piece = 1; piece < 9; piece += 7) {
			struct patch_summary summary = { .files = 0 };
			struct err err = ERR_INIT;

			CHECK_ROW(i, judge(span_str(refused[i].text), piece, &summary, &err) < 0);
			CHECK_HAS(err.message, refused[i].message);
			CHECK_INT(err.kind, ERR_PROTOCOL);
		}
	}
}

/* A line of content may be as long as a file; of the others none may. */
static void test_long_lines(void **state)
{
	struct patch_summary summary = { .files = 0 };
	struct err err = ERR_INIT;
	AUTO_BUF text = BUF_INIT;

	(void)state;
	buf_add_str(&text, FILE_X "@@ -1 +1 @@\n-a\n+");
	for (size_t i = 0; i < 3UL * PATCH_LINE_MAX; i++)
		buf_add_byte(&text, 'x');
	buf_add_byte(&text, '\n');
	CHECK_INT(judge(buf_span(&text), 1000, &summary, &err), 0);
	CHECK_INT(summary.files, 1);
	buf_clear(&text);
	buf_add_str(&text, "diff --git a/");
	for (size_t i = 0; i < PATCH_LINE_MAX; i++)
		buf_add_byte(&text, 'x');
	assert_true(judge(buf_span(&text), 1000, &summary, &err) < 0);
	CHECK_HAS(err.message, "too long");
}

static void test_bundle(void **state)
{
	static const struct {
		const char *text;
		int verdict;
		const char *message;
	} rows[] = {
		{ "# v2 git bundle\n-" OID " subject \x1b\n" OID " HEAD\n" OID
		  " refs/heads/a/b\n\nPACK",
		  1, NULL },
		{ "# v3 git bundle\n@object-format=sha1\n" OID " refs/heads/x\n\nPACKxxxx", 1,
		  NULL },
		{ "# v2 git bundle\n" OID " HEAD\n\nPA", 0, NULL },
		{ "# v2 git bundle\n" OID " HEAD\n", 0, NULL },
		{ "", 0, NULL },
		{ "# v2 git bundl", 0, NULL },
		{ "x\n", -1, "not how a bundle begins" },
		{ "# v3 git bundle\n@filter=blob:none\n", -1, "nothing that it should need" },
		{ "# v2 git bundle\n-123 x\n", -1, "no commit that it builds on" },
		{ "# v2 git bundle\n" OID " refs/tags/x\n", -1, "neither HEAD nor a branch" },
		{ "# v2 git bundle\n" OID " refs/heads/../x\n", -1, "neither HEAD nor a branch" },
		{ "# v2 git bundle\n" OID " refs/heads/-x\n", -1, "neither HEAD nor a branch" },
		{ "# v2 git bundle\n" OID " refs/heads/a\x1b\n", -1, "neither HEAD nor a branch" },
		{ "# v2 git bundle\n" OID " refs/heads/a.lock\n", -1, "neither HEAD nor a branch" },
		{ "# v2 git bundle\n\nPACK", -1, "has no commits" },
		{ "# v2 git bundle\n" OID " HEAD\n\nJUNK", -1, "has no commits" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		uint64_t refs = 0;
		const int r = bundle_check(span_str(rows[i].text), &refs, &err);

		CHECK_ROW(i, (r < 0 ? -1 : r) == rows[i].verdict);
		CHECK_ROW(i, (refs > 0) == (r == 1));
		if (r < 0)
			CHECK_HAS(err.message, rows[i].message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),	   cmocka_unit_test(test_links),
		cmocka_unit_test(test_accepted),   cmocka_unit_test(test_refused),
		cmocka_unit_test(test_long_lines), cmocka_unit_test(test_bundle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
