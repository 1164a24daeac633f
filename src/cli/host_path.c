#include "cli/host_path.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"

char *host_path_absolute(const char *path)
{
	char folder[PATH_MAX];

	if (path[0] == '/' || !getcwd(folder, sizeof(folder)))
		return mem_strdup(path);
	return mem_printf("%s/%s", folder, path);
}

static char *with_scheme(const char *scheme, const char *relative)
{
	AUTO_FREE char *path = host_path_absolute(relative);

	return mem_printf("%s%s", scheme, path);
}

char *host_path_reference(const char *text)
{
	static const char *const schemes[] = { "oci:", "docker-archive:" };

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		/* A scheme alone does not mean the folder that we are in: nobody has named it. */
		if (str_starts(text, schemes[i]) && text[strlen(schemes[i])] != '\0')
			return with_scheme(schemes[i], text + strlen(schemes[i]));
	}
	return mem_strdup(text);
}
