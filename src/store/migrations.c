#include "store/migrations.h"

#include <inttypes.h>

#include "base/buf.h"
#include "base/clock.h"
#include "store/private.h"

/*
 * Never change an entry that was released: add one. Times are seconds since 1970, 0 when there is
 * none. A VM cannot lose its image or kernel: the references say so.
 */
const struct migration store_migrations[] = {
	{ "VMs, images and kernels",
	  "CREATE TABLE images ("
	  "  name       TEXT PRIMARY KEY,"
	  "  state      TEXT NOT NULL CHECK (state IN ('pulling', 'ready', 'deleting')),"
	  "  kind       TEXT,"
	  "  recipe     TEXT,"
	  "  kernel     TEXT,"
	  "  sha256     TEXT,"
	  "  size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),"
	  "  used_bytes INTEGER NOT NULL CHECK (used_bytes >= 0),"
	  "  has_init   INTEGER NOT NULL CHECK (has_init IN (0, 1)),"
	  "  built_at   INTEGER NOT NULL"
	  ") STRICT, WITHOUT ROWID;"
	  "CREATE TABLE kernels ("
	  "  name         TEXT PRIMARY KEY,"
	  "  state        TEXT NOT NULL CHECK (state IN ('pulling', 'ready', 'deleting')),"
	  "  kind         TEXT,"
	  "  package      TEXT,"
	  "  version      TEXT,"
	  "  release      TEXT,"
	  "  has_elf      INTEGER NOT NULL CHECK (has_elf IN (0, 1)),"
	  "  has_bzimage  INTEGER NOT NULL CHECK (has_bzimage IN (0, 1)),"
	  "  module_count INTEGER NOT NULL CHECK (module_count >= 0),"
	  "  size_bytes   INTEGER NOT NULL CHECK (size_bytes >= 0),"
	  "  pulled_at    INTEGER NOT NULL"
	  ") STRICT, WITHOUT ROWID;"
	  "CREATE TABLE vms ("
	  "  seq                  INTEGER PRIMARY KEY,"
	  "  id                   TEXT NOT NULL UNIQUE CHECK (length(id) = 32),"
	  "  name                 TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 63),"
	  "  state                TEXT NOT NULL"
	  "    CHECK (state IN ('created', 'running', 'paused', 'stopped', 'error')),"
	  "  intent               TEXT CHECK (intent IN ('create', 'start', 'stop', 'delete')),"
	  "  intent_step          TEXT,"
	  "  image                TEXT NOT NULL REFERENCES images (name),"
	  "  kernel               TEXT NOT NULL REFERENCES kernels (name),"
	  "  vcpu                 INTEGER NOT NULL CHECK (vcpu > 0),"
	  "  memory_bytes         INTEGER NOT NULL CHECK (memory_bytes > 0),"
	  "  disk_bytes           INTEGER NOT NULL CHECK (disk_bytes > 0),"
	  "  system_overlay_bytes INTEGER NOT NULL CHECK (system_overlay_bytes > 0),"
	  "  nat                  INTEGER NOT NULL CHECK (nat IN (0, 1)),"
	  "  ports                TEXT NOT NULL,"
	  "  ephemeral            INTEGER NOT NULL CHECK (ephemeral IN (0, 1)),"
	  "  ip                   TEXT,"
	  "  boot_id              TEXT,"
	  "  tap_name             TEXT,"
	  "  dm_name              TEXT,"
	  "  loop_names           TEXT,"
	  "  last_error           TEXT,"
	  "  guest_path           TEXT,"
	  "  host_path            TEXT,"
	  "  head                 TEXT,"
	  "  created_at           INTEGER NOT NULL,"
	  "  started_at           INTEGER NOT NULL"
	  ") STRICT;"
	  "CREATE INDEX vms_by_image ON vms (image);"
	  "CREATE INDEX vms_by_kernel ON vms (kernel);" },
	{ "where images come from", "ALTER TABLE images DROP COLUMN sha256;"
				    "ALTER TABLE images ADD COLUMN source TEXT;"
				    "ALTER TABLE images ADD COLUMN digest TEXT;" },
	/* Which intents there are is the program's affair: rows.c refuses those it does not know.
	 */
	{ "when VMs were used last, and any intent",
	  "CREATE TABLE vms_3 ("
	  "  seq                  INTEGER PRIMARY KEY,"
	  "  id                   TEXT NOT NULL UNIQUE CHECK (length(id) = 32),"
	  "  name                 TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 63),"
	  "  state                TEXT NOT NULL"
	  "    CHECK (state IN ('created', 'running', 'paused', 'stopped', 'error')),"
	  "  intent               TEXT,"
	  "  intent_step          TEXT,"
	  "  image                TEXT NOT NULL REFERENCES images (name),"
	  "  kernel               TEXT NOT NULL REFERENCES kernels (name),"
	  "  vcpu                 INTEGER NOT NULL CHECK (vcpu > 0),"
	  "  memory_bytes         INTEGER NOT NULL CHECK (memory_bytes > 0),"
	  "  disk_bytes           INTEGER NOT NULL CHECK (disk_bytes > 0),"
	  "  system_overlay_bytes INTEGER NOT NULL CHECK (system_overlay_bytes > 0),"
	  "  nat                  INTEGER NOT NULL CHECK (nat IN (0, 1)),"
	  "  ports                TEXT NOT NULL,"
	  "  ephemeral            INTEGER NOT NULL CHECK (ephemeral IN (0, 1)),"
	  "  ip                   TEXT,"
	  "  boot_id              TEXT,"
	  "  tap_name             TEXT,"
	  "  dm_name              TEXT,"
	  "  loop_names           TEXT,"
	  "  last_error           TEXT,"
	  "  guest_path           TEXT,"
	  "  host_path            TEXT,"
	  "  head                 TEXT,"
	  "  created_at           INTEGER NOT NULL,"
	  "  started_at           INTEGER NOT NULL,"
	  "  used_at_ms           INTEGER NOT NULL DEFAULT 0 CHECK (used_at_ms >= 0)"
	  ") STRICT;"
	  "INSERT INTO vms_3"
	  "  SELECT seq, id, name, state, intent, intent_step, image, kernel, vcpu, memory_bytes,"
	  "    disk_bytes, system_overlay_bytes, nat, ports, ephemeral, ip, boot_id, tap_name,"
	  "    dm_name, loop_names, last_error, guest_path, host_path, head, created_at,"
	  "    started_at, 0"
	  "  FROM vms;"
	  "DROP TABLE vms;"
	  "ALTER TABLE vms_3 RENAME TO vms;"
	  "CREATE INDEX vms_by_image ON vms (image);"
	  "CREATE INDEX vms_by_kernel ON vms (kernel);" },
	{ "addresses of VMs",
	  "ALTER TABLE vms ADD COLUMN net_index INTEGER NOT NULL DEFAULT 0 CHECK (net_index >= 0);"
	  "CREATE UNIQUE INDEX vms_by_net_index ON vms (net_index) WHERE net_index > 0;" },
	{ "what a checkout looked like", "ALTER TABLE vms ADD COLUMN fingerprint TEXT;" },
	{ "how a checkout was asked for",
	  "ALTER TABLE vms ADD COLUMN workspace_branch TEXT;"
	  "ALTER TABLE vms ADD COLUMN workspace_from TEXT;"
	  "ALTER TABLE vms ADD COLUMN workspace_mode TEXT;"
	  "ALTER TABLE vms ADD COLUMN workspace_untracked INTEGER NOT NULL DEFAULT 0"
	  "  CHECK (workspace_untracked IN (0, 1));"
	  "ALTER TABLE vms ADD COLUMN workspace_pending INTEGER NOT NULL DEFAULT 0"
	  "  CHECK (workspace_pending IN (0, 1));" },
	{ "templates", "CREATE TABLE templates ("
		       "  id           TEXT PRIMARY KEY CHECK (length(id) = 32),"
		       "  key          TEXT NOT NULL UNIQUE CHECK (length(key) = 64),"
		       "  image        TEXT NOT NULL REFERENCES images (name) ON DELETE CASCADE,"
		       "  kernel       TEXT NOT NULL REFERENCES kernels (name) ON DELETE CASCADE,"
		       "  vcpu         INTEGER NOT NULL CHECK (vcpu > 0),"
		       "  memory_bytes INTEGER NOT NULL CHECK (memory_bytes > 0),"
		       "  system_bytes INTEGER NOT NULL CHECK (system_bytes > 0),"
		       "  work_bytes   INTEGER NOT NULL CHECK (work_bytes > 0),"
		       "  used_bytes   INTEGER NOT NULL CHECK (used_bytes >= 0),"
		       "  created_at   INTEGER NOT NULL,"
		       "  used_at      INTEGER NOT NULL,"
		       "  build_ms     INTEGER NOT NULL CHECK (build_ms >= 0)"
		       ") STRICT, WITHOUT ROWID;"
		       "CREATE INDEX templates_by_image ON templates (image);"
		       "CREATE INDEX templates_by_kernel ON templates (kernel);" },
	{ "snapshots",
	  "CREATE TABLE snapshots ("
	  "  seq               INTEGER PRIMARY KEY,"
	  "  id                TEXT NOT NULL UNIQUE CHECK (length(id) = 32),"
	  "  vm_id             TEXT NOT NULL REFERENCES vms (id) ON DELETE CASCADE,"
	  "  name              TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 63),"
	  "  key               TEXT NOT NULL CHECK (length(key) = 64),"
	  "  state_sha256      TEXT NOT NULL CHECK (length(state_sha256) = 64),"
	  "  memory_file       TEXT NOT NULL,"
	  "  memory_size       INTEGER NOT NULL CHECK (memory_size >= 0),"
	  "  memory_changed_ns INTEGER NOT NULL,"
	  "  system_file       TEXT NOT NULL,"
	  "  system_size       INTEGER NOT NULL CHECK (system_size >= 0),"
	  "  system_changed_ns INTEGER NOT NULL,"
	  "  work_file         TEXT NOT NULL,"
	  "  work_size         INTEGER NOT NULL CHECK (work_size >= 0),"
	  "  work_changed_ns   INTEGER NOT NULL,"
	  "  vcpu              INTEGER NOT NULL CHECK (vcpu > 0),"
	  "  memory_bytes      INTEGER NOT NULL CHECK (memory_bytes > 0),"
	  "  system_bytes      INTEGER NOT NULL CHECK (system_bytes > 0),"
	  "  work_bytes        INTEGER NOT NULL CHECK (work_bytes > 0),"
	  "  guest_path        TEXT,"
	  "  host_path         TEXT,"
	  "  head              TEXT,"
	  "  fingerprint       TEXT,"
	  "  workspace_branch  TEXT,"
	  "  workspace_from    TEXT,"
	  "  workspace_mode    TEXT,"
	  "  workspace_untracked INTEGER NOT NULL CHECK (workspace_untracked IN (0, 1)),"
	  "  workspace_pending INTEGER NOT NULL CHECK (workspace_pending IN (0, 1)),"
	  "  used_bytes        INTEGER NOT NULL CHECK (used_bytes >= 0),"
	  "  pause_us          INTEGER NOT NULL CHECK (pause_us >= 0),"
	  "  created_at        INTEGER NOT NULL,"
	  "  UNIQUE (vm_id, name)"
	  ") STRICT;" },
	{ "what a snapshot needs, part by part",
	  "ALTER TABLE snapshots DROP COLUMN key;"
	  "ALTER TABLE snapshots ADD COLUMN machine_key TEXT;" },
};
const size_t store_migration_count = ARRAY_LEN(store_migrations);

