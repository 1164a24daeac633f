/*
 * Options as rows. One table per command drives parsing, --help, the --no- forms, completion and
 * the check of the man page. `--` ends the options: what follows is a command for the guest and is
 * never looked at. Options and operands may be mixed before it; the last of a repeated option
 * counts.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/strv.h"

enum opt_type {
	OPT_FLAG,     /* bool; --no-NAME takes it back */
	OPT_FLAG_ON,  /* bool, true unless --no-NAME, which is the form that help shows */
	OPT_MAYBE,    /* struct opt_maybe; --NAME or --no-NAME */
	OPT_STRING,   /* const char *, borrowed from argv */
	OPT_STRINGS,  /* struct strv; may be repeated */
	OPT_NUMBER,   /* struct opt_number */
	OPT_SIZE,     /* struct opt_number, in bytes */
	OPT_DURATION, /* struct opt_number, in milliseconds */
};

struct opt_maybe {
	bool is_set;
	bool value;
};

struct opt_number {
	bool is_set;
	uint64_t value;
};

/* What a shell may offer in this place. */
enum opt_completes {
	COMPLETES_NOTHING,
	COMPLETES_VM,
	COMPLETES_IMAGE, /* also one of the catalog, which is not there yet */
	COMPLETES_IMAGE_HERE,
	COMPLETES_KERNEL,
	COMPLETES_TEMPLATE,
	COMPLETES_SNAPSHOT, /* of the VM before it */
	COMPLETES_NEW_NAME, /* which nobody has yet: nothing is offered */
	COMPLETES_COMMAND,  /* help's nouns and verbs */
	COMPLETES_SHELL,
	COMPLETES_FILE,
	COMPLETES_FOLDER,
	COMPLETES_PLACE, /* a file of the host, or VM: */
};

struct opt {
	enum opt_type type;
	char letter;	     /* 0 for none */
	const char *name;    /* without the dashes, and without "no-" */
	size_t offset;	     /* in the command's argument struct */
	const char *metavar; /* NULL for flags */
	const char *help;
	uint64_t min;  /* OPT_NUMBER, OPT_SIZE, OPT_DURATION; in bytes or milliseconds */
	uint64_t max;  /* 0: UINT64_MAX */
	uint64_t unit; /* OPT_SIZE: what a number without a unit counts; 0: bytes */
	/* A further rule for OPT_STRING and OPT_STRINGS; fills `err` with a message that quotes it.
	 */
	int (*check)(const char *text, struct err *err);
	/* A further rule for a number in range, likewise. */
	int (*check_number)(uint64_t value, struct err *err);
	/* Added to a range error, such as "this host has 2 cpus"; may add nothing. */
	void (*note)(struct buf *out);
	enum opt_completes completes;
	const char *const *choices; /* words to offer, NULL-terminated; NULL for none */
};

/* A table and the struct that it fills. */
struct opt_group {
	const struct opt *rows;
	size_t count;
	void *into;
};

struct opt_parsed {
	const char **operands; /* owned array of words borrowed from argv */
	size_t operand_count;
	char **command; /* borrowed: argv after `--`, NULL-terminated; NULL when there was no `--`
			 */
	size_t command_count;
	bool has_unknown; /* it failed of an option that is none */
};

#define OPT_PARSED_INIT ((struct opt_parsed){ .operands = NULL })

/* Sets the flags that are on by default; the structs are zero otherwise. */
void opt_defaults(const struct opt_group *groups, size_t group_count);

/*
 * Parses argv[0 .. argc). ERR_INVALID with a message that quotes what was wrong and suggests the
 * nearest option. Release with opt_parsed_done() also after a failure.
 */
int opt_parse(const struct opt_group *groups, size_t group_count, int argc, char **argv,
	      struct opt_parsed *ret, struct err *err) MUST_CHECK;

/* Parses options up to the first operand or `--`: *ret_used words were taken. */
int opt_parse_leading(const struct opt_group *groups, size_t group_count, int argc, char **argv,
		      int *ret_used, struct err *err) MUST_CHECK;

void opt_parsed_done(struct opt_parsed *parsed);

/* Releases the lists that parsing made. */
void opt_groups_done(const struct opt_group *groups, size_t group_count);
