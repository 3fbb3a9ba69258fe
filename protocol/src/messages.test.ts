import { describe, expect, test, vi } from 'vitest'
import { DecodeError, decode } from './decode.ts'
import type { Decoder } from './decode.ts'
import type { JsonObject, JsonValue } from './json.ts'
import {
  attachReplySchema,
  attachSchema,
  byeSchema,
  commitsSchema,
  deltaFrameSchema,
  deniedSchema,
  detachSchema,
  failureSchema,
  headFrameSchema,
  leaveSchema,
  listReplySchema,
  listSchema,
  revisionOf,
  syncReplySchema,
  syncSchema,
  verdictFrameSchema,
} from './messages.ts'
import { packChanges, packLoggedChanges } from './pack.ts'
import { clone } from './testing/oracle.ts'
import { oldestWireVersion, wireHistory, wireVersion } from './version.ts'

// Ten thousand runs, or deep and long values: on a machine that does other things too they take their time.
vi.setConfig({ testTimeout: 120_000 })

const head = { incarnation: 'i1', version: 3, revision: 'r3' }
const error = { code: 'forbidden', message: 'No.', details: { why: ['x'] } }
const record = {
  epoch: 1,
  last: 4,
  verdicts: [
    [2, { type: 'applied', head }],
    [3, { type: 'nothing', head }],
    [4, { type: 'refused', ...error }],
  ],
}
const authors = [
  ['ada', 't1'],
  [null, 't2'],
]
const packed = [
  [1, ['votes', 'a'], 5],
  [2, ['list', 0]],
]

/** Every message, with every field and every variant in at least one sample. */
const messages: { readonly [name: string]: { readonly decoder: Decoder<unknown>; readonly samples: readonly JsonValue[] } } = {
  attach: { decoder: attachSchema, samples: [{ session: 's' }, { session: null }] },
  'attach reply': {
    decoder: attachReplySchema,
    samples: [{ session: 's', actor: 't', userId: 'ada', sessionTtlMs: 1000, ageMs: 0, messageBytes: 0 }],
  },
  detach: { decoder: detachSchema, samples: [{ session: 's' }] },
  sync: { decoder: syncSchema, samples: [{ session: 's', contextId: 'c:1', head, epoch: 0, told: 2, settled: 1 }] },
  leave: { decoder: leaveSchema, samples: [{ session: 's', contextId: 'c:1' }] },
  commit: {
    decoder: commitsSchema,
    samples: [
      {
        session: 's',
        contextId: 'c:1',
        epoch: 0,
        settled: 1,
        commits: [
          {
            seq: 2,
            incarnation: '',
            operations: [{ type: 'remove', path: ['a'] }],
            initial: { a: 1 },
            lock: { key: 'k', token: 7 },
            ifVersion: 3,
          },
          { seq: 3, incarnation: 'i1', operations: [], delete: 1 },
        ],
      },
    ],
  },
  list: { decoder: listSchema, samples: [{ prefix: 'c:', limit: 10 }, {}] },
  'list reply': {
    decoder: listReplySchema,
    samples: [{ contexts: [{ contextId: 'c:1', version: 3, revision: 'r3', createdAt: 1, updatedAt: 2 }] }],
  },
  d: { decoder: deltaFrameSchema, samples: [['c:1', 'i1', 2, 'r2', 'b', 1000, authors, [[0, 4, packed]]]] },
  h: { decoder: headFrameSchema, samples: [['c:1', 'i1', 3, 'r3']] },
  v: {
    decoder: verdictFrameSchema,
    samples: [
      [
        'c:1',
        't1',
        0,
        [
          [1, { type: 'applied', head: null }],
          [2, { type: 'nothing', head }],
          [3, { type: 'refused', ...error }],
          [4, { type: 'held', code: 'closed', message: 'Later.' }],
          [5, { type: 'gap' }],
          [6, { type: 'fenced' }],
          [7, { type: 'expired' }],
        ],
      ],
    ],
  },
  denied: { decoder: deniedSchema, samples: [['c:1', error]] },
  bye: { decoder: byeSchema, samples: [{ retryAfterMs: 100 }] },
  'sync reply': {
    decoder: syncReplySchema,
    samples: [
      { answer: { type: 'same', head }, record, before: null, reset: null, access: 'write' },
      {
        answer: { type: 'delta', authors, commits: [['r4', 1000, 0, 5, packed]] },
        record,
        before: record,
        reset: 'rolled_back',
        access: 'read',
      },
      {
        answer: { type: 'full', head, state: { a: 1 }, createdAt: 1, updatedAt: 2, updatedBy: { userId: null, actor: 't1' } },
        record,
        before: null,
        reset: null,
        access: 'read',
      },
      {
        answer: { type: 'absent', head: { incarnation: '', version: 0, revision: 'r' } },
        record,
        before: null,
        reset: null,
        access: 'read',
      },
      { answer: { type: 'expired' }, record, before: null, reset: null, access: 'read' },
    ],
  },
  failure: { decoder: failureSchema, samples: [{ error }] },
}

