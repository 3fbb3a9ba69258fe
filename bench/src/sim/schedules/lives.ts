import { Stage, contextId } from './stage.ts'

/** What is written behind a creating commit goes to the life that this one made, and never makes another (P3). */
export function writesBehindACreatingOne(): void {
  const stage = new Stage()
  const a = stage.client('a', stage.n1)
  const b = stage.client('b', stage.n2)
  const held = stage.holdCommits(a)
  stage.append(a)
  stage.append(a)
  stage.pass()
  held.deliver(1)
  stage.pass()
  stage.expect('the first one made the context', b.handle(contextId).replica.head?.version === 1)
  stage.remove(b)
  stage.pass()
  stage.expect('it is deleted', stage.world.ledger(contextId).head.version === 0)
  held.deliver()
  stage.pass()
  stage.release(a, held)
  stage.end()
}
