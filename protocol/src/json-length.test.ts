import fc from 'fast-check'
import { expect, test } from 'vitest'
import { jsonLength } from './json-length.ts'
import type { JsonValue } from './json.ts'

const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('"', '\\', '\n', '\u0000', '\u2028', 'é', '😀', '\uD800', '\uFFFF'))
const value = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    text,
    fc.constantFrom<JsonValue>(null, true, false, 0, -1.5, 1e21, 1e-7),
    fc.dictionary(text, tie('value'), { maxKeys: 3 }),
    fc.array(tie('value'), { maxLength: 3 }),
  ),
})).value

test('the length of a value is that of its JSON text', () => {
  fc.assert(
    fc.property(value, (any) => {
      expect(jsonLength(any)).toBe(JSON.stringify(any).length)
    }),
  )
})

test('what is longer than enough is above it', () => {
  fc.assert(
    fc.property(value, fc.nat(50), (any, enough) => {
      expect(jsonLength(any, enough) > enough).toBe(JSON.stringify(any).length > enough)
    }),
  )
})