/** Fields whose inside is JSON that is checked elsewhere. */
const opaque = new Set(['details', 'operations', 'initial', 'state'])
const isChanges = (path: readonly (string | number)[], value: JsonValue): boolean =>
  path.length > 0 && JSON.stringify(value) === JSON.stringify(packed)

type Place = readonly (string | number)[]

/** Every place of a sample that a decoder looks at. */
function placesOf(value: JsonValue, path: Place = []): Place[] {
  if (opaque.has(String(path.at(-1))) || isChanges(path, value) || typeof value !== 'object' || value === null) return [path]
  return [path, ...Object.entries(value).flatMap(([key, child]) => placesOf(child, [...path, Array.isArray(value) ? Number(key) : key]))]
}

function replaced(sample: JsonValue, path: Place, value: unknown): unknown {
  if (path.length === 0) return value
  const copy = clone(sample)
  let node = copy as JsonObject
  for (const step of path.slice(0, -1)) node = node[step] as JsonObject
  const last = path.at(-1)!
  if (value === undefined && !Array.isArray(node)) delete node[last]
  else node[last] = value as JsonValue
  return copy
}

let nested: unknown = []
for (let depth = 0; depth < 5_000; depth += 1) nested = [nested]
const hostile = JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"type":"__proto__"}') as unknown
const probes: readonly unknown[] = [
  undefined,
  null,
  true,
  0,
  1,
  65,
  -1,
  1.5,
  2 ** 53,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  '',
  'x',
  'x'.repeat(64),
  'x'.repeat(65),
  'x'.repeat(256),
  'x'.repeat(257),
  'x'.repeat(4_000),
  'x'.repeat(4_001),
  [],
  [1],
  {},
  new Date(0),
  () => 0,
  1n,
  Symbol('s'),
  hostile,
  nested,
  Array.from({ length: 65 }, () => ({})),
]
const kindOf = (value: unknown): string => (value === null ? 'null' : Array.isArray(value) ? 'list' : typeof value)

function outcome(decoder: Decoder<unknown>, input: unknown): unknown {
  try {
    return decode(decoder, input)
  } catch (thrown) {
    if (thrown instanceof DecodeError) return thrown
    throw thrown
  }
}

const all = Object.entries(messages).flatMap(([name, { decoder, samples }]) =>
  samples.map((sample, index) => [`${name} ${index}`, decoder, sample] as const),
)

describe('a decoder', () => {
  test.each(all)('takes its message as it is: %s', (_, decoder, sample) => {
    expect(decode(decoder, clone(sample))).toEqual(sample)
  })

  test.each(all)('refuses a value of another kind in every field, and names the place: %s', (_, decoder, sample) => {
    for (const path of placesOf(sample)) {
      let value: unknown = sample
      for (const step of path) value = (value as JsonObject)[step]
      const isOpaque = opaque.has(String(path.at(-1)))
      for (const probe of [true, -1, 'x'.repeat(5_000), [[]], { x: 1 }, () => 0]) {
        if (kindOf(probe) === kindOf(value) || (isOpaque && path.at(-1) !== 'operations')) continue
        if (value === null && (kindOf(probe) === 'string' || kindOf(probe) === 'object')) continue
        const result = outcome(decoder, replaced(sample, path, probe))
        expect(result, `${path.join('.')} = ${kindOf(probe)}`).toBeInstanceOf(DecodeError)
        expect((result as DecodeError).message).toContain(String(path.at(-1) ?? 'message'))
      }
    }
  })

  test.each(all)('neither breaks nor pollutes, whatever it is given: %s', (_, decoder, sample) => {
    for (const path of placesOf(sample)) {
      for (const probe of probes) outcome(decoder, replaced(sample, path, probe))
    }
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  })

  test.each(all)('drops what it does not know, so that a newer peer may say more: %s', (_, decoder, sample) => {
    const more = Array.isArray(sample) ? sample : { ...(sample as JsonObject), later: { a: 1 } }
    expect(decode(decoder, clone(more))).toEqual(sample)
  })

  test('refuses numbers that are no whole numbers, are too small, or cannot be told apart', () => {
    for (const version of [-1, 1.5, 2 ** 53, Number.NaN, '3', null]) {
      expect(outcome(headFrameSchema, ['c', 'i', version, 'r'])).toBeInstanceOf(DecodeError)
    }
    expect(outcome(headFrameSchema, ['c', 'i', Number.MAX_SAFE_INTEGER, 'r'])).not.toBeInstanceOf(DecodeError)
  })

  test('takes texts and lists at their limit, and refuses one more', () => {
    const sync = messages['sync']?.samples.at(0) ?? null
    const commits = (length: number): unknown =>
      replaced(
        messages['commit']?.samples.at(0) ?? null,
        ['commits'],
        Array.from({ length }, (_, n) => ({ seq: n + 1, incarnation: '', operations: [] })),
      )
    const cases: [Decoder<unknown>, unknown, unknown][] = [
      [syncSchema, replaced(sync, ['session'], 'x'.repeat(64)), replaced(sync, ['session'], 'x'.repeat(65))],
      [syncSchema, replaced(sync, ['contextId'], 'x'.repeat(256)), replaced(sync, ['contextId'], 'x'.repeat(257))],
      [commitsSchema, commits(64), commits(65)],
      [listSchema, { limit: 1_000 }, { limit: 1_001 }],
      [
        failureSchema,
        { error: { code: 'internal', message: 'x'.repeat(4_000) } },
        { error: { code: 'internal', message: 'x'.repeat(4_001) } },
      ],
    ]
    for (const [decoder, good, bad] of cases) {
      expect(outcome(decoder, good)).not.toBeInstanceOf(DecodeError)
      expect(outcome(decoder, bad)).toBeInstanceOf(DecodeError)
    }
  })

  test('does not take inherited fields for its own', () => {
    expect(outcome(attachSchema, Object.create({ session: 's' }))).toBeInstanceOf(DecodeError)
  })
})

