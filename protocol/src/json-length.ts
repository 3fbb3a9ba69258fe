import type { JsonValue } from './json.ts'

/**
 * Length of a value as JSON text, UTF-16 units.
 *
 * @param enough counting stops once the length is above it: the answer is then only known to be above
 */
export function jsonLength(value: JsonValue, enough: number = Number.POSITIVE_INFINITY): number {
  if (typeof value === 'string') return value.length > enough ? value.length : textLength(value)
  if (typeof value !== 'object' || value === null) return String(value).length
  if (Array.isArray(value)) {
    let length = 2 + Math.max(0, value.length - 1)
    for (let index = 0; index < value.length && length <= enough; index += 1) length += jsonLength(value[index]!, enough - length)
    return length
  }
  let length = 1
  for (const key of Object.keys(value)) {
    if (length > enough) return length
    length += textLength(key) + 2 + jsonLength(value[key]!, enough - length)
  }
  return length === 1 ? 2 : length
}

/** Characters that stand for themselves in JSON text. */
const plain = /^[\u0020\u0021\u0023-\u005B\u005D-\uD7FF\uE000-\uFFFF]*$/

const textLength = (text: string): number => (plain.test(text) ? text.length + 2 : JSON.stringify(text).length)
