import { ContextdError } from '@contextd/protocol'
import type { Verdict } from '@contextd/protocol'
import { expect, test } from 'vitest'
import type { CommitBatch, CommitResult } from '../backends/backend.ts'
import { StoreModel } from '../backends/store-model.ts'
import { CommitQueue } from './commit-queue.ts'
import type { Answered } from './commit-queue.ts'
import type { Submission } from './decide.ts'
import { serverAuthor } from './known-context.ts'

const now = 1_700_000_000_000
let minted = 0
const options = {
  mint: () => `token-${String((minted += 1)).padStart(6, '0')}`,
  sessionTtlMs: 3_600_000,
  stateBytes: 0,
  itemKey: 'id',
  deltaTtlMs: 86_400_000,
  deltaThreshold: 0,
  schema: 0,
  leastSchema: 0,
  byteLength: (text: string) => text.length,
}
const queueOf = (): CommitQueue<string> => new CommitQueue<string>('c', options)

/** A commit of the server itself that adds one. */
const increment = (target: string, more: Partial<Submission<string>> = {}): Submission<string> => ({
  target,
  source: '',
  stream: null,
  author: serverAuthor,
  incarnation: null,
  operations: [{ type: 'increment', path: ['n'], by: 1 }],
  remove: false,
  initial: {},
  size: 10,
  ...more,
})
/** The same of a session. */
const numbered = (key: string, seq: number, more: Partial<Submission<string>> = {}): Submission<string> =>
  increment(`${key} ${seq}`, { source: key, stream: { key, mintedAt: now, epoch: 0, seq, settled: 0 }, ...more })

/** Carries batches to a store until nothing waits. */
function run(queue: CommitQueue<string>, store: StoreModel, batches: CommitBatch[] = []): Answered<string>[] {
  const answered: Answered<string>[] = []
  for (;;) {
    const next = queue.begin(now)
    if (next === null) return answered
    if (next === 'load') answered.push(...queue.loaded(store.load('c'), store.log('c', 0)))
    else {
      batches.push(next)
      answered.push(...queue.finish(store.commit(next)))
    }
  }
}
/** The next batch, of a queue that has loaded. */
function begin(queue: CommitQueue<string>, store: StoreModel): CommitBatch {
  const next = queue.begin(now)
  if (next !== 'load') return next!
  queue.loaded(store.load('c'))
  return queue.begin(now) as CommitBatch
}
const told = (answered: readonly Answered<string>[]): [string, string][] =>
  answered.map(({ submission, answer }) => [submission.target, answer.type === 'verdict' ? answer.verdict.type : answer.type])
const stateOf = (store: StoreModel): unknown => {
  const queue = queueOf()
  queue.loaded(store.load('c'))
  return queue.known?.state
}

test('P6: what waits is one batch, with a version for each commit', () => {
  const [queue, store, batches] = [queueOf(), new StoreModel(), [] as CommitBatch[]]
  for (let call = 0; call < 5; call += 1) queue.enqueue(increment(`call ${call}`))
  expect(told(run(queue, store, batches)).map(([, verdict]) => verdict)).toEqual(Array(5).fill('applied'))
  expect(batches.map(({ head, entries }) => [head.version, entries.length])).toEqual([[5, 5]])
})

test('P6: a batch has at most 256 commits, taken in turn from each source and in order within one', () => {
  const [queue, store, batches] = [queueOf(), new StoreModel(), [] as CommitBatch[]]
  for (let seq = 1; seq <= 300; seq += 1) queue.enqueue(numbered('busy', seq))
  for (let seq = 1; seq <= 2; seq += 1) queue.enqueue(numbered('calm', seq))
  const answered = told(run(queue, store, batches)).map(([target]) => target)
  expect(batches.map(({ members }) => members.length)).toEqual([256, 46])
  expect(answered.slice(0, 5)).toEqual(['busy 1', 'calm 1', 'busy 2', 'calm 2', 'busy 3'])
  expect(answered.filter((target) => target.startsWith('busy'))).toEqual(Array.from({ length: 300 }, (_, index) => `busy ${index + 1}`))
})

test('P6: sources beyond the first batch have their turn in the next one, however much comes from the others', () => {
  const [queue, store] = [queueOf(), new StoreModel()]
  for (let source = 0; source < 300; source += 1) queue.enqueue(numbered(`s${source}`, 1))
  for (let source = 0; source < 256; source += 1) queue.enqueue(numbered(`s${source}`, 2))
  queue.loaded(null)
  const first = queue.begin(now) as CommitBatch
  queue.finish(store.commit(first))
  const second = queue.begin(now) as CommitBatch
  expect(second.members.slice(0, 44).map(({ stream }) => stream?.key)).toEqual(Array.from({ length: 44 }, (_, index) => `s${256 + index}`))
})

