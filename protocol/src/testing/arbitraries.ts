import fc from 'fast-check'
import type { Arbitrary } from 'fast-check'
import type { JsonObject, JsonValue } from '../json.ts'
import type { Operation } from '../operation.ts'
import type { Anchor, ItemRef, Path, Segment } from '../path.ts'

/** Runs of each property. */
export const runs = { numRuns: 10_000 }

const scalar: Arbitrary<JsonValue> = fc.oneof(
  fc.integer({ min: -2, max: 3 }),
  fc.constantFrom('', 'x', 'y', 'é\u{1f600}"\\'),
  fc.constantFrom(null, true, false, 0.1, 1e21, -0.5),
)
const keys = fc.constantFrom('a', 'b', 'id', 'list', 'key with "~1/"', '0', 'action', 'length')
const ids = fc.constantFrom('p', 'q', 'r', 's', 't', 'u')

/** Values of few keys, ids and scalars, so that two of them have much in common. Lists are plain, keyed, or mixed. */
const { value } = fc.letrec<{ value: JsonValue; object: JsonObject; list: JsonValue[] }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthIdentifier: 'json' },
    { arbitrary: scalar, weight: 3 },
    { arbitrary: tie('object'), weight: 2 },
    { arbitrary: tie('list'), weight: 3 },
  ),
  object: fc.dictionary(keys, tie('value'), { maxKeys: 4, depthIdentifier: 'json', noNullPrototype: true }),
  list: fc.oneof(
    fc.array(scalar, { maxLength: 6 }),
    fc.array(tie('value'), { maxLength: 5, depthIdentifier: 'json' }),
    fc
      .uniqueArray(
        fc.tuple(
          ids,
          fc.dictionary(fc.constantFrom('a', 'n', 'list'), tie('value'), { maxKeys: 2, depthIdentifier: 'json', noNullPrototype: true }),
        ),
        {
          selector: ([id]) => id,
          maxLength: 6,
          depthIdentifier: 'json',
        },
      )
      .map((items) => items.map(([id, rest]) => ({ id, ...rest }))),
  ),
}))
export const anyValue: Arbitrary<JsonValue> = value
export const anyState: Arbitrary<JsonObject> = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'list', 'action'), value, {
  maxKeys: 5,
  noNullPrototype: true,
})

/** The same state with something else here and there, as different references throughout. */
export const anyPair: Arbitrary<[JsonObject, JsonObject]> = fc.oneof(
  fc.tuple(anyState, anyState),
  fc
    .tuple(anyState, fc.array(fc.tuple(fc.nat(), fc.nat(5), value), { minLength: 1, maxLength: 4 }))
    .map(([state, edits]): [JsonObject, JsonObject] => {
      const edited = JSON.parse(JSON.stringify(state)) as JsonObject
      for (const [where, how, fresh] of edits) edit(edited, where, how, fresh)
      return [state, edited]
    }),
)

/** Changes one container of a state in place: sets, removes, inserts, moves. */
function edit(state: JsonObject, where: number, how: number, fresh: JsonValue): void {
  const containers: (JsonObject | JsonValue[])[] = []
  const collect = (node: JsonValue): void => {
    if (typeof node !== 'object' || node === null) return
    containers.push(node)
    Object.values(node).forEach(collect)
  }
  collect(state)
  const target = containers[where % containers.length] ?? state
  if (Array.isArray(target)) {
    const index = where % (target.length + 1)
    if (how === 0) target.splice(index, 0, fresh)
    else if (how === 1) target.splice(index, 1)
    else if (how === 2 && target.length > 0) target.unshift(target.pop()!)
    else if (how === 3) target.reverse()
    else if (index < target.length) target[index] = fresh
    return
  }
  const names = Object.keys(target)
  const key = names[where % Math.max(1, names.length)] ?? 'a'
  if (how === 0 && key !== 'id') delete target[key]
  else target[how === 1 ? 'b' : key] = fresh
}

