#include "vmmshim/qemu_args.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"

#define FIRST_FD	  3  /* after standard input, output and error */
#define FIRST_TRANSPORT	  23 /* of 24, downwards; see qemu_args.h */
#define LAST_TRANSPORT	  2
#define DRIVE_SERIAL_SIZE 20 /* virtio-blk's field */

/* Firecracker's own when the client gives none. */
#define BOOT_ARGS_DEFAULT                                                                  \
	"reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux i8042.dumbkbd " \
	"swiotlb=noforce"

_Static_assert(CONFIG_DRIVES_MAX * 2 + CONFIG_NETS_MAX + 6 <= SPAWN_FDS_MAX - 3,
	       "every descriptor of QEMU must fit into a spawn");
/* Drives, interfaces, agent, entropy, balloon, keyboard. */
_Static_assert(CONFIG_DRIVES_MAX + CONFIG_NETS_MAX + 4 <= FIRST_TRANSPORT - LAST_TRANSPORT + 1,
	       "every device must fit on a transport");

struct planner {
	struct qemu_plan *plan;
	int next_transport;
};

/* Passes a descriptor to QEMU; returns its number there. */
static int pass_fd(struct planner *planner, int fd)
{
	struct qemu_plan *plan = planner->plan;
	const int number = FIRST_FD + (int)plan->fd_count;

	assert(plan->fd_count < ARRAY_LEN(plan->fds));
	plan->fds[plan->fd_count++] = (struct spawn_fd){ .from = fd, .to = number };
	return number;
}

static int take_transport(struct planner *planner)
{
	assert(planner->next_transport >= LAST_TRANSPORT);
	return planner->next_transport--;
}

static void add_two(struct planner *planner, const char *option, const char *value)
{
	strv_add(&planner->plan->argv, option);
	strv_add(&planner->plan->argv, value);
}

static void add_memory(struct planner *planner, const struct machine_body *machine,
		       const struct qemu_settings *settings)
{
	struct strv *argv = &planner->plan->argv;

	strv_add(argv, "-object");
	if (settings->memory_fd >= 0) {
		planner->plan->memory_number = pass_fd(planner, settings->memory_fd);
		strv_addf(argv,
			  "memory-backend-file,id=ram0,size=%" PRIu64
			  "M,mem-path=/proc/self/fd/%d,share=off",
			  machine->mem_size_mib, planner->plan->memory_number);
	} else if (machine->huge_pages == HUGE_2M) {
		strv_addf(argv,
			  "memory-backend-memfd,id=ram0,size=%" PRIu64
			  "M,hugetlb=on,hugetlbsize=2M",
			  machine->mem_size_mib);
	} else {
		/* QEMU asks for transparent huge pages of plain memory by itself. */
		strv_addf(argv, "memory-backend-ram,id=ram0,size=%" PRIu64 "M",
			  machine->mem_size_mib);
	}
}

