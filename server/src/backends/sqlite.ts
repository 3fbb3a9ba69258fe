import { resolve } from 'node:path'
import { ContextdError } from '@contextd/protocol'
import type { Head } from '@contextd/protocol'
import type { DatabaseSyncInstance, StatementSyncInstance } from '@photostructure/sqlite'
import type {
  CommitBatch,
  CommitResult,
  ContextBackend,
  ListQuery,
  ListedContext,
  LogEntry,
  Publishing,
  StoredContext,
  SyncQuery,
  SyncResult,
} from './backend.ts'
import { checkBatch, checkList, checkSync, checkText, checkWhole } from './sqlite/check-values.ts'
import { openFile } from './sqlite/file.ts'
import { GroupCommit } from './sqlite/group-commit.ts'
import { SqliteStore } from './sqlite/sqlite-store.ts'

/** How often other processes' writes are looked for, ms. */
const pollEveryMs = 250
/** When a process first looks for absent contexts that it may forget, and how often from then on, ms. */
const forgetAfterMs = 60_000
const forgetEveryMs = 3_600_000

/** What tests set up. */
export interface SqliteSettings {
  /** How long a call waits for another process that holds the file, ms. */
  readonly patienceMs: number
  /** Set-up of the connection. */
  readonly configure: (database: DatabaseSyncInstance) => void
}
const defaultSettings: SqliteSettings = { patienceMs: 5_000, configure: () => {} }

/**
 * Keeps contexts in one file, durable, for one machine. Several processes may have it open.
 * @param options the file, or an object that names it
 * @throws {TypeError} no file is named
 */
export function sqliteBackend(options: string | { file: string }): ContextBackend {
  return new SqliteBackend(typeof options === 'string' ? options : options?.file)
}

/** An open file. */
interface Opened {
  readonly database: DatabaseSyncInstance
  readonly store: SqliteStore
  readonly transactions: GroupCommit
  readonly dataVersion: StatementSyncInstance
}

/** An SQLite file behind the interface of a backend. */
export class SqliteBackend implements ContextBackend {
  readonly name = 'sqlite'
  readonly publishing: Publishing = { type: 'poll', onChange: (changed) => this.#onChange(changed) }
  readonly #file: string
  readonly #settings: SqliteSettings
  readonly #listeners = new Set<() => void>()
  #opening: Promise<void> | null = null
  #opened: Opened | null = null
  #closed = false
  #poll: NodeJS.Timeout | null = null
  #seenVersion: unknown
  #forgetAt = performance.now() + forgetAfterMs

  constructor(file: unknown, settings: Partial<SqliteSettings> = {}) {
    if (typeof file !== 'string' || file === '') throw new TypeError("sqliteBackend needs a file: sqliteBackend('contextd.db').")
    if (file.startsWith(':')) throw new TypeError('sqliteBackend keeps contexts in a file. To keep them in memory use memoryBackend().')
    checkText(file, 'file')
    // A full path, so that SQLite reads nothing else out of the name.
    this.#file = resolve(file)
    this.#settings = { ...defaultSettings, ...settings }
  }

  open(): Promise<void> {
    this.#opening ??= this.#open().catch((error: unknown) => {
      this.#opening = null
      throw error
    })
    return this.#opening
  }

  async commit(batch: CommitBatch): Promise<CommitResult> {
    const { store, transactions } = this.#use()
    checkBatch(batch)
    return transactions.write(() => {
      const result = store.commit(batch)
      if (performance.now() >= this.#forgetAt) {
        this.#forgetAt = performance.now() + forgetEveryMs
        store.expireRecords(batch.now, batch.sessionTtlMs)
      }
      return result
    })
  }

  async sync(query: SyncQuery): Promise<SyncResult> {
    const { store, transactions } = this.#use()
    checkSync(query)
    // Most syncs write nothing, and need not wait for those who do.
    const read = await transactions.read(() => store.syncReading(query))
    return read ?? transactions.write(() => store.sync(query))
  }

  async load(contextId: string): Promise<StoredContext | null> {
    const { store, transactions } = this.#use()
    checkText(contextId, 'contextId')
    return transactions.read(() => store.load(contextId))
  }

  async log(contextId: string, after: number): Promise<readonly LogEntry[]> {
    const { store, transactions } = this.#use()
    checkText(contextId, 'contextId')
    checkWhole(after, 'after')
    return transactions.read(() => store.log(contextId, after))
  }

  async heads(contextIds: readonly string[]): Promise<readonly Head[]> {
    const { store, transactions } = this.#use()
    for (const contextId of contextIds) checkText(contextId, 'contextId')
    return transactions.read(() => store.heads(contextIds))
  }

  async list(query: ListQuery): Promise<readonly ListedContext[]> {
    const { store, transactions } = this.#use()
    checkList(query)
    return transactions.read(() => store.list(query))
  }

  /** Removes records past their time, and forgets absent contexts: see `StoreModel.expireRecords`. */
  async expireRecords(now: number, sessionTtlMs: number): Promise<number> {
    const { store, transactions } = this.#use()
    return transactions.write(() => store.expireRecords(now, sessionTtlMs))
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#stopPolling()
    // Why it could not be opened was told to who opened it.
    await this.#opening?.catch(() => {})
    const opened = this.#opened
    this.#opened = null
    if (opened === null) return
    await opened.transactions.drain()
    completeFile(opened.database)
    opened.database.close()
  }

  async #open(): Promise<void> {
    if (this.#closed) throw closed()
    const { patienceMs, configure } = this.#settings
    const database = await openFile(this.#file, patienceMs)
    configure(database)
    this.#opened = {
      database,
      store: new SqliteStore(database),
      transactions: new GroupCommit(database, patienceMs),
      dataVersion: database.prepare('PRAGMA data_version'),
    }
    this.#startPolling()
  }

  #use(): Opened {
    if (this.#closed) throw closed()
    if (this.#opened === null) throw new ContextdError('backend_unavailable', 'The store is not open yet. Call open() first.')
    return this.#opened
  }

  #onChange(changed: () => void): () => void {
    // Of its own, so that one function may listen twice.
    const listener = (): void => changed()
    this.#listeners.add(listener)
    this.#startPolling()
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size === 0) this.#stopPolling()
    }
  }

  #startPolling(): void {
    if (this.#poll !== null || this.#opened === null || this.#listeners.size === 0) return
    this.#seenVersion = this.#readVersion(this.#opened)
    this.#poll = setInterval(() => this.#look(), pollEveryMs).unref()
  }

  #stopPolling(): void {
    if (this.#poll !== null) clearInterval(this.#poll)
    this.#poll = null
  }

  #look(): void {
    if (this.#opened === null) return
    const version = this.#readVersion(this.#opened)
    if (version === this.#seenVersion && version !== null) return
    this.#seenVersion = version
    for (const listener of this.#listeners) listener()
  }

  /** Changes when another connection has written; null: it cannot be read, and whoever is told finds out why by reading. */
  #readVersion({ dataVersion }: Opened): unknown {
    try {
      return (dataVersion.get() as { data_version: number }).data_version
    } catch {
      return null
    }
  }
}

/**
 * Moves what was written ahead into the file itself, so that the file alone is the store. SQLite does so at the end of its last connection,
 * but this one ends only when its statements are collected as garbage.
 */
function completeFile(database: DatabaseSyncInstance): void {
  try {
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  } catch {
    // All is in the write-ahead log, where the next to open the file finds it.
  }
}

const closed = (): ContextdError => new ContextdError('closed', 'The store is closed.')
