// What a program sees of `contextd`: names, and types. The types are checked by the compiler, `npm run types`; running it looks at the names.
import * as contextd from 'contextd'
import { Contextd, createContexts, createServer, defineContext, formats, isContextdError, isVerboseChange, openBackend } from 'contextd'
import type {
  Archive,
  ArchivedContext,
  Change,
  Cleaned,
  CleanupOptions,
  ContextsOptions,
  ContextSource,
  Delta,
  ExportedContext,
  Hooks,
  InferContexts,
  JsonObject,
  JsonPatchOperation,
  JsonValue,
  Lock,
  LockOptions,
  LockToken,
  Materialize,
  Operation,
  Snapshot,
  SourceOptions,
  SourceStatus,
  User,
  VerboseDelta,
  WriteOptions,
} from 'contextd'
import { redisBackend } from 'contextd/backends/redis'
import { type } from 'arktype'
import * as v from 'valibot'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'

const game = defineContext('game:*', {
  state: z.object({ turn: z.number(), name: z.string().optional(), level: z.number().default(1) }),
  initial: (id) => ({ turn: id.length }),
  itemKey: 'key',
  version: 2,
  migrate: (state, from) => ({ turn: Number(state['turn']) + from }),
  requireLock: (path) => (path[0] === 'turn' ? 'turn' : null),
})
const poll = defineContext('poll:*', { state: v.object({ votes: v.record(v.string(), v.number()) }), initial: { votes: {} } })
const lobby = defineContext('lobby', { state: type({ open: 'boolean', 'note?': 'string' }) })
type Poll = { votes: { [x: string]: number } }

/** An interface, without index signature: states may be of such types. */
interface Profile {
  name: string
  born?: number
}
interface Admin extends User {
  admin: boolean
}

