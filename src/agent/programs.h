/*
 * Programs of the guest that have read who the machine is and go on with it in memory: sshd, which
 * greets with the old host key, systemd's journal and its network service.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define PROGRAMS_SSHD_MAX 8

/* What a look at /proc has found; 0: it does not run. */
struct programs {
	size_t sshd_count;
	pid_t sshd[PROGRAMS_SSHD_MAX]; /* those that listen */
	pid_t journald;
	pid_t networkd;
};

/* 0 or < 0. */
int programs_find(struct programs *ret, struct err *err) MUST_CHECK;

/*
 * Makes each sshd that listens read its key again, and returns when none of them can greet with the
 * old one any more; one that does not listen to its signal is killed, and its supervisor starts it
 * again. Starting anew costs processor time: that is done with the lowest priority.
 */
void programs_renew_sshd(const struct programs *programs);

/* Gives them their priority back as soon as they listen again, or at `deadline_ns`. */
void programs_restore_sshd(const struct programs *programs, uint64_t deadline_ns);

/* Has systemd-networkd, where it runs, read its files again. */
void programs_reload_networkd(const struct programs *programs);

/* Ends systemd-journald, which systemd starts again: it takes the new ids then. */
void programs_renew_journald(const struct programs *programs);

/*
 * Whether an sshd with these arguments (/proc/PID/cmdline) listens: neither serves one connection
 * nor was started for one. Pure.
 */
bool programs_sshd_listens(struct span arguments) MUST_CHECK;

/* The field of that number, from 3 on, of /proc/PID/stat as in proc(5); false: not there. Pure. */
bool programs_stat_field(struct span stat, size_t number, uint64_t *ret) MUST_CHECK;
