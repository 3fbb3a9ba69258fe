import type { IncomingMessage } from 'node:http'
import { ContextdError } from '@contextd/protocol'
import { isDeeperThan } from '../socket/packets.ts'
import { HttpProblem } from './problem.ts'
import { bad } from './query.ts'

/** Deepest nesting of a whole document; what walks it recursively stays far from the end of the stack. */
const deepestBody = 600

/** What a request carries. */
export interface Body {
  readonly bytes: Buffer
  /** Its media type, without parameters; `''`: none is said. */
  readonly mediaType: string
}

/**
 * Reads what a request carries, up to a limit (0: none).
 * @throws {ContextdError} `too_large` · `invalid_message` – it broke off
 * @throws {HttpProblem} 415 – it is compressed
 */
export async function readBody(request: IncomingMessage, bodyBytes: number): Promise<Body> {
  const { headers } = request
  const encoding = headers['content-encoding']?.toLowerCase() ?? 'identity'
  if (encoding !== 'identity') throw unsupported(`A body in ${encoding} is not read; send it as it is.`)
  if (bodyBytes > 0 && Number(headers['content-length'] ?? 0) > bodyBytes) throw tooLarge(bodyBytes)
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      length += chunk.length
      if (bodyBytes > 0 && length > bodyBytes) throw tooLarge(bodyBytes)
      chunks.push(chunk)
    }
  } catch (error) {
    throw error instanceof HttpProblem ? error : bad('The body of the request broke off.')
  }
  return { bytes: Buffer.concat(chunks), mediaType: (headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase() }
}

/** What is not read to its end cannot be followed by another request on the same connection. */
const tooLarge = (bodyBytes: number): HttpProblem =>
  new HttpProblem(413, new ContextdError('too_large', `A request has at most ${bodyBytes} bytes (bodyBytes). Write less at once.`), {
    connection: 'close',
  })

/** The refusal of a body of this kind. */
export const unsupported = (message: string, headers: { readonly [name: string]: string } = {}): HttpProblem =>
  new HttpProblem(415, bad(message), headers)

/**
 * Reads JSON. Its nesting is limited on the text, before anything that recurses.
 * @throws {ContextdError} `invalid_message` – it is no JSON · `invalid_operation` – it is nested too deep
 */
export function jsonIn({ bytes }: Body): unknown {
  const text = textOf(bytes)
  if (text.trim() === '') throw bad('The request has no body; send JSON.')
  if (isDeeperThan(text, deepestBody)) throw new ContextdError('invalid_operation', 'The body is nested too deep. Store flatter values.')
  try {
    return JSON.parse(text) as unknown
  } catch (error) {
    throw bad(`The body is no JSON: ${(error as Error).message}`)
  }
}

function textOf(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw bad('The body is no UTF-8.')
  }
}
