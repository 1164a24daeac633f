#include "vmm/engine.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"

static const char *const engine_names[] = {
	[VMM_ENGINE_QEMU] = "qemu",
	[VMM_ENGINE_FIRECRACKER] = "firecracker",
};
_Static_assert(ARRAY_LEN(engine_names) == VMM_ENGINE_COUNT, "each engine needs its word");

static const char *const accelerator_names[] = {
	[VMM_ACCELERATOR_TCG] = "tcg",
	[VMM_ACCELERATOR_KVM] = "kvm",
};
_Static_assert(ARRAY_LEN(accelerator_names) == VMM_ACCELERATOR_COUNT,
	       "each accelerator needs its word");

const char *vmm_engine_name(enum vmm_engine engine)
{
	return engine_names[engine];
}

const char *vmm_accelerator_name(enum vmm_accelerator accelerator)
{
	return accelerator_names[accelerator];
}

static int find_name(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (str_eq(names[i], name))
			return (int)i;
	}
	return -EINVAL;
}

int vmm_engine_parse(const char *name, enum vmm_engine *ret)
{
	const int i = find_name(engine_names, ARRAY_LEN(engine_names), name);

	if (i < 0)
		return i;
	*ret = (enum vmm_engine)i;
	return 0;
}

/* --- versions --------------------------------------------------------------------------------- */

/* "N.N" or "N.N.N" at the cursor. */
static bool parse_version(struct span cursor, struct vmm_version *ret)
{
	uint64_t major, minor, patch = 0;

	if (!parse_u64(&cursor, UINT16_MAX, &major) || !parse_byte(&cursor, '.') ||
	    !parse_u64(&cursor, UINT16_MAX, &minor))
		return false;
	if (parse_byte(&cursor, '.') && !parse_u64(&cursor, UINT16_MAX, &patch))
		patch = 0;

	*ret = (struct vmm_version){ .major = (unsigned)major,
				     .minor = (unsigned)minor,
				     .patch = (unsigned)patch };
	return true;
}

bool vmm_version_parse(const char *text, struct vmm_version *ret)
{
	const struct span all = span_str(text);

	for (size_t i = 0; i < all.len; i++) {
		const bool is_start = i == 0 || all.ptr[i - 1] == ' ' || all.ptr[i - 1] == '\n';
		const size_t skip = all.ptr[i] == 'v' ? 1 : 0;

		if (is_start && parse_version(span_skip(all, i + skip), ret))
			return true;
	}
	return false;
}

bool vmm_version_at_least(const struct vmm_version *version, const struct vmm_version *least)
{
	if (version->major != least->major)
		return version->major > least->major;
	if (version->minor != least->minor)
		return version->minor > least->minor;
	return version->patch >= least->patch;
}

/* --- choosing --------------------------------------------------------------------------------- */

void vmm_decision_done(struct vmm_decision *decision)
{
	if (!decision)
		return;

	mem_free(decision->binary);
	mem_free(decision->qemu_path);
	mem_free(decision->processor);
	*decision = (struct vmm_decision){ .engine = VMM_ENGINE_QEMU };
}

void vmm_host_done(struct vmm_host *host)
{
	if (!host)
		return;

	mem_free(host->firecracker.path);
	mem_free(host->shim.path);
	mem_free(host->qemu.path);
	mem_free(host->processor);
	*host = (struct vmm_host){ .kvm = { .finding = KVM_MISSING } };
}

static int choose_firecracker(const struct vmm_host *host, struct vmm_decision *ret,
			      struct err *err)
{
	const struct vmm_program *program = &host->firecracker;
	int r;

	if (!program->is_usable) {
		r = err_set(err, ERR_UNSUPPORTED, "Firecracker cannot be used: %s",
			    program->reason);
		err_hint(err,
			 "install Firecracker %s or newer, set firecracker_bin, "
			 "or set vmm = \"auto\"",
			 VMM_FIRECRACKER_VERSION_MIN);
		return r;
	}
	if (!kvm_is_usable(&host->kvm)) {
		r = err_set(err, ERR_UNSUPPORTED, "Firecracker needs KVM: %s", host->kvm.reason);
		err_hint(err, "set vmm = \"auto\" or \"qemu\": QEMU runs VMs without KVM");
		return r;
	}

	*ret = (struct vmm_decision){ .engine = VMM_ENGINE_FIRECRACKER,
				      .accelerator = VMM_ACCELERATOR_KVM,
				      .binary = mem_strdup(program->path),
				      .processor = mem_strdup(host->processor),
				      .version = program->version };
	(void)snprintf(ret->reason, sizeof(ret->reason), "Firecracker %u.%u.%u with KVM",
		       program->version.major, program->version.minor, program->version.patch);
	return 0;
}

static int choose_qemu(const struct vmm_host *host, const char *why_not_firecracker,
		       struct vmm_decision *ret, struct err *err)
{
	const struct vmm_program *qemu = &host->qemu;
	const bool has_kvm = kvm_is_usable(&host->kvm);
	int r;

	if (!qemu->is_usable) {
		r = err_set(err, ERR_UNSUPPORTED, "QEMU cannot be used: %s", qemu->reason);
		err_hint(err, "install qemu-system-x86 %s or newer, or set qemu_bin",
			 VMM_QEMU_VERSION_MIN);
		return r;
	}
	if (!host->shim.is_usable)
		return err_set(err, ERR_UNSUPPORTED, "banger-vmm cannot be used: %s",
			       host->shim.reason);

	*ret = (struct vmm_decision){
		.engine = VMM_ENGINE_QEMU,
		.accelerator = has_kvm ? VMM_ACCELERATOR_KVM : VMM_ACCELERATOR_TCG,
		.binary = mem_strdup(host->shim.path),
		.qemu_path = mem_strdup(qemu->path),
		.processor = mem_strdup(host->processor),
		.version = qemu->version,
	};
	(void)snprintf(ret->reason, sizeof(ret->reason), "banger-vmm on QEMU %u.%u.%u with %s%s%s",
		       qemu->version.major, qemu->version.minor, qemu->version.patch,
		       has_kvm ? "KVM" : "TCG", why_not_firecracker[0] ? ": " : "",
		       why_not_firecracker);
	return 0;
}

static int choose_auto(const struct vmm_host *host, struct vmm_decision *ret, struct err *err)
{
	struct err ignored = ERR_INIT;
	const char *why_not;
	int r;

	if (choose_firecracker(host, ret, &ignored) == 0)
		return 0;

	/* Without KVM that is the reason, whether Firecracker is there or not. */
	why_not = kvm_is_usable(&host->kvm) ? host->firecracker.reason : host->kvm.reason;
	r = choose_qemu(host, why_not, ret, err);
	return r < 0 ? err_context(err, r, "no VMM to run VMs with") : 0;
}

int vmm_choose(enum vmm_choice choice, const struct vmm_host *host, struct vmm_decision *ret,
	       struct err *err)
{
	switch (choice) {
	case VMM_CHOICE_AUTO:
		return choose_auto(host, ret, err);
	case VMM_CHOICE_FIRECRACKER:
		return choose_firecracker(host, ret, err);
	case VMM_CHOICE_QEMU:
		return choose_qemu(host, kvm_is_usable(&host->kvm) ? "" : host->kvm.reason, ret,
				   err);
	case VMM_CHOICE_COUNT:
		break;
	}
	return err_set(err, ERR_INVALID, "no such choice of a VMM");
}
