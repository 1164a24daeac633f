#include "vmmshim/options.h"

#include <stddef.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"

#define ID_MAX 64 /* Firecracker's */

enum option_type { OPTION_FLAG, OPTION_STRING, OPTION_NUMBER, OPTION_LIST, OPTION_REFUSED };

struct option {
	const char *name;
	enum option_type type;
	size_t offset;
	const char *metavar; /* NULL: takes no value */
	const char *help;    /* for OPTION_REFUSED: what is not supported */
};

#define AT(member) offsetof(struct options, member)

static const struct option options_table[] = {
	{ "api-sock", OPTION_STRING, AT(api_sock), "PATH",
	  "where the API listens (default /run/firecracker.socket)" },
	{ "id", OPTION_STRING, AT(id), "ID",
	  "the instance's id: letters, digits and '-', at most 64" },
	{ "config-file", OPTION_STRING, AT(config_file), "PATH",
	  "configure from this JSON file and start at once" },
	{ "no-api", OPTION_FLAG, AT(is_without_api), NULL, "no API socket; needs --config-file" },
	{ "log-path", OPTION_STRING, AT(log_path), "PATH",
	  "log to this file or FIFO instead of standard error" },
	{ "level", OPTION_STRING, AT(level), "LEVEL",
	  "Off, Error, Warning, Info (default), Debug or Trace" },
	{ "module", OPTION_STRING, AT(module), "NAME",
	  "log only what comes from source files that begin so" },
	{ "show-level", OPTION_FLAG, AT(shows_level), NULL, "show the level in each log line" },
	{ "show-log-origin", OPTION_FLAG, AT(shows_origin), NULL,
	  "show file and line in each log line" },
	{ "metrics-path", OPTION_STRING, AT(metrics_path), "PATH",
	  "write figures to this file or FIFO" },
	{ "http-api-max-payload-size", OPTION_NUMBER, AT(payload_max), "BYTES",
	  "largest body of a request (default 51200)" },
	{ "no-seccomp", OPTION_FLAG, AT(is_without_seccomp), NULL,
	  "run QEMU without its seccomp filter; not recommended" },
	{ "start-time-us", OPTION_NUMBER, AT(start_time_us), "US",
	  "when the process was started, for the metrics" },
	{ "start-time-cpu-us", OPTION_NUMBER, AT(start_time_cpu_us), "US",
	  "CPU time used when it was started, for the metrics" },
	{ "parent-cpu-time-us", OPTION_NUMBER, AT(parent_cpu_time_us), "US",
	  "CPU time of the parent, for the metrics" },
	{ "qemu", OPTION_STRING, AT(qemu), "PATH", "the QEMU to run (default qemu-system-x86_64)" },
	{ "accel", OPTION_STRING, AT(accel), "KIND",
	  "tcg (default), kvm, or auto: kvm where /dev/kvm can be opened" },
	{ "drive-overlay", OPTION_LIST, AT(drive_overlays), "ID=BASE",
	  "drive ID is a qcow2 overlay over the raw file BASE" },
	{ "uid", OPTION_NUMBER, AT(uid), "UID",
	  "run QEMU as this user and group, in namespaces of its own; needs root" },
	{ "version", OPTION_FLAG, AT(wants_version), NULL, "print the version" },
	{ "help", OPTION_FLAG, AT(wants_help), NULL, "print this text" },
	{ "seccomp-filter", OPTION_REFUSED, 0, "PATH", "a custom seccomp filter" },
	{ "metadata", OPTION_REFUSED, 0, "PATH", "MMDS" },
	{ "mmds-size-limit", OPTION_REFUSED, 0, "BYTES", "MMDS" },
	{ "boot-timer", OPTION_REFUSED, 0, NULL, "the boot timer device" },
	{ "enable-pci", OPTION_REFUSED, 0, NULL, "PCI" },
	{ "snapshot-version", OPTION_REFUSED, 0, NULL, "Firecracker's snapshot format" },
	{ "describe-snapshot", OPTION_REFUSED, 0, "PATH", "Firecracker's snapshot format" },
};

static const struct option *find_option(const char *text, const char **ret_value)
{
	const char *name = text + 2;
	const char *equals = strchr(name, '=');
	const size_t len = equals ? (size_t)(equals - name) : strlen(name);

	*ret_value = equals ? equals + 1 : NULL;
	for (size_t i = 0; str_starts(text, "--") && i < ARRAY_LEN(options_table); i++) {
		if (strlen(options_table[i].name) == len &&
		    memcmp(options_table[i].name, name, len) == 0)
			return &options_table[i];
	}
	return NULL;
}

static int store(const struct option *option, const char *value, struct options *options,
		 struct err *err)
{
	void *place = (uint8_t *)options + option->offset;

