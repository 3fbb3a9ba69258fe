import type { SimClient } from '../sim-client.ts'
import type { SimDump } from '../sim-store.ts'
import { Stage, contextId } from './stage.ts'
import type { LateCommits } from './stage.ts'

/*
 * Late requests after a rollback (P11). In each of them client `a` writes two commits whose first sending stays under way at one node. Sent
 * again by the other, the first is applied and not seen, and the second is refused, because of a test in it. After a rollback the test holds.
 */

interface Refused {
  /** The first sending of both commits. */
  readonly late: LateCommits
  readonly token: string
}

/** A context with a register that says `one`; the record of `a` says 1. */
function prepare(): { stage: Stage; a: SimClient; b: SimClient; dump: SimDump } {
  const stage = new Stage()
  const a = stage.client('a', stage.n1)
  const b = stage.client('b', stage.n2)
  stage.setRegister(a, 'one')
  stage.pass()
  return { stage, a, b, dump: stage.store.dump(contextId) }
}

const lifeOf = (client: SimClient): string | undefined => client.handle(contextId).replica.head?.incarnation

function writeAndBeRefused(stage: Stage, a: SimClient, b: SimClient): Refused {
  const late = stage.holdCommits(a)
  const applied = stage.append(a)
  const token = stage.testRegister(a, 'one')
  stage.n1.deaf = true
  stage.setRegister(b, 'two')
  stage.pass()
  stage.n2.deaf = true
  a.connect(stage.n2)
  stage.pass()
  stage.expectTold(token, 'conflict')
  stage.expectTold(applied, null)
  return { late, token }
}

/** The store is set back; `a` learns it, and what it sends then stays under way, while the late requests arrive. */
function rollBackAndBeLate(stage: Stage, a: SimClient, dump: SimDump, { late }: Refused): void {
  stage.store.restore(dump)
  const held = stage.holdCommits(a)
  stage.n2.hear()
  stage.passBeacon()
  stage.expect('a sends again what was rolled back', held.messages.length > 0)
  late.deliver()
  stage.pass()
  stage.release(a, held)
  stage.end()
}

/** A late request of an epoch that a rollback has ended is not run. */
export function lateRequestOfAnOlderEpoch(): void {
  const { stage, a, b, dump } = prepare()
  rollBackAndBeLate(stage, a, dump, writeAndBeRefused(stage, a, b))
}

/** A rollback that takes the epoch back as well does not bring an epoch up a second time. */
export function epochIsNotUsedTwice(): void {
  const { stage, a, b, dump } = prepare()
  stage.append(b)
  stage.pass()
  stage.store.restore(dump)
  stage.passBeacon()
  stage.expect('a is set back', a.handle(contextId).replica.head?.version === 1)
  rollBackAndBeLate(stage, a, dump, writeAndBeRefused(stage, a, b))
}

/** A client that has gone on to another life of the context is fenced all the same when its record is set back. */
export function fenceInAnotherIncarnation(): void {
  const { stage, a, b, dump } = prepare()
  const refused = writeAndBeRefused(stage, a, b)
  stage.n1.hear()
  stage.n2.hear()
  stage.pass()
  stage.remove(b)
  stage.pass()
  stage.append(b)
  stage.passBeacon()
  stage.expect('a knows the new life', lifeOf(a) === lifeOf(b) && lifeOf(a) !== dump.mark.head.incarnation)
  stage.store.restore(dump)
  stage.passBeacon()
  refused.late.deliver()
  stage.pass()
  stage.end()
}

/** A rollback that takes back nothing but the epoch is fenced: a late request of the older epoch would fit again. */
export function epochThatWasSetBack(): void {
  const { stage, a, b, dump } = prepare()
  const refused = writeAndBeRefused(stage, a, b)
  stage.store.restore(dump)
  const held = stage.holdCommits(a)
  stage.n2.hear()
  stage.passBeacon()
  stage.expect('a sends again what was rolled back', held.messages.length > 0)
  stage.store.restore(dump)
  a.connect(stage.n2)
  const again = stage.holdCommits(a)
  stage.pass()
  stage.expect('a sends it once more', again.messages.length > 0)
  refused.late.deliver()
  stage.pass()
  stage.release(a, again)
  stage.end()
}
