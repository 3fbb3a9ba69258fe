import type { Change } from './delta.ts'
import { Draft } from './draft.ts'
import { equal } from './equal.ts'
import { invalid } from './fail.ts'
import { findFault, keyFault } from './json-fault.ts'
import type { JsonObject, JsonValue } from './json.ts'
import { childOf, deepestNesting, excerpt, isIndex, isObject, pathText } from './json-shape.ts'
import type { Container, Position } from './json-shape.ts'
import { isUnpacked } from './pack.ts'
import { shareIdentity } from './share-identity.ts'

/**
 * Applies changes; what did not change keeps its identity, and the same reference comes back when nothing did. What is removed and added
 * again by the next change has moved: it keeps its identity too. The values are taken over as they are, not copied.
 *
 * @throws {ContextdError} `invalid_operation` – a change does not fit (added where something is, modified or removed where nothing is, a
 * position beyond the end), or names a forbidden key
 */
export function applyChanges<S extends object>(state: S, changes: readonly Change[]): S {
  if (!Array.isArray(changes)) throw invalid('The changes must be a list.')
  for (const change of changes as readonly Change[]) if (!isUnpacked(change)) checkChange(change)
  const draft = new Draft(state as JsonObject)
  let removed: JsonValue | undefined
  for (let index = 0; index < changes.length;) {
    const length = runLength(changes, index)
    removed = length === 1 ? applyOne(draft, changes[index], removed) : applyRun(draft, changes.slice(index, index + length))
    index += length
  }
  // One change is a change, unless it says otherwise itself; several may undo each other.
  return (changes.length === 1 ? draft.state : shareIdentity(state, draft.state)) as S
}

function checkChange(change: unknown): void {
  if (!isObject(change)) throw invalid(`A change must be an object, not ${excerpt(change)}.`)
  const { path, action, value } = change as { [key: string]: unknown }
  if (!Array.isArray(path) || path.length > deepestNesting) throw invalid('A change has no path.')
  for (const step of path as unknown[]) {
    const fault = typeof step === 'string' ? keyFault(step) : null
    if (fault) throw invalid(`The path of a change leads through ${excerpt(step)}, which ${fault.what}.`)
    if (typeof step !== 'string' && !isIndex(step))
      throw invalid(`The path of a change has the step ${excerpt(step)}; changes name keys and positions.`)
  }
  if (action === 'removed') return
  if (action !== 'added' && action !== 'modified') throw invalid(`A change is added, modified or removed, not ${excerpt(action)}.`)
  const fault = findFault(value, deepestNesting - path.length)
  if (fault) throw invalid(`The value at ${pathText([...(path as unknown[]), ...fault.reversed.toReversed()])} ${fault.what}.`)
}

/** How many changes from here on are the same to one list, in an order in which they can be made in one pass. */
function runLength(changes: readonly Change[], start: number): number {
  const { path, action } = changes[start]!
  const last = path.at(-1)
  if (action === 'modified' || typeof last !== 'number') return 1
  let position = last
  let length = 1
  for (let next = changes[start + 1]; next !== undefined; next = changes[start + length]) {
    const follows = next.path.at(-1)
    if (next.action !== action || typeof follows !== 'number' || !isBeside(path, next.path)) break
    if (action === 'added' ? follows <= position : follows >= position) break
    position = follows
    length += 1
  }
  return length
}

function isBeside(a: Change['path'], b: Change['path']): boolean {
  if (a.length !== b.length) return false
  for (let step = a.length - 2; step >= 0; step -= 1) if (a[step] !== b[step]) return false
  return true
}

/** Applies a change. @returns what it removed */
function applyOne(draft: Draft, { path, action, value }: Change, removed: JsonValue | undefined): JsonValue | undefined {
  const positions = path as Position[]
  if (positions.length === 0) return replaceRoot(draft, action, value)
  const position = positions.at(-1)!
  const parent = parentOf(draft.state, positions)
  const old = childOf(parent, position)
  const isItem = Array.isArray(parent)
  if (isItem !== (typeof position === 'number')) throw misfit(positions)
  if (action === 'added' ? (isItem ? (position as number) > parent.length : old !== undefined) : old === undefined) throw misfit(positions)
  const next = action === 'modified' ? shareIdentity(old, value!) : action === 'added' && equal(removed, value) ? removed! : value!
  if (action === 'modified' && next === old) return undefined
  const copy = draft.writable(positions, positions.length - 1)
  if (Array.isArray(copy)) {
    if (action === 'modified') copy[position as number] = next
    else if (action === 'added') copy.splice(position as number, 0, next)
    else copy.splice(position as number, 1)
  } else if (action === 'removed') delete copy[position]
  else copy[position] = next
  return action === 'removed' ? old : undefined
}

function replaceRoot(draft: Draft, action: Change['action'], value: JsonValue | undefined): undefined {
  if (action !== 'modified' || !isObject(value)) throw invalid('The state as a whole can only become another object.')
  draft.replaceRoot(shareIdentity(draft.state, value))
}

function parentOf(state: JsonObject, path: readonly Position[]): Container {
  let node: JsonValue = state
  for (let step = 0; step < path.length - 1; step += 1) {
    const child: JsonValue | undefined = childOf(node, path[step]!)
    if (typeof child !== 'object' || child === null) throw misfit(path)
    node = child
  }
  return node
}

const misfit = (path: readonly Position[]): Error =>
  invalid(`A change at ${pathText(path)} does not fit the state. Its base must be the version that it was made for.`)

/** Makes many removals (from the end on), or many additions (towards the end), in one pass. */
function applyRun(draft: Draft, group: readonly Change[]): undefined {
  const path = group[0]!.path as Position[]
  if (!Array.isArray(parentOf(draft.state, path))) throw misfit(path)
  const list = draft.writable(path, path.length - 1) as JsonValue[]
  const result = group[0]!.action === 'added' ? withAdded(list, group) : withoutRemoved(list, group)
  list.length = 0
  for (const item of result) list.push(item)
}

function withAdded(list: readonly JsonValue[], group: readonly Change[]): JsonValue[] {
  const result: JsonValue[] = []
  let taken = 0
  for (const { path, value } of group) {
    const position = path.at(-1) as number
    if (position > list.length - taken + result.length) throw misfit(path as Position[])
    while (result.length < position) result.push(list[taken++]!)
    result.push(value!)
  }
  while (taken < list.length) result.push(list[taken++]!)
  return result
}

function withoutRemoved(list: readonly JsonValue[], group: readonly Change[]): JsonValue[] {
  const { path } = group[0]!
  if ((path.at(-1) as number) >= list.length) throw misfit(path as Position[])
  const removed = new Set(group.map((change) => change.path.at(-1)))
  return list.filter((_, index) => !removed.has(index))
}
