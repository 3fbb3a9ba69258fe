import { ContextdError } from '@contextd/protocol'
import type { Exported } from './target.ts'

/** Longest line of a file of contexts, UTF-16 units. */
const longestLine = 67_108_864

/** A context of a file, and where it stands. */
export interface ExportedLine {
  readonly exported: Exported
  /** From 1. */
  readonly line: number
  /** How much of the file was read, bytes. */
  readonly bytes: number
}

/** Reads contexts from lines of JSON; empty lines are passed over. @throws {ContextdError} `invalid_state` – a line is damaged */
export async function* readExported(input: AsyncIterable<Buffer | string>): AsyncGenerator<ExportedLine> {
  const decoder = new TextDecoder()
  let rest = ''
  let line = 0
  let bytes = 0
  const take = function* (texts: readonly string[]): Generator<ExportedLine> {
    for (const text of texts) {
      line += 1
      if (text.trim() !== '') yield { exported: exportedOf(text, line), line, bytes }
    }
  }
  for await (const chunk of input) {
    bytes += typeof chunk === 'string' ? Buffer.byteLength(chunk) : chunk.length
    const text = typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true })
    if (!text.includes('\n')) {
      rest += text
      if (rest.length > longestLine) throw damaged(line + 1, 'is longer than any context; is it a file of contextd export?')
      continue
    }
    const texts = (rest + text).split('\n')
    rest = texts.pop()!
    yield* take(texts)
  }
  yield* take([rest + decoder.decode()])
}

function exportedOf(text: string, line: number): Exported {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw damaged(line, 'is no JSON')
  }
  const contextId = typeof value === 'object' && value !== null && 'contextId' in value ? value.contextId : undefined
  if (typeof contextId !== 'string') throw damaged(line, 'is no exported context: it has no contextId')
  return value as Exported
}

const damaged = (line: number, why: string): ContextdError => new ContextdError('invalid_state', `line ${line} ${why}`)
