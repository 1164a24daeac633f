/*
 * bangerd: the services that join store, images, kernels, disks and VMMs, behind JSON-RPC.
 *
 * Theory of operation. The database says what should be; handles.json in a VM's folder and the
 * process it names say what is. Every operation stores its intent, does its steps pushing an undo
 * for each, and stores its result, so that the daemon may be killed between any two instructions:
 * the next start finds the intent and either finishes (stop, delete) or undoes (create, start).
 * VMMs are no children in the sense that matters: they live in sessions of their own and are
 * adopted again by (pid, start time, boot id).
 *
 * Threads: one per connection (src/rpc), one that watches VMMs and reconciles every minute
 * (watch.c), one that moves the bytes of published ports (publish.c). Shared state lives in objects
 * that each have their own lock inside: store, vm_table, operations, engine, leases, publish. Names
 * and ids are locked by keylock, always in the order VM, image, kernel, names, known_hosts; no
 * object's own lock is held while waiting for another.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"

struct daemon_options {
	int ready_fd; /* given: gets one line when the daemon listens; -1 for none */
};

/*
 * Runs the daemon until SIGTERM, SIGINT or daemon.stop. Call it from main() with only one thread
 * running; it blocks those signals. 0 after a clean end; running VMs go on in any case.
 */
int daemon_run(struct daemon_options *options, struct err *err) MUST_CHECK;

/* For `bangerd --check-migrations`: 0 up to date, 1 will migrate, 2 made by a newer version; or <
 * 0. */
int daemon_check_migrations(struct err *err) MUST_CHECK;

/*
 * For `bangerd --defaults`: appends {"default_image", "defaults"} as daemon.status has them, from
 * the configuration and the host. Makes nothing and needs no running daemon.
 */
struct buf;
int daemon_defaults(struct buf *out, struct err *err) MUST_CHECK;

/*
 * For `bangerd --plan` and `--census`, while no daemon runs: appends what doctor.plan or
 * doctor.census would answer, for a daemon that would start now. Nothing is changed.
 */
enum daemon_view { DAEMON_VIEW_PLAN, DAEMON_VIEW_CENSUS };
int daemon_look(enum daemon_view view, struct buf *out, struct err *err) MUST_CHECK;