/** The fields that a decoder asks for in a message, by the place of what they lie in; `known` are those that the message has. */
function fieldsAsked(decoder: Decoder<unknown>, sample: JsonValue): { asked: string[]; known: string[] } {
  const asked = new Set<string>()
  const known = new Set<string>()
  const watched = (value: JsonValue, path: string): unknown => {
    if (typeof value !== 'object' || value === null) return value
    if (Array.isArray(value)) return value.map((entry, index) => watched(entry, `${path}[${index}]`))
    const inner = Object.fromEntries(Object.entries(value).map(([key, child]) => [key, watched(child, `${path}.${key}`)]))
    return new Proxy(inner, {
      getOwnPropertyDescriptor(target, key) {
        asked.add(`${path}.${String(key)}`)
        if (Object.hasOwn(target, key)) known.add(`${path}.${String(key)}`)
        return Reflect.getOwnPropertyDescriptor(target, key)
      },
    })
  }
  decode(decoder, watched(sample, ''))
  return { asked: [...asked].toSorted(), known: [...known].toSorted() }
}

const anyItem = (paths: readonly string[]): string[] => paths.map((path) => path.replaceAll(/\[\d+\]/g, '[]'))

/** What the decoders take and refuse, field by field, and how changes and revisions are written: all that makes the wire. */
async function fingerprint(): Promise<string> {
  const told = all.map(([name, decoder, sample]) => [
    name,
    fieldsAsked(decoder, sample).asked,
    placesOf(sample).map((path) => [
      path,
      probes.map((probe) => {
        const result = outcome(decoder, replaced(sample, path, probe))
        return result instanceof DecodeError ? 0 : 1
      }),
    ]),
  ])
  const changes = [
    { path: ['a', 0], action: 'added' as const, value: 1 },
    { path: ['b'], action: 'modified' as const, value: 1, oldValue: 2 },
    { path: ['c'], action: 'removed' as const, oldValue: 3 },
  ]
  const text = JSON.stringify([told, packChanges(changes), packLoggedChanges(changes), revisionOf('b', 0), revisionOf('b', 40)])
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0'))
    .join('')
    .slice(0, 16)
}

describe('the wire', () => {
  test('does not change by accident: a change of it needs a new version, and its hash here', async () => {
    expect([wireVersion, await fingerprint()]).toEqual([1, '93be7d5242272f4d'])
  })

  test('has no field that the samples here leave out', () => {
    const left = Object.entries(messages).map(([name, { decoder, samples }]) => {
      const told = samples.map((sample) => fieldsAsked(decoder, sample))
      const known = new Set(anyItem(told.flatMap((each) => each.known)))
      return [name, anyItem(told.flatMap((each) => each.asked)).filter((path) => !known.has(path))]
    })
    expect(left).toEqual(Object.keys(messages).map((name) => [name, []]))
  })

  test('has a history that ends with the version spoken, and a floor within it', () => {
    expect(wireHistory.map(({ version }) => version)).toEqual(Array.from({ length: wireVersion }, (_, index) => index + 1))
    expect(oldestWireVersion).toBeGreaterThanOrEqual(1)
    expect(oldestWireVersion).toBeLessThanOrEqual(wireVersion)
  })

  test('names each commit of a batch by a revision of its own', () => {
    const revisions = new Set(Array.from({ length: 256 }, (_, index) => revisionOf('x'.repeat(22), index)))
    expect(revisions.size).toBe(256)
    expect(Math.max(...Array.from(revisions, ({ length }) => length))).toBeLessThanOrEqual(64)
  })
})