/** Compiled, and never run. */
const compiled = {
  async engine(name: string, profile: Profile, signal: AbortSignal): Promise<void> {
    const contexts = createContexts({
      backend: redisBackend({ url: 'redis://localhost', prefix: 'mine' }),
      deltaFormat: 'verbose',
      clock: { now: () => 0 },
      contextTtlMs: 1,
      deltaTtlMs: 1,
      deltaThreshold: 100,
      autoDelete: true,
      leaseMs: 10_000,
      sessionTtlMs: 1,
      archive: { export: async (snapshot) => expectTypeOf(snapshot.streams).toEqualTypeOf<JsonValue>() as never, restore: () => null },
      contexts: [game, poll, lobby],
      hooks: {
        beforeCommit: ({ user, before, after, operations }) => {
          expectTypeOf(user?.id).toEqualTypeOf<string | undefined>()
          expectTypeOf(before).toEqualTypeOf<JsonObject | null>()
          expectTypeOf(after).toEqualTypeOf<JsonObject>()
          expectTypeOf(operations).toEqualTypeOf<readonly Operation[]>()
        },
        afterCommit: async ({ delta }) => expectTypeOf(delta).toEqualTypeOf<Delta>() as never,
      },
      limits: { depth: 32 },
    })
    const { context, delta } = await contexts.set('poll:1', { votes: { yes: 1 } }, { ifVersion: 3, ifRevision: 'r', user: { id: 'u1' } })
    expectTypeOf(context).toEqualTypeOf<Snapshot<Poll>>()
    expectTypeOf(delta).toEqualTypeOf<Delta<VerboseDelta>>()
    expectTypeOf(await contexts.get(name)).toEqualTypeOf<Snapshot | null>()
    // What is stored is the input of a schema: its output is not.
    expectTypeOf((await contexts.get('game:1'))!.state.level).toEqualTypeOf<number | undefined>()
    expectTypeOf((await contexts.get('lobby'))!.state).toEqualTypeOf<{ open: boolean; note?: string }>()
    await contexts.set('profile:1', profile)
    await contexts.update('profile:1', { born: null }, { initial: profile })
    await contexts.update('poll:1', { votes: { no: null } })
    await contexts.apply(name, [{ type: 'increment', path: ['items', { id: '2' }, 'votes'], by: 1 }])
    expectTypeOf((await contexts.transact('poll:1', (draft) => (draft.votes['yes'] = 2), { retries: 5 })).result).toEqualTypeOf<number>()
    const answer = await contexts.sync('poll:1', context)
    if (answer.type === 'delta') expectTypeOf(answer.delta.changes).toEqualTypeOf<VerboseDelta>()
    else if (answer.type === 'full_context') expectTypeOf(answer.context.state).toEqualTypeOf<Poll>()
    else expectTypeOf(answer.revision).toEqualTypeOf<string>()

    const lock = await contexts.lock(name, 'k', { ttlMs: 1, retryDelayMs: 1, maxRetries: 1, signal })
    expectTypeOf(lock).toEqualTypeOf<Lock>()
    expectTypeOf<Lock>().toExtend<LockToken>()
    await contexts.delete(name, { lock })
    expectTypeOf(await lock.extend(5)).toEqualTypeOf<void>()
    expectTypeOf(lock.signal).toEqualTypeOf<AbortSignal>()

    expectTypeOf(await contexts.export('poll:1')).toEqualTypeOf<Snapshot<Poll>>()
    expectTypeOf(await contexts.restore(name)).toEqualTypeOf<Snapshot>()
    expectTypeOf(await contexts.cleanup({ limit: 1 })).toExtend<{ contexts: number; deltas: number }>()
    contexts.startCleanup({ intervalMs: 1, limit: 1 })
    contexts.updateCleanup({ intervalMs: 1 })
    contexts.stopCleanup()
    const source = contexts.addSource({
      contextId: 'rates',
      fetch: async (params) => [params.currency],
      params: { currency: 'EUR' },
      refreshIntervalMs: 1000,
      materialize: [
        { key: 'rates', type: 'hash', idProp: 'id' },
        { key: 'all', type: 'list' },
      ],
    })
    expectTypeOf(source.status.lastSuccessAt).toEqualTypeOf<number | null>()
    const end = contexts.subscribe('poll:1', (told, { state }) => [told.changes['votes'], state.votes['yes']], { onDelete: () => {} })
    end()
    expectTypeOf(contexts.leader.isLeader).toEqualTypeOf<boolean>()

    // @ts-expect-error a schema was declared for this id
    await contexts.set('poll:1', { votes: 1 })
    // @ts-expect-error a draft is changed synchronously
    await contexts.transact('poll:1', async (draft) => void (draft.votes = {}))
    // @ts-expect-error a hash needs the property that is its field
    contexts.addSource({ contextId: 'rates', fetch: () => [], refreshIntervalMs: 1000, materialize: [{ key: 'rates', type: 'hash' }] })
    // @ts-expect-error a delete creates nothing
    await contexts.delete(name, { initial: {} })
    // @ts-expect-error a lock is its key and its token
    await contexts.update(name, {}, { lock: 'k' })
  },

  async formats(delta: Delta): Promise<void> {
    expectTypeOf((await createContexts().set('a', {})).delta.changes).toEqualTypeOf<VerboseDelta>()
    expectTypeOf((await createContexts({ deltaFormat: 'changes' }).set('a', {})).delta.changes).toEqualTypeOf<Change[]>()
    expectTypeOf((await createContexts({ deltaFormat: 'jsonPatch' }).set('a', {})).delta.changes).toEqualTypeOf<JsonPatchOperation[]>()
    const own = createContexts({ deltaFormat: ({ changes }, { before, after }) => ({ count: changes.length, before, after }) })
    expectTypeOf((await own.set('a', {})).delta).toEqualTypeOf<Delta<{ count: number; before: JsonObject; after: JsonObject }>>()
    const node = formats.verbose(delta, { before: {}, after: {} })['metadata']
    if (node && isVerboseChange(node)) expectTypeOf(node.action).toEqualTypeOf<'added' | 'modified' | 'removed'>()
    // @ts-expect-error no such format
    createContexts({ deltaFormat: 'xml' })
  },

  definitions(): void {
    type All = InferContexts<[typeof game, typeof poll, typeof lobby]>
    expectTypeOf<All['poll:1']['state']>().toEqualTypeOf<Poll>()
    // @ts-expect-error the initial state is of the schema
    defineContext('x:*', { state: z.object({ n: z.number() }), initial: { n: 'one' } })
    // @ts-expect-error so is what a migration makes
    defineContext('x:*', { state: type({ n: 'number' }), version: 2, migrate: () => ({ n: 'one' }) })
    // @ts-expect-error a state is an object
    defineContext('x:*', { state: v.string() })
    // @ts-expect-error there is no such option
    defineContext('x:*', { state: type({ n: 'number' }), initail: { n: 1 } })
  },

  async class(): Promise<void> {
    const context = new Contextd<{ user: { name: string }; loggedIn: boolean }>({
      contextKey: 'my_cxtd',
      redisHost: 'localhost',
      redisPort: 6379,
      redisDb: 0,
      pubsubChannel: 'context_updates',
    })
    await context.initialize()
    await context.updateContext('user', { name: 'Ada' })
    await context.transactionalUpdate({ loggedIn: true })
    expectTypeOf((await context.getContext()).user.name).toEqualTypeOf<string>()
    expectTypeOf(await context.acquireLock({ key: 'user', lockTimeout: 15_000, retryDelay: 200, maxRetries: 100 })).toEqualTypeOf<boolean>()
    await context.releaseLock({ key: 'user' })
    context.on('update', (state, delta) => [state.loggedIn, delta.changes['user']])()
    context.on('delete', () => {})()
    await context.close()
    await new Contextd({ contextKey: 'k', backend: openBackend('sqlite:contextd.db') }).updateContext('anything', { a: [1] })
    // @ts-expect-error wrong value of a key
    await context.updateContext('loggedIn', 'yes')
    // @ts-expect-error no such key
    await context.transactionalUpdate({ logged: true })
    // @ts-expect-error no such event
    context.on('change', () => {})
    // @ts-expect-error a lock is of a key
    await context.acquireLock({})
  },

  server(): void {
    createServer({
      contexts: createContexts({ contexts: [poll], deltaFormat: 'changes' }),
      authenticate: async ({ auth }): Promise<Admin | null> => (auth.token ? { id: 'u1', admin: true } : null),
      authorize: async ({ user, action }) => user?.admin === true || action === 'read',
    })
    // @ts-expect-error no such action
    createServer({ contexts: createContexts(), authorize: ({ action }) => action === 'fly' })
    // @ts-expect-error a user has an id
    createServer({ contexts: createContexts(), authenticate: () => ({ name: 'ada' }) })
  },

  errors(error: unknown): void {
    if (isContextdError(error, 'rate_limited')) expectTypeOf(error.details.retryAfterMs).toEqualTypeOf<number>()
    else if (isContextdError(error)) expectTypeOf(error.retryable).toEqualTypeOf<boolean>()
    // @ts-expect-error no such code
    isContextdError(error, 'RATE_LIMITED')
  },
}