/** A state of one shape, so that paths lead somewhere: a counter, an object, a plain list, columns of cards. */
const card: Arbitrary<JsonObject> = fc.record({ id: ids, n: fc.integer({ min: 0, max: 3 }) })
const column: Arbitrary<JsonObject> = fc.record({
  id: fc.constantFrom('p', 'q', 'r'),
  cards: fc.uniqueArray(card, { selector: ({ id }) => id, maxLength: 4 }),
})
export const board: Arbitrary<JsonObject> = fc.record(
  {
    n: fc.integer({ min: 0, max: 3 }),
    o: fc.oneof(fc.constant(null), fc.dictionary(fc.constantFrom('x', 'y'), scalar, { maxKeys: 2, noNullPrototype: true })),
    plain: fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 5 }),
    cols: fc.uniqueArray(column, { selector: ({ id }) => id, minLength: 1, maxLength: 3 }),
  },
  { requiredKeys: ['cols'] },
)

const ref: Arbitrary<ItemRef> = fc.oneof(
  { arbitrary: ids.map((id) => ({ id })), weight: 3 },
  { arbitrary: fc.record({ index: fc.nat(6), value: fc.integer({ min: 0, max: 2 }) }), weight: 2 },
)
const anchor: Arbitrary<Anchor> = fc.oneof(
  fc.constantFrom<Anchor>('start', 'end'),
  ref.map((after) => ({ after })),
  ref.map((before) => ({ before })),
)
const listPath: Arbitrary<Path> = fc.oneof(
  fc.constantFrom<Path>(['cols'], ['plain'], ['o'], ['missing'], ['n']),
  fc
    .tuple(
      fc.oneof(
        ids.map((id) => ({ id })),
        fc.nat(3),
      ),
    )
    .map(([item]): Path => ['cols', item, 'cards']),
)
const likelyList = fc.constantFrom<Path>(['cols'], ['cols', 0, 'cards'], ['cols', 1, 'cards'], ['cols', { id: 'p' }, 'cards'])
const itemPath: Arbitrary<Path> = fc.tuple(listPath, fc.oneof<Arbitrary<Segment>[]>(ref, fc.nat(4))).map(([path, item]) => [...path, item])
const path: Arbitrary<Path> = fc.oneof(
  fc.constantFrom<Path>(['n'], ['o'], ['o', 'x'], ['o', 'z', 'deep'], ['plain'], ['new'], [], ['plain', 'length']),
  itemPath,
  fc.tuple(itemPath, fc.constantFrom('n', 'id', 'cards', 'other')).map(([item, key]) => [...item, key]),
)
const payload: Arbitrary<JsonValue> = fc.oneof(
  scalar,
  ids,
  card,
  column,
  fc.dictionary(fc.constantFrom('x', 'n', 'id'), scalar, { maxKeys: 2, noNullPrototype: true }),
)

/** Operations on a {@link board}, most of which apply. */
export const anyOperation: Arbitrary<Operation> = fc.oneof<Arbitrary<Operation>[]>(
  fc.record({ type: fc.constant('set' as const), path, value: payload }),
  fc.record({ type: fc.constant('merge' as const), path, value: payload }),
  fc.record({ type: fc.constant('remove' as const), path }),
  fc.record({ type: fc.constant('increment' as const), path, by: fc.integer({ min: -2, max: 2 }) }),
  fc.record({ type: fc.constant('test' as const), path, value: payload }),
  fc.record({ type: fc.constant('test' as const), path: fc.constant(['n']), value: fc.integer({ min: 0, max: 1 }) }),
  fc.record({ type: fc.constant('increment' as const), path: fc.constantFrom<Path>(['n'], ['new']), by: fc.integer({ min: -2, max: 2 }) }),
  fc.record({
    type: fc.constant('insert' as const),
    path: listPath,
    values: fc.array(fc.oneof(card, fc.integer({ min: 0, max: 2 })), { maxLength: 2 }),
    at: anchor,
  }),
  fc.record({
    type: fc.constant('move' as const),
    from: fc.record({ path: likelyList, item: ids.map((id) => ({ id })) }),
    to: fc.record({ path: likelyList, at: anchor }),
  }),
  fc.record({
    type: fc.constant('move' as const),
    from: fc.record({ path: listPath, item: ref }),
    to: fc.record({ path: listPath, at: anchor }),
  }),
)
