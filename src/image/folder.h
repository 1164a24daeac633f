/* Inside src/image: names in images/ that are not images, and the record's file. */
#pragma once

#include "base/err.h"
#include "base/macros.h"
#include "ext4/ext4.h"
#include "image/image.h"
#include "model/artifact.h"

#define FOLDER_NEW  ".new-" /* being made */
#define FOLDER_OLD  ".old-" /* being removed */
#define FOLDER_WORK ".work" /* inside one: mmdebstrap's temporary files */

/* PREFIX + name + "-" + random digits. 0 or -errno. */
int folder_name(const char *prefix, const char *name, char **ret) MUST_CHECK;

/* Opens `images_dir`, made when it is missing. */
int folder_make_images(const char *images_dir, int *ret_fd, struct err *err) MUST_CHECK;

/* Opens images/NAME; ERR_NOT_FOUND when there is none. */
int folder_open_image(const char *images_dir, const char *name, int *ret_fd, struct err *err)
	MUST_CHECK;

/* Writes image.json; `config` may be NULL. */
int folder_write_record(int dir_fd, const struct image_record *image,
			const struct ext4_summary *summary, const struct image_config *config,
			struct err *err) MUST_CHECK;

/* Reads image.json, which must be that of the image `name`. */
int folder_read_record(int dir_fd, const char *name, struct image_record *ret, struct err *err)
	MUST_CHECK;

/* Whether a configuration is within its limits. */
int folder_check_config(const struct image_config *config, struct err *err) MUST_CHECK;

/* Renames images/NAME aside and removes it; 0 when there is none. */
int folder_discard(int images_fd, const char *name, struct err *err) MUST_CHECK;
