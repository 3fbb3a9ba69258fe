import type { Change } from '@contextd/protocol'

/** The changes of a commit as JSON text, written once for the log and for the subscribers. */
export interface EncodedChanges {
  /** As `packChanges`: without old values. */
  readonly wire: string
  /** As `packLoggedChanges`: with old values. */
  readonly logged: string
  /** How much longer the state's JSON becomes, at most; negative when it becomes shorter. As `byteLength` counts. */
  readonly growth: number
}

export const noChanges: EncodedChanges = Object.freeze({ wire: '[]', logged: '[]', growth: 0 })

/** Writes changes down: each path and each value is encoded once. */
export function encodeChanges(changes: readonly Change[], byteLength: (text: string) => number): EncodedChanges {
  let wire = ''
  let logged = ''
  let growth = 0
  for (const { path, action, value, oldValue } of changes) {
    const steps = JSON.stringify(path)
    const old = action === 'added' ? '' : JSON.stringify(oldValue)
    const between = wire === '' ? '' : ','
    if (action === 'removed') {
      wire += `${between}[2,${steps}]`
      logged += `${between}[2,${steps},${old}]`
      growth -= byteLength(old)
      continue
    }
    const text = JSON.stringify(value)
    growth += byteLength(text)
    if (action === 'added') {
      const added = `[0,${steps},${text}]`
      wire += between + added
      logged += between + added
      // The path holds the new key; the colon and the comma are in its brackets.
      growth += byteLength(steps)
    } else {
      wire += `${between}[1,${steps},${text}]`
      logged += `${between}[1,${steps},${text},${old}]`
      growth -= byteLength(old)
    }
  }
  return { wire: `[${wire}]`, logged: `[${logged}]`, growth }
}