	switch (option->type) {
	case OPTION_FLAG:
		*(bool *)place = true;
		return 0;
	case OPTION_STRING:
		*(const char **)place = value;
		return 0;
	case OPTION_NUMBER:
		if (!parse_u64_text(value, INT64_MAX, place))
			return err_set(err, ERR_INVALID,
				       "'%s' parameter expected to be a number, not '%s'",
				       option->name, value);
		return 0;
	case OPTION_LIST:
		strv_add(place, value);
		return 0;
	case OPTION_REFUSED:
		return err_set(err, ERR_UNSUPPORTED,
			       "The argument '%s': %s is not supported by banger-vmm.",
			       option->name, option->help);
	}
	return 0;
}

static int check_id(const char *id, struct err *err)
{
	const size_t len = strlen(id);

	if (len == 0 || len > ID_MAX)
		return err_set(
			err, ERR_INVALID,
			"Invalid instance ID: Invalid len (%zu);  the length must be between 1 "
			"and %d",
			len, ID_MAX);
	for (size_t i = 0; i < len; i++) {
		const bool is_good = (id[i] >= 'a' && id[i] <= 'z') ||
				     (id[i] >= 'A' && id[i] <= 'Z') ||
				     (id[i] >= '0' && id[i] <= '9') || id[i] == '-';

		if (!is_good)
			return err_set(err, ERR_INVALID,
				       "Invalid instance ID: Invalid char (%c) at position %zu",
				       id[i], i);
	}
	return 0;
}

static int check(const struct options *options, struct err *err)
{
	static const char *const accels[] = { "tcg", "kvm", "auto" };
	bool is_known = false;

	if (options->is_without_api && !options->config_file)
		return err_set(err, ERR_INVALID, "Argument 'config-file' required, but not found.");
	for (size_t i = 0; i < ARRAY_LEN(accels); i++)
		is_known = is_known || str_eq(accels[i], options->accel);
	if (!is_known)
		return err_set(err, ERR_INVALID, "'accel' is tcg, kvm or auto, not '%s'",
			       options->accel);
	if (options->uid >= UINT32_MAX)
		return err_set(err, ERR_INVALID, "'uid' is no user's number");
	return check_id(options->id, err);
}

int options_parse(int argc, char *const *argv, struct options *ret, struct err *err)
{
	CLEANUP(options_done)
	struct options options = {
		.api_sock = "/run/firecracker.socket",
		.id = "anonymous-instance",
		.qemu = "qemu-system-x86_64",
		.accel = "tcg",
		.payload_max = OPTIONS_PAYLOAD_DEFAULT,
	};
	uint64_t seen = 0;
	int r;

	_Static_assert(ARRAY_LEN(options_table) < 64, "one bit an option");
	/* What follows "--" is accepted and ignored, as in Firecracker. */
	for (int i = 1; i < argc && !str_eq(argv[i], "--"); i++) {
		const char *value = NULL;
		const struct option *option = find_option(argv[i], &value);
		const uint64_t bit = option ? 1ULL << (option - options_table) : 0;

		if (!option || (value && !option->metavar))
			return err_set(
				err, ERR_INVALID,
				"Found argument '%s' which wasn't expected, or isn't valid in "
				"this context.",
				argv[i]);
		if ((seen & bit) != 0 && option->type != OPTION_LIST)
			return err_set(err, ERR_INVALID,
				       "The argument '%s' was provided more than once.",
				       option->name);
		seen |= bit;
		if (option->metavar && !value) {
			if (i + 1 == argc || str_starts(argv[i + 1], "--"))
				return err_set(err, ERR_INVALID,
					       "The argument '%s' requires a value, but none was "
					       "supplied.",
					       option->name);
			value = argv[++i];
		}
		r = store(option, value, &options, err);
		if (r < 0)
			return r;
	}
	if (!options.wants_help && !options.wants_version) {
		r = check(&options, err);
		if (r < 0)
			return r;
	}
	*ret = options;
	options.drive_overlays = (struct strv){ .count = 0 };
	return 0;
}

void options_done(struct options *options)
{
	strv_done(&options->drive_overlays);
}

void options_help(struct buf *out)
{
	buf_add_str(out, "usage: banger-vmm [options]\n"
			 "Runs a microVM on QEMU and speaks the Firecracker API.\n\n");
	for (size_t i = 0; i < ARRAY_LEN(options_table); i++) {
		const struct option *option = &options_table[i];
		const bool is_refused = option->type == OPTION_REFUSED;
		AUTO_BUF left = BUF_INIT;

		buf_addf(&left, "--%s%s%s", option->name, option->metavar ? " " : "",
			 option->metavar ? option->metavar : "");
		buf_addf(out, "  %-36s%s%s\n", left.ptr, is_refused ? "refused: " : "",
			 option->help);
	}
}
