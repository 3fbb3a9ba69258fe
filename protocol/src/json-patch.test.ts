import specification from 'json-patch-test-suite/spec_tests.json' with { type: 'json' }
import suite from 'json-patch-test-suite/tests.json' with { type: 'json' }
import { describe, expect, test, vi } from 'vitest'
import { applyChanges } from './apply-changes.ts'
import { applyOperations } from './apply-operations.ts'
import { diff } from './diff.ts'
import { diffToOperations } from './diff-to-operations.ts'
import { isContextdError } from './errors.ts'
import { formats } from './formats/formats.ts'
import { invert } from './invert.ts'
import type { JsonObject, JsonValue } from './json.ts'
import { fromJsonPatch } from './json-patch.ts'
import type { JsonPatchOperation, Operation } from './operation.ts'
import { canonical, clone } from './testing/oracle.ts'

// Ten thousand runs, or deep and long values: on a machine that does other things too they take their time.
vi.setConfig({ testTimeout: 120_000 })

interface Case {
  readonly comment?: string
  readonly doc: JsonValue
  readonly patch: readonly Record<string, unknown>[]
  readonly expected?: JsonValue
  readonly error?: string
  readonly disabled?: boolean
}

/** A context holds an object: the document of a case lies at a key of it. */
const wrap = (doc: JsonValue): JsonObject => ({ root: doc })
const wrapPatch = (patch: Case['patch']): JsonPatchOperation[] =>
  patch.map((operation) => {
    const moved = { ...operation }
    for (const name of ['path', 'from'])
      if (typeof moved[name] === 'string' && (moved[name] === '' || moved[name].startsWith('/'))) moved[name] = `/root${moved[name]}`
    return moved as unknown as JsonPatchOperation
  })

const cases = [...(specification as Case[]), ...(suite as Case[])].filter(
  ({ patch, disabled }) => Array.isArray(patch) && disabled !== true,
)
const named = cases.map((each, index) => [`${index} ${each.comment ?? each.error ?? JSON.stringify(each.patch)}`, each] as const)

describe('the public JSON Patch cases', () => {
  test('are all there', () => {
    expect(cases.length).toBeGreaterThanOrEqual(90)
  })

  test.each(named.filter(([, { error }]) => error === undefined))('%s', (_, { doc, patch, expected }) => {
    const before = wrap(doc)
    const operations = fromJsonPatch(before, wrapPatch(patch))
    const { state, changes } = applyOperations(before, operations)
    const after = expected === undefined ? state : wrap(expected)
    expect(state).toEqual(after)
    expect(applyChanges(before, clone(changes))).toEqual(after)
    expect(applyChanges(after, invert(changes))).toEqual(before)
    expect(applyChanges(before, diff(before, after))).toEqual(after)
    expect(applyChanges(after, invert(diff(before, after)))).toEqual(before)
    expect(applyOperations(before, diffToOperations(before, after)).state).toEqual(after)
    const delta = {
      contextId: 'c',
      baseVersion: 1,
      version: 2,
      revision: 'r',
      committedAt: 0,
      author: { userId: null, actor: 'a' },
      changes,
    }
    const patched = fromJsonPatch(before, formats.jsonPatch(delta, { before, after }))
    expect(applyOperations(before, patched).state).toEqual(after)
  })

  test.each(named.filter(([, { error }]) => error !== undefined))('refused: %s', (_, { doc, patch }) => {
    const before = wrap(doc)
    const text = canonical(before)
    const isTest = patch.some(({ op }) => op === 'test')
    let error: unknown
    try {
      fromJsonPatch(before, wrapPatch(patch))
    } catch (thrown) {
      error = thrown
    }
    expect(isContextdError(error) ? error.code : error).toBeOneOf(isTest ? ['invalid_operation', 'conflict'] : ['invalid_operation'])
    expect(canonical(before)).toBe(text)
  })
})

