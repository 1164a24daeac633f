/* `doctor --plan` and `doctor --census`: from the daemon or, when none runs, from a look without
 * one. Neither starts it, since a daemon that starts puts things right. */
#pragma once

struct cli;

int doctor_print_plan(struct cli *cli);
int doctor_print_census(struct cli *cli);
