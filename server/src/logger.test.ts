import { Writable } from 'node:stream'
import { ContextdError, defineContext } from '@contextd/protocol'
import type { JsonObject, StandardSchema } from '@contextd/protocol'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { served } from '../support/served.ts'
import { until } from '../support/until.ts'
import { MemoryBackend } from './backends/memory.ts'
import { StoreModel } from './backends/store-model.ts'
import { createContexts } from './contexts/contexts.ts'
import { loggable } from './log-details.ts'
import { carefulLogger } from './logger.ts'
import type { Logger } from './logger.ts'
import { SparseLog } from './sparse-log.ts'
import { SharedMemory } from './testing/shared-memory.ts'

interface Line {
  readonly level: number
  readonly msg: string
  readonly [detail: string]: unknown
}

const anything: StandardSchema<JsonObject> = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: value as JsonObject }) },
}

/** A logger of pino as an application makes it, and what it wrote. */
function written(level = 'debug'): { readonly logger: Logger; readonly lines: Line[] } {
  const lines: Line[] = []
  const output = new Writable({
    write: (chunk: Buffer, _, done) => {
      lines.push(JSON.parse(chunk.toString()) as Line)
      done()
    },
  })
  return { logger: pino({ level }, output), lines }
}

test('a logger of pino is taken as it is: levels, details, and errors in plain JSON', async () => {
  const { logger, lines } = written()
  const { contexts, url, server } = await served({}, { logger })
  contexts.subscribe('a', () => {
    throw new Error('mine')
  })
  await contexts.set('a', { n: 1 })
  await server.close({ drainMs: 0 })
  expect(lines.map(({ level, msg }) => [level, msg])).toEqual([
    [20, 'the store is open'],
    [30, 'contextd serves'],
    [50, 'a subscriber failed'],
    [30, 'the server closes: clients are sent elsewhere'],
    [30, 'the server is closed'],
  ])
  expect(lines[1]).toMatchObject({ url, store: 'memory' })
  expect(lines[2]).toMatchObject({
    contextId: 'a',
    error: { type: 'Error', message: 'mine', stack: expect.stringMatching(/^at .*logger\.test\.ts/) as string },
  })
})

const logged = (error: unknown): { error: { [name: string]: unknown } } => loggable({ error }) as ReturnType<typeof logged>
const messageOf = (error: unknown): unknown => logged(error).error['message']

test('a logger that is careful already is not made so again: details would be taken apart twice', () => {
  const { logger, lines } = written()
  const once = carefulLogger(logger)
  expect(carefulLogger(once)).toBe(once)
  once.warn({ error: new Error('mine') }, 'said')
  expect(lines[0]).toMatchObject({ msg: 'said', error: { type: 'Error', message: 'mine' } })
})

describe('what is logged of an error', () => {
  test('is what it is and where it came from, with its causes; of what it carries besides nothing', () => {
    const cause = Object.assign(new Error('inner'), { code: 'ECONNRESET', payload: { sub: 'claims' } })
    const { error } = logged(new ContextdError('backend_unavailable', 'Away.', { contextId: 'a', cause, details: { state: 'private' } }))
    expect(error).toEqual({
      type: 'ContextdError',
      code: 'backend_unavailable',
      message: 'Away.',
      cause: { type: 'Error', code: 'ECONNRESET', message: 'inner', stack: expect.stringMatching(/^at /) as string },
    })
    expect(logged('text').error).toEqual({ type: 'string', message: 'text' })
    expect(logged({ state: 'private' }).error).toEqual({ type: 'object', message: 'what was thrown is no error' })
  })

  test('is no part of a state, which messages may quote', () => {
    expect(messageOf(new ContextdError('conflict', 'title is no longer "private \\" text". Read again.'))).toBe(
      'title is no longer "…". Read again.',
    )
    for (const text of ['{"a":"private"', '{"a":"private"}x', 'private', '"private" x', "{'private':1}", '{"private":tru}']) {
      const error = (() => {
        try {
          return JSON.parse(text) as unknown
        } catch (thrown) {
          return thrown as Error
        }
      })()
      expect(messageOf(error)).toMatch(/it is no JSON$/)
      expect(
        JSON.stringify(logged(new ContextdError('invalid_state', `a is damaged: ${(error as Error).message}`, { cause: error }))),
      ).not.toContain('private')
    }
  })

  test('has no password of an address, nor have other details', () => {
    const error = new Error('connect redis://user:s3cret@host:6379 failed, and rediss://:s3cret@host too')
    const details = loggable({ error, url: 'redis://:s3cret@host', again: new Error('//s3cret@x') })
    expect(JSON.stringify(details)).not.toContain('s3cret')
    expect(details).toMatchObject({ url: 'redis://***@host', again: { message: '//***@x' } })
  })

  test('ends, when errors are causes of each other', () => {
    const [one, other] = [new Error('one'), new Error('other')]
    Object.assign(one, { cause: other })
    Object.assign(other, { cause: one })
    expect(JSON.stringify(loggable({ error: one })).length).toBeLessThan(20_000)
  })
})

