/* The users that VMs' emulators run as: numbers that own nothing and have no name. */
#include <fcntl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/parse.h"
#include "priv/private.h"

/*
 * Between the users of containers (below 1879048192) and those kept for foreign file systems (from
 * 2147352576), by systemd's table of numbers; docs/security.md has the range.
 */
#define USER_FIRST  1879048192U
#define USER_DIGITS 27 /* how many bits of the id choose the user */
#define USER_COUNT  (1U << USER_DIGITS)
#define USER_NOBODY 65534U

/* A number of a line that is padded with blanks. */
static bool take_number(struct span *line, uint64_t *ret)
{
	while (parse_byte(line, ' '))
		;
	return parse_u64(line, UINT32_MAX, ret);
}

bool user_map_has(struct span map, uint64_t first, uint64_t count)
{
	struct span line;

	while (parse_until(&map, '\n', &line)) {
		uint64_t inside, outside, length;

		if (take_number(&line, &inside) && take_number(&line, &outside) &&
		    take_number(&line, &length) && inside <= first &&
		    first + count <= inside + length)
			return true;
	}
	return false;
}

enum priv_user user_kind_of(struct span uid_map, struct span gid_map)
{
	if (user_map_has(uid_map, USER_FIRST, USER_COUNT) &&
	    user_map_has(gid_map, USER_FIRST, USER_COUNT))
		return PRIV_USER_OF_VM;
	if (user_map_has(uid_map, USER_NOBODY, 1) && user_map_has(gid_map, USER_NOBODY, 1))
		return PRIV_USER_SHARED;
	return PRIV_USER_OWN;
}

void users_open(struct priv *priv)
{
	AUTO_BUF uid_map = BUF_INIT;
	AUTO_BUF gid_map = BUF_INIT;

	priv->user_kind = PRIV_USER_OWN;
	if (geteuid() == 0 && kernel_file_read(AT_FDCWD, "/proc/self/uid_map", &uid_map) == 0 &&
	    kernel_file_read(AT_FDCWD, "/proc/self/gid_map", &gid_map) == 0)
		priv->user_kind = user_kind_of(buf_span(&uid_map), buf_span(&gid_map));
}

/* The id is random (and the tag a hash), so its first digits are as good as any. */
static uid_t user_of(const char *id)
{
	uint32_t number = 0;

	for (int i = 0; i < (USER_DIGITS + 3) / 4; i++)
		number = number << 4 | (uint32_t)(id[i] <= '9' ? id[i] - '0' : id[i] - 'a' + 10);
	return USER_FIRST + (number & (USER_COUNT - 1));
}

bool priv_vm_user(const struct priv *priv, const char *id, uid_t *ret)
{
	struct err ignored = ERR_INIT;

	if (priv->user_kind == PRIV_USER_OWN || priv_check_id(id, &ignored) < 0)
		return false;
	*ret = priv->user_kind == PRIV_USER_OF_VM ? user_of(id) : USER_NOBODY;
	return true;
}

bool priv_network_user(const struct priv *priv, uid_t *ret)
{
	if (priv->user_kind == PRIV_USER_OWN)
		return false;
	*ret = priv->user_kind == PRIV_USER_OF_VM ? user_of(priv->tag) : USER_NOBODY;
	return true;
}

enum priv_user priv_user_report(const struct priv *priv, struct buf *out)
{
	switch (priv->user_kind) {
	case PRIV_USER_OF_VM:
		buf_addf(out,
			 "QEMU runs as a user of its own for each VM (%u to %u), in namespaces of "
			 "its own, with seccomp",
			 USER_FIRST, USER_FIRST + USER_COUNT - 1);
		break;
	case PRIV_USER_SHARED:
		buf_addf(out,
			 "QEMU runs as user %u, the same for all VMs, in namespaces of its own, "
			 "with seccomp",
			 USER_NOBODY);
		break;
	case PRIV_USER_OWN:
		buf_addf(out, "QEMU runs as bangerd's own user (%u), with seccomp", geteuid());
		break;
	}
	return priv->user_kind;
}
