import { mutant } from './mutant.ts'
import type { Mutant } from './mutant.ts'

const commitStep = 'server/src/commits/commit-step.ts'
const syncStep = 'server/src/reads/sync-step.ts'
const commitAttempt = 'server/src/commits/commit-attempt.ts'
const decide = 'server/src/commits/decide.ts'
const commitQueue = 'server/src/commits/commit-queue.ts'
const storeModel = 'server/src/backends/store-model.ts'
const backend = 'server/src/backends/backend.ts'
const toldHead = 'server/src/socket/told-head.ts'
const simStore = 'bench/src/sim/sim-store.ts'

/** Mutants of heads: what identifies a version (P1). */
const headMutants: readonly Mutant[] = [
  mutant(
    'P1',
    'heads are compared without their incarnation',
    'seed-17, writes behind a delete',
    syncStep,
    'if (client.incarnation !== head.incarnation || head.version === 0) return',
    'if (head.version === 0) return',
  ),
  mutant('P1', 'heads are compared without their revision', 'absent is not always the same', backend, ' && a.revision === b.revision', ''),
  mutant(
    'P1',
    'an attempt keeps its revision on a new base',
    'an attempt on a new base',
    commitAttempt,
    'const token = options.mint()',
    'const token = ((submissions[0] as unknown as { kept?: string }).kept ??= options.mint())',
  ),
  mutant(
    'P1',
    'an absent head has no revision',
    'absent is not always the same',
    decide,
    "const head: Head = { incarnation: '', version: 0, revision }",
    "const head: Head = { incarnation: '', version: 0, revision: revision.slice(99) }",
  ),
]

/** Mutants of what the store checks and records (P4, P5, P12, P14). */
const recordMutants: readonly Mutant[] = [
  mutant(
    'P4',
    'a refusal is not recorded',
    1,
    commitStep,
    'else records.set(stream.key, ',
    "else if (verdict.type !== 'refused') records.set(stream.key, ",
  ),
  mutant(
    'P4',
    'a refusal is not told again to a repeat',
    1,
    commitStep,
    'return verdicts.find(([number]) => number === seq)?.[1] ?? {',
    "const found = verdicts.find(([number]) => number === seq)?.[1]\n  return found && found.type !== 'refused' ? found : {",
  ),
  mutant(
    'P4',
    'an applied verdict is kept without its version',
    1,
    commitStep,
    'verdicts.push([stream.seq, verdict])',
    "verdicts.push([stream.seq, verdict.type === 'applied' ? { type: 'applied', head: null } : verdict])",
  ),
  mutant(
    'P5',
    'an old session without a record begins anew',
    'a late request of a forgotten session',
    commitStep,
    'if (record === null && isExpired(stream, batch.now, batch.sessionTtlMs)) return',
    'if (record === null && isExpired(stream, batch.now, Number.MAX_VALUE)) return',
  ),
  mutant(
    'P5',
    'a stream of another epoch is not fenced',
    'a late request of an older epoch',
    commitStep,
    'if (stream.epoch !== epoch) return',
    'if (epoch < 0) return',
  ),
  mutant('P5', 'a number that has a verdict is run again', 1, commitStep, 'if (stream.seq <= last) return', 'if (last < 0) return'),
  mutant('P5', 'a number may be skipped', 1, commitStep, 'if (stream.seq > last + 1) return', 'if (last < 0) return'),
  mutant(
    'P5',
    'a commit on another incarnation is run',
    4,
    decide,
    "if (incarnation !== null && incarnation !== '' && incarnation !== at.head.incarnation) throw gone()",
    '',
  ),
  mutant(
    'P12',
    'records do not survive a delete',
    1,
    storeModel,
    'if (batch.remove) clear(cell)',
    'if (batch.remove) (clear(cell), cell.records.clear())',
  ),
  mutant('P14', 'records do not outlive their sessions', 5, storeModel, 'now - sessionTtlMs - recordGraceMs', 'now - sessionTtlMs / 20'),
]

