#include "model/spec.h"

#include <inttypes.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/text.h"
#include "model/vm.h"

#define MIB	     (1ULL << 20)
#define SECTOR_BYTES 4096ULL /* ext4's block and the largest sector that a disk may have */

int spec_check_vcpu(uint64_t vcpu, const struct spec_host *host, struct err *err)
{
	if (vcpu >= 1 && vcpu <= LIMIT_VCPUS)
		return 0;

	if (host->cpus == 0)
		return err_set(err, ERR_INVALID, "vcpu is %" PRIu64 ": it must be 1 to %d", vcpu,
			       LIMIT_VCPUS);
	return err_set(err, ERR_INVALID,
		       "vcpu is %" PRIu64 ": it must be 1 to %d (the host has %" PRIu32 ")", vcpu,
		       LIMIT_VCPUS, host->cpus);
}

/* "512 MiB", or the plain number where rounding would say something that is not so. */
static void add_exact_size(struct buf *out, uint64_t bytes)
{
	static const struct {
		uint64_t unit;
		const char *name;
	} units[] = {
		{ 1ULL << 40, "TiB" }, { 1ULL << 30, "GiB" }, { MIB, "MiB" }, { 1024, "KiB" }
	};

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (bytes < units[i].unit || bytes % units[i].unit != 0)
			continue;
		buf_addf(out, "%" PRIu64 " %s", bytes / units[i].unit, units[i].name);
		return;
	}
	buf_addf(out, "%" PRIu64 " bytes", bytes);
}

int spec_check_memory(uint64_t bytes, const struct spec_host *host, struct err *err)
{
	const uint64_t min = LIMIT_MEMORY_MIN_MIB * MIB;
	uint64_t max = (uint64_t)LIMIT_MEMORY_MAX_MIB * MIB;
	AUTO_BUF is = BUF_INIT;
	AUTO_BUF limit = BUF_INIT;

	if (host->memory_bytes != 0 && host->memory_bytes < max)
		max = host->memory_bytes / MIB * MIB;
	if (bytes >= min && bytes <= max && bytes % MIB == 0)
		return 0;

	add_exact_size(&is, bytes);
	if (bytes >= min && bytes <= max)
		return err_set(err, ERR_INVALID, "memory is %s: it must be a whole number of MiB",
			       is.ptr);

	add_exact_size(&limit, max);
	return err_set(err, ERR_INVALID, "memory is %s: it must be %d MiB to %s%s", is.ptr,
		       LIMIT_MEMORY_MIN_MIB, limit.ptr,
		       host->memory_bytes ? " (the host's memory)" : "");
}

static int check_disk_size(const char *noun, uint64_t bytes, struct err *err)
{
	AUTO_BUF is = BUF_INIT;
	AUTO_BUF min = BUF_INIT;
	AUTO_BUF max = BUF_INIT;

	if (bytes >= LIMIT_DISK_MIN_BYTES && bytes <= LIMIT_DISK_MAX_BYTES &&
	    bytes % SECTOR_BYTES == 0)
		return 0;

	add_exact_size(&is, bytes);
	if (bytes >= LIMIT_DISK_MIN_BYTES && bytes <= LIMIT_DISK_MAX_BYTES)
		return err_set(err, ERR_INVALID,
			       "%s is %s: it must be a whole number of 4 KiB blocks", noun, is.ptr);

	add_exact_size(&min, LIMIT_DISK_MIN_BYTES);
	add_exact_size(&max, LIMIT_DISK_MAX_BYTES);
	return err_set(err, ERR_INVALID, "%s is %s: it must be %s to %s", noun, is.ptr, min.ptr,
		       max.ptr);
}

int spec_check_disk(uint64_t bytes, struct err *err)
{
	return check_disk_size("disk size", bytes, err);
}

int spec_check_system_overlay(uint64_t bytes, struct err *err)
{
	return check_disk_size("system overlay size", bytes, err);
}

int vm_spec_check(const struct vm_spec *spec, const struct spec_host *host, struct err *err)
{
	int r;

	r = spec_check_vcpu(spec->vcpu, host, err);
	if (r < 0)
		return r;

	r = spec_check_memory(spec->memory_bytes, host, err);
	if (r < 0)
		return r;

	r = spec_check_disk(spec->disk_bytes, err);
	if (r < 0)
		return r;

	r = spec_check_system_overlay(spec->system_overlay_bytes, err);
	if (r < 0)
		return r;

	r = vm_ports_check(spec->ports, spec->port_count, err);
	if (r < 0)
		return r;

	r = name_check_image(spec->image, err);
	if (r < 0)
		return r;

	return name_check_kernel(spec->kernel, err);
}
