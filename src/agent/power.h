/* Ending the machine. */
#pragma once

#include <signal.h>
#include <stdbool.h>

#include "agent/conn.h"
#include "agent/request.h"
#include "base/err.h"
#include "base/macros.h"

/* What systemd understands, and our own init too. */
#define POWER_SIGNAL_OFF    (SIGRTMIN + 4)
#define POWER_SIGNAL_REBOOT (SIGRTMIN + 5)

/* The `shutdown` request: answers, then tells whoever is PID 1. */
int shutdown_serve(struct conn *conn, const struct request *request, struct err *err) MUST_CHECK;

/*
 * Syncs and ends the machine at once, without asking anybody; returns only when the kernel refuses.
 * Where a machine cannot be switched off but its VMM ends with a reset (Firecracker), it is reset.
 */
void power_end(bool is_reboot);

/* Whether "off" must be done as a reset: see power_end(). */
bool power_off_is_reset(void);

/* Whether PID 1 is systemd by now. */
bool power_init_is_systemd(void);