/** Mutants of the sync step (P10, P11). */
const syncMutants: readonly Mutant[] = [
  mutant(
    'P10',
    'a sync is two steps',
    5,
    simStore,
    "this.#call('sync', nodeId, () => this.#syncNow(query), done)",
    `const run = (): SyncResult => this.#syncNow(query)
    this.#call('sync', nodeId, run, (first: CallEnd<SyncResult>) =>
      this.#call('sync', nodeId, run, (second) => {
        const found = first.type === 'done' && second.type === 'done' && first.value.type === 'found' && second.value.type === 'found'
        done(found ? { type: 'done', value: { ...first.value, record: second.value.record, before: second.value.before } } : second)
      }),
    )`,
  ),
  mutant(
    'P10',
    'a sync of an expired session makes a record',
    'a late request of a forgotten session',
    syncStep,
    'if (stored === null && isExpired(stream, now, query.sessionTtlMs)) return',
    'if (stored === null && isExpired(stream, now, Number.MAX_VALUE)) return',
  ),
  mutant(
    'P11',
    'the epoch only follows the recorded one',
    'an epoch is not used twice',
    syncStep,
    'epoch: Math.max(was.epoch, stream.epoch) + 1',
    'epoch: was.epoch + 1',
  ),
  mutant(
    'P11',
    'another epoch is no reason for a fence',
    'an epoch that was set back is fenced',
    syncStep,
    ' || was.epoch !== stream.epoch',
    '',
  ),
  mutant(
    'P11',
    'no fence in another incarnation',
    'a fence in another incarnation',
    syncStep,
    'was.last < stream.told',
    "(standing !== 'other incarnation' && was.last < stream.told)",
  ),
  mutant(
    'P11',
    'a trimmed log proves a rollback',
    3,
    syncStep,
    "return same && same.revision !== client.revision ? 'not in history' : 'unknown'",
    "return same && same.revision === client.revision ? 'unknown' : 'not in history'",
  ),
]

/** Mutants of the node: its committer (P6, P7), and its beacon (G5). */
const nodeMutants: readonly Mutant[] = [
  mutant(
    'P6',
    'a batch is written around a repeat or a gap',
    6,
    commitStep,
    'if (answers.length > 0) return',
    'if (answers.length > 999) return',
  ),
  mutant(
    'P6',
    'a refused member refuses those behind it',
    1,
    commitAttempt,
    'decided.push(next)',
    "decided.push(next)\n    if (next.verdict.type === 'refused') options = { ...options, stateBytes: 1 }",
  ),
  mutant('P6', 'a number is queued twice', 23, commitQueue, 'if (twin) {', 'if (twin && name === null) {'),
  mutant('P6', 'an unknown outcome is answered', 1, commitQueue, 'attempt.unknown = true', 'if (attempt) return attempt.batch'),
  mutant(
    'P7',
    'an own revision among the missed is overlooked',
    'seed-234, in doubt and then refused',
    commitQueue,
    'const entry = missed.find(({ revision }) => tried.has(revision))',
    'const entry = missed.find(() => tried.size < 0)',
  ),
  mutant(
    'P7',
    'a commit in doubt is told held when a later attempt is refused',
    'seed-234, in doubt and then refused',
    commitQueue,
    'return submissions.filter((submission) => !this.#tried.has(submission)).map(',
    'return submissions.map(',
  ),
  mutant('G5', 'there is no beacon', 'the head goes back and nobody writes', toldHead, 'return !this.#is(head)', 'return head.version < 0'),
  mutant(
    'G5',
    'the beacon keeps a head to itself that went back',
    'the head goes back and nobody writes',
    toldHead,
    'return !this.#is(head)',
    'return !this.covers(head)',
  ),
]

/** Mutants of what the store and the nodes decide. */
export const serverMutants: readonly Mutant[] = [...headMutants, ...recordMutants, ...syncMutants, ...nodeMutants]