const quoting = (): never => {
  throw new ContextdError('invalid_state', 'text is "private", which it must not be.')
}

test('sources, hooks, migrations and archives that fail say why, and quote no state', async () => {
  const { logger, lines } = written()
  const shared = new SharedMemory()
  const old = createContexts({ backend: shared.handle(), contexts: [defineContext('old', { state: anything, version: 1 })] })
  await old.set('old', { text: 'private' })
  await old.close()
  const { contexts } = await served(
    {},
    {
      logger,
      backend: shared.handle(),
      hooks: { afterCommit: quoting },
      archive: { export: quoting, restore: () => ({ version: 1, state: 'private' }) as never },
      contexts: [
        defineContext('old', {
          state: anything,
          version: 2,
          migrate: quoting,
        }),
      ],
    },
  )
  await contexts.set('a', { text: 'private' })
  await expect(contexts.get('old')).rejects.toMatchObject({ code: 'invalid_state' })
  await expect(contexts.export('a')).rejects.toMatchObject({ code: 'invalid_state' })
  await expect(contexts.restore('a')).rejects.toMatchObject({ code: 'invalid_state' })
  const { contexts: fetching } = await served({}, { logger })
  const source = fetching.addSource({
    contextId: 's',
    refreshIntervalMs: 3_600_000,
    fetch: () => [{ id: 'private', at: () => {} }] as never,
  })
  await expect(source.refresh()).rejects.toThrow(/./)
  for (const message of [
    'the hook afterCommit failed',
    'a context could not be moved on to the version of its definition',
    'a source failed; its last state stays',
  ])
    expect(lines.map(({ msg }) => msg)).toContain(message)
  expect(JSON.stringify(lines)).not.toContain('private')
})

/** A store that is away when it is told to. */
class Leaving extends MemoryBackend {
  away = false
  override load(contextId: string): ReturnType<MemoryBackend['load']> {
    return this.away ? Promise.reject(new ContextdError('backend_unavailable', 'away')) : super.load(contextId)
  }
}

test('that the store is away is said once, and that it is back once; single failures only for who wants all', async () => {
  const { logger, lines } = written('info')
  const backend = new Leaving(new StoreModel())
  const { contexts, engine } = await served({}, { logger, backend })
  await contexts.set('a', {})
  backend.away = true
  for (let n = 0; n < 20; n += 1) {
    await expect(contexts.get(`b:${n}`)).rejects.toMatchObject({ code: 'backend_unavailable' })
    // One that answers some calls only is not back at each of them.
    await engine.backend.heads(['a'])
  }
  backend.away = false
  const said = (): unknown[] => lines.slice(1).map(({ msg, store }) => [msg, store])
  await until(async () => (await contexts.get('b')) === null && said().length > 1)
  expect(said()).toEqual([
    ['the store does not answer; commits wait', 'memory'],
    ['the store answers again', 'memory'],
  ])
})

test('who leads, and what a cleanup removed, is said', async () => {
  const { logger, lines } = written('info')
  const { contexts } = await served({}, { logger, deltaTtlMs: 0 })
  await contexts.set('a', { n: 1 })
  contexts.startCleanup({ intervalMs: 5 })
  await until(() => lines.some(({ msg }) => msg === 'cleaned up'))
  contexts.stopCleanup()
  await until(() => lines.length > 3)
  expect(lines.slice(1)).toMatchObject([
    { msg: 'this node leads', token: expect.any(Number) as number },
    { msg: 'cleaned up', contexts: 0, deltas: 1 },
    { msg: 'this node leads no longer' },
  ])
})

test('what others cause is said at once, then no sooner than after a while, with how often it came again', async () => {
  const said: [object, string][] = []
  const log = new SparseLog((details, message) => said.push([details, message]), 20)
  for (let n = 1; n <= 50; n += 1) log.note({ n }, 'refused')
  log.note({}, 'slow')
  expect(said).toEqual([
    [{ n: 1 }, 'refused'],
    [{}, 'slow'],
  ])
  await until(() => said.length > 2)
  expect(said[2]).toEqual([{ n: 50, more: 49 }, 'refused'])
  // Once it has been quiet for a while it is news again.
  await new Promise((resolve) => {
    setTimeout(resolve, 60)
  })
  log.note({ n: 51 }, 'refused')
  expect(said.slice(3)).toEqual([[{ n: 51 }, 'refused']])
})

test('connections that are refused by the thousand are a few lines', async () => {
  const { logger, lines } = written('info')
  const { connect } = await served({ authenticate: () => null }, { logger })
  const refused = Array.from({ length: 30 }, () => connect().catch((error: { data: { code: string } }) => error.data.code))
  expect(new Set(await Promise.all(refused))).toEqual(new Set(['unauthenticated']))
  expect(lines.slice(1).map(({ msg, address }) => [msg, address])).toEqual([['a connection was refused: unauthenticated', '127.0.0.1']])
})
