/*
 * Layers that are accepted become a file system in which all is as it should be (ext4_check.h);
 * layers that are refused say why. The first byte is the number of layers, the rest is cut into as
 * many tars.
 */
#include <string.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "ext4/ext4.h"
#include "ext4_check.h"
#include "fuzz.h"

#define LAYERS_MAX 4U
#define TAR_BLOCK  512U

struct stack {
	const uint8_t *data;
	size_t size; /* of one layer */
};

static int open_layer(void *context, size_t index, int *ret_tar_fd, struct err *err)
{
	const struct stack *stack = context;
	const int fd = memfd_create("tar", MFD_CLOEXEC);

	(void)err;
	EXT4_MUST(fd >= 0);
	EXT4_MUST(fd_pwrite_all(fd, span_of(stack->data + index * stack->size, stack->size), 0) ==
		  0);
	*ret_tar_fd = fd;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ext4_options options = {
		.size_bytes = EXT4_CHECK_BYTES,
		.seed_fd = -1,
		.limits = { .entries = 500, .bytes = 4U << 20, .layer_bytes = 8U << 20 },
	};
	const size_t count = size > 0 ? data[0] % LAYERS_MAX + 1U : 1U;
	struct stack stack = { .data = data + 1 };
	const struct ext4_layers layers = { .count = count, .open = open_layer, .context = &stack };
	struct ext4_summary summary = { 0 };
	struct err err = ERR_INIT;
	AUTO_CLOSE int image = -1;

	if (size < 1 + TAR_BLOCK)
		return 0;
	stack.size = (size - 1) / count / TAR_BLOCK * TAR_BLOCK;
	image = memfd_create("image", MFD_CLOEXEC);
	EXT4_MUST(image >= 0);
	if (ext4_from_layers(&layers, image, &options, &summary, &err) == 0)
		ext4_check(image, &summary);
	else
		EXT4_MUST(err.kind != ERR_NONE && err.message[0] != '\0');
	return 0;
}
