/*
 * NAME.vm: what the DNS server knows follows what the store says of the VMs, change by change. The
 * server listens on `dns_listen`; an address that cannot be had is no reason not to start: it is
 * tried again each minute, and doctor says so.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

struct names;
struct store;

void names_free(struct names *names); /* NULL is accepted */
DEFINE_FREEP(names, names_free);

/*
 * Reads the names that there are, and follows the store from then on; `store` is borrowed and must
 * outlive it. Without `has_addresses` a name is known but has none, as in an isolated network:
 * the same address could be somebody else's for whoever asks.
 */
int names_new(struct store *store, bool has_addresses, struct names **ret, struct err *err)
	MUST_CHECK;

/* A name that no VM has, for as long as somebody wants to know whether it is found. */
void names_lend(struct names *names, const char *name, uint32_t address);
void names_take_back(struct names *names, const char *name);

/* Begins to answer on `address` unless it does already. A failure is kept for names_check(), and
 * logged once. */
void names_listen(struct names *names, const char *address);

/* Ends answering; before the store goes. */
void names_stop(struct names *names);

/* 0, or why nobody is answered, with the cure. */
int names_check(struct names *names, struct err *err) MUST_CHECK;

/* Queries answered, and whether any is at the moment. */
uint64_t names_answers(struct names *names, bool *ret_is_listening) MUST_CHECK;
