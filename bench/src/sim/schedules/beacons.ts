import { Stage, contextId } from './stage.ts'

/** After a rollback to which nobody writes anything, the beacon alone tells that the head went back. */
export function headGoesBackAndNobodyWrites(): void {
  const stage = new Stage()
  const a = stage.client('a', stage.n1)
  stage.client('b', stage.n2)
  stage.append(a)
  stage.pass()
  const dump = stage.store.dump(contextId)
  stage.append(a)
  stage.passBeacon()
  stage.store.restore(dump)
  stage.end()
}

/** The last publication is lost, and nobody writes again: the beacon tells. */
export function lastPublicationIsLost(): void {
  const stage = new Stage()
  const a = stage.client('a', stage.n1)
  stage.client('b', stage.n2)
  stage.append(a)
  stage.pass()
  stage.n2.deaf = true
  stage.append(a)
  stage.pass()
  stage.n2.deaf = false
  stage.end()
}
