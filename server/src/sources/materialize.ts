import { ContextdError } from '@contextd/protocol'
import type { JsonObject, JsonValue } from '@contextd/protocol'
import type { MaterializedKey } from '../backends/backend.ts'
import type { Materialize } from './source-types.ts'

/** What a source fetched: a list is the items of a state. */
export interface Fetched {
  readonly state: JsonObject
  /** Null: it was an object. */
  readonly items: readonly JsonValue[] | null
}

/**
 * What each key shall hold.
 * @throws {ContextdError} `invalid_state` – an item has no text or number at `idProp`, or two have the same
 */
export function materializedKeys(targets: readonly Materialize[], fetched: Fetched): MaterializedKey[] {
  return targets.map((target) => {
    const { key, type } = target
    if (type === 'string') return { key, type, values: [JSON.stringify(fetched.items ?? fetched.state)] }
    const rows = fetched.items ?? Object.values(fetched.state)
    if (type !== 'hash') return { key, type, values: texts(rows) }
    return { key, type, values: fieldsAndTexts(rows, fieldsOf(rows, target)) }
  })
}

function* texts(rows: readonly JsonValue[]): Generator<string> {
  for (const row of rows) yield JSON.stringify(row)
}

function* fieldsAndTexts(rows: readonly JsonValue[], fields: readonly string[]): Generator<string> {
  for (const [index, row] of rows.entries()) {
    yield fields[index]!
    yield JSON.stringify(row)
  }
}

function fieldsOf(rows: readonly JsonValue[], { key, idProp }: Materialize & { readonly type: 'hash' }): string[] {
  const seen = new Map<string, number>()
  return rows.map((row, index) => {
    const id = typeof row === 'object' && row !== null && !Array.isArray(row) && Object.hasOwn(row, idProp) ? row[idProp] : undefined
    if ((typeof id !== 'string' || id === '') && typeof id !== 'number')
      throw unusable(`Item ${index} has no ${idProp} that could be its field of ${key}: a text or a number is needed.`)
    const field = String(id)
    const other = seen.get(field)
    if (other !== undefined) throw unusable(`Items ${other} and ${index} have the same ${idProp}, ${JSON.stringify(field)}, in ${key}.`)
    seen.set(field, index)
    return field
  })
}

const unusable = (message: string): ContextdError => new ContextdError('invalid_state', message)
