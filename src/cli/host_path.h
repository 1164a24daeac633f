/* Paths that the user types, for a daemon that works in another folder. */
#pragma once

#include "base/macros.h"

/* `path` behind the present folder, unless it is absolute; unchanged when there is no present
 * folder. */
char *host_path_absolute(const char *path) MUST_CHECK;

/* An image's reference with the path in it ("oci:DIR", "docker-archive:FILE") made absolute. */
char *host_path_reference(const char *text) MUST_CHECK;
