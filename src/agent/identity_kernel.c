#include "agent/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "agent/netif.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"

#define CLOCK_TOLERANCE_SECONDS \
	1 /* what the host's message is old; a right clock is not made to jump */

/* The kernel's struct rand_pool_info with room for the bytes. */
struct entropy_request {
	int entropy_bits;
	int size;
	uint8_t bytes[IDENTITY_ENTROPY_MAX];
};
_Static_assert(offsetof(struct entropy_request, bytes) == offsetof(struct rand_pool_info, buf),
	       "must lie as the kernel expects it");

static int add_entropy(const char *base64)
{
	AUTO_CLOSE int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	AUTO_BUF bytes = BUF_INIT;
	struct entropy_request request;
	int r = 0;

	if (fd < 0)
		return -errno;
	if (!base64_decode(span_str(base64), &bytes) || bytes.len > sizeof(request.bytes))
		return -EINVAL;

	request.entropy_bits = (int)bytes.len * 8;
	request.size = (int)bytes.len;
	memcpy(request.bytes, bytes.ptr, bytes.len);
	/* Crediting fills the pool; only the reseed makes /dev/urandom and getrandom() use it now.
	 */
	if (ioctl(fd, RNDADDENTROPY, &request) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		r = -errno;
	explicit_bzero(&request, sizeof(request));
	explicit_bzero(bytes.ptr, bytes.len);
	return r;
}

static int set_clock(int64_t wall_seconds, bool is_fresh)
{
	const struct timespec now = { .tv_sec = wall_seconds };
	const int64_t behind = wall_seconds - clock_wall_seconds();

	/* An old time says only what it cannot be earlier than: the machine's own clock is better.
	 */
	if (!is_fresh && behind <= 0)
		return 0;
	if (behind >= -CLOCK_TOLERANCE_SECONDS && behind <= CLOCK_TOLERANCE_SECONDS)
		return 0;
	return clock_settime(CLOCK_REALTIME, &now) < 0 ? -errno : 0;
}

int identity_set_kernel(const struct identity *identity, bool is_fresh, struct err *err)
{
	struct err later = ERR_INIT;
	int result = 0;
	int r;

	/* First, so that whatever comes up next already draws from this VM's own randomness. */
	if (identity->entropy_base64) {
		r = add_entropy(identity->entropy_base64);
		if (r < 0)
			result = err_sys(err, r, "add entropy");
	}
	if (sethostname(identity->hostname, strlen(identity->hostname)) < 0) {
		r = -errno;
		if (result == 0)
			result = err_sys(err, r, "set the hostname");
	}
	if (identity->wall_seconds > 0) {
		r = set_clock(identity->wall_seconds, is_fresh);
		if (r < 0 && result == 0)
			result = err_sys(err, r, "set the clock");
	}
	if (identity->has_network) {
		r = netif_configure(&identity->network, result == 0 ? err : &later);
		if (r < 0 && result == 0)
			result = r;
	}
	return result;
}
