import { Stage, contextId } from './stage.ts'

const dayMs = 86_400_000

/** A session that is older than its records is not begun anew by a late request (P5, P14). */
export function lateRequestOfAForgottenSession(): void {
  const stage = new Stage()
  const a = stage.client('a', stage.n1)
  const b = stage.client('b', stage.n2)
  const late = stage.holdCommits(a)
  stage.append(a)
  a.connect(stage.n2)
  stage.pass()
  stage.expect('the commit of a is applied', stage.world.ledger(contextId).head.version === 1)
  a.disconnect()
  stage.world.leapt += 9 * dayMs
  stage.append(b)
  stage.pass()
  late.deliver()
  stage.pass()
  stage.end()
}
