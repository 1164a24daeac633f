/*
 * Programs of the guest that have read who the machine is and go on with it in memory: sshd, which
 * greets with the old host key, systemd's journal and its network service.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define PROGRAMS_SSHD_MAX 8

/*
 * Makes each sshd that listens read its key again, and returns when none of them can greet with the
 * old one any more; one that does not listen to its signal is killed, and its supervisor starts it
 * again. Starting anew costs processor time: the lowest priority has it until
 * programs_restore_sshd(). 0 or < 0.
 */
int programs_renew_sshd(struct err *err) MUST_CHECK;
void programs_restore_sshd(void);

/* Has systemd-networkd, where it runs, read its files again. */
void programs_reload_networkd(void);

/* Ends systemd-journald, which systemd starts again: it takes the new ids then. */
void programs_renew_journald(void);

/*
 * Whether an sshd with these arguments (/proc/PID/cmdline) listens: neither serves one connection
 * nor was started for one. Pure.
 */
bool programs_sshd_listens(struct span arguments) MUST_CHECK;

/* The field of that number, from 3 on, of /proc/PID/stat as in proc(5); false: not there. Pure. */
bool programs_stat_field(struct span stat, size_t number, uint64_t *ret) MUST_CHECK;
