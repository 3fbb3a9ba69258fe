import { defineContext } from '@contextd/protocol'
import type { Path, StandardSchema } from '@contextd/protocol'
import { describe, expect, test } from 'vitest'
import { served } from '../../support/served.ts'
import { engines } from '../../support/stores.ts'
import { setTo } from '../../support/wire-client.ts'
import type { Contexts } from '../contexts/contexts.ts'
import { SharedMemory } from '../testing/shared-memory.ts'

const engine = engines()
const code = (expected: string): object => expect.objectContaining({ name: 'ContextdError', code: expected })

describe('requireLock', () => {
  const schema = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } } as StandardSchema<object>
  const bound = (): Contexts<{}, unknown> =>
    engine({
      contexts: [defineContext('doc:*', { state: schema, requireLock: (path) => (path[0] === 'title' ? 'title' : null) })],
    })

  test('a commit that changes what must be locked needs the lock, by whichever call and operation', async () => {
    const contexts = bound()
    const other = await contexts.lock('doc:1', 'other')
    const lock = await contexts.lock('doc:1', 'title')
    await expect(contexts.set('doc:1', { title: 'a' })).rejects.toMatchObject({ code: 'locked', details: { key: 'title' } })
    await contexts.set('doc:1', { title: 'a', body: 'b', list: ['x'] }, { lock })
    await expect(contexts.update('doc:1', { title: 'c' })).rejects.toEqual(code('locked'))
    await expect(contexts.update('doc:1', { title: 'c' }, { lock: other })).rejects.toEqual(code('locked'))
    await expect(contexts.set('doc:1', { body: 'b' })).rejects.toEqual(code('locked'))
    await expect(contexts.apply('doc:1', [{ type: 'remove', path: ['title'] }])).rejects.toEqual(code('locked'))
    await expect(contexts.transact('doc:1', (draft) => void (draft['title'] = 'c'))).rejects.toEqual(code('locked'))
    // It names what must be locked, though it changes nothing there.
    await expect(contexts.apply('doc:1', [setTo('title', 'a'), setTo('body', 'c')])).rejects.toEqual(code('locked'))
    await contexts.update('doc:1', { body: 'c' })
    await contexts.set('doc:1', { title: 'a', body: 'd', list: [] })
    await contexts.update('doc:1', { title: 'd' }, { lock })
    expect((await contexts.get('doc:1'))?.state).toEqual({ title: 'd', body: 'd', list: [] })
    await contexts.update('other:1', { title: 'free' }, { initial: {} })
  })

  test('a delete needs it where the whole must be locked', async () => {
    const contexts = engine({
      contexts: [defineContext('doc:*', { state: schema, requireLock: () => 'all' })],
    })
    const lock = await contexts.lock('doc:1', 'all')
    await contexts.set('doc:1', {}, { lock })
    await expect(contexts.delete('doc:1')).rejects.toEqual(code('locked'))
    await contexts.delete('doc:1', { lock })
    expect(await contexts.get('doc:1')).toBeNull()
  })

  test('a creation needs none for what the definition says that it begins as, and does for what is written beside that', async () => {
    const initial = { title: 'New', body: '' }
    const contexts = engine({
      contexts: [defineContext('doc:*', { state: schema, initial, requireLock: ([key]) => (key === 'title' ? 'title' : null) })],
    })
    await contexts.update('doc:1', { body: 'b' })
    await contexts.transact('doc:2', (draft) => void (draft['body'] = 'b'))
    // As a client says it, whose definition is the same.
    await contexts.update('doc:3', { body: 'b' }, { initial: { ...initial } })
    await contexts.set('doc:4', { title: 'New' })
    for (const id of ['doc:1', 'doc:2', 'doc:3', 'doc:4']) expect((await contexts.get(id))?.state).toMatchObject({ title: 'New' })
    await expect(contexts.update('doc:5', { body: 'b' }, { initial: { title: 'Mine' } })).rejects.toEqual(code('locked'))
    await expect(contexts.update('doc:5', { title: 'Mine' })).rejects.toEqual(code('locked'))
    await expect(contexts.set('doc:5', { title: 'Mine' })).rejects.toEqual(code('locked'))
    await expect(contexts.set('doc:5', { body: '' })).rejects.toEqual(code('locked'))
    expect(await contexts.get('doc:5')).toBeNull()
    const lock = await contexts.lock('doc:5', 'title')
    await contexts.update('doc:5', { body: 'b' }, { initial: { title: 'Mine' }, lock })
  })

  test('is asked of no migration, and binds over HTTP and from a browser as it does here', async () => {
    const shared = new SharedMemory()
    await engine({ backend: shared.handle() }).set('doc:1', { title: 'old' })
    const required = {
      state: schema,
      version: 2,
      migrate: () => ({ title: 'moved' }),
      requireLock: ([key]: Path) => (key === 'title' ? 'title' : null),
    }
    const { contexts, connect, url } = await served({}, { backend: shared.handle(), contexts: [defineContext('doc:*', required)] })
    expect((await contexts.get('doc:1'))?.state).toEqual({ title: 'moved' })
    const { incarnation } = (await contexts.get('doc:1'))!
    const lock = await contexts.lock('doc:1', 'title')
    const session = await (await connect()).attach()
    await session.sync('doc:1')
    const operations = [setTo('title', 'browser')]
    session.send('doc:1', [
      { seq: 1, incarnation, operations },
      { seq: 2, incarnation, operations, lock: { key: 'title', token: lock.token + 1 } },
      { seq: 3, incarnation, operations, lock: { key: 'title', token: lock.token } },
    ])
    expect(await session.outcome('doc:1', 1)).toMatchObject({ type: 'refused', code: 'locked', details: { key: 'title' } })
    expect(await session.outcome('doc:1', 2)).toMatchObject({ type: 'refused', code: 'locked' })
    await session.client.until(() => session.seen('doc:1').includes(3))
    const patch = async (query: string): Promise<number> => {
      const headers = { 'content-type': 'application/merge-patch+json' }
      return (await fetch(`${url}/v1/contexts/doc:1${query}`, { method: 'PATCH', headers, body: '{"title":"http"}' })).status
    }
    expect([await patch(''), await patch(`?lock=title&lockToken=${lock.token + 1}`)]).toEqual([423, 423])
    expect((await contexts.get('doc:1'))?.state).toEqual({ title: 'browser' })
    expect(await patch(`?lock=title&lockToken=${lock.token}`)).toBe(200)
    await lock.release()
    expect(await patch(`?lock=title&lockToken=${lock.token}`)).toBe(423)
    expect((await contexts.get('doc:1'))?.state).toEqual({ title: 'http' })
  })

  test('one that throws, or says something else, refuses the commit', async () => {
    const thrown = new Error('mine')
    const contexts = engine({
      contexts: [
        defineContext('throws', {
          state: schema,
          requireLock: () => {
            throw thrown
          },
        }),
        defineContext('wrong', { state: schema, requireLock: () => 1 as unknown as string }),
        defineContext('later', { state: schema, requireLock: (() => Promise.reject(thrown)) as unknown as () => string }),
      ],
    })
    await expect(contexts.set('throws', { a: 1 })).rejects.toBe(thrown)
    await expect(contexts.set('wrong', { a: 1 })).rejects.toThrow(TypeError)
    await expect(contexts.set('later', { a: 1 })).rejects.toThrow('requireLock of later must be synchronous.')
    expect(await contexts.get('throws')).toBeNull()
  })
})
