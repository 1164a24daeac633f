/*
 * Which VMM runs the VMs (SPEC 2.1): real Firecracker, or banger-vmm on QEMU with KVM or TCG.
 *
 * Gathering looks at the host (programs, versions, KVM); choosing is a pure function of what was
 * gathered, so every combination is a row of a test. Both say why, in words that `doctor` shows.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "vmm/kvm_probe.h"

#define VMM_FIRECRACKER_VERSION_MIN "1.5"
#define VMM_QEMU_VERSION_MIN	    "7.0"

enum vmm_engine { VMM_ENGINE_QEMU, VMM_ENGINE_FIRECRACKER, VMM_ENGINE_COUNT };

/* The config key `vmm`. */
enum vmm_choice { VMM_CHOICE_AUTO, VMM_CHOICE_FIRECRACKER, VMM_CHOICE_QEMU, VMM_CHOICE_COUNT };

enum vmm_accelerator { VMM_ACCELERATOR_TCG, VMM_ACCELERATOR_KVM, VMM_ACCELERATOR_COUNT };

/* "qemu", "firecracker"; "tcg", "kvm": the words of config, RPC and handles.json. */
const char *vmm_engine_name(enum vmm_engine engine);
const char *vmm_accelerator_name(enum vmm_accelerator accelerator);
int vmm_engine_parse(const char *name, enum vmm_engine *ret) MUST_CHECK;

struct vmm_version {
	unsigned major;
	unsigned minor;
	unsigned patch;
};

/* One program: where it is, what it says it is, whether it will do. */
struct vmm_program {
	char *path;		    /* owned, absolute; NULL when not found */
	struct vmm_version version; /* zero when it could not be asked */
	bool is_usable;
	char reason[256]; /* always set: "/usr/bin/x 1.7.0", or why it is not usable */
};

/* What the host offers. */
struct vmm_host {
	struct vmm_program firecracker;
	struct vmm_program shim; /* banger-vmm */
	struct vmm_program qemu;
	struct kvm_verdict kvm;
	char *processor; /* owned: what guests see of it (processor.h); NULL without usable KVM */
};

void vmm_host_done(struct vmm_host *host);

struct vmm_host_options {
	const char *firecracker_bin; /* config; NULL or "": look in PATH */
	const char *qemu_bin;	     /* the same */
	const char *shim_bin;	     /* NULL or "": banger-vmm in the running program's folder */
	int state_dir_fd;	     /* where kvm.json is kept; -1: neither read nor written */
	const char *kvm_node;	     /* NULL: /dev/kvm */
	bool probe_kvm_anew;	     /* ignore the cached verdict */
};

/*
 * Looks at the host. Each program is run once with --version (3 s at most each), KVM is probed
 * unless the verdict of this boot is cached. What is missing is a finding, not a failure; only a
 * fired `cancel` and an unreadable /proc/cpuinfo fail.
 */
int vmm_host_gather(const struct vmm_host_options *options, const struct cancel *cancel,
		    struct vmm_host *ret, struct err *err) MUST_CHECK;

struct vmm_decision {
	enum vmm_engine engine;
	enum vmm_accelerator accelerator;
	char *binary;		    /* owned: firecracker or banger-vmm */
	char *qemu_path;	    /* owned; NULL with Firecracker */
	char *processor;	    /* owned: what guests see of the host's; NULL with TCG */
	struct vmm_version version; /* of Firecracker or QEMU */
	char reason[512];	    /* one sentence: what was chosen and why not the other */
};

void vmm_decision_done(struct vmm_decision *decision);

/*
 * Chooses. `auto`: Firecracker if it is usable and KVM is, else banger-vmm. Firecracker by config
 * without usable KVM, or an engine by config that is not there, is ERR_UNSUPPORTED with what is
 * missing and a hint; nothing is substituted silently.
 */
int vmm_choose(enum vmm_choice choice, const struct vmm_host *host, struct vmm_decision *ret,
	       struct err *err) MUST_CHECK;

/*
 * Finds the version in what `--version` printed: the first "N.N" or "N.N.N" (an optional 'v' before
 * it) of the first line that has one. Pure; for hostile text.
 */
bool vmm_version_parse(const char *text, struct vmm_version *ret) MUST_CHECK;
bool vmm_version_at_least(const struct vmm_version *version, const struct vmm_version *least);
