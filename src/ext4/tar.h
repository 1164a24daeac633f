/* From tar streams into a writer: the one place that looks at what archives say. */
#pragma once

#include "base/err.h"
#include "base/macros.h"
#include "ext4/writer.h"

/* One of the tars that make up a file system. */
struct tar_source {
	int fd;				 /* borrowed, as the next two */
	const struct cancel *cancel;	 /* NULL: nobody */
	const struct progress *progress; /* NULL: nobody */
	bool is_layer;			 /* has whiteouts, and may be without entries */
};

/*
 * Reads to the archive's end. Adds to entries and content_bytes of `summary`, and reckons what was
 * there before into the limits.
 */
int tar_read(struct ext4_writer *writer, const struct tar_source *source,
	     const struct ext4_limits *limits, struct ext4_summary *summary, struct err *err)
	MUST_CHECK;

/* Makes libarchive load what it loads late. */
int tar_warm_up(struct err *err) MUST_CHECK;
