/*
 * The VM that the KVM probe times: one vcpu in 64-bit mode, 64 KiB of memory, a counted loop and a
 * halt. Runs in a forked child of a program with threads, so everything here is async-signal-safe:
 * system calls and nothing else.
 */
#pragma once

#include <stdint.h>

enum kvm_step {
	KVM_STEP_OPEN,
	KVM_STEP_API_VERSION, /* the node is no KVM, or an old one */
	KVM_STEP_CREATE_VM,
	KVM_STEP_MEMORY,
	KVM_STEP_CREATE_VCPU,
	KVM_STEP_REGISTERS,
	KVM_STEP_RUN,	 /* KVM_RUN itself failed */
	KVM_STEP_EXIT,	 /* the guest ended otherwise than by its halt: see exit_reason */
	KVM_STEP_RESULT, /* it halted, but did not count as a 64-bit CPU does */
	KVM_STEP_DONE,
	KVM_STEP_COUNT,
};

/* How far it came, and the last run's figures. */
struct kvm_report {
	enum kvm_step step;
	int errnum;
	uint32_t exit_reason;
	uint64_t turns;
	uint64_t elapsed_ns;
};

/*
 * Makes the VM and runs its loop, longer and longer until one run takes at least 50 ms. Always
 * fills `ret`. Does not come back when KVM_RUN does not: the caller kills the process.
 */
void kvm_guest_measure(const char *node, struct kvm_report *ret);
