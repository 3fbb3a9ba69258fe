import type { DatabaseSyncInstance, StatementSyncInstance } from '@photostructure/sqlite'
import { recordsPrunedPerStep } from '../../commits/commit-step.ts'
import { internalPrefix } from '../backend.ts'

/** A context's row as SQLite keeps it; version NULL: it has none. */
export interface ContextColumns {
  readonly number: number
  readonly incarnation: string
  readonly version: number | null
  readonly revision: string
  readonly created_at: number
  readonly updated_at: number
  readonly updated_by: string
  readonly snapshot_version: number
  readonly snapshot_size: number
  readonly first_version: number
  readonly log_size: number
  readonly since_snapshot_size: number
  readonly schema: number
  readonly restored: number
  readonly oldest_at: number | null
}
/** An entry of the log as SQLite keeps it. */
export interface LogColumns {
  readonly version: number
  readonly committed_at: number
  readonly revision: string
  readonly base_revision: string
  readonly entry: string
}
/** A stream's record as SQLite keeps it. */
export interface RecordColumns {
  readonly key: string
  readonly epoch: number
  readonly last: number
  readonly used_at: number
  readonly verdicts: string
}

/** A lock as SQLite keeps it. */
export interface LockColumns {
  readonly key: string
  readonly hold: string
  readonly token: number
  readonly holder: string
  readonly since: number
  readonly until: number
}

const columns = `incarnation, version, revision, created_at, updated_at, updated_by,
  snapshot_version, snapshot_size, first_version, log_size, since_snapshot_size, schema, restored, oldest_at`
const absent = '(version IS NULL OR version = 0)'
/** Contexts that are there, and not the engine's own. */
const present = `version > 0 AND id < '${internalPrefix}'`
const listed = (order: 'ASC' | 'DESC'): string => `SELECT id, version, revision, created_at, updated_at FROM contexts
  WHERE ${present} AND id >= ? AND id < ? AND updated_at >= ? ORDER BY id ${order} LIMIT ? OFFSET ?`

const sql = {
  context: `SELECT number, ${columns} FROM contexts WHERE id = ?`,
  head: 'SELECT incarnation, version, revision FROM contexts WHERE id = ?',
  addContext: 'INSERT INTO contexts (id) VALUES (?)',
  setRow: `UPDATE contexts SET (${columns}) = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE number = ?`,
  snapshot: 'SELECT state FROM snapshots WHERE context = ?',
  setSnapshot: 'INSERT INTO snapshots VALUES (?, ?) ON CONFLICT (context) DO UPDATE SET state = excluded.state',
  removeSnapshot: 'DELETE FROM snapshots WHERE context = ?',
  log: 'SELECT version, committed_at, revision, base_revision, entry FROM log WHERE context = ? AND version > ? ORDER BY version',
  addEntry: 'INSERT INTO log (context, version, committed_at, size, revision, base_revision, entry) VALUES (?, ?, ?, ?, ?, ?, ?)',
  oldest: 'SELECT committed_at AS committedAt, size FROM log WHERE context = ? ORDER BY version',
  trim: 'DELETE FROM log WHERE context = ? AND version < ?',
  record: 'SELECT key, epoch, last, used_at, verdicts FROM records WHERE context = ? AND key = ?',
  setRecord: `INSERT INTO records (context, key, epoch, last, used_at, verdicts) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (context, key) DO UPDATE SET (epoch, last, used_at, verdicts) = (excluded.epoch, excluded.last, excluded.used_at, excluded.verdicts)`,
  records: 'SELECT key, epoch, last, used_at, verdicts FROM records WHERE context = ? ORDER BY key',
  addRecord: `INSERT INTO records (context, key, epoch, last, used_at, verdicts) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (context, key) DO UPDATE SET (epoch, last, used_at, verdicts) = (excluded.epoch, excluded.last, excluded.used_at, excluded.verdicts)
    WHERE (excluded.epoch, excluded.last) > (epoch, last)`,
  pruneRecords: `DELETE FROM records WHERE context = ?1 AND key IN
    (SELECT key FROM records WHERE context = ?1 AND used_at < ?2 ORDER BY used_at, key LIMIT ${recordsPrunedPerStep})`,
  recordAfter: 'SELECT context, key FROM records WHERE (context, key) > (?, ?) ORDER BY context, key LIMIT 1 OFFSET ?',
  expireRecords: 'DELETE FROM records WHERE (context, key) > (?, ?) AND (context, key) <= (?, ?) AND used_at < ?',
  expireLocks: 'DELETE FROM locks WHERE until <= ?',
  forget: `DELETE FROM contexts WHERE number IN
    (SELECT number FROM contexts WHERE ${absent} AND max(ifnull(updated_at, 0), last_token) < ?
      AND NOT EXISTS (SELECT 1 FROM records WHERE context = number) AND NOT EXISTS (SELECT 1 FROM locks WHERE context = number) LIMIT ?)`,
  lock: 'SELECT key, hold, token, holder, since, until FROM locks WHERE context = ? AND key = ?',
  locks: 'SELECT key, hold, token, holder, since, until FROM locks WHERE context = ? AND until > ? ORDER BY key',
  setLock: `INSERT INTO locks (context, key, hold, token, holder, since, until) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (context, key)
    DO UPDATE SET (hold, token, holder, since, until) = (excluded.hold, excluded.token, excluded.holder, excluded.since, excluded.until)`,
  dropLocks: 'DELETE FROM locks WHERE context = ? AND until < ?',
  removeLock: 'DELETE FROM locks WHERE context = ? AND key = ?',
  lastToken: 'SELECT last_token FROM contexts WHERE number = ?',
  setLastToken: 'UPDATE contexts SET last_token = ? WHERE number = ?',
  touch: 'UPDATE contexts SET touched_at = ?2 WHERE id = ?1 AND version > 0 AND touched_at < ?2',
  stale: `SELECT id, incarnation, version, revision, version - first_version + 1 AS logged FROM contexts
    WHERE ${present} AND max(updated_at, touched_at) < ? ORDER BY max(updated_at, touched_at), id LIMIT ?`,
  oldLogs: `SELECT id FROM contexts WHERE ${present} AND oldest_at < ? LIMIT ?`,
  longLogs: `SELECT id FROM contexts WHERE ${present} AND version - first_version >= ?1
    AND (oldest_at IS NULL OR oldest_at >= ?2) LIMIT ?3`,
  listAscending: listed('ASC'),
  listDescending: listed('DESC'),
} as const

/** The store's statements, compiled for one connection. */
export type Statements = { readonly [Name in keyof typeof sql]: StatementSyncInstance }

/** Compiles all statements. */
export function prepareStatements(database: DatabaseSyncInstance): Statements {
  return Object.fromEntries(Object.entries(sql).map(([name, text]) => [name, database.prepare(text)])) as Statements
}
