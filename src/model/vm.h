/*
 * The VM: what is stored of it, the states it goes through and what each verb needs. Pure: no
 * files, no processes, no clock. What is true of a VM only now (struct vm_runtime) is put beside it
 * for showing.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/strv.h"
#include "model/names.h"

#define VM_PORTS_MAX 64 /* published ports of one VM; each costs the daemon a listener */

enum vm_state { VM_CREATED, VM_RUNNING, VM_PAUSED, VM_STOPPED, VM_ERROR, VM_STATE_COUNT };

/* What is being done to a VM, stored before its first side effect: a crash is cleaned up by it. */
enum vm_intent {
	VM_INTENT_NONE,
	VM_INTENT_CREATE,
	VM_INTENT_START,
	VM_INTENT_STOP,
	VM_INTENT_DELETE,
	VM_INTENT_SET,
	VM_INTENT_SNAPSHOT,
	VM_INTENT_RESTORE,
	VM_INTENT_COUNT,
};

enum vm_verb {
	VM_VERB_START,
	VM_VERB_STOP,
	VM_VERB_RESTART,
	VM_VERB_KILL,
	VM_VERB_PAUSE,
	VM_VERB_RESUME,
	VM_VERB_DELETE,
	VM_VERB_SET,
	VM_VERB_EXEC,
	VM_VERB_SHELL,
	VM_VERB_CP,
	VM_VERB_PORTS,
	VM_VERB_PING,
	VM_VERB_SSH,
	VM_VERB_HEALTH,
	VM_VERB_SNAPSHOT,
	VM_VERB_FORK,
	VM_VERB_COUNT,
};

#define VM_PORT_LOOPBACK 0x7f000001U /* 127.0.0.1 */

/* A TCP port of the guest published on the host. */
struct vm_port {
	uint16_t host; /* 0 only in a request: any that is free */
	uint16_t guest;
	uint32_t address; /* the host's IPv4 address that it is published at; host byte order */
};

/* What the user asked for. vm_spec_init() makes it empty, vm_spec_done() releases it. */
struct vm_spec {
	uint32_t vcpu;
	uint64_t memory_bytes;
	uint64_t disk_bytes;	       /* the work disk */
	uint64_t system_overlay_bytes; /* the root file system, image included */
	char *image;		       /* owned */
	char *kernel;		       /* owned */
	bool nat;
	struct vm_port ports[VM_PORTS_MAX];
	size_t port_count;
};

/* The git checkout that was shipped last; all NULL when there is none. */
struct vm_workspace {
	char *guest_path;  /* owned */
	char *host_path;   /* owned */
	char *head;	   /* owned: the commit that HEAD was */
	char *fingerprint; /* owned: of the files then (workspace/fingerprint.h) */
	char *branch;	   /* owned: that was asked for; NULL: the host's */
	char *from; /* owned: where `branch` was asked to begin, as it was named; NULL: HEAD */
	char *mode; /* owned: "shallow_overlay" or "full_copy"; NULL: not known */
	bool has_untracked;
	bool is_pending; /* the last prepare has not ended: the guest may have half of it */
};

/* One stored VM. Strings are owned and may be NULL unless said otherwise. */
struct vm {
	char id[VM_ID_SIZE];
	char *name; /* never NULL in a stored VM */
	struct vm_spec spec;
	enum vm_state state;
	enum vm_intent intent;
	char *intent_step; /* the last step of the intent that was begun */
	char *last_error;
	uint32_t net_index; /* what its address, MAC and TAP follow from (net/address.h); 0: none */
	char *ip;
	char *boot_id;	/* the host's boot during which it was started last */
	char *tap_name; /* mirrored from the handles for teardown; NULL when there is none */
	char *dm_name;
	char *loop_names; /* separated by blanks */
	bool ephemeral;
	struct vm_workspace workspace;
	int64_t created_at; /* seconds since 1970 */
	int64_t started_at; /* 0: never */
	/* When somebody used it last, on clock_awake_ms() of the boot `boot_id`; 0: unknown. */
	uint64_t used_at_ms;
};

