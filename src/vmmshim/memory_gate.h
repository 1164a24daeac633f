/*
 * How a clone gets its memory file: read-only, whatever QEMU asks for.
 *
 * QEMU 7.2 maps a `share=off` memory file copy-on-write, for which a descriptor that can only be
 * read is enough, but it opens the file for writing, and keeps that descriptor. With it a guest
 * that has taken over its QEMU could change what all other clones are made of; even a well-meant
 * balloon would punch holes into the file. So QEMU never opens it: a seccomp filter hands every
 * open() for reading and writing over to us (user notification, Linux 5.9), and the one that names
 * the memory's descriptor is answered with ours, which is read-only. All others go on as they were.
 *
 * The filter is a substitution and no wall: what QEMU may open is decided by its user, its
 * namespaces and its own filter.
 */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"

#define GATE_PATH_SIZE 32

struct gate {
	int listener_fd;	   /* owned; -1: there is no gate */
	int memory_fd;		   /* borrowed */
	char path[GATE_PATH_SIZE]; /* what QEMU opens */
};

#define GATE_INIT ((struct gate){ .listener_fd = -1, .memory_fd = -1 })

/* The filter for spawn_start(). */
extern const struct sock_fprog gate_filter;

/* `listener_fd` is given; QEMU knows `memory_fd`, borrowed, by the number `number`. */
void gate_init(struct gate *gate, int listener_fd, int memory_fd, int number);
void gate_done(struct gate *gate);

/* Answers one open() when the listener is readable. */
int gate_step(struct gate *gate, struct err *err) MUST_CHECK;
