/* One tar entry's attributes in our terms. */
#pragma once

#include <archive_entry.h>

#include "base/err.h"
#include "base/macros.h"
#include "ext4/writer.h"

/*
 * Mode (its type always set, from the entry's type), owners, time and extended attributes.
 * ERR_INVALID for a type, id or attribute that ext4 cannot hold.
 */
int tar_entry_attributes(struct ext4_writer *writer, struct archive_entry *entry,
			 struct tree_attributes *ret, struct err *err) MUST_CHECK;

/* A device's numbers. ERR_INVALID when they are over 12 and 20 bits. */
int tar_entry_device(struct archive_entry *entry, struct tree_inode *inode, struct err *err)
	MUST_CHECK;
