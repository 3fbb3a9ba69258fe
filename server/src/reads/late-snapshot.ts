import { inspect } from 'node:util'
import type { JsonObject, Snapshot } from '@contextd/protocol'
import type { KnownContext } from '../commits/known-context.ts'
import { frozen } from '../json-copy.ts'

const source = Symbol('source')
type Late = Snapshot & { [source]?: KnownContext }

/** Puts a value in the place of the getter; of an object that its owner has frozen, the getter stays. */
const settle = (snapshot: Late, state: unknown): boolean =>
  Reflect.defineProperty(snapshot, 'state', { value: state, writable: true, enumerable: true, configurable: true })

// One getter for all, since V8 makes a shape of its own for each object with another one. It finds its context through proxies too.
const lateState: PropertyDescriptor = {
  get(this: Late): JsonObject {
    const state = frozen(this[source]!.state!)
    // What made the state is let go of.
    if (settle(this, state)) Reflect.deleteProperty(this, source)
    return state
  },
  set(this: Late, state: unknown) {
    settle(this, state)
  },
  enumerable: true,
  configurable: true,
}
const printed: PropertyDescriptor = {
  value(this: Late): Snapshot {
    return { ...this }
  },
  configurable: true,
}

/** As `snapshotOf`, of a context whose state is made when it is read; otherwise the object is like any other. */
export function lateSnapshotOf(contextId: string, now: KnownContext): Snapshot {
  const { incarnation, version, revision } = now.head
  const { userId, actor } = now.updatedBy
  const snapshot = { contextId, incarnation, version, revision } as { -readonly [key in keyof Snapshot]: Snapshot[key] }
  Object.defineProperty(snapshot, 'state', lateState)
  snapshot.createdAt = now.createdAt
  snapshot.updatedAt = now.updatedAt
  snapshot.updatedBy = { userId, actor }
  Object.defineProperty(snapshot, source, { value: now, configurable: true })
  return Object.defineProperty(snapshot, inspect.custom, printed)
}
