#include "agent/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "agent/netif.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"

#define TOLERANCE_SECONDS_NS (1 * (int64_t)NSEC_PER_SEC)   /* what a time in seconds is old */
#define TOLERANCE_EXACT_NS   (50 * (int64_t)NSEC_PER_MSEC) /* what the host's message is old */

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

/*
 * An exact time is set when it is noticeably another, so that a right clock is not made to jump.
 * The time of a boot says only what the clock cannot be earlier than: the machine's own is better.
 */
static int set_clock(const struct identity *identity, enum identity_occasion occasion)
{
	const struct timespec wanted = { .tv_sec = identity->wall_seconds,
					 .tv_nsec = (long)identity->wall_nanoseconds };
	const int64_t tolerance_ns =
		identity->has_nanoseconds ? TOLERANCE_EXACT_NS : TOLERANCE_SECONDS_NS;
	struct timespec now;
	int64_t behind_ns;

	if (clock_gettime(CLOCK_REALTIME, &now) < 0)
		return -errno;
	behind_ns =
		(wanted.tv_sec - now.tv_sec) * (int64_t)NSEC_PER_SEC + wanted.tv_nsec - now.tv_nsec;
	if (occasion == IDENTITY_BOOT && behind_ns <= 0)
		return 0;
	if (behind_ns >= -tolerance_ns && behind_ns <= tolerance_ns)
		return 0;
	return clock_settime(CLOCK_REALTIME, &wanted) < 0 ? -errno : 0;
}

static int set_network(const struct identity *identity, enum identity_occasion occasion,
		       struct err *err)
{
	if (identity->has_network)
		return netif_configure(&identity->network, err);
	if (occasion == IDENTITY_RENEWAL)
		return netif_clear(err);
	return 0;
}

int identity_set_kernel(const struct identity *identity, enum identity_occasion occasion,
			struct err *err)
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
	if (identity->wall_seconds > 0) {
		r = set_clock(identity, occasion);
		if (r < 0 && result == 0)
			result = err_sys(err, r, "set the clock");
	}
	r = set_network(identity, occasion, result == 0 ? err : &later);
	if (r < 0 && result == 0)
		result = r;
	if (sethostname(identity->hostname, strlen(identity->hostname)) < 0) {
		r = -errno;
		if (result == 0)
			result = err_sys(err, r, "set the hostname");
	}
	return result;
}