describe('the public types', () => {
  test('of options and answers are those of the API', () => {
    expectTypeOf<{ ttlMs: 1; retryDelayMs: 1; maxRetries: 1; signal: AbortSignal }>().toExtend<Required<LockOptions>>()
    expectTypeOf<{ intervalMs: 1; limit: 1 }>().toExtend<Required<CleanupOptions>>()
    expectTypeOf<{ ifVersion: 1; ifRevision: ''; lock: { key: ''; token: 1 }; user: { id: '' }; initial: {} }>().toExtend<
      Required<WriteOptions>
    >()
    expectTypeOf<Cleaned>().toExtend<{ contexts: number; deltas: number }>()
    expectTypeOf<Required<Hooks>>().toExtend<{ beforeCommit: unknown; afterCommit: unknown }>()
    expectTypeOf<{
      export(snapshot: ExportedContext): Promise<void>
      restore(id: string): Promise<ArchivedContext | null>
    }>().toExtend<Archive>()
    expectTypeOf<{ version: 3; state: { a: 1 } }>().toExtend<ArchivedContext>()
    expectTypeOf<ContextSource>().toExtend<{ refresh(): Promise<void>; remove(): Promise<void>; readonly status: SourceStatus }>()
    expectTypeOf<{ contextId: ''; fetch(): []; refreshIntervalMs: 1; materialize: readonly Materialize[] }>().toExtend<SourceOptions>()
    expectTypeOf<keyof ContextsOptions>().toEqualTypeOf<
      | 'backend'
      | 'deltaFormat'
      | 'clock'
      | 'contextTtlMs'
      | 'deltaTtlMs'
      | 'deltaThreshold'
      | 'autoDelete'
      | 'archive'
      | 'leaseMs'
      | 'sessionTtlMs'
      | 'contexts'
      | 'hooks'
      | 'limits'
      | 'logger'
    >()
    expect(Object.keys(compiled)).toEqual(['engine', 'formats', 'definitions', 'class', 'server', 'errors'])
  })

  test('belong to these names, and no others', () => {
    expect(Object.keys(contextd).toSorted()).toEqual([
      'Contextd',
      'ContextdError',
      'createContexts',
      'createId',
      'createServer',
      'defaultLimits',
      'defineContext',
      'formats',
      'isContextdError',
      'isVerboseChange',
      'memoryBackend',
      'openBackend',
    ])
  })
})
