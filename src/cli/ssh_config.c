/* ssh-config: lets the user's own ssh reach VMs as NAME.vm. */
#include <pwd.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/ssh_block.h"
#include "cli/user_file.h"

#define USER_TEXT_MAX 8192 /* a user's entry */

struct config_args {
	bool install;
	bool uninstall;
	const char *file;
};

static const struct opt config_opts[] = {
	{ .type = OPT_FLAG,
	  .name = "install",
	  .offset = offsetof(struct config_args, install),
	  .help = "let your ssh configuration include banger's" },
	{ .type = OPT_FLAG,
	  .name = "uninstall",
	  .offset = offsetof(struct config_args, uninstall),
	  .help = "take that out again" },
	{ .type = OPT_STRING,
	  .name = "file",
	  .offset = offsetof(struct config_args, file),
	  .metavar = "FILE",
	  .completes = COMPLETES_FILE,
	  .help = "your ssh configuration (default: ~/.ssh/config)" },
};

/* Where ssh looks: it asks the user database, not HOME. */
static int find_user_file(const struct config_args *args, char **ret, struct err *err)
{
	struct passwd entry, *user = NULL;
	char text[USER_TEXT_MAX];

	if (args->file) {
		*ret = mem_strdup(args->file);
		return 0;
	}
	if (getpwuid_r(getuid(), &entry, text, sizeof(text), &user) != 0 || !user ||
	    str_empty(user->pw_dir))
		return err_set(err, ERR_NOT_FOUND, "user %u has no home folder",
			       (unsigned)getuid());
	*ret = mem_printf("%s/.ssh/config", user->pw_dir);
	return 0;
}

static int put_in(const char *path, const char *config, bool *ret_changed, struct err *err)
{
	CLEANUP(user_file_done) struct user_file file = USER_FILE_INIT;
	AUTO_BUF text = BUF_INIT;
	int r;

	r = user_file_open(path, true, &file, err);
	if (r == 0) {
		r = ssh_block_add(buf_span(&file.text), !file.exists, config, &text, err);
		if (r < 0)
			r = err_context(err, r, "cannot edit '%s'", file.path);
	}
	if (r < 0)
		return r;
	*ret_changed = !span_eq(buf_span(&file.text), buf_span(&text));
	return *ret_changed ? user_file_replace(&file, &text, err) : 0;
}

static int take_out(const char *path, bool *ret_changed, struct err *err)
{
	CLEANUP(user_file_done) struct user_file file = USER_FILE_INIT;
	AUTO_BUF text = BUF_INIT;
	bool is_rest = false;
	int r;

	r = user_file_open(path, false, &file, err);
	/* Neither the file nor its folder is there: then nothing is installed. */
	if (r == -ENOENT && err->kind == ERR_SYSTEM) {
		*ret_changed = false;
		return 0;
	}
	if (r == 0) {
		r = ssh_block_remove(buf_span(&file.text), &text, ret_changed, &is_rest, err);
		if (r < 0)
			r = err_context(err, r, "cannot edit '%s'", file.path);
	}
	if (r < 0 || !*ret_changed)
		return r;
	return is_rest ? user_file_replace(&file, &text, err) : user_file_remove(&file, err);
}

static void say(struct cli *cli, const char *path, bool is_installed, bool has_changed)
{
	AUTO_JSON *json = NULL;

	if (cli->out.is_json) {
		json = json_new_object();
		json_put_str(json, "file", path);
		json_put_bool(json, "installed", is_installed);
		json_put_bool(json, "changed", has_changed);
		out_json(&cli->out, json);
		return;
	}
	if (!has_changed)
		out_note(&cli->out,
			 is_installed ? "'%s' includes banger's configuration already"
				      : "'%s' has nothing of banger's",
			 path);
	else
		out_note(&cli->out,
			 is_installed ? "'%s' includes banger's configuration now: 'ssh NAME.vm'"
				      : "'%s' is as it was before",
			 path);
}

static int run_ssh_config(struct cli *cli, const struct invocation *invocation)
{
	const struct config_args *args = invocation->args;
	AUTO_FREE char *path = NULL;
	AUTO_JSON *config = NULL;
	bool has_changed = false;
	struct err err = ERR_INIT;
	int r;

	if (args->install && args->uninstall) {
		(void)err_set(&err, ERR_INVALID, "--install and --uninstall exclude each other");
		return cli_usage(cli, invocation->command, &err);
	}
	r = find_user_file(args, &path, &err);
	if (r == 0 && !args->uninstall)
		r = ask(cli, "ssh.config", NULL, &config, &err);
	if (r == 0 && args->install)
		r = put_in(path, json_get_str(config, "config"), &has_changed, &err);
	if (r == 0 && args->uninstall)
		r = take_out(path, &has_changed, &err);
	if (r < 0)
		return cli_fail(cli, &err);
	if (args->install || args->uninstall)
		say(cli, path, args->install, has_changed);
	else if (cli->out.is_json)
		out_json(&cli->out, config);
	else
		out_addf(&cli->out, "%s", json_get_str(config, "text"));
	return 0;
}

const struct command ssh_config_command = {
	.noun = "ssh-config",
	.summary = "let 'ssh NAME.vm' reach VMs from any terminal",
	.description =
		"Prints banger's own configuration for ssh, which bangerd keeps. With --install, "
		"your "
		"ssh configuration includes it from then on, so that ssh, scp, rsync, git and "
		"editors "
		"reach every VM as NAME.vm: one block at the beginning of your file is all that "
		"changes, and --uninstall gives back every byte.",
	.opts = config_opts,
	.opt_count = ARRAY_LEN(config_opts),
	.args_size = sizeof(struct config_args),
	.run = run_ssh_config,
};
