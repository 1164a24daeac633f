#include "agent/renew.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtc.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <time.h>

#include "agent/boot_id.h"
#include "agent/machine_id.h"
#include "agent/netif.h"
#include "agent/root.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"

#define SAMPLE_BYTES 16
#define FINISH_MS    2000 /* after the answer: whoever made this VM wants it for something first */
#define SSH_FOLDER   "/etc/ssh"
#define PUBLIC_KEY   "ssh_host_ed25519_key.pub"

/* All but the files that any identity has. */
static int renew_system(const struct identity *identity, int root, const char *old_id,
			struct err *err)
{
	int r = renew_files(root, old_id, identity->machine_id, err);

	if (r < 0)
		return r;
	r = boot_id_renew();
	return r < 0 ? err_sys(err, r, "show another boot_id") : 0;
}

int renew_run(const struct identity *identity, struct renewal *ret, struct err *err)
{
	AUTO_CLOSE int root = dir_open("/");
	struct renewal renewal = { .is_other = true };
	char old_id[MACHINE_ID_SIZE];
	int r;

	if (root < 0)
		return err_sys(err, root, "open /");
	r = machine_id_read(root, old_id);
	if (r < 0)
		return err_sys(err, r, "read /etc/machine-id");
	renewal.is_other = !str_eq(old_id, identity->machine_id);

	r = identity_set_kernel(identity, IDENTITY_RENEWAL, err);
	if (r == 0 && renewal.is_other)
		r = renew_system(identity, root, old_id, err);
	if (r == 0)
		r = identity_write_files(identity, IDENTITY_RENEWAL, root, err);
	if (r == 0 && renewal.is_other)
		r = programs_find(&renewal.programs, err);
	if (r < 0)
		return r;
	programs_renew_sshd(&renewal.programs);
	programs_reload_networkd(&renewal.programs);
	*ret = renewal;
	return 0;
}

/* A machine's second clock, where it has one: what reads it later must not be led astray. */
static void set_hardware_clock(void)
{
	AUTO_CLOSE int fd = open("/dev/rtc0", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	const time_t now = (time_t)clock_wall_seconds();
	struct rtc_time fields;
	struct tm utc;

	if (fd < 0 || !gmtime_r(&now, &utc))
		return;
	fields = (struct rtc_time){
		.tm_sec = utc.tm_sec,
		.tm_min = utc.tm_min,
		.tm_hour = utc.tm_hour,
		.tm_mday = utc.tm_mday,
		.tm_mon = utc.tm_mon,
		.tm_year = utc.tm_year,
	};
	(void)ioctl(fd, RTC_SET_TIME, &fields);
}

void renew_finish(const struct renewal *renewal)
{
	const uint64_t deadline_ns = clock_now_ns() + FINISH_MS * NSEC_PER_MSEC;

	if (!renewal->is_other)
		return;
	programs_restore_sshd(&renewal->programs, deadline_ns);
	(void)poll(NULL, 0, clock_poll_ms(deadline_ns));
	set_hardware_clock();
	programs_renew_journald(&renewal->programs);
}

/* --- what it is now --- */

static void put_address(json_t *machine, const char *key, const uint8_t address[static 4])
{
	char text[INET_ADDRSTRLEN];

	if (memcmp(address, "\0\0\0", 4) != 0 && inet_ntop(AF_INET, address, text, sizeof(text)))
		json_put_str(machine, key, text);
}

static int put_network(json_t *machine, struct err *err)
{
	struct netif_settings settings = { .prefix = 0 };
	const int r = netif_read(&settings, err);
	const uint8_t *mac = settings.mac;
	char text[18];

	if (r <= 0)
		return r;
	(void)snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		       mac[3], mac[4], mac[5]);
	json_put_str(machine, "mac", text);
	json_put_u64(machine, "addresses", settings.address_count);
	put_address(machine, "address", settings.address);
	put_address(machine, "gateway", settings.gateway);
	if (settings.address_count > 0)
		json_put_u64(machine, "prefix", settings.prefix);
	return 0;
}

static int put_ids(json_t *machine, int root, struct err *err)
{
	char machine_id[MACHINE_ID_SIZE];
	char boot_id[BOOT_ID_SIZE];
	struct utsname name;
	int r;

	if (uname(&name) < 0)
		return err_sys(err, -errno, "read the hostname");
	r = machine_id_read(root, machine_id);
	if (r < 0)
		return err_sys(err, r, "read /etc/machine-id");
	r = boot_id_read(boot_id);
	if (r < 0)
		return err_sys(err, r, "read the boot_id");
	json_put_str(machine, "hostname", name.nodename);
	json_put_str(machine, "machine_id", machine_id);
	json_put_str(machine, "boot_id", boot_id);
	return 0;
}

static int put_host_key(json_t *machine, int root, struct err *err)
{
	AUTO_CLOSE int folder = root_open_folder(root, SSH_FOLDER, 0);
	AUTO_BUF line = BUF_INIT;
	const int r = folder < 0 ? folder : root_read(folder, PUBLIC_KEY, &line);

	if (r < 0)
		return err_sys(err, r, "read %s/%s", SSH_FOLDER, PUBLIC_KEY);
	if (line.len > 0 && line.ptr[line.len - 1] == '\n')
		buf_truncate(&line, line.len - 1);
	json_put_str(machine, "ssh_host_key_pub", line.ptr);
	return 0;
}

/* Drawn from the kernel now: two machines that show the same have the same pool. */
static int put_sample(json_t *machine, struct err *err)
{
	uint8_t bytes[SAMPLE_BYTES];
	AUTO_BUF text = BUF_INIT;

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return err_set(err, ERR_SYSTEM, "the kernel has no randomness");
	text_hex(&text, span_of(bytes, sizeof(bytes)));
	json_put_str(machine, "random", text.ptr);
	return 0;
}

int renew_confirm(const struct identity *identity, json_t **ret, struct err *err)
{
	AUTO_CLOSE int root = dir_open("/");
	AUTO_JSON *machine = json_new_object();
	struct timespec now;
	int r;

	if (root < 0)
		return err_sys(err, root, "open /");
	r = put_ids(machine, root, err);
	if (r == 0)
		r = put_network(machine, err);
	if (r == 0)
		r = put_host_key(machine, root, err);
	if (r == 0)
		r = put_sample(machine, err);
	if (r < 0)
		return r;
	if (identity->boot_token)
		json_put_str(machine, "boot_token", identity->boot_token);
	if (clock_gettime(CLOCK_REALTIME, &now) < 0)
		return err_sys(err, -errno, "read the clock");
	json_put_u64(machine, "wall_ms",
		     (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / NSEC_PER_MSEC);
	*ret = TAKE_PTR(machine);
	return 0;
}
