#include "daemon/ssh_config.h"

#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "daemon/known_hosts.h"
#include "daemon/private.h"

#define FILE_BYTES_MAX 65536

char *ssh_config_path(const struct daemon *daemon)
{
	return mem_printf("%s/ssh/config", daemon->paths.state_dir);
}

char *ssh_config_all_path(const struct daemon *daemon)
{
	return mem_printf("%s/ssh/config.all", daemon->paths.state_dir);
}

/* --- text --- */

static bool is_expressible(const char *path)
{
	for (const char *at = path; *at; at++) {
		if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ' || *at == 0x7f)
			return false;
	}
	return true;
}

static int check_facts(const struct ssh_config_facts *facts, struct err *err)
{
	const char *const paths[] = { facts->program,	 facts->config_dir,  facts->state_dir,
				      facts->cache_dir,	 facts->runtime_dir, facts->identity,
				      facts->known_hosts };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		if (!is_expressible(paths[i]))
			return err_set(err, ERR_INVALID,
				       "path '%s' has a character that ssh's configuration cannot "
				       "express",
				       paths[i]);
	}
	return 0;
}

/* ssh replaces what follows a percent sign. */
static void add_percents(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '%')
			buf_add_byte(out, '%');
		buf_add_byte(out, (uint8_t)*text);
	}
}

static void add_path(struct buf *out, const char *key, const char *path)
{
	buf_addf(out, "\t%s \"", key);
	add_percents(out, path);
	buf_add_str(out, "\"\n");
}

/* One word for the user's shell, whichever that is. */
static void add_word(struct buf *out, const char *prefix, const char *text)
{
	AUTO_BUF quoted = BUF_INIT;

	for (; *text; text++) {
		if (*text == '\'')
			buf_add_str(&quoted, "'\\''");
		else
			buf_add_byte(&quoted, (uint8_t)*text);
	}
	buf_addf(out, "%s'", prefix);
	add_percents(out, quoted.ptr);
	buf_add_byte(out, '\'');
}

/* The folders go along: another terminal may have other variables, or none. */
static void add_proxy(struct buf *out, const struct ssh_config_facts *facts)
{
	buf_add_str(out, "\tProxyCommand env");
	add_word(out, " BANGER_CONFIG_DIR=", facts->config_dir);
	add_word(out, " BANGER_STATE_DIR=", facts->state_dir);
	add_word(out, " BANGER_CACHE_DIR=", facts->cache_dir);
	add_word(out, " BANGER_RUNTIME_DIR=", facts->runtime_dir);
	add_word(out, " ", facts->program);
	buf_add_str(out, " ssh-proxy %h\n");
}

int ssh_config_format(const struct ssh_config_facts *facts, struct buf *out, struct err *err)
{
	const int r = check_facts(facts, err);

	if (r < 0)
		return r;
	buf_add_str(out, "# Written by bangerd, which writes it anew when it starts.\n"
			 "Host *" KNOWN_HOSTS_SUFFIX "\n"
			 "\tUser root\n");
	add_path(out, "IdentityFile", facts->identity);
	buf_add_str(out, "\tIdentitiesOnly yes\n");
	add_path(out, "UserKnownHostsFile", facts->known_hosts);
	buf_add_str(out, "\tGlobalKnownHostsFile /dev/null\n"
			 "\tStrictHostKeyChecking yes\n"
			 "\tUpdateHostKeys no\n"
			 "\tCheckHostIP no\n"
			 "\tHostKeyAlgorithms ssh-ed25519\n"
			 "\tForwardAgent no\n"
			 "\tForwardX11 no\n");
	add_proxy(out, facts);
	return 0;
}

static void format_all(const char *config, struct buf *out)
{
	buf_addf(out,
		 "# Written by bangerd for 'banger vm ssh'.\n"
		 "Include \"%s\"\n"
		 "Include ~/.ssh/config\n"
		 "Include /etc/ssh/ssh_config\n",
		 config);
}

/* --- files --- */

/* Beside this program, else wherever the shell finds it. */
static int find_program(char **ret, struct err *err)
{
	AUTO_FREE char *folder = NULL;
	const int r = process_own_folder(&folder);

	if (r < 0)
		return err_sys(err, r, "find the running program");
	*ret = mem_printf("%s/banger", folder);
	if (access(*ret, X_OK) < 0) {
		mem_free(*ret);
		*ret = mem_strdup("banger");
	}
	return 0;
}

static int write_if_different(int dir_fd, const char *name, const struct buf *text)
{
	AUTO_BUF before = BUF_INIT;

	if (file_read(dir_fd, name, FILE_BYTES_MAX, &before) == 0 &&
	    span_eq(buf_span(&before), buf_span(text)))
		return 0;
	return file_replace(dir_fd, name, buf_span(text), 0600);
}

int ssh_config_write(const struct daemon *daemon, struct buf *ret_text, struct err *err)
{
	AUTO_FREE char *folder = mem_printf("%s/ssh", daemon->paths.state_dir);
	AUTO_FREE char *known_hosts = known_hosts_path(daemon);
	AUTO_FREE char *path = ssh_config_path(daemon);
	AUTO_FREE char *program = NULL;
	AUTO_CLOSE int dir_fd = -1;
	AUTO_BUF all = BUF_INIT;
	int r;

	r = find_program(&program, err);
	if (r < 0)
		return r;
	const struct ssh_config_facts facts = {
		.program = program,
		.config_dir = daemon->paths.config_dir,
		.state_dir = daemon->paths.state_dir,
		.cache_dir = daemon->paths.cache_dir,
		.runtime_dir = daemon->paths.runtime_dir,
		.identity = daemon->ssh_key_path,
		.known_hosts = known_hosts,
	};

	r = ssh_config_format(&facts, ret_text, err);
	if (r < 0)
		return r;
	format_all(path, &all);
	r = dir_make_path(folder, 0700);
	dir_fd = r < 0 ? r : dir_open(folder);
	r = dir_fd < 0 ? dir_fd : write_if_different(dir_fd, "config", ret_text);
	if (r == 0)
		r = write_if_different(dir_fd, "config.all", &all);
	return r < 0 ? err_sys(err, r, "write ssh's configuration in '%s'", folder) : 0;
}
