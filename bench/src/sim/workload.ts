import type { JsonObject, JsonValue, Operation } from '@contextd/protocol'
import type { Random } from './random.ts'

/** What an absent context is created from. */
export const initialState: JsonObject = { l: { s0: [], s1: [], s2: [], s3: [] }, n: 0, reg: {}, items: [], doc: {} }

const shards = 4
const shardOf = (token: string): string => `s${Number(token.slice(1)) % shards}`

/** Whether a state holds a write's token. */
export function holds(state: JsonObject | undefined, token: string): boolean {
  const list = (state?.['l'] as JsonObject | undefined)?.[shardOf(token)]
  return Array.isArray(list) && list.includes(token)
}

/** How often each kind of write is made. */
export const kinds = {
  append: 30,
  prepend: 5,
  count: 10,
  register: 10,
  tested: 12,
  addItem: 10,
  editItem: 8,
  removeItem: 5,
  moveItem: 5,
  document: 8,
  same: 6,
  forbidden: 4,
}
/** A kind of write. */
export type Kind = keyof typeof kinds

/** What a write asks for. */
export interface PlannedWrite {
  readonly operations: Operation[]
  /** Whether it carries its token: it is applied exactly when the token is in the state. */
  readonly marked: boolean
  /** Whether it applies to every state. */
  readonly plain: boolean
}

/** The operation that marks a write: it is not idempotent, so that a second application shows. */
export const markOperation = (token: string, at: 'start' | 'end' = 'end'): Operation => ({
  type: 'insert',
  path: ['l', shardOf(token)],
  values: [token],
  at,
})

const marked = (operations: Operation[], plain: boolean): PlannedWrite => ({ operations, marked: true, plain })

/** Makes the operations of a write on a shown state. */
export function planWrite(kind: Kind, token: string, shown: JsonObject, random: Random): PlannedWrite {
  const mark = markOperation(token, kind === 'prepend' ? 'start' : 'end')
  const register = random.pick(['a', 'b'])
  const held: JsonValue | undefined = (shown['reg'] as JsonObject | undefined)?.[register]
  const items = (shown['items'] as JsonObject[] | undefined) ?? []
  const item = items.length > 0 ? { id: random.pick(items)['id'] as string } : null
  const setRegister: Operation = { type: 'set', path: ['reg', register], value: `v${token}` }
  switch (kind) {
    case 'count':
      return marked([{ type: 'increment', path: ['n'], by: 1 }, mark], true)
    case 'register':
      return marked([setRegister, mark], true)
    case 'tested':
      return held === undefined
        ? marked([setRegister, mark], true)
        : marked([{ type: 'test', path: ['reg', register], value: held }, setRegister, mark], false)
    case 'addItem': {
      const at = item && random.chance(0.5) ? { after: item } : 'start'
      return marked([{ type: 'insert', path: ['items'], values: [{ id: `i${token}`, v: 0 }], at }, mark], true)
    }
    case 'editItem':
      return item ? marked([{ type: 'set', path: ['items', item, 'v'], value: `v${token}` }, mark], false) : marked([mark], true)
    case 'removeItem':
      return item ? marked([{ type: 'remove', path: ['items', item] }, mark], false) : marked([mark], true)
    case 'moveItem':
      return item
        ? marked([{ type: 'move', from: { path: ['items'], item }, to: { path: ['items'], at: 'end' } }, mark], false)
        : marked([mark], true)
    case 'document':
      // Long enough that snapshots are written and the log is trimmed within one run.
      return marked([{ type: 'merge', path: ['doc'], value: { by: `v${token}`, text: `${token} `.repeat(250) } }, mark], true)
    case 'same':
      return held === undefined
        ? marked([mark], true)
        : { operations: [{ type: 'set', path: ['reg', register], value: held }], marked: false, plain: false }
    case 'forbidden':
      return marked([mark, { type: 'set', path: ['forbidden'], value: token }], false)
    default:
      return marked([mark], true)
  }
}
