import { applyChanges, applyOperations, fromJsonPatch } from '@contextd/protocol'
import type { Anchor, Delta, JsonPatchOperation, Operation } from '@contextd/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { engines } from '../../support/stores.ts'
import { SharedMemory } from '../testing/shared-memory.ts'

const engine = engines()

const id = fc.constantFrom('a', 'b', 'c', 'd')
const item = id.chain((each) => fc.record({ id: fc.constant(each), n: fc.nat(3) }))
const at = fc.oneof(
  fc.constantFrom<Anchor>('start', 'end'),
  fc.record({ after: fc.record({ id }) }),
  fc.record({ before: fc.record({ id }) }),
)
const list = fc.constantFrom('one', 'two').map((name) => [name])
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({ type: fc.constant('insert' as const), path: list, values: fc.tuple(item), at }),
  fc.record({
    type: fc.constant('move' as const),
    from: fc.record({ path: list, item: fc.record({ id }) }),
    to: fc.record({ path: list, at }),
  }),
  fc.record({ type: fc.constant('remove' as const), path: fc.tuple(fc.constantFrom('one', 'two'), fc.record({ id })) }),
  fc.record({
    type: fc.constant('increment' as const),
    path: fc.tuple(fc.constant('one'), fc.record({ id }), fc.constant('n')),
    by: fc.nat(2),
  }),
  fc.record({
    type: fc.constant('merge' as const),
    path: fc.constant(['deep']),
    value: fc.dictionary(id, fc.constantFrom(null, 1, {}, [])),
  }),
  fc.record({
    type: fc.constant('set' as const),
    path: fc.constant(['two']),
    value: fc.uniqueArray(item, { selector: (each) => each.id }),
  }),
)

test('whatever was done, changes and patches between any two versions lead from the one state to the other', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 8, maxLength: 20 }), async (operations) => {
      const shared = new SharedMemory()
      const [contexts, patches] = [engine({ backend: shared.handle() }), engine({ backend: shared.handle(), deltaFormat: 'jsonPatch' })]
      await contexts.set('a', { one: [{ id: 'a', n: 0 }], two: [], deep: {} })
      // Operations that do not fit are refused.
      for (const each of operations) await contexts.apply('a', [each]).catch(() => {})
      const { version: head } = (await contexts.get('a'))!
      const states = await Promise.all(Array.from({ length: head }, async (_, n) => (await contexts.at('a', n + 1)).state))
      for (let from = 1; from <= head; from += 1) {
        for (let to = 1; to <= head; to += 1) {
          const { changes } = (await contexts.between('a', from, to)) as Delta
          expect(applyChanges(states[from - 1]!, changes)).toEqual(states[to - 1])
        }
        const before = states[from - 1]!
        const { changes: patch } = (await patches.between('a', from, head)) as Delta<JsonPatchOperation[]>
        expect(applyOperations(before, fromJsonPatch(before, patch)).state).toEqual(states.at(-1))
        const synced = await contexts.sync('a', from)
        const changes = synced.type === 'delta' ? (synced.delta as Delta).changes : []
        expect([synced.type, applyChanges(before, changes)]).toEqual([from === head ? 'no_change' : 'delta', states.at(-1)])
      }
    }),
    { numRuns: 20 },
  )
})
