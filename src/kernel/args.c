#include "kernel/args.h"

#include "base/limits.h"

int kernel_args_check(struct span args, struct err *err)
{
	if (args.len > LIMIT_KERNEL_ARGS_BYTES)
		return err_set(err, ERR_LIMIT,
			       "kernel arguments are %zu bytes long; the kernel takes at most %d",
			       args.len, LIMIT_KERNEL_ARGS_BYTES);

	for (size_t i = 0; i < args.len; i++) {
		const uint8_t byte = args.ptr[i];

		if (byte == '\0')
			return err_set(err, ERR_INVALID, "kernel arguments have a NUL at byte %zu",
				       i);
		if (byte == '\n' || byte == '\r')
			return err_set(err, ERR_INVALID,
				       "kernel arguments have a line break at byte %zu", i);
		if (byte < 0x20 || byte == 0x7f)
			return err_set(
				err, ERR_INVALID,
				"kernel arguments have the control character 0x%02x at byte %zu",
				(unsigned)byte, i);
		if (byte > 0x7f)
			return err_set(err, ERR_INVALID,
				       "kernel arguments are not ASCII: 0x%02x at byte %zu",
				       (unsigned)byte, i);
	}
	return 0;
}
