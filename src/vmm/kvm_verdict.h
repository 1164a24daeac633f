/* From the figures of a measurement to what they mean, apart from the measuring: for tests. */
#pragma once

#include "vmm/kvm_guest.h"
#include "vmm/kvm_probe.h"

void kvm_verdict_of_report(const struct kvm_report *report, const char *node,
			   struct kvm_verdict *ret);
