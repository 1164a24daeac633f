/* What every fuzz target defines (libFuzzer's interface). It must abort when its property does not
 * hold. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
