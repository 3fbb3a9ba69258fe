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
 * Applies changes; what did not change keeps its identity, and the same reference comes back when nothing did. The values are taken over as
 * they are, not copied.
 *
 * @throws {ContextdError} `invalid_operation` – a change does not fit (added where something is, modified or removed where nothing is, a
 * position beyond the end), or names a forbidden key
 */
export function applyChanges<S extends object>(state: S, changes: readonly Change[]): S {
  const draft = new Draft(state as JsonObject)
  for (let index = 0; index < changes.length;) {
    const path = positionsOf(changes[index]!)
    const run = runLength(changes, index)
    if (path.length === 0) replaceRoot(draft, changes[index]!)
    else applyRun(draft, path, changes, index, run)
    index += run
  }
  // One change is a change, unless it says otherwise itself; several may undo each other.
  return (changes.length === 1 ? draft.state : shareIdentity(state, draft.state)) as S
}

/** Looks through a change. @returns its path */
function positionsOf(change: Change): Position[] {
  const path = change.path as Position[]
  if (isUnpacked(change)) return path
  if (!Array.isArray(path) || path.length > deepestNesting) throw invalid('A change has no path.')
  for (const step of path) {
    const fault = typeof step === 'string' ? keyFault(step) : null
    if (fault) throw invalid(`The path of a change leads through ${excerpt(step)}, which ${fault.what}.`)
    if (typeof step !== 'string' && !isIndex(step))
      throw invalid(`The path of a change has the step ${excerpt(step)}; changes name keys and positions.`)
  }
  const { action } = change
  if (action === 'removed') return path
  if (action !== 'added' && action !== 'modified') throw invalid(`A change is added, modified or removed, not ${excerpt(action)}.`)
  const fault = findFault(change.value, deepestNesting - path.length)
  if (fault) throw invalid(`The value at ${pathText([...path, ...fault.reversed.toReversed()])} ${fault.what}.`)
  return path
}

function replaceRoot(draft: Draft, { action, value }: Change): void {
  if (action !== 'modified' || !isObject(value)) throw invalid('The state as a whole can only become another object.')
  draft.replaceRoot(shareIdentity(draft.state, value))
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

function applyRun(draft: Draft, path: Position[], changes: readonly Change[], start: number, run: number): void {
  const depth = path.length - 1
  const parent = parentOf(draft.state, path)
  const position = path[depth]!
  if (Array.isArray(parent) !== (typeof position === 'number')) throw misfit(path)
  if (run > 1) {
    const group = changes.slice(start, start + run)
    group.forEach(positionsOf)
    return applyToList(draft.writable(path, depth) as JsonValue[], group)
  }
  const { action, value } = changes[start]!
  const old = childOf(parent, position)
  if (action === 'added') return add(draft, path, reused(value!, changes[start - 1]), old)
  if (old === undefined) throw misfit(path)
  if (action === 'modified') return modify(draft, path, shareIdentity(old, value!), old)
  const copy = draft.writable(path, depth)
  if (Array.isArray(copy)) copy.splice(position as number, 1)
  else delete copy[position]
}

/** What moves is removed, then added: the very item, not its like. */
function reused(value: JsonValue, previous: Change | undefined): JsonValue {
  return previous?.action === 'removed' && previous.oldValue !== undefined && equal(previous.oldValue, value) ? previous.oldValue : value
}

function modify(draft: Draft, path: Position[], value: JsonValue, old: JsonValue): void {
  if (value === old) return
  const copy = draft.writable(path, path.length - 1) as { [position: Position]: JsonValue }
  copy[path.at(-1)!] = value
}

function add(draft: Draft, path: Position[], value: JsonValue, old: JsonValue | undefined): void {
  const position = path.at(-1)!
  const copy = draft.writable(path, path.length - 1)
  if (Array.isArray(copy)) {
    if ((position as number) > copy.length) throw misfit(path)
    copy.splice(position as number, 0, value)
  } else {
    if (old !== undefined) throw misfit(path)
    copy[position] = value
  }
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
function applyToList(list: JsonValue[], group: readonly Change[]): void {
  const result = group[0]!.action === 'added' ? withAdded(list, group) : withoutRemoved(list, group)
  list.length = 0
  for (const item of result) list.push(item)
}

function withAdded(list: readonly JsonValue[], group: readonly Change[]): JsonValue[] {
  const result: JsonValue[] = []
  let taken = 0
  for (const { path, value } of group) {
    const position = path.at(-1) as number
    if (position > list.length + result.length - taken) throw misfit(path as Position[])
    while (result.length < position) result.push(list[taken++]!)
    result.push(value!)
  }
  while (taken < list.length) result.push(list[taken++]!)
  return result
}

function withoutRemoved(list: readonly JsonValue[], group: readonly Change[]): JsonValue[] {
  const removed = new Set(group.map(({ path }) => path.at(-1) as number))
  const first = group[0]!
  if ((first.path.at(-1) as number) >= list.length) throw misfit(first.path as Position[])
  return list.filter((_, index) => !removed.has(index))
}
