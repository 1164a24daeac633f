/* From a tar stream into a writer: the one place that looks at what the archive says. */
#pragma once

#include "base/err.h"
#include "base/macros.h"
#include "ext4/writer.h"

/* Reads to the archive's end. Sets entries and content_bytes of `ret`. */
int tar_read(struct ext4_writer *writer, const struct ext4_input *input,
	     const struct ext4_limits *limits, struct ext4_summary *ret, struct err *err)
	MUST_CHECK;

/* Makes libarchive load what it loads late. */
int tar_warm_up(struct err *err) MUST_CHECK;
