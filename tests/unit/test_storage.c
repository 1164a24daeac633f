/* Which file systems are of another machine, and how a mount's kind is found. */
#include "check.h"

#include "daemon/storage.h"

static void test_kinds(void **state)
{
	static const struct {
		const char *kind;
		bool is_remote;
	} rows[] = {
		{ "nfs", true },	 { "nfs4", true },	 { "cifs", true },
		{ "smb3", true },	 { "9p", true },	 { "ceph", true },
		{ "lustre", true },	 { "fuse.sshfs", true }, { "fuse.glusterfs", true },
		{ "fuse.rclone", true }, { "ext4", false },	 { "btrfs", false },
		{ "xfs", false },	 { "tmpfs", false },	 { "overlay", false },
		{ "zfs", false },	 { "virtiofs", false },	 { "fuse", false },
		{ "fuse.", false },	 { "fuseblk", false },	 { "fuse.gocryptfs", false },
		{ "fuse.9p", false },	 { "sshfs", false },	 { "nfsd", false },
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i, storage_kind_is_remote(span_str(rows[i].kind)) == rows[i].is_remote);
}

static const char mounts[] =
	"22 27 0:21 / /proc rw,relatime - proc proc rw\n"
	"27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw\n"
	"36 27 0:40 /home /net/a\\040-\\040nfs rw - nfs4 server:/export rw,vers=4.2\n"
	"237 27 0:69 / /mnt rw,nosuid - fuse.sshfs user@host:/dir rw,user_id=0\n"
	"x 27 0:70 / /a rw - cifs a rw\n"
	"38 27 0:70 / /no/separator rw nfs a rw\n"
	"39 27 0:70 / /nothing/behind/it rw -\n"
	"40 27 0:70 / /cut/off rw - nfs";

static void test_mounts(void **state)
{
	static const struct {
		uint64_t id;
		const char *kind; /* NULL: not found */
	} rows[] = {
		{ 22, "proc" }, { 27, "ext4" }, { 36, "nfs4" }, { 237, "fuse.sshfs" }, { 1, NULL },
		{ 37, NULL },	{ 38, NULL },	{ 39, NULL },	{ 40, NULL },	       { 0, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span kind = span_str("untouched");
		const bool is_found = storage_kind_of(span_str(mounts), rows[i].id, &kind);

		CHECK_ROW(i, is_found == (rows[i].kind != NULL));
		CHECK_ROW(i, span_eq(kind, span_str(is_found ? rows[i].kind : "untouched")));
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_mounts),
	};

	return cmocka_run_group_tests_name("storage", tests, NULL, NULL);
}
