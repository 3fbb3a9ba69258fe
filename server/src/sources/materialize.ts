import { ContextdError } from '@contextd/protocol'
import type { JsonValue } from '@contextd/protocol'
import type { MaterializedKey } from '../backends/backend.ts'
import { Breath } from './breath.ts'
import type { Fetched } from './fetched.ts'
import type { Materialize } from './source-types.ts'

/**
 * What each key shall hold.
 * @throws {ContextdError} `invalid_state` – an item has no text or number at `idProp`, or two have the same
 */
export async function materializedKeys(targets: readonly Materialize[], fetched: Fetched): Promise<MaterializedKey[]> {
  const keys: MaterializedKey[] = []
  for (const target of targets) keys.push({ key: target.key, type: target.type, values: await valuesOf(target, fetched) })
  return keys
}

async function valuesOf(target: Materialize, { state, items }: Fetched): Promise<Iterable<string>> {
  if (target.type === 'string') return items === null ? partsOfObject(state) : partsOfList(items)
  const rows = items ?? Object.values(state)
  return target.type === 'hash' ? fieldsAndTexts(rows, await fieldsOf(rows, target)) : texts(rows)
}

function* texts(rows: readonly JsonValue[]): Generator<string> {
  for (const row of rows) yield JSON.stringify(row)
}

function* partsOfList(rows: readonly JsonValue[]): Generator<string> {
  yield '['
  for (const [index, row] of rows.entries()) yield `${index === 0 ? '' : ','}${JSON.stringify(row)}`
  yield ']'
}

function* partsOfObject(state: { readonly [key: string]: JsonValue }): Generator<string> {
  yield '{'
  for (const [index, key] of Object.keys(state).entries())
    yield `${index === 0 ? '' : ','}${JSON.stringify(key)}:${JSON.stringify(state[key])}`
  yield '}'
}

function* fieldsAndTexts(rows: readonly JsonValue[], fields: readonly string[]): Generator<string> {
  for (const [index, row] of rows.entries()) {
    yield fields[index]!
    yield JSON.stringify(row)
  }
}

async function fieldsOf(rows: readonly JsonValue[], { key, idProp }: Materialize & { readonly type: 'hash' }): Promise<string[]> {
  const breath = new Breath()
  const seen = new Map<string, number>()
  const fields: string[] = []
  for (const [index, row] of rows.entries()) {
    if (breath.isDue()) await breath.take()
    const id = typeof row === 'object' && row !== null && !Array.isArray(row) && Object.hasOwn(row, idProp) ? row[idProp] : undefined
    if ((typeof id !== 'string' || id === '') && typeof id !== 'number')
      throw unusable(`Item ${index} has no ${idProp} that could be its field of ${key}: a text or a number is needed.`)
    const field = String(id)
    const other = seen.get(field)
    if (other !== undefined) throw unusable(`Items ${other} and ${index} have the same ${idProp}, ${JSON.stringify(field)}, in ${key}.`)
    seen.set(field, index)
    fields.push(field)
  }
  return fields
}

const unusable = (message: string): ContextdError => new ContextdError('invalid_state', message)
