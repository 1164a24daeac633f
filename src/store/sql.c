/* Every statement. The columns of a list are in the order of its table of columns (rows.c). */
#include "store/private.h"

#define VM_COLUMNS                                                                             \
	"id, name, state, intent, intent_step, image, kernel, vcpu, memory_bytes, disk_bytes," \
	" system_overlay_bytes, nat, ports, ephemeral, ip, boot_id, tap_name, dm_name,"        \
	" loop_names, last_error, guest_path, host_path, head, created_at, started_at,"        \
	" used_at_ms, net_index, fingerprint, workspace_branch, workspace_from,"               \
	" workspace_mode, workspace_untracked, workspace_pending"

#define VM_VALUES                                                                               \
	"?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19," \
	" ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33"

#define IMAGE_COLUMNS                                                                           \
	"name, state, kind, recipe, kernel, source, digest, size_bytes, used_bytes, has_init, " \
	"built_at"

#define IMAGE_IN_USE "(SELECT count(*) FROM vms WHERE vms.image = images.name)"

#define KERNEL_COLUMNS                                                                      \
	"name, state, kind, package, version, release, has_elf, has_bzimage, module_count," \
	" size_bytes, pulled_at"

#define KERNEL_IN_USE "(SELECT count(*) FROM vms WHERE vms.kernel = kernels.name)"

#define TEMPLATE_COLUMNS                                                                    \
	"id, key, image, kernel, vcpu, memory_bytes, system_bytes, work_bytes, used_bytes," \
	" created_at, used_at, build_ms"

#define SNAPSHOT_COLUMNS                                                                           \
	"id, vm_id, name, machine_key, state_sha256, memory_file, memory_size, memory_changed_ns," \
	" system_file, system_size, system_changed_ns, work_file, work_size, work_changed_ns,"     \
	" vcpu, memory_bytes, system_bytes, work_bytes, guest_path, host_path, head,"              \
	" fingerprint, workspace_branch, workspace_from, workspace_mode, workspace_untracked,"     \
	" workspace_pending, used_bytes, pause_us, created_at"

