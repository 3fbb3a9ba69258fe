import { setTimeout as delay } from 'node:timers/promises'
import { ContextdError } from '@contextd/protocol'
import type { DatabaseSyncInstance } from '@photostructure/sqlite'
import { cannotOpen, isBusy } from './errors.ts'

/** Version of the tables below. */
const schemaVersion = 1
/** Older ones can damage a file that two connections write and checkpoint at once. */
const oldestSqlite = [3, 51, 3]

const schema = `
CREATE TABLE contextd (schema INTEGER NOT NULL) STRICT;
INSERT INTO contextd VALUES (${schemaVersion});
-- One row for each context that has a row, records or locks; version NULL: no row, 0: absent.
CREATE TABLE contexts (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  -- Highest token of a lock; 0: none yet.
  last_token INTEGER NOT NULL DEFAULT 0,
  touched_at INTEGER NOT NULL DEFAULT 0,
  incarnation TEXT,
  version INTEGER,
  revision TEXT,
  created_at INTEGER,
  updated_at INTEGER,
  updated_by TEXT,
  snapshot_version INTEGER,
  snapshot_size INTEGER,
  first_version INTEGER,
  log_size INTEGER,
  since_snapshot_size INTEGER,
  schema INTEGER,
  restored INTEGER,
  -- committed_at of the first entry of the log; NULL: it is empty.
  oldest_at INTEGER
) STRICT;
CREATE INDEX contexts_absent ON contexts (updated_at) WHERE version IS NULL OR version = 0;
CREATE INDEX contexts_by_use ON contexts (max(updated_at, touched_at), id) WHERE version > 0;
CREATE INDEX contexts_by_log_age ON contexts (oldest_at) WHERE version > 0 AND oldest_at IS NOT NULL;
CREATE INDEX contexts_by_log_length ON contexts (version - first_version) WHERE version > 0;
CREATE TABLE snapshots (context INTEGER PRIMARY KEY, state TEXT NOT NULL) STRICT;
CREATE TABLE log (
  context INTEGER NOT NULL,
  version INTEGER NOT NULL,
  committed_at INTEGER NOT NULL,
  size INTEGER NOT NULL,
  revision TEXT NOT NULL,
  base_revision TEXT NOT NULL,
  entry TEXT NOT NULL,
  PRIMARY KEY (context, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE records (
  context INTEGER NOT NULL,
  key TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  last INTEGER NOT NULL,
  used_at INTEGER NOT NULL,
  verdicts TEXT NOT NULL,
  PRIMARY KEY (context, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX records_by_use ON records (context, used_at, key);
CREATE TABLE locks (
  context INTEGER NOT NULL,
  key TEXT NOT NULL,
  hold TEXT NOT NULL,
  token INTEGER NOT NULL,
  holder TEXT NOT NULL,
  since INTEGER NOT NULL,
  until INTEGER NOT NULL,
  PRIMARY KEY (context, key)
) STRICT, WITHOUT ROWID;
`

/**
 * Opens a file as a store of contextd, and makes it one if it is new.
 * @param patienceMs how long to wait for another process that holds it
 * @throws {ContextdError} `backend_unavailable` – with the file's name and what to do
 */
export async function openFile(file: string, patienceMs: number): Promise<DatabaseSyncInstance> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    try {
      // Loaded here, so that a server on another store does without the native module.
      const { DatabaseSync } = await import('@photostructure/sqlite')
      return prepared(new DatabaseSync(file, { timeout: 0 }), file)
    } catch (error) {
      if (!isBusy(error) || performance.now() >= deadline) throw cannotOpen(file, error)
    }
    await delay(20)
  }
}

function prepared(database: DatabaseSyncInstance, file: string): DatabaseSyncInstance {
  try {
    checkLibrary(database)
    // Looked at before anything is changed: another program's file stays as it is.
    const isNew = checkMarker(database, file)
    const mode = database.prepare('PRAGMA journal_mode = WAL').get() as { journal_mode: string }
    if (mode.journal_mode !== 'wal') throw refused(file, 'lies on a file system without shared memory. Use a local disk.')
    database.exec('PRAGMA synchronous = FULL')
    if (isNew) create(database, file)
    else database.exec('BEGIN IMMEDIATE; ROLLBACK')
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** Another process may have made the tables meanwhile. */
function create(database: DatabaseSyncInstance, file: string): void {
  database.exec('BEGIN IMMEDIATE')
  try {
    if (checkMarker(database, file)) database.exec(schema)
    database.exec('COMMIT')
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

/** Whether the file is empty; throws when it is somebody else's. */
function checkMarker(database: DatabaseSyncInstance, file: string): boolean {
  const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all() as { name: string }[]
  if (tables.length === 0) return true
  if (!tables.some(({ name }) => name === 'contextd')) throw refused(file, 'belongs to another program. Use another file.')
  const marker = database.prepare('SELECT * FROM contextd').get() as { schema?: number } | undefined
  if (marker?.schema === schemaVersion) return false
  if (typeof marker?.schema === 'number' && marker.schema > schemaVersion) {
    throw refused(file, `was written by a newer contextd (schema ${marker.schema}, this one knows ${schemaVersion}). Update contextd.`)
  }
  throw refused(file, 'is damaged, or belongs to another program. Restore it from a copy, or use another file.')
}

function checkLibrary(database: DatabaseSyncInstance): void {
  const { version } = database.prepare('SELECT sqlite_version() AS version').get() as { version: string }
  if (isRecentEnough(version)) return
  throw new ContextdError(
    'backend_unavailable',
    `SQLite ${version} can damage a file under load. SQLite ${oldestSqlite.join('.')} or newer is needed.`,
  )
}

/** Whether this SQLite may be used on a file that several connections write. */
export function isRecentEnough(version: string): boolean {
  const parts = version.split('.').map(Number)
  for (const [index, oldest] of oldestSqlite.entries()) {
    const part = parts[index] ?? 0
    if (part !== oldest) return part > oldest
  }
  return true
}

const refused = (file: string, reason: string): ContextdError =>
  new ContextdError('backend_unavailable', `The SQLite file ${file} ${reason}`)
