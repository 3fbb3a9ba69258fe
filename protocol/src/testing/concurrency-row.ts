import type { JsonObject, JsonValue } from '../json.ts'
import type { Operation } from '../operation.ts'
import type { Anchor, ItemRef, Path } from '../path.ts'

/** A call as a caller writes it, and the operations that it becomes on the state that the caller sees. */
export interface ConcurrentCall {
  readonly call: string
  readonly operations: readonly Operation[]
}
/** What is there after both commits, and how the second one was refused, if it was. */
export interface Outcome {
  readonly state: JsonObject
  readonly refused?: 'conflict' | 'invalid_operation'
}
/** What two callers get who see the same state and call at the same time, whichever commit comes first. */
export interface ConcurrencyRow {
  readonly state: JsonObject
  readonly a: ConcurrentCall
  readonly b: ConcurrentCall
  readonly aFirst: Outcome
  readonly bFirst: Outcome
  /** The rule behind it, as the guide says it. */
  readonly rule: string
}

export const call = (text: string, ...operations: Operation[]): ConcurrentCall => ({ call: text, operations })
export const set = (path: Path, value: JsonValue): Operation => ({ type: 'set', path, value })
export const remove = (...path: Path): Operation => ({ type: 'remove', path })
export const increment = (path: Path, by: number): Operation => ({ type: 'increment', path, by })
export const insert = (path: Path, at: Anchor, ...values: JsonValue[]): Operation => ({ type: 'insert', path, values, at })
export const move = (from: Path, item: ItemRef, to: Path, at: Anchor): Operation => ({
  type: 'move',
  from: { path: from, item },
  to: { path: to, at },
})
export const id = (text: string): ItemRef => ({ id: text })
export const items = (...ids: string[]): JsonValue[] => ids.map((each) => ({ id: each }))
export const refused = (state: JsonObject, code: Outcome['refused'] & string = 'conflict'): Outcome => ({ state, refused: code })
/** Both are applied, and the order makes no difference. */
export const both = (state: JsonObject): Pick<ConcurrencyRow, 'aFirst' | 'bFirst'> => ({ aFirst: { state }, bFirst: { state } })
