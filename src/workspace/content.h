/*
 * Files of the host as a stream for `git fast-import` in a guest, made as it is read: a piece of
 * one file is all that is in memory. Each is hashed on its way once more: one that is no longer
 * what was planned ends the stream with ERR_BUSY.
 *
 * First come lists that go along, then files, then the tree that all files make, as a commit of
 * CONTENT_REF, by which what was shipped stays; its tree's name is what fast-import prints.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "workspace/git.h"
#include "workspace/hash.h"
#include "workspace/plan.h"
#include "workspace/worktree.h"

#define CONTENT_NOTES_MAX 8
#define CONTENT_REF	  "refs/banger/shipped"

struct content {
	int root_fd; /* borrowed */
	bool is_sha256;
	struct content_note {
		struct span head; /* borrowed, as the next */
		struct span rest;
	} notes[CONTENT_NOTES_MAX]; /* bytes that go along, first */
	size_t note_count;
	size_t next_note;
	struct span files; /* borrowed: what is left of a plan's `content` */
	struct span lines; /* borrowed: likewise of its `tree_info` */
	struct span base;  /* borrowed: the tree that the lines change; empty: none */
	enum content_part { CONTENT_BLOBS, CONTENT_TREE, CONTENT_END } part;

	struct worktree_file file; /* the one that is being sent */
	struct blob_hash hash;	   /* of it */
	char wanted[GIT_OID_HEX_MAX + 1];
	char *path;	  /* owned: its name, for messages */
	struct span now;  /* bytes that are there already: a note or a link's target */
	struct span next; /* and those behind them */
	struct buf head;  /* owned: commands, and what stands after the bytes */
	uint64_t left;	  /* of the file */
	bool is_open;
};

void content_init(struct content *content, int root_fd, bool is_sha256, const struct plan *plan,
		  struct span base);
/* Two pieces, as one: a long list and its head need not be copied together. */
void content_add_note(struct content *content, struct content_note note);
void content_done(struct content *content);
#define AUTO_CONTENT CLEANUP(content_done) struct content

/* The next bytes; 0 at the end. For guest_exec_io.read. */
ssize_t content_read(void *context, void *into, size_t size, struct err *err);