test('P6: a number that is queued or in flight is not queued again, and its newest sender gets the answer', () => {
  const [queue, store] = [queueOf(), new StoreModel()]
  queue.enqueue(numbered('a', 1, { target: 'first' }))
  const batch = begin(queue, store)
  queue.enqueue(numbered('a', 1, { target: 'second' }))
  expect(told(queue.finish(store.commit(batch)))).toEqual([['second', 'applied']])
  expect(queue.idle).toBe(true)
})

test('P6: a refused member leaves the others alone, and its refusal is recorded', () => {
  const [queue, store] = [queueOf(), new StoreModel()]
  queue.enqueue(numbered('a', 1))
  queue.enqueue(numbered('b', 1, { operations: [{ type: 'test', path: ['n'], value: 7 }] }))
  queue.enqueue(numbered('c', 1))
  expect(told(run(queue, store))).toEqual([
    ['a 1', 'applied'],
    ['b 1', 'refused'],
    ['c 1', 'applied'],
  ])
  expect(store.copy('c').records.get('b')?.verdicts).toEqual([[1, expect.objectContaining({ type: 'refused', code: 'conflict' })]])
})

test('P6: of a batch with a repeat and a gap these are answered, the later members of the gap too, and the rest is stored', () => {
  const [queue, store] = [queueOf(), new StoreModel()]
  queue.enqueue(numbered('a', 1))
  run(queue, store)
  for (const one of [numbered('a', 1), numbered('b', 3), numbered('b', 4), numbered('d', 1)]) queue.enqueue(one)
  expect(told(run(queue, store))).toEqual([
    ['a 1', 'applied'],
    ['b 3', 'gap'],
    ['b 4', 'gap'],
    ['d 1', 'applied'],
  ])
  expect(stateOf(store)).toEqual({ n: 2 })
})

test('P5: a commit that names another life is refused; one on "absent" applies to what is there, without its initial', () => {
  const [queue, store] = [queueOf(), new StoreModel()]
  queue.enqueue(increment('create'))
  queue.enqueue(numbered('a', 1, { incarnation: 'another' }))
  queue.enqueue(numbered('b', 1, { incarnation: '', initial: { n: 100, mine: true } }))
  const verdicts = run(queue, store).map(({ answer }) => (answer.type === 'verdict' ? answer.verdict : answer)) as Verdict[]
  expect(verdicts[1]).toMatchObject({ type: 'refused', code: 'not_found' })
  expect(stateOf(store)).toEqual({ n: 2 })
})

test('P3: a number without operations is answered with nothing, also where the context is absent', () => {
  const [queue, store] = [queueOf(), new StoreModel()]
  queue.enqueue(numbered('a', 1, { operations: [], initial: null }))
  expect(told(run(queue, store))).toEqual([['a 1', 'nothing']])
  expect(store.copy('c').records.get('a')?.last).toBe(1)
})

test('a delete is the only change of its batch, is not overtaken for ever, and what follows begins a new life', () => {
  const [queue, store, batches] = [queueOf(), new StoreModel(), [] as CommitBatch[]]
  queue.enqueue(numbered('a', 1))
  queue.enqueue(numbered('b', 1, { remove: true, operations: [] }))
  queue.enqueue(numbered('a', 2))
  run(queue, store, batches)
  expect(batches.map(({ remove, head, members }) => [remove, head.version, members.length])).toEqual([
    [false, 1, 1],
    [true, 0, 1],
    [false, 1, 1],
  ])
  expect(batches[0]!.head.incarnation).not.toBe(batches[2]!.head.incarnation)
})

test('P6: after an unknown outcome nobody is answered, and the very same batch is sent again', () => {
  const [queue, store] = [queueOf(), new StoreModel()]
  queue.enqueue(numbered('a', 1))
  const batch = begin(queue, store)
  expect(queue.unknownOutcome()).toBe(batch)
  expect(queue.failed(new ContextdError('backend_unavailable', 'gone'))).toBeNull()
  expect(told(queue.finish(store.commit(batch)))).toEqual([['a 1', 'applied']])
})

