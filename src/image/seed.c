#include "image/seed.h"

#include "ext4/ext4.h"
#include "image/staging.h"

int seed_make_empty(int fd, uint64_t *ret_size_bytes, struct err *err)
{
	struct ext4_options options = EXT4_OPTIONS_INIT;
	struct ext4_summary summary = { 0 };
	int r;

	r = staging_read_epoch(&options, err);
	if (r == 0)
		r = ext4_seed(fd, &options, &summary, err);
	if (r < 0)
		return err_context(err, r, "make an empty work seed");
	*ret_size_bytes = summary.size_bytes;
	return 0;
}
