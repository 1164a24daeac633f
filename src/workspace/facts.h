/* What a repository is, asked before anything is made for it. */
#pragma once

#include <stdbool.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/strv.h"
#include "workspace/git.h"

struct facts_wish {
	const char *branch; /* the branch that the guest is to have; NULL: the host's */
	const char *from;   /* where it begins; NULL: HEAD */
	bool is_full;	    /* with its history */
};

struct facts {
	char *host_head;  /* owned, as all: the host's HEAD, NULL before the first commit */
	char *head;	  /* what the guest is to have as HEAD: the same, or `from` */
	char *branch;	  /* without refs/heads/; NULL: detached */
	bool is_named;	  /* by the wish */
	bool has_parents; /* of `head`: the guest's history ends there unless it gets all of it */
	char *origin;	  /* without credentials; NULL: none that a guest could use */
	bool lost_origin; /* there is one, and it is not passed on */
	char *user_name;
	char *user_email;
	char *shallow;	   /* "OID\n...": where the host's own history ends; NULL */
	bool ignores_mode; /* core.fileMode=false: the file system does not know what is executable
			    */
};

#define FACTS_INIT ((struct facts){ .host_head = NULL })

/*
 * ERR_INVALID for a wish that cannot be met, ERR_UNSUPPORTED for a partial clone that lacks objects
 * which the guest would need.
 */
int facts_read(const struct git *git, const struct facts_wish *wish, const struct cancel *cancel,
	       struct facts *ret, struct err *err) MUST_CHECK;
void facts_done(struct facts *facts);
#define AUTO_FACTS CLEANUP(facts_done) struct facts
