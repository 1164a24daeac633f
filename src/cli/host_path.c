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

char *host_path_reference(const char *text)
{
	static const char *const schemes[] = { "oci:", "docker-archive:" };

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		AUTO_FREE char *path = NULL;

		if (!str_starts(text, schemes[i]))
			continue;
		if (text[strlen(schemes[i])] == '\0')
			break; /* not the folder that we are in: nobody has named it */
		path = host_path_absolute(text + strlen(schemes[i]));
		return mem_printf("%s%s", schemes[i], path);
	}
	return mem_strdup(text);
}
