/* What banger-vsock-agent does with its command line. */
#pragma once

#include "base/macros.h"

int agent_main(int argc, char **argv) MUST_CHECK;
