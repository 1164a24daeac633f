#include "vmm/kvm_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MEMORY_BYTES  0x10000
#define PML4_ADDRESS  0x1000 /* page tables: one entry each, down to one page of 2 MiB */
#define PDPT_ADDRESS  0x2000
#define PD_ADDRESS    0x3000
#define CODE_ADDRESS  0x4000
#define STACK_ADDRESS 0x8000
#define TSS_ADDRESS   0xfffbd000 /* three pages that Intel's KVM wants for itself, out of the way */

#define PAGE_PRESENT_WRITABLE 0x03
#define PAGE_LARGE	      0x80
#define CR0_PE		      0x00000001
#define CR0_PG		      0x80000000
#define CR4_PAE		      0x20
#define EFER_LME	      0x100
#define EFER_LMA	      0x400

#define MARK	       0x0123456789abcdefULL /* only a 64-bit mov can put it into rax */
#define TURNS_FIRST    10000
#define TURNS_MAX      (1ULL << 36)
#define ELAPSED_MIN_NS 50000000ULL

static const uint8_t code[] = {
	0x48, 0xb8, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, /* mov rax, MARK */
	0x48, 0xff, 0xc9,					    /* 1: dec rcx */
	0x75, 0xfb,						    /* jnz 1b */
	0xf4,							    /* hlt */
};

struct guest {
	int kvm_fd;
	int vm_fd;
	int vcpu_fd;
	uint8_t *memory;
	struct kvm_run *run;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static void put_entry(uint8_t *memory, size_t address, uint64_t value)
{
	memcpy(memory + address, &value, sizeof(value));
}

/* Each of these gives true, or false with errno as the failed call left it. */

static bool open_node(struct guest *guest, const char *node)
{
	/* A FIFO in its place must not block. */
	guest->kvm_fd = open(node, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	return guest->kvm_fd >= 0;
}

static bool check_api(struct guest *guest)
{
	const int version = ioctl(guest->kvm_fd, KVM_GET_API_VERSION, 0);

	if (version >= 0 && version != KVM_API_VERSION)
		errno = EPROTO;
	return version == KVM_API_VERSION;
}

static bool create_vm(struct guest *guest)
{
	guest->vm_fd = ioctl(guest->kvm_fd, KVM_CREATE_VM, 0);
	if (guest->vm_fd < 0)
		return false;
	/* AMD does not need it; where Intel does, the run says so. */
	(void)ioctl(guest->vm_fd, KVM_SET_TSS_ADDR, TSS_ADDRESS);
	return true;
}

static bool give_memory(struct guest *guest)
{
	struct kvm_userspace_memory_region region = { .memory_size = MEMORY_BYTES };
	void *memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);

	if (memory == MAP_FAILED)
		return false;
	guest->memory = memory;
	put_entry(guest->memory, PML4_ADDRESS, PDPT_ADDRESS | PAGE_PRESENT_WRITABLE);
	put_entry(guest->memory, PDPT_ADDRESS, PD_ADDRESS | PAGE_PRESENT_WRITABLE);
	put_entry(guest->memory, PD_ADDRESS, PAGE_PRESENT_WRITABLE | PAGE_LARGE);
	memcpy(guest->memory + CODE_ADDRESS, code, sizeof(code));

	region.userspace_addr = (uint64_t)(uintptr_t)memory;
	return ioctl(guest->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) == 0;
}

static bool create_vcpu(struct guest *guest)
{
	const int size = ioctl(guest->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	void *run;

	if (size < 0)
		return false;
	guest->vcpu_fd = ioctl(guest->vm_fd, KVM_CREATE_VCPU, 0);
	if (guest->vcpu_fd < 0)
		return false;
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, guest->vcpu_fd, 0);
	if (run == MAP_FAILED)
		return false;
	guest->run = run;
	return true;
}

/* 64-bit mode with flat segments, as a boot loader leaves it. */
static bool enter_long_mode(struct guest *guest)
{
	const struct kvm_segment code_segment = {
		.limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1
	};
	const struct kvm_segment data_segment = { .limit = 0xffffffff,
						  .selector = 16,
						  .type = 3,
						  .present = 1,
						  .s = 1,
						  .db = 1,
						  .g = 1 };
	struct kvm_sregs sregs;

	if (ioctl(guest->vcpu_fd, KVM_GET_SREGS, &sregs) < 0)
		return false;
	sregs.cs = code_segment;
	sregs.ds = data_segment;
	sregs.es = data_segment;
	sregs.ss = data_segment;
	sregs.fs = data_segment;
	sregs.gs = data_segment;
	sregs.cr3 = PML4_ADDRESS;
	sregs.cr4 |= CR4_PAE;
	sregs.cr0 |= CR0_PE | CR0_PG;
	sregs.efer |= EFER_LME | EFER_LMA;
	return ioctl(guest->vcpu_fd, KVM_SET_SREGS, &sregs) == 0;
}

/* One run of the loop: how far it came. */
static enum kvm_step run_loop(const struct guest *guest, uint64_t turns, struct kvm_report *report)
{
	struct kvm_regs regs = {
		.rip = CODE_ADDRESS, .rsp = STACK_ADDRESS, .rcx = turns, .rflags = 2
	};
	const uint64_t begin_ns = now_ns();
	int r;

	if (ioctl(guest->vcpu_fd, KVM_SET_REGS, &regs) < 0)
		return KVM_STEP_REGISTERS;
	do {
		r = ioctl(guest->vcpu_fd, KVM_RUN, 0);
	} while (r < 0 && (errno == EINTR || errno == EAGAIN));
	if (r < 0)
		return KVM_STEP_RUN;
	report->elapsed_ns = now_ns() - begin_ns;
	report->turns = turns;
	report->exit_reason = guest->run->exit_reason;
	if (report->exit_reason != KVM_EXIT_HLT)
		return KVM_STEP_EXIT;
	if (ioctl(guest->vcpu_fd, KVM_GET_REGS, &regs) < 0)
		return KVM_STEP_REGISTERS;
	return regs.rcx == 0 && regs.rax == MARK ? KVM_STEP_DONE : KVM_STEP_RESULT;
}

static enum kvm_step measure(struct guest *guest, const char *node, struct kvm_report *report)
{
	enum kvm_step step;

	if (!open_node(guest, node))
		return KVM_STEP_OPEN;
	if (!check_api(guest))
		return KVM_STEP_API_VERSION;
	if (!create_vm(guest))
		return KVM_STEP_CREATE_VM;
	if (!give_memory(guest))
		return KVM_STEP_MEMORY;
	if (!create_vcpu(guest))
		return KVM_STEP_CREATE_VCPU;
	if (!enter_long_mode(guest))
		return KVM_STEP_REGISTERS;

	for (uint64_t turns = TURNS_FIRST; turns < TURNS_MAX; turns *= 4) {
		step = run_loop(guest, turns, report);
		if (step != KVM_STEP_DONE || report->elapsed_ns >= ELAPSED_MIN_NS)
			return step;
	}
	return KVM_STEP_DONE;
}

void kvm_guest_measure(const char *node, struct kvm_report *ret)
{
	struct guest guest = { .kvm_fd = -1, .vm_fd = -1, .vcpu_fd = -1 };

	memset(ret, 0, sizeof(*ret));
	errno = 0;
	ret->step = measure(&guest, node, ret);
	ret->errnum = errno;
	/* Descriptors and memory go with the process. */
}
