/*
 * Firecracker's API without HTTP and without QEMU: a request goes in, an answer or an action comes
 * out. Tables decide everything: which paths and verbs there are, the shape of each body, and in
 * which phase of the microVM each is allowed.
 *
 * Order of the checks, as in Firecracker: verb and body presence, path, id, body, phase, then the
 * operation itself; what banger-vmm cannot do is refused last, in words.
 *
 * Known differences from Firecracker, on purpose: ids are ASCII; superfluous path elements are
 * refused; messages about bodies do not end with the line and column; PUT of a drive, pmem or
 * network interface after the start is refused as every other configuration is (there is no PCI to
 * plug into); a snapshot's file is of a format of our own, one that is being written is given up
 * when its client hangs up or the guest is to be resumed, GET / is answered meanwhile, and a load
 * that was refused leaves the process fit for another one (snapshot.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "vmmshim/config.h"

/* The release of Firecracker whose API this is; shown as vmm_version and firecracker_version. */
#define API_FIRECRACKER_VERSION "1.17.0"

enum api_phase { API_NOT_STARTED, API_RUNNING, API_PAUSED, API_PHASE_COUNT };

/* What the caller must do before there is an answer; api_complete() makes the answer. */
enum api_action {
	API_ANSWERED, /* nothing: the reply is filled */
	API_START,
	API_PAUSE,
	API_RESUME,
	API_CTRL_ALT_DEL,
	API_SET_BALLOON,	  /* `number`: the target in MiB */
	API_SET_BALLOON_INTERVAL, /* `number`: seconds */
	API_GET_BALLOON_STATS,
	API_CREATE_SNAPSHOT, /* api.snapshot_create says which */
	API_LOAD_SNAPSHOT,   /* api.snapshot_load does */
};

struct api_request {
	const char *method;
	const char *path;
	struct span body; /* empty: none */
};

struct api_reply {
	unsigned status;    /* of HTTP: 200, 204, 400 */
	bool is_deprecated; /* a deprecated field was used: header "Deprecation: true" */
	struct buf body;    /* JSON, empty with 204 */
};

struct api_outcome {
	enum api_action action;
	uint64_t number;
	json_t *result; /* of an answered GET; owned */
};

/* What happens at once, outside of the configuration. Each is MUST_CHECK in spirit: < 0 and `err`.
 */
struct api_ops {
	int (*set_logger)(void *context, const struct logger_body *logger, struct err *err);
	int (*set_metrics)(void *context, const struct metrics_body *metrics, struct err *err);
	int (*flush_metrics)(void *context, struct err *err);
};

struct api {
	struct vm_config config;
	enum api_phase phase;
	bool is_configured;			     /* something was that a snapshot has, too */
	struct snapshot_create_body snapshot_create; /* owned, until the action takes it */
	struct snapshot_load_body snapshot_load;     /* the same */
	const char *id;				     /* borrowed */
	const struct api_ops *ops;
	void *context;
};

void api_init(struct api *api, const char *id, const struct api_ops *ops, void *context);
void api_done(struct api *api);

/*
 * Handles a request and returns what is to be done; with API_ANSWERED `reply` is filled, otherwise
 * it is empty. The caller releases its body with buf_done(). `ret_number` belongs to the action.
 */
enum api_action api_handle(struct api *api, const struct api_request *request,
			   struct api_reply *reply, uint64_t *ret_number);

/* ERR_BAD_STATE with Firecracker's text unless the phase is in `when` (API_WHEN_*). */
int api_check_phase(const struct api *api, unsigned when, struct err *err) MUST_CHECK;

/* The answer after an action: 204 (or 200 with `result`, given), or 400 when `failure` is set. */
void api_complete(struct api_reply *reply, json_t *result, const struct err *failure);

/* Fills a fault: {"fault_message": TEXT}. */
void api_fault(struct api_reply *reply, unsigned status, const char *text);

/*
 * Applies the file of --config-file: the objects of GET /vm/config, boot-source and drives needed.
 * The first problem ends it.
 */
int api_load_config(struct api *api, struct span text, struct err *err) MUST_CHECK;

/*
 * The configuration of a snapshot, as GET /vm/config shows it: all but the boot source, logger and
 * metrics, and the serial device only where there is none yet. On failure the configuration is as
 * it was before.
 */
int api_restore_config(struct api *api, const json_t *config, struct err *err) MUST_CHECK;

/* The routes; a test tries each in each phase. */
#define API_WHEN_BEFORE (1U << API_NOT_STARTED)
#define API_WHEN_AFTER	(1U << API_RUNNING | 1U << API_PAUSED)
#define API_WHEN_ALWAYS (API_WHEN_BEFORE | API_WHEN_AFTER)

struct api_route {
	const char *method;
	const char *path;	   /* "/drives/{id}" */
	const struct shape *shape; /* of the body; NULL: none, or any JSON where has_any_body */
	bool has_any_body;	   /* any JSON document */
	bool is_body_optional;	   /* PATCH without a body is accepted */
	unsigned when;		   /* API_WHEN_*: the phases that allow it */
	const char *unsupported;   /* what to say instead of doing it, or NULL */
	int (*handle)(struct api *api, union any_body *body, struct api_outcome *ret,
		      struct err *err);
};

extern const struct api_route api_routes[];
extern const size_t api_route_count;