test('P7: a commit of the server that was stored with its answer lost is found by its revision, and stored once', () => {
  const [queue, store] = [queueOf(), new StoreModel()]
  queue.enqueue(increment('create'))
  run(queue, store)
  queue.enqueue(increment('mine'))
  const batch = begin(queue, store)
  store.commit(batch)
  queue.unknownOutcome()
  const other = queueOf()
  other.enqueue(increment('another'))
  run(other, store)
  const answered = queue.finish(store.commit(batch))
  expect(told(answered)).toEqual([['mine', 'applied']])
  expect(answered[0]!.answer).toMatchObject({ verdict: { head: batch.head }, decided: { after: { state: { n: 2 } } } })
  expect(stateOf(store)).toEqual({ n: 3 })
})

test('P7: a creation and a delete of the server with unknown outcome are found too', () => {
  const [queue, store] = [queueOf(), new StoreModel()]
  for (const commit of [increment('create'), increment('delete', { remove: true, operations: [] })]) {
    queue.enqueue(commit)
    const batch = begin(queue, store)
    store.commit(batch)
    queue.unknownOutcome()
    const answered = [...queue.finish(store.commit(batch)), ...run(queue, store)]
    expect(told(answered)).toEqual([[commit.target, 'applied']])
  }
  expect(store.load('c')?.snapshot).toBeNull()
})

test('P7: where the log no longer tells, the outcome stays unknown', () => {
  const [queue, store] = [queueOf(), new StoreModel()]
  queue.enqueue(increment('create'))
  run(queue, store)
  queue.enqueue(increment('mine'))
  const batch = begin(queue, store)
  queue.unknownOutcome()
  const other = queueOf()
  other.enqueue(increment('delete', { remove: true, operations: [] }))
  other.enqueue(increment('again'))
  run(other, store)
  expect(told([...queue.finish(store.commit(batch)), ...run(queue, store)])).toEqual([['mine', 'unknown']])
  expect(stateOf(store)).toEqual({ n: 1 })
})

test('P7: a state read elsewhere is not taken over while it is open whether a commit of the server is in it', () => {
  const [queue, store] = [queueOf(), new StoreModel()]
  queue.enqueue(increment('create'))
  run(queue, store)
  queue.enqueue(increment('mine'))
  queue.enqueue(numbered('a', 1))
  const batch = begin(queue, store)
  store.commit(batch)
  queue.unknownOutcome()
  // The session's member is a repeat: the answer says nothing of the server's own.
  const answered = queue.finish(store.commit(batch))
  const reader = queueOf()
  reader.loaded(store.load('c'))
  queue.advance(reader.known!)
  expect(told([...answered, ...run(queue, store)])).toEqual([
    ['a 1', 'applied'],
    ['mine', 'applied'],
  ])
  expect(stateOf(store)).toEqual({ n: 3 })
})

test('a conflict is caught up with from its own answer, and the intent is applied to the new head', () => {
  const [queue, store, batches] = [queueOf(), new StoreModel(), [] as CommitBatch[]]
  queue.enqueue(increment('create'))
  run(queue, store)
  const other = queueOf()
  other.enqueue(increment('other'))
  run(other, store)
  queue.enqueue(increment('mine'))
  run(queue, store, batches)
  expect(batches.map(({ base }) => base.version)).toEqual([1, 2])
  expect(batches[0]!.head.revision).not.toBe(batches[1]!.head.revision)
  expect(stateOf(store)).toEqual({ n: 3 })
})

test('a batch without a change still needs the head it was decided on', () => {
  const [queue, store] = [queueOf(), new StoreModel()]
  queue.enqueue(increment('create'))
  run(queue, store)
  const other = queueOf()
  other.enqueue(increment('other'))
  run(other, store)
  queue.enqueue(increment('test', { operations: [{ type: 'test', path: ['n'], value: 1 }] }))
  const result: CommitResult = store.commit(begin(queue, store))
  expect(result.type).toBe('conflict')
  expect(told([...queue.finish(result), ...run(queue, store)])).toEqual([['test', 'refused']])
})

test('what is dropped at the end is answered, as unknown where it may be stored', () => {
  const [queue, store] = [queueOf(), new StoreModel()]
  queue.enqueue(increment('mine'))
  queue.enqueue(numbered('a', 1))
  begin(queue, store)
  queue.unknownOutcome()
  queue.enqueue(increment('later'))
  const error = new ContextdError('closed', 'closed')
  expect(told([...queue.abandon(error), ...queue.drop(error, true)])).toEqual([
    ['mine', 'unknown'],
    ['a 1', 'held'],
    ['later', 'held'],
  ])
  expect(queue.idle).toBe(true)
})