int migrations_version(struct connection *connection, int64_t *ret, struct err *err)
{
	static const char doing[] = "read the schema's version";
	int64_t has_table = 0;
	int r;

	r = connection_number(connection,
			      "SELECT count(*) FROM sqlite_schema"
			      " WHERE type = 'table' AND name = 'schema_migrations'",
			      &has_table, err, doing);
	if (r < 0)
		return r;
	if (!has_table) {
		*ret = 0;
		return 0;
	}
	return connection_number(connection,
				 "SELECT coalesce(max(version), 0) FROM schema_migrations", ret,
				 err, doing);
}

/* The row that says it was done; prepared here because it is needed once in a database's life. */
static int record(struct connection *connection, int64_t version, const char *name, struct err *err)
{
	static const char doing[] = "record a migration";
	sqlite3_stmt *statement = NULL;
	AUTO_BUF now = BUF_INIT;
	int code, r = 0;

	code = sqlite3_prepare_v2(connection->db,
				  "INSERT INTO schema_migrations (version, name, applied_at)"
				  " VALUES (?1, ?2, ?3)",
				  -1, &statement, NULL);
	if (code == SQLITE_OK) {
		clock_format_utc(&now, clock_wall_seconds());
		statement_bind_number(statement, 1, version);
		statement_bind_text(statement, 2, name);
		statement_bind_text(statement, 3, now.ptr);
		code = sqlite3_step(statement);
	}
	if (code != SQLITE_DONE)
		r = connection_fail(connection, code, err, doing);
	(void)sqlite3_finalize(statement);
	return r;
}

