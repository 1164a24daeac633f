/* From a tar stream into a writer: the one place that looks at what the archive says. */
#pragma once

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "ext4/writer.h"

/* Reads to the archive's end. Sets entries and content_bytes of `ret`. */
int tar_read(struct ext4_writer *writer, int tar_fd, const struct ext4_limits *limits,
	     const struct cancel *cancel, const struct progress *progress, struct ext4_summary *ret,
	     struct err *err) MUST_CHECK;

/* Makes libarchive load what it loads late. */
int tar_warm_up(struct err *err) MUST_CHECK;
