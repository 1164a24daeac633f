/*
 * The program banger-vmm: one microVM, one thread, one poll loop. It joins the API (api.h, http.h),
 * the QEMU process (qemu.h), its QMP channel (qmp.h), the serial console and the vsock socket.
 *
 * Exit status, after Firecracker: 0 when the guest powered off or restarted, or when we were told
 * to end; 1 for failures, QEMU's among them; 152 for a bad configuration file; 153 for bad
 * arguments; 156 after SIGHUP.
 */
#pragma once

#define VMM_EXIT_OK	    0
#define VMM_EXIT_FAILED	    1
#define VMM_EXIT_BAD_CONFIG 152
#define VMM_EXIT_BAD_ARGS   153
#define VMM_EXIT_SIGHUP	    156

/* Runs the program; returns its exit status. */
int vmm_main(int argc, char **argv);