/* The next migration, if one is still missing now that the database is locked: 1 applied, 0 none
 * left. */
static int apply_next(struct connection *connection, const struct migration *table, size_t count,
		      struct err *err)
{
	int64_t version = 0;
	int r;

	r = connection_exec(connection,
			    "CREATE TABLE IF NOT EXISTS schema_migrations ("
			    "  version    INTEGER PRIMARY KEY,"
			    "  name       TEXT NOT NULL,"
			    "  applied_at TEXT NOT NULL"
			    ") STRICT",
			    err, "prepare for migrations");
	if (r == 0)
		r = migrations_version(connection, &version, err);
	if (r < 0)
		return r;

	if (version < 0 || (uint64_t)version > count)
		return err_set(err, ERR_UNSUPPORTED,
			       "the state database '%s' was made by a newer version of banger "
			       "(schema %" PRId64 ", this one knows %zu)",
			       connection->path, version, count);
	if ((uint64_t)version == count)
		return 0;

	r = connection_exec(connection, table[version].sql, err, table[version].name);
	if (r == 0)
		r = record(connection, version + 1, table[version].name, err);
	return r < 0 ? r : 1;
}

int migrations_apply(struct connection *connection, const struct migration *table, size_t count,
		     struct err *err)
{
	static const char doing[] = "migrate";
	struct err ignored = ERR_INIT;
	int applied;

	do {
		int r = connection_exec(connection, "BEGIN IMMEDIATE", err, doing);
		if (r < 0)
			return r;

		applied = apply_next(connection, table, count, err);
		r = applied < 0 ? applied : connection_exec(connection, "COMMIT", err, doing);
		if (r < 0) {
			(void)!connection_exec(connection, "ROLLBACK", &ignored, doing);
			return r;
		}
	} while (applied > 0);
	return 0;
}
