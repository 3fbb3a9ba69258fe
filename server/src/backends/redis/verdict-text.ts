import type { ErrorCode, JsonValue, Verdict } from '@contextd/protocol'

/** A verdict as it is stored: a JSON list without line breaks, its first item says which. */
type Stored =
  | readonly [0]
  | readonly [0 | 1, incarnation: string, version: number, revision: string]
  | readonly [2, code: ErrorCode, message: string, details?: JsonValue]

/** Writes a verdict. */
export function encodeVerdict(verdict: Verdict): string {
  return JSON.stringify(storedOf(verdict))
}

function storedOf(verdict: Verdict): Stored {
  if (verdict.type === 'refused') {
    const { code, message, details } = verdict
    return details === undefined ? [2, code, message] : [2, code, message, details]
  }
  const { head } = verdict
  if (head === null) return [0]
  return [verdict.type === 'applied' ? 0 : 1, head.incarnation, head.version, head.revision]
}

/** Reads what {@link encodeVerdict} wrote; nothing: only that there was one is still known (P4). */
export function decodeVerdict(text: string): Verdict {
  const stored: Stored = text === '' ? [0] : (JSON.parse(text) as Stored)
  if (stored[0] === 2) {
    const [, code, message, details] = stored
    return { type: 'refused', code, message, ...(details !== undefined && { details }) }
  }
  if (stored.length === 1) return { type: 'applied', head: null }
  const [, incarnation, version, revision] = stored
  return { type: stored[0] === 0 ? 'applied' : 'nothing', head: { incarnation, version, revision } }
}