static void add_machine(struct planner *planner, const struct vm_config *config,
			const struct qemu_settings *settings)
{
	const struct machine_body *machine = &config->machine;
	const bool is_threaded = machine->smt && machine->vcpu_count > 1;
	struct strv *argv = &planner->plan->argv;

	add_two(planner, "-name", settings->id);
	strv_add(argv, "-M");
	strv_addf(argv,
		  "microvm,acpi=on,pit=on,pic=on,rtc=on,isa-serial=on,x-option-roms=off,"
		  "memory-backend=ram0,dump-guest-core=off%s",
		  settings->memory_fd >= 0 ? ",suppress-vmdesc=on" : "");
	if (settings->accel == QEMU_ACCEL_KVM) {
		add_two(planner, "-accel", "kvm");
		add_two(planner, "-cpu", "host");
	} else {
		add_two(planner, "-accel", "tcg,thread=multi");
		/* A guest that believes in fast string instructions copies and clears its memory
		 * with them, byte by byte as they are emulated: a third to a fifth as fast. */
		add_two(planner, "-cpu", "max,-erms,-fsrm");
	}
	strv_add(argv, "-smp");
	strv_addf(argv, "cpus=%" PRIu64 ",sockets=1,cores=%" PRIu64 ",threads=%d",
		  machine->vcpu_count, is_threaded ? machine->vcpu_count / 2 : machine->vcpu_count,
		  is_threaded ? 2 : 1);
	strv_add(argv, "-m");
	strv_addf(argv, "%" PRIu64 "M", machine->mem_size_mib);
	add_memory(planner, machine, settings);
	strv_add(argv, "-nodefaults");
	strv_add(argv, "-no-user-config");
	strv_add(argv, "-no-reboot");
	add_two(planner, "-display", "none");
	add_two(planner, "-global", "virtio-mmio.force-legacy=off");
	if (settings->is_sandboxed)
		add_two(planner, "-sandbox",
			"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
}

static void add_channels(struct planner *planner, const struct qemu_settings *settings)
{
	struct strv *argv = &planner->plan->argv;

	strv_add(argv, "-chardev");
	strv_addf(argv, "socket,id=qmp,fd=%d", pass_fd(planner, settings->qmp_fd));
	add_two(planner, "-mon", "chardev=qmp,mode=control");
	strv_add(argv, "-chardev");
	strv_addf(argv, "socket,id=console,fd=%d", pass_fd(planner, settings->console_fd));
	add_two(planner, "-serial", "chardev:console");
	planner->plan->saved_number = pass_fd(planner, settings->saved_fd);
	strv_add(argv, "-add-fd");
	strv_addf(argv, "fd=%d,set=%d", planner->plan->saved_number, planner->plan->saved_number);
}

static int add_kernel(struct planner *planner, const struct vm_config *config,
		      const struct qemu_settings *settings, struct err *err)
{
	const struct drive_body *root = config->drive_count > 0 ? &config->drives[0].body : NULL;
	struct strv *argv = &planner->plan->argv;
	AUTO_BUF line = BUF_INIT;

	strv_add(argv, "-kernel");
	strv_addf(argv, "/proc/self/fd/%d", pass_fd(planner, config->kernel_fd));
	if (config->initrd_fd >= 0) {
		strv_add(argv, "-initrd");
		strv_addf(argv, "/proc/self/fd/%d", pass_fd(planner, config->initrd_fd));
	}
	buf_add_str(&line, config->boot.boot_args ? config->boot.boot_args : BOOT_ARGS_DEFAULT);
	if (root && root->is_root_device) {
		if (root->partuuid)
			buf_addf(&line, " root=PARTUUID=%s", root->partuuid);
		else
			buf_add_str(&line, " root=/dev/vda");
		buf_add_str(&line, root->is_read_only ? " ro" : " rw");
	}
	/*
	 * The counter is the host's, its rate known. Without the second word the guest's kernel
	 * checks it against its own timer ticks, of which a busy host loses many, and then counts
	 * time in them.
	 */
	if (settings->accel == QEMU_ACCEL_TCG && settings->tsc_khz != 0)
		buf_addf(&line, " tsc_early_khz=%" PRIu64 " tsc=reliable", settings->tsc_khz);
	if (line.len > CONFIG_BOOT_ARGS_MAX)
		return err_set(err, ERR_LIMIT,
			       "Invalid kernel command line: it has %zu bytes, at most %d fit",
			       line.len, CONFIG_BOOT_ARGS_MAX);
	add_two(planner, "-append", line.ptr);
	return 0;
}

/* Nothing runs before the device state has come. */
static void add_incoming(struct planner *planner, const struct qemu_settings *settings)
{
	strv_add(&planner->plan->argv, "-S");
	add_two(planner, "-incoming", "defer");
	add_two(planner, "-global", "migration.send-configuration=off");
	planner->plan->state_number = pass_fd(planner, settings->state_fd);
}

/* A file below a format; `fd` is also the number of its descriptor set. */
static void add_file_node(struct planner *planner, const char *name, int fd, bool is_block,
			  const struct drive_body *body, bool is_read_only)
{
	struct strv *argv = &planner->plan->argv;

	strv_add(argv, "-add-fd");
	strv_addf(argv, "fd=%d,set=%d", fd, fd);
	strv_add(argv, "-blockdev");
	strv_addf(argv,
		  "driver=%s,node-name=%s,filename=/dev/fdset/%d,read-only=%s,aio=%s,"
		  "discard=unmap,cache.no-flush=%s",
		  is_block ? "host_device" : "file", name, fd, is_read_only ? "on" : "off",
		  body->io_engine == ENGINE_ASYNC ? "io_uring" : "threads",
		  body->cache_type == CACHE_UNSAFE ? "on" : "off");
}

static void add_drive(struct planner *planner, const struct config_drive *drive, size_t index)
{
	const struct drive_body *body = &drive->body;
	const char *read_only = body->is_read_only ? "on" : "off";
	struct strv *argv = &planner->plan->argv;
	char name[32];

	(void)snprintf(name, sizeof(name), "file%zu", index);
	add_file_node(planner, name, pass_fd(planner, drive->fd), drive->is_block, body,
		      body->is_read_only);
	if (drive->base_fd >= 0) {
		(void)snprintf(name, sizeof(name), "basefile%zu", index);
		add_file_node(planner, name, pass_fd(planner, drive->base_fd), drive->base_is_block,
			      body, true);
		strv_add(argv, "-blockdev");
		strv_addf(argv, "driver=raw,node-name=base%zu,file=basefile%zu,read-only=on", index,
			  index);
		strv_add(argv, "-blockdev");
		strv_addf(argv,
			  "driver=qcow2,node-name=drive%zu,file=file%zu,backing=base%zu,"
			  "read-only=%s,discard=unmap,cache.no-flush=%s",
			  index, index, index, read_only,
			  body->cache_type == CACHE_UNSAFE ? "on" : "off");
	} else {
		strv_add(argv, "-blockdev");
		strv_addf(argv,
			  "driver=raw,node-name=drive%zu,file=file%zu,read-only=%s,discard=unmap",
			  index, index, read_only);
	}
	strv_add(argv, "-device");
	strv_addf(argv, "virtio-blk-device,id=blk%zu,drive=drive%zu,bus=virtio-mmio-bus.%d%s%s",
		  index, index, take_transport(planner),
		  strlen(body->drive_id) <= DRIVE_SERIAL_SIZE ? ",serial=" : "",
		  strlen(body->drive_id) <= DRIVE_SERIAL_SIZE ? body->drive_id : "");
}

static void add_net(struct planner *planner, const struct config_net *net, size_t index)
{
	struct strv *argv = &planner->plan->argv;
	AUTO_BUF device = BUF_INIT;

	strv_add(argv, "-netdev");
	strv_addf(argv, "tap,id=net%zu,fd=%d", index, pass_fd(planner, net->fd));
	buf_addf(&device, "virtio-net-device,id=nic%zu,netdev=net%zu,bus=virtio-mmio-bus.%d", index,
		 index, take_transport(planner));
	if (net->body.guest_mac)
		buf_addf(&device, ",mac=%s", net->body.guest_mac);
	if (field_given(net->body.given, NET_MTU))
		buf_addf(&device, ",host_mtu=%" PRIu64, net->body.mtu);
	add_two(planner, "-device", device.ptr);
}

static void add_agent(struct planner *planner, int agent_fd)
{
	struct strv *argv = &planner->plan->argv;

	strv_add(argv, "-device");
	strv_addf(argv, "virtio-serial-device,id=serial0,max_ports=2,bus=virtio-mmio-bus.%d",
		  take_transport(planner));
	strv_add(argv, "-chardev");
	strv_addf(argv, "socket,id=agent,fd=%d", pass_fd(planner, agent_fd));
	add_two(planner, "-device",
		"virtserialport,bus=serial0.0,nr=1,chardev=agent,name=org.banger.agent");
}

static void add_others(struct planner *planner, const struct vm_config *config)
{
	struct strv *argv = &planner->plan->argv;

	if (config->has_entropy) {
		strv_add(argv, "-device");
		strv_addf(argv, "virtio-rng-device,id=rng0,bus=virtio-mmio-bus.%d",
			  take_transport(planner));
	}
	if (config->balloon.given != 0) {
		strv_add(argv, "-device");
		strv_addf(argv,
			  "virtio-balloon-device,id=balloon0,bus=virtio-mmio-bus.%d,"
			  "deflate-on-oom=%s,free-page-reporting=%s",
			  take_transport(planner), config->balloon.deflate_on_oom ? "on" : "off",
			  config->balloon.free_page_reporting ? "on" : "off");
	}
	strv_add(argv, "-device");
	strv_addf(argv, "virtio-keyboard-device,id=keyboard0,bus=virtio-mmio-bus.%d",
		  take_transport(planner));
}

int qemu_plan(const struct vm_config *config, const struct qemu_settings *settings,
	      struct qemu_plan *ret, struct err *err)
{
	CLEANUP(qemu_plan_done) struct qemu_plan plan = { .fd_count = 0 };
	struct planner planner = { .plan = &plan, .next_transport = FIRST_TRANSPORT };
	int r;

	add_machine(&planner, config, settings);
	add_channels(&planner, settings);
	if (settings->memory_fd >= 0) {
		add_incoming(&planner, settings);
	} else {
		r = add_kernel(&planner, config, settings, err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < config->drive_count; i++)
		add_drive(&planner, &config->drives[i], i);
	for (size_t i = 0; i < config->net_count; i++)
		add_net(&planner, &config->nets[i], i);
	if (settings->agent_fd >= 0)
		add_agent(&planner, settings->agent_fd);
	add_others(&planner, config);
	*ret = plan;
	plan = (struct qemu_plan){ .fd_count = 0 };
	return 0;
}

void qemu_plan_done(struct qemu_plan *plan)
{
	strv_done(&plan->argv);
	plan->fd_count = 0;
}