/* What a VM is now, for showing. Strings are borrowed; NULL and 0 are shown as null. */
struct vm_runtime {
	const char *engine;	 /* "qemu", "firecracker" */
	const char *accelerator; /* "kvm", "tcg" */
	int64_t pid;
	bool has_disk_used;
	uint64_t disk_used_bytes; /* shown as null unless has_disk_used */
	const char *directory;
	const char *console_log;
	const char *vmm_log;
	const char *trouble;	      /* what is wrong with it though it runs, or NULL */
	const struct strv *snapshots; /* their names; NULL: not known, shown as null */
	uint64_t ports_open;	      /* a bit for each of its ports that takes connections */
};

void vm_spec_init(struct vm_spec *spec);
void vm_spec_done(struct vm_spec *spec);
void vm_spec_copy(struct vm_spec *to, const struct vm_spec *from); /* `to` is uninitialised */

void vm_workspace_done(struct vm_workspace *workspace);
/* Replaces what `to` has. */
void vm_workspace_copy(struct vm_workspace *to, const struct vm_workspace *from);

void vm_init(struct vm *vm);
void vm_done(struct vm *vm);
#define AUTO_VM CLEANUP(vm_done) struct vm
void vm_copy(struct vm *to, const struct vm *from); /* `to` is uninitialised */

/* Replaces an owned string by a copy of `text` (NULL allowed; may be the string itself). */
void vm_set_text(char **slot, const char *text);

/* A growing array of VMs, owned. */
struct vm_list {
	struct vm *items;
	size_t count;
	size_t cap;
};

void vm_list_done(struct vm_list *list);
#define AUTO_VM_LIST CLEANUP(vm_list_done) struct vm_list
/* Room for one more, initialised by vm_init(); valid until the next call. */
struct vm *vm_list_add(struct vm_list *list);

/* Stable words, as stored and shown. The parsers leave *ret alone and return false when unknown. */
const char *vm_state_name(enum vm_state state);
bool vm_state_from_name(const char *name, enum vm_state *ret) MUST_CHECK;
const char *vm_intent_name(enum vm_intent intent); /* NULL for VM_INTENT_NONE */
/* Whether a VM that runs goes on running when what was begun is finished or undone. */
bool vm_intent_lets_run(enum vm_intent intent);
bool vm_intent_from_name(const char *name, enum vm_intent *ret) MUST_CHECK; /* NULL is none */

/* The verb as the CLI and RPC call it: "start". */
const char *vm_verb_name(enum vm_verb verb);

/* Whether the state allows the verb. */
bool vm_verb_allowed(enum vm_verb verb, enum vm_state state);

/* Whether a VM in that state has a process. */
bool vm_state_is_alive(enum vm_state state);

/* 0, or ERR_BAD_STATE "cannot pause 'x': it is stopped" with the cure as hint. */
int vm_check_verb(const struct vm *vm, enum vm_verb verb, struct err *err) MUST_CHECK;

/* The state after the verb succeeded; `before` for verbs that leave it as it was. */
enum vm_state vm_verb_result(enum vm_verb verb, enum vm_state before);

/*
 * "8080:80,0.0.0.0:2222:22": how published ports are stored. The parser wants exactly this form (""
 * is none; an address only where it is not the loopback's), each port 1 to 65535 and each host port
 * once at an address; *ret_ports and *ret_count are untouched when it says false.
 */
bool vm_ports_parse(const char *text, struct vm_port ret_ports[static VM_PORTS_MAX],
		    size_t *ret_count) MUST_CHECK;
void vm_ports_format(struct buf *out, const struct vm_port *ports, size_t count);

/*
 * What a user writes: "[[IP:][HOST]:]GUEST[/tcp]", where HOST 0 or none is any free port.
 * ERR_INVALID says what is wrong.
 */
int vm_port_read(const char *text, struct vm_port *ret, struct err *err) MUST_CHECK;

/* At most VM_PORTS_MAX, and none of them in another's way. */
int vm_ports_check(const struct vm_port *ports, size_t count, struct err *err) MUST_CHECK;

/* "127.0.0.1", and "127.0.0.1:8080". */
void vm_address_format(struct buf *out, uint32_t address);
void vm_port_format_host(struct buf *out, const struct vm_port *port);

/* The VM object of the RPC interface; owned by the caller. `runtime` may be NULL: then all is null.
 */
json_t *vm_to_json(const struct vm *vm, const struct vm_runtime *runtime) MUST_CHECK;
