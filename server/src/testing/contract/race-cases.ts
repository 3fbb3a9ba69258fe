import { setImmediate as turn } from 'node:timers/promises'
import { isContextdError } from '@contextd/protocol'
import { noHead, sameHead } from '../../backends/backend.ts'
import type { CommitBatch, CommitResult, ContextBackend, RestoreResult } from '../../backends/backend.ts'
import { restoreOf } from './archive-cases.ts'
import { at, batchOf, contextId, fact, queryOf, recordOf, same, startAt, stateAt, store } from './kit.ts'
import type { KitCase } from './kit.ts'
import { requestOf, take } from './lock-kit.ts'

const rounds = 10

/** Makes a call that is done once however often it is made, until it is known what came of it. */
async function answered<T>(call: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await call()
    } catch (error) {
      if (tries === 20 || !isContextdError(error, 'timeout')) throw error
    }
  }
}

/** Calls that come at once: each is one step, before or after the others. */
export const raceCases: readonly KitCase[] = [
  fact('P13: of restores and commits that race on one base exactly one is done', async ({ backend, another }) => {
    const handles = [backend, await another()]
    let base = noHead
    for (let round = 0; round < rounds; round += 1) {
      const calls = Array.from({ length: 6 }, (_, index) => {
        const handle = handles[index % 2]!
        const restore = restoreOf({ base })
        const batch = batchOf({ base })
        return index < 3
          ? { head: restore.head, result: answered<RestoreResult | CommitResult>(() => handle.restore(restore)) }
          : { head: batch.head, result: answered<RestoreResult | CommitResult>(() => handle.commit(batch)) }
      })
      const results = await Promise.all(calls.map(({ result }) => result))
      const [head = noHead] = await backend.heads([contextId])
      const done = calls.filter(({ head: own }, index) => results[index]!.type !== 'conflict' || sameHead(own, head))
      same(done.length, 1, 'one of them is done')
      base = done[0]!.head
      same(head, base)
      for (const result of results) if (result.type === 'conflict') same(result.head, base)
    }
  }),

  fact('a prune that races with a commit is done on the head that was named, or not at all', async ({ backend, another }) => {
    const other = await another()
    let { head } = await store(backend)
    for (let round = 0; round < rounds; round += 1) {
      const next = batchOf({ base: head })
      const prune = { contextId, base: head, snapshot: stateAt(head.version), before: startAt + 1, maxVersions: 0 }
      const [dropped, result] = await Promise.all([backend.prune(prune), other.commit(next)])
      same(result, { type: 'committed' }, 'a prune leaves the head where it is')
      head = next.head
      const { row, snapshot, entries } = (await backend.load(contextId))!
      same(snapshot, stateAt(row.snapshotVersion), 'the snapshot is of the version that it is said to be of')
      same(
        entries.map(({ version }) => version),
        Array.from({ length: head.version - row.snapshotVersion }, (_, index) => row.snapshotVersion + 1 + index),
      )
      same(dropped === null || row.snapshotVersion === head.version - 1, true, 'what was pruned has its snapshot')
    }
  }),

  fact('P11: a sync that raises an epoch while its stream commits takes no verdict away', async ({ backend, another }) => {
    const other = await another()
    let { head: base } = await store(backend)
    let [epoch, last] = [0, 0]
    for (let round = 0; round < rounds; round += 1) {
      const batch = batchOf({ base, members: [{ stream: at(last + 1, { epoch }) }] })
      const [raised, result] = await Promise.all([other.sync(queryOf({ stream: { epoch: epoch + 1 } })), backend.commit(batch)])
      if (raised.type !== 'found') throw new Error('The session is expired, and must not be.')
      const record = await recordOf(backend, { epoch: raised.record.epoch })
      same(record.epoch, raised.record.epoch)
      if (result.type === 'committed') {
        base = batch.head
        last += 1
      } else same(result, { type: 'members', answers: [{ member: 0, answer: { type: 'fenced' } }] })
      same([record.last, record.verdicts.length], [last, last])
      epoch = record.epoch
    }
  }),

  fact('what is read is of one moment, also while another writes', async ({ backend, another }) => {
    const writer = await another()
    const { head } = await store(backend)
    const progress = { done: false }
    const writing = writeThirty(writer, head).finally(() => (progress.done = true))
    while (!progress.done) {
      const { stored, streams } = (await backend.dump(contextId))!
      same(streams.length === 0 ? 0 : streams[0]!.last, stored.row.head.version - 1, 'each version has its verdict in the dump')
      for (const { row, snapshot, entries } of [stored, (await backend.load(contextId))!]) {
        same(snapshot, stateAt(row.snapshotVersion), 'the state is the one of its version')
        same(
          entries.map(({ version }) => version),
          Array.from({ length: row.head.version - row.snapshotVersion }, (_, index) => row.snapshotVersion + 1 + index),
          'the entries lead from it to the head',
        )
      }
      // A store that answers within the turn would not let the writer write.
      await turn()
    }
    await writing
    same((await backend.load(contextId))!.row.head.version, 31)
  }),

  fact('a commit that races with the end of its lock is stored before it, or not at all', async ({ backend, another }) => {
    const other = await another()
    let { head: base } = await store(backend)
    for (let round = 0; round < rounds; round += 1) {
      const mine = await take(backend, `mine-${round}`)
      const batch = batchOf({ base, members: [{ locks: [{ key: 'doc', token: mine.token }] }] })
      const taking = async (): Promise<number> => {
        await other.unlock(contextId, 'doc', `mine-${round}`, startAt)
        same((await other.lock(requestOf(`theirs-${round}`))).type, 'held')
        return (await other.heads([contextId]))[0]!.version
      }
      const [result, seen] = await Promise.all([backend.commit(batch), taking()])
      if (result.type === 'committed') {
        same(seen, batch.head.version, 'who has taken the lock sees all that was written under it')
        base = batch.head
      } else same(result, { type: 'members', answers: [{ member: 0, answer: { type: 'locked', key: 'doc' } }] })
      same(await other.unlock(contextId, 'doc', `theirs-${round}`, startAt), true)
    }
  }),
]

/** Thirty commits of the stream, one by one; each third writes a snapshot, and trims the log to it. */
async function writeThirty(backend: ContextBackend, from: CommitBatch['head']): Promise<void> {
  let base = from
  for (let seq = 1; seq <= 30; seq += 1) {
    base = (await store(backend, { base, snapshot: seq % 3 === 0, members: [{ stream: at(seq) }], retention: { maxVersions: 2 } })).head
    await turn()
  }
}
