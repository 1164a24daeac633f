/*
 * Whether KVM is usable: measured, not assumed (SPEC 2.1, DESIGN 4 and 7).
 *
 * On some nested hosts /dev/kvm opens and then interprets guest instructions one by one. The probe
 * makes a VM of one vcpu and a few pages, runs a counted 64-bit loop in it and times it: real KVM
 * makes hundreds of millions of turns a second, nested on an emulator 190, the useless kind 1 to 2.
 * It runs in a forked child, which is killed at the deadline when KVM_RUN does not come back.
 *
 * Only verdicts that took a measurement are cached (kvm.json, keyed by the kernel's boot_id):
 * whether the node is there and may be opened is looked at each time, since joining a group must
 * help at once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define KVM_NODE	     "/dev/kvm"
#define KVM_PROBE_TIMEOUT_MS 2000
#define KVM_TURNS_PER_SECOND_MIN \
	20000000 /* ten times the useless kind, a tenth of the slowest good one */
#define KVM_VERDICT_FILE      "kvm.json"
#define KVM_VERDICT_BYTES_MAX 4096

enum kvm_finding {
	KVM_USABLE,
	KVM_MISSING,	   /* no node */
	KVM_NO_PERMISSION, /* EACCES, EPERM */
	KVM_IN_USE,	   /* EBUSY: another hypervisor has the CPU's extensions */
	KVM_NOT_KVM,	   /* the node is something else, or an API that is too old */
	KVM_FAILED,	   /* a step of making or running the VM failed */
	KVM_HANGS,	   /* the loop did not come to its end in time */
	KVM_TOO_SLOW,	   /* it did, but at an emulator's pace */
	KVM_FINDING_COUNT,
};

struct kvm_verdict {
	enum kvm_finding finding;
	uint64_t turns_per_second; /* 0 when there was no measurement */
	char reason[256];	   /* one sentence for doctor, always set */
};

static inline bool kvm_is_usable(const struct kvm_verdict *verdict)
{
	return verdict->finding == KVM_USABLE;
}

/* Measures now: about 0.1 s with real KVM, at most about timeout_ms + 0.5 s. Never fails: the
 * verdict says it. */
void kvm_probe_measure(const char *node, uint64_t timeout_ms, struct kvm_verdict *ret);

/*
 * As kvm_probe_measure(), but with the verdict of this boot from `state_dir_fd`/kvm.json when there
 * is one, and written there when it was measured. A broken or foreign file is measured again. A
 * file that cannot be written only costs the next start its time.
 */
void kvm_probe(int state_dir_fd, const char *node, struct kvm_verdict *ret);

/* The same without looking at what is cached; what is found is cached for the next. */
void kvm_probe_anew(int state_dir_fd, const char *node, struct kvm_verdict *ret);

/* The sentence and the finding for a rate that was measured. Pure. */
void kvm_verdict_of_rate(uint64_t turns_per_second, struct kvm_verdict *ret);

/* Reads kvm.json's bytes: true when they hold a measured verdict of the boot `boot_id`. Pure. */
bool kvm_verdict_read(struct span text, const char *boot_id, struct kvm_verdict *ret) MUST_CHECK;

struct buf;
void kvm_verdict_write(const struct kvm_verdict *verdict, const char *boot_id, struct buf *out);
