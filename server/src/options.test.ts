import { defaultLimits, defineContext } from '@contextd/protocol'
import type { StandardSchema } from '@contextd/protocol'
import { describe, expect, test } from 'vitest'
import { engines } from '../support/stores.ts'
import { memoryBackend } from './backends/memory.ts'
import { Contextd } from './contextd/contextd.ts'
import { createContexts } from './contexts/contexts.ts'
import { SharedMemory } from './testing/shared-memory.ts'

const engine = engines()
const anything = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } } as StandardSchema<object>
const a = defineContext('a', { state: anything })

/** No whole number of at least `least`. */
const noWhole = (least: number): unknown[] => [least - 1, -1, 1.5, Number.NaN, Infinity, -Infinity, 2 ** 53, '1', null, {}, []]
const noTimer = (least: number): unknown[] => [...noWhole(least), 2 ** 31]
const noFunction = [5, 'x', null, {}, []]

function errorOf(call: () => unknown): unknown {
  try {
    call()
  } catch (error) {
    return error
  }
  return null
}

describe('createContexts', () => {
  test.each<[option: string, bad: readonly unknown[], least?: number]>([
    ['contextTtlMs', noWhole(1), 1],
    ['deltaTtlMs', noWhole(0), 0],
    ['deltaThreshold', noWhole(1), 1],
    ['sessionTtlMs', noWhole(1), 1],
    ['leaseMs', noTimer(10), 10],
    ['autoDelete', ['yes', 1, 0, null, {}]],
    ['backend', [null, {}, 'redis://localhost', new Map(), memoryBackend]],
    ['deltaFormat', [null, 'xml', 'toString', {}, 5]],
    ['clock', [null, {}, Date, 5, { now: 5 }, { now: () => Number.NaN }]],
    ['archive', [null, {}, 'file', { export: () => {} }, { restore: () => null }, { export: 1, restore: 1 }]],
    ['logger', [null, {}, 'stdout', { info: () => {} }]],
    ['limits', [null, 5, 'none', []]],
    ['hooks', [null, 5, [], () => {}]],
    ['contexts', [null, {}, a, [null], [{}], [{ id: 'a' }], [{ id: 1, state: anything }], [a, a]]],
  ])('%s: what is malformed is a TypeError that names it, and what is right is taken', (option, bad, least) => {
    const says = new RegExp(`${option}.*${least === undefined ? '' : String.raw`at (least|most) \d+$`}`)
    for (const value of bad) {
      const error = errorOf(() => createContexts({ [option]: value } as never))
      expect(error, String(value)).toBeInstanceOf(TypeError)
      expect((error as TypeError).message).toMatch(says)
    }
    engine({ [option]: least })
    engine({ [option]: undefined })
  })

  test('an option that there is not is a TypeError that names those that there are', () => {
    expect(() => createContexts({ ttlMs: 5 } as never)).toThrow(/has no option ttlMs; it has backend, deltaFormat, clock, contextTtlMs,/)
    expect(() => createContexts({ hooks: { beforeComit: () => {} } } as never)).toThrow(
      'there is no hook beforeComit; there are beforeCommit, afterCommit',
    )
    for (const options of [null, 5, 'redis://localhost']) expect(() => createContexts(options as never)).toThrow(TypeError)
  })

  test.each(Object.keys(defaultLimits))('the limit %s is a whole number from 0', (name) => {
    for (const value of noWhole(0))
      expect(() => createContexts({ limits: { [name]: value } as never })).toThrow(`the limit ${name} must be`)
    engine({ limits: { [name]: 0 } })
  })

  test('a limit that there is not is a TypeError that names those that there are', () => {
    expect(() => createContexts({ limits: { stateSize: 5 } as never })).toThrow(
      /there is no limit stateSize; there are messageBytes, stateBytes,/,
    )
  })

  test.each(['beforeCommit', 'afterCommit'])('the hook %s is a function', (name) => {
    for (const hook of noFunction) expect(() => createContexts({ hooks: { [name]: hook } as never })).toThrow(`the hook ${name} must be`)
  })
})

