/* What a VM gets where nobody says anything: from the file, else from the host (SPEC 3.1). */
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <sys/sysinfo.h>

#include "base/buf.h"
#include "base/text.h"
#include "config/config.h"

#define MIB		     (1ULL << 20)
#define GIB		     (1ULL << 30)
#define CPU_SHARE	     4U
#define VCPU_MAX	     4U
#define MEMORY_SHARE	     8U
#define MEMORY_MIN	     (512 * MIB)
#define MEMORY_MAX	     (8 * GIB)
#define DISK_BYTES	     (8 * GIB)
#define SYSTEM_OVERLAY_BYTES (8 * GIB)

void config_read_host(struct spec_host *ret)
{
	cpu_set_t cpus;
	struct sysinfo status;

	*ret = (struct spec_host){ .cpus = 0 };
	/* What we may run on, not what is built in: containers and taskset count. */
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		ret->cpus = (uint32_t)CPU_COUNT(&cpus);
	if (sysinfo(&status) == 0)
		ret->memory_bytes = (uint64_t)status.totalram * status.mem_unit;
}

static void vcpu_default(const struct config *config, const struct spec_host *host,
			 struct vm_defaults *ret)
{
	const uint32_t share = host->cpus / CPU_SHARE;
	const char *bound = "";

	if (config->default_vcpu != 0) {
		ret->vcpu = (uint32_t)config->default_vcpu;
		(void)snprintf(ret->vcpu_source, sizeof(ret->vcpu_source), "config");
		return;
	}

	ret->vcpu = share;
	if (share < 1) {
		ret->vcpu = 1;
		bound = ", at least 1";
	} else if (share > VCPU_MAX) {
		ret->vcpu = VCPU_MAX;
		bound = ", at most 4";
	}
	(void)snprintf(ret->vcpu_source, sizeof(ret->vcpu_source), "host: %" PRIu32 " CPU%s / 4%s",
		       host->cpus, host->cpus == 1 ? "" : "s", bound);
}

static void memory_default(const struct config *config, const struct spec_host *host,
			   struct vm_defaults *ret)
{
	const uint64_t share = host->memory_bytes / MEMORY_SHARE / MIB * MIB;
	AUTO_BUF memory = BUF_INIT;
	const char *bound = "";

	if (config->default_memory_mib != 0) {
		ret->memory_bytes = config->default_memory_mib * MIB;
		(void)snprintf(ret->memory_source, sizeof(ret->memory_source), "config");
		return;
	}

	ret->memory_bytes = share;
	if (share < MEMORY_MIN) {
		ret->memory_bytes = MEMORY_MIN;
		bound = ", at least 512 MiB";
	} else if (share > MEMORY_MAX) {
		ret->memory_bytes = MEMORY_MAX;
		bound = ", at most 8 GiB";
	}
	text_size(&memory, host->memory_bytes);
	(void)snprintf(ret->memory_source, sizeof(ret->memory_source), "host: %s / 8%s", memory.ptr,
		       bound);
}

void config_vm_defaults(const struct config *config, const struct spec_host *host,
			struct vm_defaults *ret)
{
	const uint64_t disk = config->default_disk_bytes;
	const uint64_t overlay = config->default_system_overlay_bytes;

	*ret = (struct vm_defaults){ .vcpu = 0 };
	vcpu_default(config, host, ret);
	memory_default(config, host, ret);

	ret->disk_bytes = disk ? disk : DISK_BYTES;
	(void)snprintf(ret->disk_source, sizeof(ret->disk_source), "%s",
		       disk ? "config" : "built in");
	ret->system_overlay_bytes = overlay ? overlay : SYSTEM_OVERLAY_BYTES;
	(void)snprintf(ret->system_overlay_source, sizeof(ret->system_overlay_source), "%s",
		       overlay ? "config" : "built in");
}
