/* All commands, one file a noun (or a group of verbs); command.c puts them in order. */
#pragma once

#include "cli/command.h"

extern const struct command vm_run_command;
extern const struct command vm_create_command;
extern const struct command vm_list_command;
extern const struct command vm_show_command;
extern const struct command vm_start_command;
extern const struct command vm_stop_command;
extern const struct command vm_restart_command;
extern const struct command vm_kill_command;
extern const struct command vm_delete_command;
extern const struct command vm_pause_command;
extern const struct command vm_resume_command;
extern const struct command vm_fork_command;
extern const struct command vm_set_command;
extern const struct command vm_ssh_command;
extern const struct command vm_shell_command;
extern const struct command vm_exec_command;
extern const struct command vm_cp_command;
extern const struct command vm_workspace_prepare_command;
extern const struct command vm_logs_command;
extern const struct command vm_stats_command;
extern const struct command vm_health_command;
extern const struct command vm_ports_command;
extern const struct command vm_ping_command;
extern const struct command vm_prune_command;
extern const struct command vm_workspace_export_command;
extern const struct command image_list_command;
extern const struct command image_show_command;
extern const struct command image_pull_command;
extern const struct command image_delete_command;
extern const struct command image_catalog_command;
extern const struct command image_register_command;
extern const struct command image_promote_command;
extern const struct command image_cache_prune_command;
extern const struct command kernel_list_command;
extern const struct command kernel_show_command;
extern const struct command kernel_pull_command;
extern const struct command kernel_import_command;
extern const struct command kernel_rm_command;
extern const struct command template_list_command;
extern const struct command template_build_command;
extern const struct command template_delete_command;
extern const struct command daemon_status_command;
extern const struct command daemon_stop_command;
extern const struct command daemon_logs_command;
extern const struct command daemon_operations_list_command;
extern const struct command daemon_operations_cancel_command;
extern const struct command doctor_command;
extern const struct command ssh_config_command;
extern const struct command ssh_proxy_command;
extern const struct command completion_command;
extern const struct command version_command;
extern const struct command help_command_row;
