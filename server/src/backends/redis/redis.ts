import { randomUUID } from 'node:crypto'
import { ContextdError } from '@contextd/protocol'
import type { Head } from '@contextd/protocol'
import { isExpired, recordGraceMs } from '../../commits/commit-step.ts'
import { noHead } from '../backend.ts'
import { roomOf } from '../publishing.ts'
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
  MaterializedKeys,
  PrunableQuery,
  PruneBatch,
  RestoreBatch,
  RestoreResult,
  StaleContext,
  StoreUser,
  StoredContext,
  SyncQuery,
  SyncResult,
} from '../backend.ts'
import type { StorePublishing } from '../publishing.ts'
import { safeAdapter } from './adapter.ts'
import { decodeDump, decodeRestore, dumpScript, restoreArguments, restoreScript } from './archive-scripts.ts'
import { ScriptBatch } from './batch.ts'
import { Cleanup } from './cleanup.ts'
import { commitScript } from './commit-script.ts'
import { ContextIndex } from './context-index.ts'
import { closed, reasonOf, toldError } from './errors.ts'
import { namesOf } from './keys.ts'
import { RedisMaterializedKeys } from './materialize.ts'
import type { Names } from './keys.ts'
import { decodeLock, decodeLocks, lockArguments, lockScript, locksScript, unlockScript } from './lock-scripts.ts'
import { OpenChecks, cannotOpen } from './open-checks.ts'
import { checkOptions } from './options.ts'
import type { RedisBackendOptions, RedisSettings } from './options.ts'
import { pruneArguments, pruneScript } from './prune-script.ts'
import { frameOf, publicationOf } from './publication.ts'
import { loadScript, logScript } from './read-scripts.ts'
import { decodeLoad, decodeLog, decodeSync, headOf } from './replies.ts'
import { SharedSettings } from './shared-settings.ts'
import type { Script } from './script.ts'
import { Servers } from './servers.ts'
import { Subscriptions } from './subscriptions.ts'
import { syncArguments, syncScript } from './sync-script.ts'

export { redisAclRules } from './acl.ts'
export type { RedisBackendOptions } from './options.ts'

/**
 * Keeps contexts in Redis or Valkey ≥ 7, for many nodes.
 * @param options a URL (`redis://…`, `rediss://…`), or an object that says more
 * @throws {TypeError} the URL or the prefix is malformed
 */
export function redisBackend(options?: string | RedisBackendOptions): ContextBackend {
  return new RedisBackend(checkOptions(options))
}

/** Redis behind the interface of a backend. */
export class RedisBackend implements ContextBackend {
  readonly name = 'redis'
  readonly publishing: StorePublishing
  readonly materialized: MaterializedKeys
  readonly #settings: RedisSettings
  readonly #names: Names
  readonly #servers: Servers
  readonly #subscriptions: Subscriptions
  readonly #index: ContextIndex
  readonly #cleanup: Cleanup
  readonly #shared: SharedSettings
  #opening: Promise<void> | null = null
  #open = false
  #closed = false

  constructor(settings: RedisSettings) {
    this.#settings = settings
    this.#names = namesOf(settings.prefix, settings.channelPrefix)
    const servers = new Servers(settings)
    this.#servers = servers
    this.#index = new ContextIndex(servers, this.#names)
    this.#cleanup = new Cleanup(servers, this.#names, this.#index)
    this.#shared = new SharedSettings(servers, this.#names.settings)
    const node = randomUUID()
    this.#subscriptions = new Subscriptions(servers, (number) => this.#names.heartbeat(`${node}:${number}`))
    this.publishing = this.#publishing()
    this.materialized = this.#materialized()
  }

  /** How many messages on its channels could not be used; others may publish there too. */
  get ignoredMessages(): number {
    return this.#subscriptions.ignored
  }

