/* How banger-vmm confines itself; sandbox.c has the theory. */
#pragma once

#include "base/err.h"
#include "base/macros.h"

/* Before anything else: nothing inherited but standard input, output and error. */
int sandbox_begin(struct err *err) MUST_CHECK;
