#include "wire/mise.h"

const char *const wire_mise_files[WIRE_MISE_FILE_COUNT] = { ".mise.toml", "mise.toml",
							    ".tool-versions" };
