import { Stage, contextId } from './stage.ts'

/** An attempt that was stored, answered by nobody and rolled back gets a new revision on another base (P1). */
export function attemptOnANewBase(): void {
  const stage = new Stage()
  const a = stage.client('a', stage.n2)
  stage.append(a)
  stage.pass()
  const dump = stage.store.dump(contextId)
  const calls = stage.keepCalls(({ kind, nodeId }) => kind === 'commit' && nodeId === 'n1')
  const token = stage.serverWrite(stage.n1)
  stage.pass()
  calls[0]!.run()
  calls[0]!.lose()
  stage.pass()
  stage.store.restore(dump)
  stage.append(a)
  stage.pass()
  stage.store.intercept = null
  calls[1]!.run()
  calls[1]!.answer()
  stage.pass()
  stage.mustBeTold(token, 'applied')
  stage.end()
}

/** A creation that was stored, and deleted before its outcome was known, is not stored again: absent is not absent (P1). */
export function absentIsNotAlwaysTheSame(): void {
  const stage = new Stage()
  const calls = stage.keepCalls(({ kind, nodeId }) => kind === 'commit' && nodeId === 'n1')
  const token = stage.serverWrite(stage.n1)
  stage.pass()
  calls[0]!.run()
  calls[0]!.lose()
  stage.serverRemove(stage.n2)
  stage.pass()
  stage.expect('it is deleted', stage.world.ledger(contextId).head.version === 0)
  stage.store.intercept = null
  calls[1]!.run()
  calls[1]!.answer()
  stage.pass()
  stage.mustBeTold(token, 'unknown')
  stage.end()
}
