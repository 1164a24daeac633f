/*
 * A tar that is accepted becomes a file system in which all is as it should be (ext4_check.h). A
 * tar that is refused says why. Nothing else may happen.
 */
#include <sys/mman.h>

#include "base/fd.h"
#include "ext4/ext4.h"
#include "ext4_check.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ext4_options options = {
		.size_bytes = EXT4_CHECK_BYTES,
		.seed_fd = -1,
		.limits = { .entries = 500, .bytes = 4U << 20 },
	};
	struct ext4_summary summary = { 0 };
	struct err err = ERR_INIT;
	int tar = memfd_create("tar", MFD_CLOEXEC);
	int image = memfd_create("image", MFD_CLOEXEC);

	const struct ext4_input input = { .tar_fd = tar };

	EXT4_MUST(tar >= 0 && image >= 0);
	EXT4_MUST(fd_pwrite_all(tar, span_of(data, size), 0) == 0);
	if (ext4_from_tar(&input, image, &options, &summary, &err) == 0)
		ext4_check(image, &summary);
	else
		EXT4_MUST(err.kind != ERR_NONE && err.message[0] != '\0');
	fd_close(tar);
	fd_close(image);
	return 0;
}