const char *const store_sql[QUERY_COUNT] = {
	[QUERY_BEGIN] = "BEGIN IMMEDIATE",
	[QUERY_COMMIT] = "COMMIT",
	[QUERY_ROLLBACK] = "ROLLBACK",

	[QUERY_VM_INSERT] = "INSERT INTO vms (" VM_COLUMNS ") VALUES (" VM_VALUES ")",
	[QUERY_VM_UPDATE] = "UPDATE vms SET (" VM_COLUMNS ") = (" VM_VALUES ") WHERE id = ?1",
	[QUERY_VM_SET_STATE] = "UPDATE vms SET state = ?2, last_error = ?3,"
			       " intent = NULL, intent_step = NULL WHERE id = ?1",
	[QUERY_VM_SET_STARTED] =
		"UPDATE vms SET state = 'running', last_error = NULL,"
		" intent = NULL, intent_step = NULL, started_at = ?2, boot_id = ?3,"
		" used_at_ms = 0 WHERE id = ?1",
	[QUERY_VM_SET_INTENT] = "UPDATE vms SET intent = ?2, intent_step = ?3 WHERE id = ?1",
	[QUERY_VM_SET_USED] = "UPDATE vms SET used_at_ms = ?2 WHERE id = ?1",
	[QUERY_VM_SET_ADDRESS] = "UPDATE vms SET net_index = ?2, ip = ?3 WHERE id = ?1",
	[QUERY_VM_SET_WORKSPACE] =
		"UPDATE vms SET guest_path = ?2, host_path = ?3, head = ?4, fingerprint = ?5,"
		" workspace_branch = ?6, workspace_from = ?7, workspace_mode = ?8,"
		" workspace_untracked = ?9, workspace_pending = ?10 WHERE id = ?1",
	[QUERY_VM_NET_INDEXES] = "SELECT net_index FROM vms WHERE net_index > 0 ORDER BY net_index",
	[QUERY_VM_DELETE] = "DELETE FROM vms WHERE id = ?1",
	[QUERY_VM_GET] = "SELECT " VM_COLUMNS " FROM vms WHERE id = ?1",
	[QUERY_VM_LIST] = "SELECT " VM_COLUMNS " FROM vms ORDER BY seq",
	[QUERY_VM_COUNT] = "SELECT count(*),"
			   " count(*) FILTER (WHERE state IN ('running', 'paused')) FROM vms",
	[QUERY_VM_ID_OF_NAME] = "SELECT id FROM vms WHERE name = ?1",
	[QUERY_VM_EXISTS] = "SELECT 1 FROM vms WHERE id = ?1",
	[QUERY_VM_COUNT_OF_IMAGE] = "SELECT count(*) FROM vms WHERE image = ?1",
	[QUERY_VM_COUNT_OF_KERNEL] = "SELECT count(*) FROM vms WHERE kernel = ?1",

	[QUERY_IMAGE_PUT] = "INSERT INTO images (" IMAGE_COLUMNS ")"
			    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
			    " ON CONFLICT (name) DO UPDATE SET state = ?2, kind = ?3, recipe = ?4,"
			    " kernel = ?5, source = ?6, digest = ?7, size_bytes = ?8,"
			    " used_bytes = ?9, has_init = ?10, built_at = ?11",
	[QUERY_IMAGE_SET_STATE] = "UPDATE images SET state = ?2 WHERE name = ?1",
	[QUERY_IMAGE_DELETE] = "DELETE FROM images WHERE name = ?1",
	[QUERY_IMAGE_GET] =
		"SELECT " IMAGE_COLUMNS ", " IMAGE_IN_USE " FROM images WHERE name = ?1",
	[QUERY_IMAGE_LIST] = "SELECT " IMAGE_COLUMNS ", " IMAGE_IN_USE " FROM images ORDER BY name",
	[QUERY_IMAGE_STATE] = "SELECT state FROM images WHERE name = ?1",

	[QUERY_KERNEL_PUT] =
		"INSERT INTO kernels (" KERNEL_COLUMNS ")"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
		" ON CONFLICT (name) DO UPDATE SET state = ?2, kind = ?3, package = ?4,"
		" version = ?5, release = ?6, has_elf = ?7, has_bzimage = ?8,"
		" module_count = ?9, size_bytes = ?10, pulled_at = ?11",
	[QUERY_KERNEL_SET_STATE] = "UPDATE kernels SET state = ?2 WHERE name = ?1",
	[QUERY_KERNEL_DELETE] = "DELETE FROM kernels WHERE name = ?1",
	[QUERY_KERNEL_GET] =
		"SELECT " KERNEL_COLUMNS ", " KERNEL_IN_USE " FROM kernels WHERE name = ?1",
	[QUERY_KERNEL_LIST] =
		"SELECT " KERNEL_COLUMNS ", " KERNEL_IN_USE " FROM kernels ORDER BY name",
	[QUERY_KERNEL_STATE] = "SELECT state FROM kernels WHERE name = ?1",

	[QUERY_TEMPLATE_INSERT] = "INSERT INTO templates (" TEMPLATE_COLUMNS ")"
				  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
	[QUERY_TEMPLATE_SET_USED] = "UPDATE templates SET used_at = ?2 WHERE id = ?1",
	[QUERY_TEMPLATE_DELETE] = "DELETE FROM templates WHERE id = ?1",
	[QUERY_TEMPLATE_FIND] = "SELECT " TEMPLATE_COLUMNS " FROM templates WHERE key = ?1",
	[QUERY_TEMPLATE_LIST] =
		"SELECT " TEMPLATE_COLUMNS " FROM templates ORDER BY used_at DESC, created_at DESC",

	[QUERY_SNAPSHOT_INSERT] =
		"INSERT INTO snapshots (" SNAPSHOT_COLUMNS ")"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,"
		" ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30)",
	[QUERY_SNAPSHOT_DELETE] = "DELETE FROM snapshots WHERE id = ?1",
	[QUERY_SNAPSHOT_GET] = "SELECT " SNAPSHOT_COLUMNS " FROM snapshots WHERE id = ?1",
	[QUERY_SNAPSHOT_LIST] = "SELECT " SNAPSHOT_COLUMNS " FROM snapshots ORDER BY seq",
	[QUERY_SNAPSHOT_LIST_OF] =
		"SELECT " SNAPSHOT_COLUMNS " FROM snapshots WHERE vm_id = ?1 ORDER BY seq",
};
