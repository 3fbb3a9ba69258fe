import { Writable } from 'node:stream'
import { ContextdError } from '@contextd/protocol'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { served } from '../support/served.ts'
import { until } from '../support/until.ts'
import { MemoryBackend } from './backends/memory.ts'
import { StoreModel } from './backends/store-model.ts'
import { loggable } from './log-details.ts'
import { carefulLogger } from './logger.ts'
import type { Logger } from './logger.ts'
import { SparseLog } from './sparse-log.ts'

interface Line {
  readonly level: number
  readonly msg: string
  readonly [detail: string]: unknown
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
  const { contexts } = await served({}, { logger, backend })
  await contexts.set('a', {})
  backend.away = true
  for (let n = 0; n < 20; n += 1) await expect(contexts.get(`b:${n}`)).rejects.toMatchObject({ code: 'backend_unavailable' })
  backend.away = false
  const said = (): unknown[] => lines.slice(1).map(({ msg, store }) => [msg, store])
  await until(async () => (await contexts.get('b')) === null && said().length > 1)
  expect(said()).toEqual([
    ['the store does not answer; commits wait', 'memory'],
    ['the store answers again', 'memory'],
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
