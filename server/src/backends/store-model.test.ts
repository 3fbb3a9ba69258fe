import { expect, test } from 'vitest'
import { recordGraceMs } from '../commits/commit-step.ts'
import { at, batchOf, contextId, queryOf, sessionTtlMs, startAt } from '../testing/contract/kit.ts'
import type { BatchSpec } from '../testing/contract/kit.ts'
import { noHead } from './backend.ts'
import type { CommitBatch } from './backend.ts'
import { StoreModel } from './store-model.ts'

function store(model: StoreModel, spec: BatchSpec = {}): CommitBatch {
  const batch = batchOf(spec)
  expect(model.commit(batch)).toEqual({ type: 'committed' })
  return batch
}

test('a context that is restored from a dump is as it was, records too', () => {
  const model = new StoreModel()
  const first = store(model, { members: [{ stream: at(1) }] })
  const dump = model.copy(contextId)
  const loaded = model.load(contextId)
  const second = store(model, { base: first.head, members: [{ stream: at(2) }] })
  model.putBack(dump)
  expect(model.load(contextId)).toEqual(loaded)
  expect(model.log(contextId, 0)).toEqual(first.entries)
  const synced = model.sync(queryOf({ head: second.head, stream: { told: 2 } }))
  expect(synced).toMatchObject({ rolledBack: true, record: { epoch: 1, last: 1 } })
  expect(model.copy(contextId)).not.toEqual(dump)
  expect(dump.records.get('stream-1')).toMatchObject({ epoch: 0, last: 1 })
})

test('a context that was never there is restored to not being there', () => {
  const model = new StoreModel()
  const dump = model.copy(contextId)
  store(model, { members: [{ stream: at(1) }] })
  model.putBack(dump)
  expect(model.load(contextId)).toBeNull()
  expect(model.copy(contextId)).toEqual(dump)
})

test('what a caller is given is not changed by later commits', () => {
  const model = new StoreModel()
  const first = store(model)
  const log = model.log(contextId, 0)
  const loaded = model.load(contextId)
  store(model, { base: first.head })
  expect(log).toEqual(first.entries)
  expect(loaded?.entries).toEqual([])
})

test('absent contexts are forgotten with the last of their records, and only then', () => {
  const model = new StoreModel()
  const { head: base } = store(model, { members: [{ stream: at(1) }] })
  store(model, { base, remove: true, now: startAt + 10 })
  store(model, { contextId: 'living', members: [{ stream: at(1) }] })
  model.sync(queryOf({ contextId: 'never', now: startAt + 20, stream: { epoch: 1 } }))
  const due = startAt + sessionTtlMs + recordGraceMs
  expect(model.expireRecords(due, sessionTtlMs)).toBe(0)
  expect(model.copy('living').records.size).toBe(1)
  expect(model.expireRecords(due + 10, sessionTtlMs)).toBe(0)
  expect(model.load(contextId)).not.toBeNull()
  expect(model.copy(contextId).records.size).toBe(0)
  expect(model.expireRecords(due + 11, sessionTtlMs)).toBe(1)
  expect(model.heads([contextId])).toEqual([noHead])
  expect(model.expireRecords(due + 21, sessionTtlMs)).toBe(1)
  expect(model.copy('never').records.size).toBe(0)
  expect(model.copy('living').records.size).toBe(0)
  expect(model.load('living')).not.toBeNull()
})
