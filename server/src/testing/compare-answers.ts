import { deepStrictEqual } from 'node:assert'

/** Compares answers exactly. */
export function sameAnswer(actual: unknown, expected: unknown): void {
  deepStrictEqual(plain(actual), plain(expected))
}

/** Compares answers that tell of locks: how long a lease still lasts depends on when and by which clock it is looked at. */
export function sameLocks(actual: unknown, expected: unknown): void {
  deepStrictEqual(plain(actual, ['remainingMs']), plain(expected, ['remainingMs']))
}

/** Compares an answer of at most `limit` ids, in any order, with all that might be in it. */
export const somePrunable =
  (limit: number) =>
  (actual: unknown, expected: unknown): void => {
    const ids = new Set(actual as readonly string[])
    const all = expected as readonly string[]
    deepStrictEqual(
      { length: (actual as readonly string[]).length, different: ids.size, known: all.filter((id) => ids.has(id)).length },
      { length: Math.min(limit, all.length), different: Math.min(limit, all.length), known: Math.min(limit, all.length) },
    )
  }

/** As JSON, so that a class or a missing prototype makes no difference. */
function plain(value: unknown, without: readonly string[] = []): unknown {
  if (value === undefined) return undefined
  return JSON.parse(JSON.stringify(value, (name, inner: unknown) => (without.includes(name) ? undefined : inner))) as unknown
}
