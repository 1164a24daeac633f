/*
 * The watcher: a thread that waits for VMMs to end and tidies up after them within milliseconds,
 * and reconciles every minute.
 */
#pragma once

#include "base/err.h"
#include "base/macros.h"

struct daemon;
struct watcher;

int watcher_start(struct daemon *daemon, struct watcher **ret, struct err *err) MUST_CHECK;

/* Waits until it has finished what it is at. NULL is accepted. */
void watcher_stop(struct watcher *watcher);
