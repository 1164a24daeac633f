#include "image/image.h"

#include "base/text.h"
#include "image/recipe.h"

/* For both: what a shell session wants. Build tools are left to the user. */
#define PACKAGES_SMALL "ca-certificates", "iproute2", "kmod", "less", "netbase", "procps"

static const char *const slim_packages[] = { PACKAGES_SMALL, NULL };

static const char *const full_packages[] = {
	PACKAGES_SMALL, "bash-completion",
	"curl",		"dbus",
	"e2fsprogs",	"file",
	"git",		"iputils-ping",
	"jq",		"libpam-systemd",
	"lsof",		"openssh-server",
	"psmisc",	"rsync",
	"sudo",		"systemd",
	"systemd-sysv", "tmux",
	"tzdata",	"udev",
	"unzip",	"vim",
	"xz-utils",	"zstd",
	NULL,
};

/* The first one is the default. */
static const struct image_recipe recipes[] = {
	{
		.name = "debian-bookworm",
		.description = "Debian 12 with systemd, sshd, git, curl, jq, tmux, sudo and vim",
		.suite = "bookworm",
		.variant = "minbase",
		.kernel = "debian-cloud",
		.packages = full_packages,
		.has_init = true,
		.is_default = true,
	},
	{
		.name = "debian-bookworm-slim",
		.description = "Debian 12 without an init system: small, starts at once",
		.suite = "bookworm",
		.variant = "minbase",
		.kernel = "debian-cloud",
		.packages = slim_packages,
	},
};

const struct image_recipe *image_recipes(size_t *ret_count)
{
	*ret_count = ARRAY_LEN(recipes);
	return recipes;
}

const struct image_recipe *image_recipe_find(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(recipes); i++) {
		if (str_eq(recipes[i].name, name))
			return &recipes[i];
	}
	return NULL;
}

/* --- what is changed in every image --- */

/*
 * Hooks run in mmdebstrap with the new root as $1. They are constants: nothing that a user says
 * gets into a shell. Files of the host that mmdebstrap copies (resolv.conf, hostname) are replaced,
 * and what must differ between machines is left for each VM's first start.
 */
#define HOOK(script) "--customize-hook=" script

static const char *const common_options[] = {
	HOOK("echo banger > \"$1/etc/hostname\""),
	HOOK("printf '127.0.0.1\\tlocalhost\\n::1\\tlocalhost ip6-localhost ip6-loopback\\n"
	     "127.0.1.1\\tbanger\\n' > \"$1/etc/hosts\""),
	HOOK("rm -f \"$1/etc/resolv.conf\"; : > \"$1/etc/resolv.conf\""),
	HOOK("mkdir -p \"$1/etc/default\"; echo LANG=C.UTF-8 > \"$1/etc/default/locale\""),
	HOOK("rm -f \"$1/etc/machine-id\" \"$1/var/lib/dbus/machine-id\"; : > "
	     "\"$1/etc/machine-id\""),
	HOOK("rm -f \"$1\"/etc/ssh/ssh_host_*"),
	HOOK("mkdir -p -m 0700 \"$1/root\"; rm -rf \"$1/root/.ssh\""),
	/* No package may have given root a password, or none at all. */
	HOOK("chroot \"$1\" usermod -p '*' root"),
	HOOK("rm -rf \"$1\"/var/log/*.log \"$1\"/var/log/apt/* \"$1\"/var/cache/apt/*.bin "
	     "\"$1\"/var/cache/debconf/*-old \"$1\"/var/lib/dpkg/*-old"),
};

static const char *const init_options[] = {
	HOOK("mkdir -p \"$1/etc/ssh/sshd_config.d\"; printf 'PermitRootLogin prohibit-password\\n"
	     "PasswordAuthentication no\\nUseDNS no\\n' > "
	     "\"$1/etc/ssh/sshd_config.d/banger.conf\""),
	/* No graphics, no login on a screen that is not there; the serial console has its getty. */
	HOOK("ln -sf /lib/systemd/system/multi-user.target "
	     "\"$1/etc/systemd/system/default.target\""),
	/* What a VM of an afternoon does not need, or what the host does for it: minutes under
	   emulation. */
	HOOK("for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer "
	     "e2scrub_all.timer e2scrub_reap.service fstrim.timer getty@tty1.service "
	     "systemd-pstore.service systemd-timesyncd.service systemd-firstboot.service "
	     "systemd-machine-id-commit.service systemd-journal-catalog-update.service "
	     "systemd-hwdb-update.service systemd-update-done.service; do "
	     "ln -sf /dev/null \"$1/etc/systemd/system/$unit\"; done"),
	HOOK("mkdir -p \"$1/etc/systemd/journald.conf.d\"; printf '[Journal]\\nStorage=volatile\\n"
	     "RuntimeMaxUse=16M\\n' > \"$1/etc/systemd/journald.conf.d/banger.conf\""),
};

static const char *const slim_options[] = {
	"--dpkgopt=path-exclude=/usr/share/doc/*",
	"--dpkgopt=path-include=/usr/share/doc/*/copyright",
	"--dpkgopt=path-exclude=/usr/share/man/*",
	"--dpkgopt=path-exclude=/usr/share/info/*",
	"--dpkgopt=path-exclude=/usr/share/locale/*",
};

static void add_all(struct strv *list, const char *const *options, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		strv_add(list, options[i]);
}

void recipe_options(const struct image_recipe *recipe, struct strv *ret)
{
	add_all(ret, common_options, ARRAY_LEN(common_options));
	if (recipe->has_init)
		add_all(ret, init_options, ARRAY_LEN(init_options));
	else
		add_all(ret, slim_options, ARRAY_LEN(slim_options));
}