test('a snapshot is written on creation, and then when the log has grown as large as the state', () => {
  const [queue, store, batches] = [queueOf(), new StoreModel(), [] as CommitBatch[]]
  const pad = 'x'.repeat(1_000)
  for (let call = 0; call < 100; call += 1) {
    queue.enqueue(increment(`call ${call}`, { operations: [{ type: 'set', path: ['text'], value: `${pad}${call}` }] }))
    run(queue, store, batches)
  }
  const written = batches.flatMap(({ snapshot, head }) => (snapshot === null ? [] : head.version))
  expect(written[0]).toBe(1)
  expect(written.length).toBeGreaterThan(5)
  expect(written.length).toBeLessThan(20)
})

const lockOf = (store: StoreModel, hold: string, more: { ttlMs?: number; at?: number } = {}) =>
  store.lock({ contextId: 'c', key: 'k', hold, holder: serverAuthor, ttlMs: more.ttlMs ?? 1_000, extend: false, now: more.at ?? now })
const tokenOf = (result: ReturnType<typeof lockOf>): number => (result.type === 'held' ? result.lock.token : 0)

test('P6: a member whose lock is lost is refused, and recorded so; the others go on', () => {
  const [queue, store] = [queueOf(), new StoreModel()]
  const token = tokenOf(lockOf(store, 'one'))
  queue.enqueue(numbered('a', 1, { locks: [{ key: 'k', token }] }))
  queue.enqueue(numbered('b', 1, { locks: [{ key: 'k', token: token - 1 }] }))
  queue.enqueue(numbered('c', 1, { locks: [{ key: 'k', token: null }] }))
  queue.enqueue(increment('free', { locks: [{ key: 'other', token: null }] }))
  expect(told(run(queue, store))).toEqual([
    ['a 1', 'applied'],
    ['b 1', 'refused'],
    ['c 1', 'refused'],
    ['free', 'applied'],
  ])
  for (const key of ['b', 'c'])
    expect(store.copy('c').records.get(key)?.verdicts).toEqual([[1, expect.objectContaining({ type: 'refused', code: 'locked' })]])
  expect(stateOf(store)).toEqual({ n: 2 })
})

test('P6: a lock whose lease is over is lost, whoever asks', () => {
  const [queue, store] = [queueOf(), new StoreModel()]
  const token = tokenOf(lockOf(store, 'one', { ttlMs: 1_000, at: now - 1_000 }))
  queue.enqueue(increment('late', { locks: [{ key: 'k', token }] }))
  expect(told(run(queue, store))).toEqual([['late', 'refused']])
  expect(tokenOf(lockOf(store, 'two'))).toBeGreaterThan(token)
})

test('P6: a repeat gets its verdict, though its lock was given back since', () => {
  const [queue, store] = [queueOf(), new StoreModel()]
  const token = tokenOf(lockOf(store, 'one'))
  const commit = (): Submission<string> => numbered('a', 1, { locks: [{ key: 'k', token }] })
  queue.enqueue(commit())
  run(queue, store)
  store.unlock('c', 'k', 'one', now)
  queue.enqueue(commit())
  expect(told(run(queue, store))).toEqual([['a 1', 'applied']])
})

test('P7: a batch of unknown outcome that was stored counts as applied, though its lock was given back since', () => {
  const [queue, store] = [queueOf(), new StoreModel()]
  const token = tokenOf(lockOf(store, 'one'))
  queue.enqueue(increment('server', { locks: [{ key: 'k', token }] }))
  const batch = begin(queue, store)
  store.commit(batch)
  queue.unknownOutcome()
  store.unlock('c', 'k', 'one', now)
  expect(told([...queue.finish(store.commit(batch)), ...run(queue, store)])).toEqual([['server', 'applied']])
  expect(stateOf(store)).toEqual({ n: 1 })
})

test('a refusal that comes up before a batch is sent takes its number, and the rest is decided again', () => {
  const [queue, store] = [queueOf(), new StoreModel()]
  queue.enqueue(numbered('a', 1))
  queue.enqueue(numbered('b', 1))
  begin(queue, store)
  const [first] = queue.deciding
  queue.refuse(new Map([[first!.submission, new ContextdError('forbidden', 'Not this one.')]]))
  expect(told(run(queue, store))).toEqual([
    ['a 1', 'refused'],
    ['b 1', 'applied'],
  ])
  expect(stateOf(store)).toEqual({ n: 1 })
})
