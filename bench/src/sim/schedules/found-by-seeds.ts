import { Stage, contextId } from './stage.ts'

/*
 * What seeds have found. A seed draws other things as soon as the simulator changes, so that each of them is kept as a schedule.
 */

/** seed-17: writes behind a delete and a creating write go to the new life, also past numbers that are not used. */
export function writesBehindADelete(): void {
  const stage = new Stage()
  const a = stage.client('a', stage.n1)
  stage.append(a)
  stage.pass()
  a.disconnect()
  stage.expect('a takes a write back', a.abort(contextId, stage.append(a)))
  stage.remove(a)
  const first = stage.append(a)
  const second = stage.append(a)
  stage.expect('a takes another write back', a.abort(contextId, stage.append(a)))
  const third = stage.append(a)
  a.connect(stage.n1)
  stage.pass()
  for (const token of [first, second, third]) stage.mustBeTold(token, 'applied')
  stage.end()
}

/** seed-234: a commit of the server that an attempt may have stored is not told held because a later attempt was refused. */
export function inDoubtAndThenRefused(): void {
  const stage = new Stage()
  const a = stage.client('a', stage.n1)
  stage.append(a)
  stage.pass()
  const calls = stage.keepCalls(({ kind, nodeId }) => kind === 'commit' && nodeId === 'n1')
  stage.append(a)
  stage.pass()
  // What comes while that one is under way is one batch.
  stage.append(a)
  const token = stage.serverWrite(stage.n1)
  stage.pass()
  const before = calls.shift()!
  before.run()
  before.answer()
  stage.pass()
  const sent = calls.shift()!
  sent.run()
  sent.lose()
  stage.expect('both are in it', stage.world.ledger(contextId).isApplied(token))
  stage.pass()
  const again = calls.shift()!
  again.run()
  again.answer()
  stage.pass()
  calls.shift()!.refuse()
  stage.pass()
  stage.expectTold(token, null)
  stage.store.intercept = null
  const last = calls.shift()!
  last.run()
  last.answer()
  stage.pass()
  stage.mustBeTold(token, 'applied')
  stage.end()
}

/** seed-1740: a commit whose delta is lost, and whose history is rolled back to the client's own head, is asked for after a while. */
export function rolledBackToTheOwnHead(): void {
  const stage = new Stage()
  const a = stage.client('a', stage.n1)
  stage.append(a)
  stage.pass()
  const dump = stage.store.dump(contextId)
  stage.n1.deaf = true
  const token = stage.append(a)
  stage.pass()
  stage.expect('it is stored', stage.world.ledger(contextId).head.version === 2)
  stage.expectTold(token, null)
  stage.store.restore(dump)
  stage.pass(15_000)
  stage.expectTold(token, null)
  stage.end()
}

/** seed-6175: after a rollback to nothing, a late delta that creates the life which is over does not bring it back. */
export function lateCreationOfALifeThatIsOver(): void {
  const stage = new Stage()
  const nothing = stage.store.dump(contextId)
  const a = stage.client('a', stage.n1)
  const heard = stage.hearing(stage.n1)
  stage.append(a)
  stage.pass()
  stage.append(a)
  stage.pass()
  stage.expect('both are told', a.handle(contextId).replica.head?.version === 2)
  stage.store.restore(nothing)
  const calls = stage.keepCalls(({ kind }) => kind === 'sync')
  stage.passBeacon()
  // It waits for the answer, which says that the context is absent.
  stage.n1.publication(contextId, heard[0]!)
  stage.pass()
  stage.store.intercept = null
  const sync = calls.shift()!
  sync.run()
  sync.answer()
  stage.pass()
  stage.expect('a is told that it is gone', a.handle(contextId).replica.phase !== 'live')
  stage.end()
}
