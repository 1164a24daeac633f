/*
 * PID 1 of the initramfs: modules, root, work disk, identity; then the agent, in the new root, and
 * the image's init, or ours where it has none. What goes wrong is one line on the console; where
 * the VM would be of no use, the machine then ends.
 */
#pragma once

#include "base/macros.h"

/* argv[0] lies in the memory that `ps` shows: the agent puts its name there. */
NORETURN void init_run(int argc, char **argv);