  async open(user?: StoreUser): Promise<void> {
    if (this.#closed) throw closed()
    this.#opening ??= this.#connect(user).catch((error: unknown) => {
      this.#opening = null
      throw error
    })
    await this.#opening
  }

  async commit(batch: CommitBatch): Promise<CommitResult> {
    this.#use()
    const { contextId, base, entries, message, now, snapshot } = batch
    const inScript = new ScriptBatch(batch)
    const [first] = entries
    if (base.version === 0 && first) await this.#reading(() => this.#index.add(contextId, now, first.committedAt))
    // Should the index have lost the id: it comes back with the next snapshot.
    else if (snapshot !== null) this.#index.keep(contextId).catch(() => {})
    const publication = message === null ? '' : publicationOf(contextId, message)
    const args = inScript.arguments(this.#names.channel(contextId), publication)
    const { result, begun } = inScript.result(await this.#writing(commitScript, contextId, args))
    // Where it does not come about: see above.
    if (begun && base.version > 0) await this.#index.begin(contextId, first!.committedAt).catch(() => {})
    return result
  }

  sync(query: SyncQuery): Promise<SyncResult> {
    const { contextId, stream, now, sessionTtlMs } = query
    const args = syncArguments(query, isExpired(stream, now, sessionTtlMs), sessionTtlMs + recordGraceMs)
    return this.#reading(async () => decodeSync(await this.#servers.run(syncScript, this.#names.context(contextId), args), query))
  }

  load(contextId: string): Promise<StoredContext | null> {
    return this.#reading(async () => decodeLoad(await this.#servers.run(loadScript, this.#names.context(contextId), [])))
  }

  log(contextId: string, after: number): Promise<readonly LogEntry[]> {
    return this.#reading(async () => decodeLog(await this.#servers.run(logScript, this.#names.context(contextId), [String(after)])))
  }

  heads(contextIds: readonly string[]): Promise<readonly Head[]> {
    return this.#reading(() => Promise.all(contextIds.map((contextId) => this.#head(contextId))))
  }

  list(query: ListQuery): Promise<readonly ListedContext[]> {
    return this.#reading(() => this.#index.list(query))
  }

  async lock(request: LockRequest): Promise<LockResult> {
    return decodeLock(await this.#write(lockScript, [this.#names.locks(request.contextId)], lockArguments(request)), request.key)
  }

  async unlock(contextId: string, key: string, hold: string): Promise<boolean> {
    return (await this.#write(unlockScript, [this.#names.locks(contextId)], [key, hold])) === 1
  }

  locks(contextId: string): Promise<readonly HeldLock[]> {
    return this.#reading(async () => decodeLocks(await this.#servers.run(locksScript, [this.#names.locks(contextId)], [])))
  }

  dump(contextId: string): Promise<ContextDump | null> {
    return this.#reading(async () => decodeDump(await this.#servers.run(dumpScript, this.#names.context(contextId), [])))
  }

  async restore(batch: RestoreBatch): Promise<RestoreResult> {
    const { contextId, message, updatedAt } = batch
    const publication = message === null ? '' : publicationOf(contextId, message)
    const args = restoreArguments(batch, this.#names.channel(contextId), publication)
    await this.#reading(() => this.#index.add(contextId, updatedAt, null))
    return decodeRestore(await this.#writing(restoreScript, contextId, args))
  }

  touch(contextIds: readonly string[], now: number): Promise<void> {
    return this.#reading(() => this.#cleanup.touch(contextIds, now))
  }

  stale(before: number, limit: number): Promise<readonly StaleContext[]> {
    return this.#reading(() => this.#cleanup.stale(before, limit))
  }

  prunable(query: PrunableQuery): Promise<readonly string[]> {
    return this.#reading(() => this.#cleanup.prunable(query))
  }

  async prune(batch: PruneBatch): Promise<number | null> {
    return (await this.#writing(pruneScript, batch.contextId, pruneArguments(batch))) as number | null
  }

  /** Publishes on a channel that is not one of ours, for other programs: at most once. @throws {ContextdError} `backend_unavailable` */
  async publishPlain(channel: string, message: string): Promise<void> {
    await this.#reading(() => this.#servers.send(channel, (client) => client.publish(channel, message)))
  }

  async close(): Promise<void> {
    this.#closed = true
    // Why it could not be opened was told to who opened it.
    await this.#opening?.catch(() => {})
    await this.#subscriptions.close()
    await this.#shared.leave()
    await this.#servers.close()
  }

  async #connect(user: StoreUser | undefined): Promise<void> {
    try {
      const checks = new OpenChecks(this.#settings, this.#names, user)
      await this.#servers.open(
        (server) => checks.server(server, this.#servers.isCluster),
        () => checks.content(this.#servers, this.#shared),
      )
    } catch (error) {
      throw cannotOpen(this.#settings, error)
    }
    this.#open = true
  }

  #use(): void {
    if (this.#closed) throw closed()
    if (!this.#open) throw new ContextdError('backend_unavailable', 'The store is not open yet. Call open() first.')
  }

  async #reading<T>(read: () => Promise<T>): Promise<T> {
    this.#use()
    try {
      return await read()
    } catch (error) {
      throw toldError(error, false)
    }
  }

  /** Runs a script that writes to a context. */
  #writing(script: Script, contextId: string, args: readonly string[]): Promise<unknown> {
    return this.#write(script, this.#names.context(contextId), args)
  }

  async #write(script: Script, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    this.#use()
    try {
      return await this.#servers.run(script, keys, args)
    } catch (error) {
      throw toldError(error, true)
    }
  }

  async #head(contextId: string): Promise<Head> {
    const [row] = this.#names.context(contextId)
    try {
      const [incarnation, version, revision] = await this.#servers.send(row, (client) => client.hmget(row, 'i', 'v', 'r'))
      return version ? headOf(incarnation ?? '', version, revision ?? '') : noHead
    } catch (error) {
      // Another program has put something else there: the context is gone, and the other heads are wanted all the same.
      if (reasonOf(error) === 'WRONGTYPE') return noHead
      throw error
    }
  }

  #materialized(): MaterializedKeys {
    const keys = new RedisMaterializedKeys(this.#servers, this.#names, this.#settings.prefix)
    return {
      refusal: (key) => keys.refusal(key),
      refusalTogether: (together) => keys.refusalTogether(together),
      swap: (wanted, fence) => this.#reading(() => keys.swap(wanted, fence)),
      stand: (names, mark) => this.#reading(() => keys.stand(names, mark)),
    }
  }

  #publishing(): StorePublishing {
    const subscriptions = this.#subscriptions
    const names = this.#names
    return {
      type: 'publish',
      subscribe: (contextId, listener) =>
        subscriptions.add(names.channel(contextId), (message) => {
          const frame = frameOf(contextId, message)
          if (frame === null) subscriptions.ignore()
          else listener(frame)
        }),
      onRestored: (listener) => subscriptions.onRestored(listener),
      sockets: {
        adapter: () => safeAdapter(this.#servers, subscriptions, names.channelPrefix),
        room: roomOf,
        confirm: (contextId) => subscriptions.confirm(names.channel(contextId)),
      },
    }
  }
}
