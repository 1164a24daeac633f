/* The files by which a folder says what tools mise is to bring; host and guest look for the same.
 */
#pragma once

#define WIRE_MISE_FILE_COUNT 3

extern const char *const wire_mise_files[WIRE_MISE_FILE_COUNT];
