import { setImmediate as turn } from 'node:timers/promises'
import type { CommitBatch, CommitResult, HeldLock, LockDemand, LockRequest, LockResult } from '../../src/backends/backend.ts'
import type { StoreModel } from '../../src/backends/store-model.ts'
import { Broken, afterCommit, beforeCommit } from './broken.ts'
import type { BrokenBackend, BrokenBackends } from './broken.ts'

type Demands = readonly LockDemand[]

/** Changes what members demand of locks. */
const demanding = (change: (locks: Demands, member: number) => Demands): BrokenBackend[0] =>
  beforeCommit((batch) => ({
    ...batch,
    members: batch.members.map((member, index) => ({ ...member, locks: change(member.locks ?? [], index) })),
  }))

/** Changes requests for locks, and what is answered. */
const aroundLock = (
  request: (request: LockRequest, store: StoreModel) => LockRequest,
  result: (result: LockResult) => LockResult = (same) => same,
): BrokenBackend[0] =>
  class extends Broken {
    override async lock(asked: LockRequest): Promise<LockResult> {
      return result(this.store.lock(request(asked, this.store)))
    }
  }

/** Looks at the locks of a batch before its streams and its head. */
class LocksFirst extends Broken {
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    const tokens = new Map(this.store.locks(batch.contextId, batch.now).map(({ key, token }) => [key, token]))
    const answers = batch.members.flatMap(({ locks = [] }, member) => {
      const unmet = locks.find(({ key, token }) => (tokens.get(key) ?? null) !== token)
      return unmet ? [{ member, answer: { type: 'locked' as const, key: unmet.key } }] : []
    })
    return answers.length > 0 ? { type: 'members', answers } : this.store.commit(batch)
  }
}

/** Writes the members before the first whose lock is not as it demands, and answers for the others. */
class WritesAroundLocked extends Broken {
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    const result = this.store.commit(batch)
    if (result.type !== 'members') return result
    this.store.commit({ ...batch, head: batch.base, entries: [], members: batch.members.slice(0, result.answers[0]!.member) })
    return result
  }
}

/** Looks who holds a lock, and takes it a moment later. */
class TakesInTwoSteps extends Broken {
  override async lock(request: LockRequest): Promise<LockResult> {
    const free = !this.store.locks(request.contextId, request.now).some(({ key }) => key === request.key)
    await turn()
    if (free) this.change(request.contextId, (copy) => ({ ...copy, locks: new Map() }))
    return this.store.lock(request)
  }
}

class UnlocksAnyHold extends Broken {
  override async unlock(contextId: string, key: string, _hold: string, now: number): Promise<boolean> {
    const hold = this.store.copy(contextId).locks.get(key)?.hold ?? ''
    return this.store.unlock(contextId, key, hold, now)
  }
}

class UnlocksWhatIsOver extends Broken {
  override async unlock(contextId: string, key: string, hold: string): Promise<boolean> {
    return this.store.unlock(contextId, key, hold, 0)
  }
}

class TokensStartAgain extends Broken {
  override async unlock(contextId: string, key: string, hold: string, now: number): Promise<boolean> {
    const ended = this.store.unlock(contextId, key, hold, now)
    this.change(contextId, (copy) => ({ ...copy, lastToken: Math.max(0, ...[...copy.locks.values()].map(({ token }) => token)) }))
    return ended
  }
}

class ListsWhatIsOver extends Broken {
  override async locks(contextId: string): Promise<readonly HeldLock[]> {
    return this.store.locks(contextId, 0)
  }
}

class ListsByToken extends Broken {
  override async locks(contextId: string, now: number): Promise<readonly HeldLock[]> {
    return this.store.locks(contextId, now).toSorted((a, b) => a.token - b.token)
  }
}

/** Looks at leases when commits come, by a clock that stands still. */
const leasesNeverEnd = beforeCommit((batch, store) => {
  const { lastToken } = store.copy(batch.contextId)
  return lastToken > 0 ? { ...batch, now: Math.min(batch.now, lastToken) } : batch
})