describe('calls', () => {
  const unknown = { nope: 1 } as never
  test.each<[string, (contexts: ReturnType<typeof engine>) => unknown, string]>([
    ['set', (contexts) => contexts.set('a', {}, unknown), 'ifVersion, ifRevision, lock, user, initial'],
    ['update', (contexts) => contexts.update('a', {}, unknown), 'ifVersion, ifRevision, lock, user, initial'],
    ['apply', (contexts) => contexts.apply('a', [], unknown), 'ifVersion, ifRevision, lock, user, initial'],
    ['transact', (contexts) => contexts.transact('a', () => {}, unknown), 'ifVersion, ifRevision, lock, user, initial, retries'],
    ['delete', (contexts) => contexts.delete('a', unknown), 'ifVersion, ifRevision, lock, user'],
    ['list', (contexts) => contexts.list(unknown), 'limit, offset, order, prefix, updatedSince'],
    ['history', (contexts) => contexts.history('a', unknown), 'limit'],
    ['lock', (contexts) => contexts.lock('a', 'k', unknown), 'ttlMs, retryDelayMs, maxRetries, signal'],
    ['subscribe', async (contexts) => contexts.subscribe('a', () => {}, unknown), 'onDelete'],
    ['cleanup', (contexts) => contexts.cleanup(unknown), 'limit'],
    ['startCleanup', async (contexts) => contexts.startCleanup(unknown), 'intervalMs, limit'],
    ['updateCleanup', async (contexts) => contexts.updateCleanup(unknown), 'intervalMs, limit'],
  ])('%s: an option that it does not have is a TypeError that names those that it has, and nothing is done', async (name, call, names) => {
    const contexts = engine()
    await expect(async () => call(contexts)).rejects.toThrow(new TypeError(`${name} has no option nope; it has ${names}`))
    expect(await contexts.get('a')).toBeNull()
  })

  test('numbers of calls are whole, and what is no number is none', async () => {
    const contexts = engine()
    await contexts.set('a', {})
    for (const value of noWhole(0)) {
      await expect(contexts.set('a', { n: 1 }, { ifVersion: value as number })).rejects.toThrow('ifVersion must be')
      await expect(contexts.transact('a', () => {}, { retries: value as number })).rejects.toThrow('retries must be')
      await expect(contexts.list({ offset: value as number })).rejects.toThrow('offset must be')
    }
    for (const value of noWhole(1)) {
      await expect(contexts.history('a', { limit: value as number })).rejects.toThrow('limit must be')
      await expect(contexts.list({ limit: value as number })).rejects.toThrow('limit must be')
      await expect(contexts.cleanup({ limit: value as number })).rejects.toThrow('limit must be')
    }
    for (const value of noTimer(1)) {
      await expect(contexts.lock('a', 'k', { ttlMs: value as number })).rejects.toThrow('ttlMs must be')
      expect(() => contexts.startCleanup({ intervalMs: value as number })).toThrow('intervalMs must be')
    }
    for (const value of noTimer(0))
      await expect(contexts.lock('a', 'k', { retryDelayMs: value as number })).rejects.toThrow('retryDelayMs must be')
    expect(await contexts.get('a')).toMatchObject({ version: 1 })
  })
})

test('the class Contextd names an option that it does not have, and those that it has', async () => {
  const at = { contextKey: 'a', backend: new SharedMemory().handle() }
  expect(() => new Contextd({ ...at, context_key: 'a' } as never)).toThrow(
    /^Contextd has no option context_key; it has contextKey, redisHost, /,
  )
  const context = new Contextd(at)
  await expect(context.acquireLock({ key: 'k', timeout: 5 } as never)).rejects.toThrow(
    'acquireLock has no option timeout; it has key, lockTimeout, retryDelay, maxRetries',
  )
  for (const name of ['lockTimeout', 'retryDelay', 'maxRetries']) {
    for (const value of [-1, Number.NaN, '1', 1.5]) {
      await expect(context.acquireLock({ key: 'k', [name]: value })).rejects.toThrow(`${name} must be`)
    }
  }
  await expect(context.releaseLock('k' as never)).rejects.toThrow('releaseLock: the options must be an object: { key }')
  await context.close()
})
