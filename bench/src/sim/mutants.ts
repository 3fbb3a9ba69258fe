import type { Mutation } from './bundle.ts'

/** A rule of the protocol, switched off in one core; some check must notice. */
export interface Mutant extends Mutation {
  /** The rule, as the protocol names it. */
  readonly rule: string
  /** What is known to catch it: a seed, or a directed schedule. */
  readonly caughtBy: number | string
}

const commitStep = 'server/src/commit-step.ts'
const syncStep = 'server/src/sync-step.ts'
const commitAttempt = 'server/src/commit-attempt.ts'
const commitQueue = 'server/src/commit-queue.ts'
const storeModel = 'server/src/backends/store-model.ts'
const backend = 'server/src/backends/backend.ts'
const toldHead = 'server/src/socket/told-head.ts'
const simStore = 'bench/src/sim/sim-store.ts'

const one = (rule: string, name: string, caughtBy: number | string, file: string, find: string, replace: string): Mutant => ({
  rule,
  name,
  caughtBy,
  edits: [{ file, find, replace }],
})

/** Mutants of what the store and the nodes decide. */
const serverMutants: readonly Mutant[] = [
  one(
    'P5',
    'a number that has a verdict is run again',
    1,
    commitStep,
    "if (stream.seq <= last) return { type: 'repeat', verdict: recordedVerdict(verdicts, stream.seq) }",
    '',
  ),
  one('P5', 'a number may be skipped', 1, commitStep, "if (stream.seq > last + 1) return { type: 'gap' }", ''),
  one(
    'P4',
    'a refusal is not recorded',
    1,
    commitStep,
    'else records.set(stream.key, ',
    "else if (verdict.type !== 'refused') records.set(stream.key, ",
  ),
  one(
    'P4',
    'a refusal is not told again to a repeat',
    1,
    commitStep,
    "return verdicts.find(([number]) => number === seq)?.[1] ?? { type: 'applied', head: null }",
    "void verdicts, seq\n  return { type: 'applied', head: null }",
  ),
  one(
    'P4',
    'an applied verdict is kept without its version',
    1,
    commitStep,
    'verdicts.push([stream.seq, verdict])',
    "verdicts.push([stream.seq, verdict.type === 'applied' ? { type: 'applied', head: null } : verdict])",
  ),
  one(
    'P5',
    'a commit on another incarnation is run',
    3,
    commitAttempt,
    "if (incarnation !== null && incarnation !== '' && incarnation !== at.head.incarnation) throw gone()",
    '',
  ),
  one(
    'P1',
    'heads are compared without their incarnation',
    1,
    syncStep,
    "if (client.incarnation !== head.incarnation || head.version === 0) return 'other incarnation'",
    "if (head.version === 0) return 'other incarnation'",
  ),
  one('P1', 'heads are compared without their revision', 5, backend, ' && a.revision === b.revision', ''),
  one(
    'P1',
    'an attempt keeps its revision on a new base',
    'an attempt on a new base',
    commitAttempt,
    'const token = options.mint()',
    'const token = ((submissions[0] as unknown as { kept?: string }).kept ??= options.mint())',
  ),
  one(
    'P1',
    'an absent head has no revision',
    'absent is not always the same',
    commitAttempt,
    "const head: Head = { incarnation: '', version: 0, revision }",
    "const head: Head = { incarnation: '', version: 0, revision: '' }",
  ),
  one(
    'P5',
    'a stream of another epoch is not fenced',
    'a late request of an older epoch',
    commitStep,
    "if (stream.epoch !== epoch) return { type: 'fenced' }",
    '',
  ),
  one(
    'P11',
    'the epoch only follows the recorded one',
    'an epoch is not used twice',
    syncStep,
    'epoch: Math.max(was.epoch, stream.epoch) + 1',
    'epoch: was.epoch + 1',
  ),
  one('P11', 'the last number goes back over a fence', 1, syncStep, 'last: Math.max(was.last, stream.settled)', 'last: was.last'),
  one('P11', 'another epoch is no reason for a fence', 3, syncStep, ' || was.epoch !== stream.epoch', ''),
  one(
    'P11',
    'no fence in another incarnation',
    'a fence in another incarnation',
    syncStep,
    'was.last < stream.told',
    "(standing !== 'other incarnation' && was.last < stream.told)",
  ),
  one(
    'P11',
    'a trimmed log proves a rollback',
    1,
    syncStep,
    "return same && same.revision !== client.revision ? 'not in history' : 'unknown'",
    "return same && same.revision === client.revision ? 'unknown' : 'not in history'",
  ),
  one('P10', 'a sync is two steps', 1, simStore, 'const result = this.model.sync(query)', 'const result = this.inTwoSteps(query)'),
  one(
    'P10',
    'a sync of an expired session makes a record',
    7,
    syncStep,
    "if (stored === null && isExpired(stream, now, query.sessionTtlMs)) return { result: { type: 'expired' }, record: null }",
    '',
  ),
  one(
    'P5',
    'an old session without a record begins anew',
    7,
    commitStep,
    "if (record === null && isExpired(stream, batch.now, batch.sessionTtlMs)) return { type: 'expired' }",
    '',
  ),
  one('P14', 'records do not outlive their sessions', 1, storeModel, 'now - sessionTtlMs - recordGraceMs', 'now - sessionTtlMs / 20'),
  one('P12', 'records do not survive a delete', 2, storeModel, 'if (batch.remove) clear(cell)', 'if (batch.remove) cell.records.clear()'),
  one(
    'P6',
    'a batch is written around a repeat or a gap',
    6,
    commitStep,
    "if (answers.length > 0) return { type: 'streams', answers }",
    '',
  ),
  one(
    'P6',
    'a refused member refuses those behind it',
    1,
    commitAttempt,
    'decided.push(next)',
    'decided.push(next)\n    if (next.verdict.type === "refused") options = { ...options, stateBytes: 1 }',
  ),
  one('P6', 'a number is queued twice', 1, commitQueue, 'if (twin) {', 'if (twin && Math.abs(0) > 1) {'),
  one('P6', 'an unknown outcome is answered', 1, commitQueue, 'if (attempt.unknown) return null', ''),
  one(
    'P7',
    'an own revision among the missed is overlooked',
    1,
    commitQueue,
    'const entry = missed.find(({ revision }) => revisions.has(revision))',
    'const entry = missed.find(() => revisions.size < 0)',
  ),
  one('G5', 'no beacon', 6, toldHead, 'return !this.#is(head)', 'return head.version < 0'),
  one(
    'G5',
    'the beacon keeps a head to itself that went back',
    'the head goes back and nobody writes',
    toldHead,
    'return !this.#is(head)',
    'return !this.#is(head) && !this.goesBack(head)',
  ),
]

/** Every rule that can be switched off, and what notices. */
export const mutants: readonly Mutant[] = [...serverMutants]