describe('a JSON Patch', () => {
  const state = {
    n: 1,
    cards: [
      { id: 'a', n: 0 },
      { id: 'b', n: 0 },
    ],
    tags: ['x', 'y', 'x'],
    done: [],
  }
  const translated = (...patch: JsonPatchOperation[]): Operation[] => fromJsonPatch(state, patch)

  test.each<[string, JsonPatchOperation, Operation]>([
    ['a position', { op: 'replace', path: '/cards/1/n', value: 5 }, { type: 'set', path: ['cards', { id: 'b' }, 'n'], value: 5 }],
    ['a removal', { op: 'remove', path: '/cards/0' }, { type: 'remove', path: ['cards', { id: 'a' }] }],
    ['an end', { op: 'add', path: '/cards/-', value: { id: 'c' } }, { type: 'insert', path: ['cards'], values: [{ id: 'c' }], at: 'end' }],
    ['a place', { op: 'add', path: '/cards/1', value: 1 }, { type: 'insert', path: ['cards'], values: [1], at: { after: { id: 'a' } } }],
    ['a value', { op: 'remove', path: '/tags/2' }, { type: 'remove', path: ['tags', { index: 2, value: 'x' }] }],
    [
      'a move',
      { op: 'move', from: '/cards/0', path: '/done/0' },
      { type: 'move', from: { path: ['cards'], item: { id: 'a' } }, to: { path: ['done'], at: 'end' } },
    ],
    ['a test', { op: 'test', path: '/n', value: 1 }, { type: 'test', path: ['n'], value: 1 }],
    ['the whole', { op: 'replace', path: '', value: { n: 2 } }, { type: 'set', path: [], value: { n: 2 } }],
  ])('becomes operations that keep their meaning elsewhere: %s', (_, patch, operation) => {
    expect(translated(patch)).toEqual([operation])
  })

  test('sees what its earlier operations have done', () => {
    const operations = translated(
      { op: 'remove', path: '/cards/0' },
      { op: 'replace', path: '/cards/0/n', value: 1 },
      { op: 'test', path: '/cards/0/n', value: 1 },
    )
    expect(operations[1]).toEqual({ type: 'set', path: ['cards', { id: 'b' }, 'n'], value: 1 })
  })

  test('names items by the key that is said', () => {
    const operations = fromJsonPatch({ list: [{ key: 'k', n: 1 }] }, [{ op: 'remove', path: '/list/0/n' }], { itemKey: 'key' })
    expect(operations).toEqual([{ type: 'remove', path: ['list', { id: 'k' }, 'n'] }])
  })

  test('moves values between lists, objects, and through lists of lists', () => {
    const grid = { rows: [[1, 2], [1, 2], [3]], o: { x: { y: 1 } } }
    const moves: [string, string, JsonObject][] = [
      ['/rows/0/0', '/rows/1/0', { ...grid, rows: [[2], [1, 1, 2], [3]] }],
      [
        '/rows/0',
        '/rows/1/0',
        {
          ...grid,
          rows: [
            [1, 2],
            [[1, 2], 3],
          ],
        },
      ],
      ['/rows/2', '/rows/0', { ...grid, rows: [[3], [1, 2], [1, 2]] }],
      ['/rows/2/0', '/rows/0', { ...grid, rows: [3, [1, 2], [1, 2], []] }],
      ['/o/x', '/rows/-', { o: {}, rows: [[1, 2], [1, 2], [3], { y: 1 }] }],
      ['/rows/1', '/o/z', { rows: [[1, 2], [3]], o: { x: { y: 1 }, z: [1, 2] } }],
      ['/o/x/y', '/o/x', { ...grid, o: { x: 1 } }],
      ['/o/x', '/o/x', grid],
    ]
    for (const [from, path, expected] of moves) {
      const operations = fromJsonPatch(grid, [{ op: 'move', from, path }])
      expect(applyOperations(grid, operations).state, `${from} → ${path}`).toEqual(expected)
    }
  })

  test.each<[string, unknown]>([
    ['no list', { op: 'add' }],
    ['no object', [1]],
    ['a null', [null]],
    ['no op', [{ path: '/n', value: 1 }]],
    ['another op', [{ op: 'spam', path: '/n', value: 1 }]],
    ['no path', [{ op: 'remove' }]],
    ['no pointer', [{ op: 'remove', path: 'n' }]],
    ['a bad escape', [{ op: 'remove', path: '/~2' }]],
    ['no value', [{ op: 'add', path: '/n' }]],
    ['no source', [{ op: 'move', path: '/n' }]],
    ['no target', [{ op: 'move', from: '/n' }]],
    ['itself', [{ op: 'move', from: '/cards', path: '/cards/0' }]],
    ['the root', [{ op: 'remove', path: '' }]],
    ['a root that is no object', [{ op: 'replace', path: '', value: [] }]],
    ['length', [{ op: 'replace', path: '/tags/length', value: 4294967295 }]],
    ['beyond the end', [{ op: 'add', path: '/tags/4', value: 1 }]],
    ['at the end', [{ op: 'replace', path: '/tags/3', value: 1 }]],
    ['a leading zero', [{ op: 'remove', path: '/tags/00' }]],
    ['through a scalar', [{ op: 'add', path: '/n/x', value: 1 }]],
    ['a missing key', [{ op: 'replace', path: '/none', value: 1 }]],
    ['an inherited key', [{ op: 'test', path: '/toString', value: 1 }]],
    ['a forbidden key', [{ op: 'add', path: '/__proto__/polluted', value: 1 }]],
    ['a forbidden key in a value', [{ op: 'add', path: '/x', value: JSON.parse('{"a":{"__proto__":1}}') }]],
    ['an id twice', [{ op: 'copy', from: '/cards/0', path: '/cards/-' }]],
    ['many steps', [{ op: 'remove', path: '/a'.repeat(5_000) }]],
  ])('is refused as invalid_operation: %s', (_, patch) => {
    expect(() => fromJsonPatch(state, patch as JsonPatchOperation[])).toThrow(expect.objectContaining({ code: 'invalid_operation' }))
  })

  test('is refused as conflict when a test fails', () => {
    expect(() => translated({ op: 'test', path: '/n', value: 2 })).toThrow(expect.objectContaining({ code: 'conflict' }))
  })

  test('needs a state that is an object', () => {
    expect(() => fromJsonPatch([], [])).toThrow(TypeError)
  })
})