/** Locks, and what commits demand of them. */
export const brokenLocks: BrokenBackends = {
  'commits do not look at locks': [demanding(() => []), /^a commit with a token that is not the one of the hold/],
  'commits do not look whether a lock is free': [
    demanding((locks) => locks.filter(({ token }) => token !== null)),
    /^a commit that demands that nobody holds a key/,
  ],
  'any hold will do for a commit': [
    beforeCommit((batch, store) => {
      const tokens = new Map(store.locks(batch.contextId, batch.now).map(({ key, token }) => [key, token]))
      const demand = ({ key, token }: { key: string; token: number | null }): { key: string; token: number | null } =>
        token !== null && tokens.has(key) ? { key, token: tokens.get(key)! } : { key, token }
      return { ...batch, members: batch.members.map((member) => ({ ...member, locks: member.locks?.map(demand) ?? [] })) }
    }),
    /^a token of an old hold stays lost/,
  ],
  'only the first lock of a commit is looked at': [demanding((locks) => locks.slice(0, 1)), /^P6: a member whose lock is lost/],
  'only the locks of the first member are looked at': [
    demanding((locks, member) => (member === 0 ? locks : [])),
    /^P6: a member whose lock is lost/,
  ],
  'locks are looked at before verdicts': [LocksFirst, /^P6: a commit that has its verdict gets it again/],
  'locks are looked at before the head': [LocksFirst, /^P7: a batch of the server given again .* lock|^P5: locks are looked at last/],
  'a batch is written around its locked members': [WritesAroundLocked, /^P6: a member whose lock is lost/],
  'a delete does not look at locks': [
    beforeCommit((batch) => (batch.remove ? { ...batch, members: batch.members.map((member) => ({ ...member, locks: [] })) } : batch)),
    /^a delete demands of locks/,
  ],
  'commits take leases that are over for held': [leasesNeverEnd, /^a token is lost with the end of its lease/],
  'tokens start again when a lock is free': [TokensStartAgain, /^tokens grow with each new hold/],
  'tokens are forgotten with the context': [
    afterCommit((copy, batch) => (batch.remove ? { ...copy, lastToken: 0 } : copy)),
    /^locks and tokens outlive their context/,
  ],
  'tokens do not grow with time': [aroundLock((request) => ({ ...request, now: 1 })), /^a free lock is taken/],
  'locks go with the context': [
    afterCommit((copy, batch) => (batch.remove ? { ...copy, locks: new Map() } : copy)),
    /^locks and tokens outlive their context/,
  ],
  'a free lock is given to two at once': [TakesInTwoSteps, /^of those who ask for a free lock at once/],
  'the same hold is taken for another one': [
    aroundLock((request) => ({ ...request, hold: `${request.hold} at ${request.now}` })),
    /^the same request given twice/,
  ],
  'the same hold given again gets no more time': [
    class extends Broken {
      override async lock(request: LockRequest): Promise<LockResult> {
        const before = this.store.copy(request.contextId).locks.get(request.key)
        const result = this.store.lock(request)
        if (before?.hold !== request.hold || result.type === 'locked') return result
        this.change(request.contextId, (copy) => ({ ...copy, locks: new Map(copy.locks).set(request.key, before) }))
        return { ...result, lock: { ...result.lock, remainingMs: before.until - request.now } }
      }
    },
    /^the same request given twice/,
  ],
  'a hold that is over is extended': [aroundLock((request) => ({ ...request, extend: false })), /^a hold whose lease is over is gone/],
  'a hold is not extended': [aroundLock((request) => (request.extend ? { ...request, ttlMs: 1 } : request)), /^a hold is extended/],
  'who is refused is not told of the holder': [
    aroundLock(
      (request) => request,
      (result) => (result.type === 'locked' ? { type: 'locked', by: null } : result),
    ),
    /^a lock that is held is refused to others/,
  ],
  'a lock is one for all keys': [aroundLock((request) => ({ ...request, key: 'doc' })), /^a lock that is held is refused to others/],
  'unlock ends the hold of another': [UnlocksAnyHold, /^a hold is ended by itself/],
  'unlock says that it ended what was over': [UnlocksWhatIsOver, /^a hold whose lease is over is gone/],
  'locks are listed that are over': [ListsWhatIsOver, /^a hold whose lease is over is gone/],
  'locks are listed by token': [ListsByToken, /^locks are listed by key/],
}
