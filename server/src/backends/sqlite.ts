import { resolve } from 'node:path'
import { ContextdError } from '@contextd/protocol'
import type { Head } from '@contextd/protocol'
import type { DatabaseSyncInstance } from '@photostructure/sqlite'
import type {
  CommitBatch,
  CommitResult,
  ContextBackend,
  ContextDump,
  HeldLock,
  ListQuery,
  ListedContext,
  LockRequest,
  LockResult,
  LogEntry,
  PrunableQuery,
  PruneBatch,
  RestoreBatch,
  RestoreResult,
  StaleContext,
  StoredContext,
  SyncQuery,
  SyncResult,
} from './backend.ts'
import type { Publishing } from './publishing.ts'
import { ChangePoll } from './sqlite/change-poll.ts'
import {
  checkBatch,
  checkList,
  checkLock,
  checkPrunable,
  checkPrune,
  checkRestore,
  checkSync,
  checkText,
  checkWhole,
} from './sqlite/check-values.ts'
import { openFile } from './sqlite/file.ts'
import { Forgetting } from './sqlite/forgetting.ts'
import { GroupCommit } from './sqlite/group-commit.ts'
import { OpenFiles } from './sqlite/open-files.ts'
import { SqliteStore } from './sqlite/sqlite-store.ts'

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
  readonly forgetting: Forgetting
}

/** An SQLite file behind the interface of a backend. */
export class SqliteBackend implements ContextBackend {
  readonly name = 'sqlite'
  readonly publishing: Publishing = { type: 'poll', onChange: (changed) => this.#poll.onChange(changed) }
  readonly #file: string
  readonly #settings: SqliteSettings
  readonly #poll = new ChangePoll()
  #opening: Promise<void> | null = null
  #opened: Opened | null = null
  #closed = false
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
    const { store, transactions, forgetting } = this.#use()
    checkBatch(batch)
    if (performance.now() >= this.#forgetAt) {
      this.#forgetAt = performance.now() + forgetEveryMs
      forgetting.begin(batch.now, batch.sessionTtlMs)
    }
    return transactions.write(() => store.commit(batch))
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

  async lock(request: LockRequest): Promise<LockResult> {
    const { store, transactions } = this.#use()
    checkLock(request)
    return transactions.write(() => store.locks.lock(request))
  }

  async unlock(contextId: string, key: string, hold: string, now: number): Promise<boolean> {
    const { store, transactions } = this.#use()
    checkText(contextId, 'contextId')
    checkText(key, 'key')
    return transactions.write(() => store.locks.unlock(contextId, key, hold, now))
  }

  async locks(contextId: string, now: number): Promise<readonly HeldLock[]> {
    const { store, transactions } = this.#use()
    checkText(contextId, 'contextId')
    checkWhole(now, 'now')
    return transactions.read(() => store.locks.locks(contextId, now))
  }

  async dump(contextId: string): Promise<ContextDump | null> {
    const { store, transactions } = this.#use()
    checkText(contextId, 'contextId')
    return transactions.read(() => store.dump(contextId))
  }

  async restore(batch: RestoreBatch): Promise<RestoreResult> {
    const { store, transactions } = this.#use()
    checkRestore(batch)
    return transactions.write(() => store.restore(batch))
  }

  async touch(contextIds: readonly string[], now: number): Promise<void> {
    const { store, transactions } = this.#use()
    for (const contextId of contextIds) checkText(contextId, 'contextId')
    checkWhole(now, 'now')
    return transactions.write(() => store.upkeep.touch(contextIds, now))
  }

  async stale(before: number, limit: number): Promise<readonly StaleContext[]> {
    const { store, transactions } = this.#use()
    checkWhole(before, 'before')
    checkWhole(limit, 'limit')
    return transactions.read(() => store.upkeep.stale(before, limit))
  }

  async prunable(query: PrunableQuery): Promise<readonly string[]> {
    const { store, transactions } = this.#use()
    checkPrunable(query)
    return transactions.read(() => store.upkeep.prunable(query))
  }

  async prune(batch: PruneBatch): Promise<number | null> {
    const { store, transactions } = this.#use()
    checkPrune(batch)
    return transactions.write(() => store.upkeep.prune(batch))
  }

  /** Removes records past their time, and forgets absent contexts: see `StoreModel.expireRecords`. */
  async expireRecords(now: number, sessionTtlMs: number): Promise<number> {
    return this.#use().forgetting.run(now, sessionTtlMs)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#poll.close()
    // Why it could not be opened was told to who opened it.
    await this.#opening?.catch(() => {})
    const opened = this.#opened
    this.#opened = null
    if (opened === null) return
    await opened.forgetting.stop()
    await opened.transactions.drain()
    completeFile(opened.database)
    opened.database.close()
  }

  async #open(): Promise<void> {
    if (this.#closed) throw closed()
    const { patienceMs, configure } = this.#settings
    const database = await openFile(this.#file, patienceMs)
    configure(database)
    const store = new SqliteStore(database)
    const transactions = new GroupCommit(database, new OpenFiles(this.#file), patienceMs)
    this.#opened = { database, store, transactions, forgetting: new Forgetting(transactions, store.upkeep) }
    this.#poll.begin(database)
  }

  #use(): Opened {
    if (this.#closed) throw closed()
    if (this.#opened === null) throw new ContextdError('backend_unavailable', 'The store is not open yet. Call open() first.')
    return this.#opened
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
