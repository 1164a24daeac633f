/* Limits that more than one module knows, each with its reason. A module's own limits are in its
 * header. */
#pragma once

#define LIMIT_RPC_FRAME_BYTES	1048576	      /* 1 MiB, one JSON-RPC line: specified (SPEC 4) */
#define LIMIT_RPC_CLIENTS	256	      /* connections at a time: specified (SPEC 4) */
#define LIMIT_VMS		10000	      /* rows; far over what a host can run */
#define LIMIT_VCPUS		32	      /* Firecracker's own maximum */
#define LIMIT_MEMORY_MIN_MIB	128	      /* Debian's kernel does not boot with less */
#define LIMIT_MEMORY_MAX_MIB	(1024 * 1024) /* 1 TiB */
#define LIMIT_DISK_MIN_BYTES	(64ULL << 20) /* the smallest ext4 with a journal worth having */
#define LIMIT_DISK_MAX_BYTES	(16ULL << 40) /* ext4 with 4 KiB blocks and 32-bit group counts */
#define LIMIT_KERNEL_ARGS_BYTES 2047	      /* x86's COMMAND_LINE_SIZE less its terminator */
