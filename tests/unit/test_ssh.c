/* What ssh is told: known_hosts, banger's own configuration, and the block in the user's. */
#include "check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/ssh_block.h"
#include "cli/user_file.h"
#include "daemon/known_hosts.h"
#include "daemon/ssh_config.h"

#define KEY_A "ssh-ed25519 AAAA"
#define KEY_B "ssh-ed25519 BBBB"

static void test_known_hosts_edit(void **state)
{
	static const struct {
		const char *before;
		const char *host; /* NULL: the key goes */
		const char *key;
		const char *after;
	} rows[] = {
		{ "", "box.vm", KEY_A, "box.vm " KEY_A "\n" },
		{ "", NULL, KEY_A, "" },
		{ "box.vm " KEY_A "\n", "box.vm", KEY_A, "box.vm " KEY_A "\n" },
		/* a new VM of an old name */
		{ "box.vm " KEY_A "\n", "box.vm", KEY_B, "box.vm " KEY_B "\n" },
		/* renamed */
		{ "box.vm " KEY_A "\nx.vm " KEY_B "\n", "new.vm", KEY_A,
		  "x.vm " KEY_B "\nnew.vm " KEY_A "\n" },
		{ "box.vm " KEY_A "\nx.vm " KEY_B "\n", NULL, KEY_A, "x.vm " KEY_B "\n" },
		/* names that begin or end alike are others */
		{ "abox.vm " KEY_A "\n", "box.vm", KEY_B, "abox.vm " KEY_A "\nbox.vm " KEY_B "\n" },
		{ "box.vm.x " KEY_A "\n", "box.vm", KEY_B,
		  "box.vm.x " KEY_A "\nbox.vm " KEY_B "\n" },
		{ "x.vm " KEY_A "A\n", NULL, KEY_A, "x.vm " KEY_A "A\n" },
		/* cut off, empty and foreign lines */
		{ "x.vm " KEY_B, "box.vm", KEY_A, "x.vm " KEY_B "\nbox.vm " KEY_A "\n" },
		{ "\n\n# mine\nbox.vm " KEY_A, NULL, KEY_A, "# mine\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF after = BUF_INIT;

		known_hosts_edit(span_str(rows[i].before), rows[i].host, rows[i].key, &after);
		CHECK_STR(after.ptr, rows[i].after);
	}
}

static void test_known_hosts_read_key(void **state)
{
	static const struct {
		const char *line;
		const char *key; /* NULL: none */
	} rows[] = {
		{ "ssh-ed25519 AAAA root@box\n", KEY_A },
		{ "ssh-ed25519 AAAA\n", KEY_A },
		{ "ssh-ed25519 AAAA", KEY_A },
		{ "ssh-ed25519 AAAA a b c\n", KEY_A },
		{ "", NULL },
		{ "ssh-ed25519", NULL },
		{ "ssh-ed25519 ", NULL },
		{ "ssh-ed25519 \n", NULL },
		{ "ssh-rsa AAAA root@box\n", NULL },
		{ " ssh-ed25519 AAAA\n", NULL },
		{ "ssh-ed25519 AA\nAA x\n", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF key = BUF_INIT;

		CHECK_ROW(i, known_hosts_read_key(span_str(rows[i].line), &key) ==
				     (rows[i].key != NULL));
		CHECK_STR(key.ptr, rows[i].key ? rows[i].key : "");
	}
}

static const struct ssh_config_facts plain_facts = {
	.program = "/usr/bin/banger",
	.config_dir = "/c",
	.state_dir = "/s",
	.cache_dir = "/a",
	.runtime_dir = "/r",
	.identity = "/s/ssh/id_ed25519",
	.known_hosts = "/s/ssh/known_hosts",
};

static void test_config(void **state)
{
	AUTO_BUF text = BUF_INIT;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(ssh_config_format(&plain_facts, &text, &err), 0);
	CHECK_STR(text.ptr,
		  "# Written by bangerd, which writes it anew when it starts.\n"
		  "Host *.vm\n"
		  "\tUser root\n"
		  "\tIdentityFile \"/s/ssh/id_ed25519\"\n"
		  "\tIdentitiesOnly yes\n"
		  "\tUserKnownHostsFile \"/s/ssh/known_hosts\"\n"
		  "\tGlobalKnownHostsFile /dev/null\n"
		  "\tStrictHostKeyChecking yes\n"
		  "\tUpdateHostKeys no\n"
		  "\tCheckHostIP no\n"
		  "\tHostKeyAlgorithms ssh-ed25519\n"
		  "\tForwardAgent no\n"
		  "\tForwardX11 no\n"
		  "\tProxyCommand env BANGER_CONFIG_DIR='/c' BANGER_STATE_DIR='/s' "
		  "BANGER_CACHE_DIR='/a' BANGER_RUNTIME_DIR='/r' '/usr/bin/banger' ssh-proxy %h\n");
}

/* Blanks, percent signs and apostrophes arrive; what ssh cannot be told is refused. */
static void test_config_of_odd_paths(void **state)
{
	static const char *const refused[] = { "/a\"b", "/a\nb", "/a\\b", "/a\x7f" };
	struct ssh_config_facts facts = plain_facts;
	AUTO_BUF text = BUF_INIT;
	struct err err = ERR_INIT;

	(void)state;
	facts.program = "/my bin/100%/it's/banger";
	facts.known_hosts = "/my state/100%/known_hosts";
	assert_int_equal(ssh_config_format(&facts, &text, &err), 0);
	CHECK_HAS(text.ptr, "UserKnownHostsFile \"/my state/100%%/known_hosts\"\n");
	CHECK_HAS(text.ptr, " '/my bin/100%%/it'\\''s/banger' ssh-proxy %h\n");
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		AUTO_BUF none = BUF_INIT;

		facts = plain_facts;
		facts.identity = refused[i];
		err = ERR_INIT;
		CHECK_ROW(i, ssh_config_format(&facts, &none, &err) < 0);
		CHECK_ROW(i, err.kind == ERR_INVALID && none.len == 0);
	}
}

#define BLOCK_OF(path)                                                        \
	"# >>> banger, by 'banger ssh-config --install' >>>\nInclude \"" path \
	"\"\n# <<< banger <<<\n"
#define BLOCK BLOCK_OF("/s/ssh/config")
#define NEW_BLOCK                                                             \
	"# >>> banger, by 'banger ssh-config --install', in a new file >>>\n" \
	"Include \"/s/ssh/config\"\n# <<< banger <<<\n"

/* Every text comes back byte for byte, and adding twice is adding once. */
static void test_block_round_trip(void **state)
{
	static const char *const texts[] = {
		"",
		"\n",
		"Host *\n\tUser me\n",
		"Host *\n\tUser me",
		"# mine\r\nHost x\r\n",
		"Include ~/.orbstack/ssh/config\nMatch all\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		AUTO_FREE char *wanted = mem_printf("%s%s", BLOCK, texts[i]);
		AUTO_BUF once = BUF_INIT, twice = BUF_INIT, back = BUF_INIT;
		struct err err = ERR_INIT;
		bool is_found = false, is_rest = false;

		CHECK_ROW(i, ssh_block_add(span_str(texts[i]), false, "/s/ssh/config", &once,
					   &err) == 0);
		CHECK_STR(once.ptr, wanted);
		CHECK_ROW(i, ssh_block_add(buf_span(&once), false, "/s/ssh/config", &twice, &err) ==
				     0);
		CHECK_STR(twice.ptr, wanted);
		CHECK_ROW(i, ssh_block_remove(buf_span(&twice), &back, &is_found, &is_rest, &err) ==
				     0);
		CHECK_STR(back.ptr, texts[i]);
		CHECK_ROW(i, is_found && is_rest);
	}
}

static void test_block_places(void **state)
{
	static const struct {
		const char *before;
		const char *after;
	} rows[] = {
		/* another installation's, and one that was moved behind a Host line */
		{ BLOCK_OF("/other") "Host *\n", BLOCK "Host *\n" },
		{ "Host *\n" BLOCK "User me\n", BLOCK "Host *\nUser me\n" },
		{ BLOCK "a\n" BLOCK "b\n", BLOCK "a\nb\n" },
		{ NEW_BLOCK, NEW_BLOCK },
		{ NEW_BLOCK "Host *\n", NEW_BLOCK "Host *\n" },
		/* its last newline was lost */
		{ "# >>> banger, by 'banger ssh-config --install' >>>\n# <<< banger <<<", BLOCK },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF after = BUF_INIT;
		struct err err = ERR_INIT;

		CHECK_ROW(i, ssh_block_add(span_str(rows[i].before), false, "/s/ssh/config", &after,
					   &err) == 0);
		CHECK_STR(after.ptr, rows[i].after);
	}
}

static void test_block_of_a_new_file(void **state)
{
	AUTO_BUF text = BUF_INIT, back = BUF_INIT;
	struct err err = ERR_INIT;
	bool is_found = false, is_rest = true;

	(void)state;
	assert_int_equal(ssh_block_add(span_str(""), true, "/s/ssh/config", &text, &err), 0);
	CHECK_STR(text.ptr, NEW_BLOCK);
	assert_int_equal(ssh_block_remove(buf_span(&text), &back, &is_found, &is_rest, &err), 0);
	assert_true(is_found && !is_rest);
	/* Once the user has written into it, it is the user's. */
	buf_add_str(&text, "Host *\n");
	assert_int_equal(ssh_block_remove(buf_span(&text), &back, &is_found, &is_rest, &err), 0);
	assert_true(is_found && is_rest);
	CHECK_STR(back.ptr, "Host *\n");
	assert_int_equal(ssh_block_remove(span_str(""), &back, &is_found, &is_rest, &err), 0);
	assert_true(!is_found && is_rest);
}

static void test_block_cut(void **state)
{
	static const char *const rows[] = {
		"# >>> banger, by 'banger ssh-config --install' >>>\nInclude x\n",
		"Include x\n# <<< banger <<<\n",
		"# <<< banger <<<\n" BLOCK,
		"# >>> banger, by 'banger ssh-config --install' >>>\n" BLOCK,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF out = BUF_INIT;
		struct err err = ERR_INIT;
		bool is_found, is_rest;

		CHECK_ROW(i, ssh_block_add(span_str(rows[i]), false, "/x", &out, &err) < 0);
		CHECK_ROW(i, err.kind == ERR_INVALID && out.len == 0);
		CHECK_HAS(err.message, "one end of banger's block is missing");
		CHECK_ROW(i,
			  ssh_block_remove(span_str(rows[i]), &out, &is_found, &is_rest, &err) < 0);
		CHECK_ROW(i, out.len == 0);
	}
}

/* --- the file --- */

static char folder[] = "/tmp/banger-test-ssh-XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

static void write_file(const char *name, const char *text, mode_t mode)
{
	const int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(close(fd), 0);
}

static void test_file_keeps_mode_and_link(void **state)
{
	CLEANUP(user_file_done) struct user_file file = USER_FILE_INIT;
	CLEANUP(user_file_done) struct user_file again = USER_FILE_INIT;
	AUTO_BUF text = BUF_INIT;
	struct err err = ERR_INIT;
	struct stat status;

	(void)state;
	assert_int_equal(mkdir("real", 0700), 0);
	write_file("real/config", "one\n", 0640);
	assert_int_equal(symlink("real/config", "config"), 0);
	assert_int_equal(user_file_open("config", false, &file, &err), 0);
	assert_true(file.exists);
	CHECK_STR(file.text.ptr, "one\n");
	buf_add_str(&text, "two\n");
	assert_int_equal(user_file_replace(&file, &text, &err), 0);
	assert_int_equal(lstat("config", &status), 0);
	assert_true(S_ISLNK(status.st_mode));
	assert_int_equal(stat("config", &status), 0);
	assert_int_equal(status.st_mode & 07777, 0640);
	user_file_done(&file);
	assert_int_equal(user_file_open("real/config", false, &again, &err), 0);
	CHECK_STR(again.text.ptr, "two\n");
	assert_int_equal(user_file_remove(&again, &err), 0);
	assert_int_equal(unlink("config"), 0);
	assert_int_equal(rmdir("real"), 0);
}

static void test_file_that_somebody_changes(void **state)
{
	CLEANUP(user_file_done) struct user_file file = USER_FILE_INIT;
	AUTO_BUF text = BUF_INIT;
	struct err err = ERR_INIT;

	(void)state;
	write_file("config", "one\n", 0600);
	assert_int_equal(user_file_open("config", false, &file, &err), 0);
	write_file("config", "other\n", 0600);
	assert_true(user_file_replace(&file, &text, &err) < 0);
	assert_int_equal(err.kind, ERR_BUSY);
	assert_true(user_file_remove(&file, &err) < 0);
	assert_int_equal(unlink("config"), 0);
	/* Nothing of ours is beside it: the folder can be removed at the end. */
}

static void test_file_that_is_not_there(void **state)
{
	CLEANUP(user_file_done) struct user_file file = USER_FILE_INIT;
	CLEANUP(user_file_done) struct user_file none = USER_FILE_INIT;
	AUTO_BUF text = BUF_INIT;
	struct err err = ERR_INIT;
	struct stat status;

	(void)state;
	assert_true(user_file_open("new/config", false, &none, &err) < 0);
	assert_int_equal(err.errnum, ENOENT);
	assert_int_equal(symlink("nowhere", "config"), 0);
	assert_true(user_file_open("config", false, &none, &err) < 0);
	CHECK_HAS(err.message, "'config' is a link to what does not exist");
	assert_int_equal(unlink("config"), 0);
	assert_true(user_file_open(".", false, &none, &err) < 0);

	assert_int_equal(user_file_open("new/config", true, &file, &err), 0);
	assert_false(file.exists);
	buf_add_str(&text, "x\n");
	assert_int_equal(user_file_replace(&file, &text, &err), 0);
	assert_int_equal(stat("new", &status), 0);
	assert_int_equal(status.st_mode & 07777, 0700);
	assert_int_equal(stat("new/config", &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(unlink("new/config"), 0);
	assert_int_equal(rmdir("new"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_hosts_edit),
		cmocka_unit_test(test_known_hosts_read_key),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_config_of_odd_paths),
		cmocka_unit_test(test_block_round_trip),
		cmocka_unit_test(test_block_places),
		cmocka_unit_test(test_block_of_a_new_file),
		cmocka_unit_test(test_block_cut),
		cmocka_unit_test(test_file_keeps_mode_and_link),
		cmocka_unit_test(test_file_that_somebody_changes),
		cmocka_unit_test(test_file_that_is_not_there),
	};

	(void)umask(022);
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
