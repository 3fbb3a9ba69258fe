import type { Change } from './delta.ts'
import { pathText } from './json-shape.ts'

/** Turns changes round: applying them and then their inverse gives the state before. @throws {TypeError} a change lacks its `oldValue`. */
export function invert(changes: readonly Change[]): Change[] {
  return changes.map(inverse).toReversed()
}

function inverse({ path, action, value, oldValue }: Change): Change {
  if (action !== 'added' && oldValue === undefined)
    throw new TypeError(`The change at ${pathText(path)} lacks its oldValue, and cannot be turned round.`)
  if (action !== 'removed' && value === undefined)
    throw new TypeError(`The change at ${pathText(path)} lacks its value, and cannot be turned round.`)
  switch (action) {
    case 'added':
      return { path, action: 'removed', oldValue: value! }
    case 'modified':
      return { path, action: 'modified', value: oldValue!, oldValue: value! }
    case 'removed':
      return { path, action: 'added', value: oldValue! }
    default:
      throw new TypeError(`A change is added, modified or removed, not ${String(action)}.`)
  }
}
