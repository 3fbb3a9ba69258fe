import { createHash } from 'node:crypto'
import { ContextdError } from '@contextd/protocol'
import type { Answer } from '../commits/commit-queue.ts'
import { OneAtATime } from '../one-at-a-time.ts'
import type { Call, Handed, Idempotency } from './call.ts'
import { submit } from './commit.ts'
import { HttpProblem } from './problem.ts'
import { bad } from './query.ts'

const longestKey = 255

/**
 * Reads the `Idempotency-Key` of a request; null: it has none. A key is one user's own, and one context's.
 * @throws {ContextdError} `invalid_message` – it is none
 */
export function idempotencyOf({ request, user }: Call, bytes: Buffer): Idempotency | null {
  const { headers } = request
  const key = headers['idempotency-key']
  if (key === undefined) return null
  if (typeof key !== 'string' || !/^[\x21-\x7e]+$/.test(key) || key.length > longestKey)
    throw bad(`Idempotency-Key must have 1 to ${longestKey} visible ASCII characters; take a random one for each write.`)
  const parts = [request.method, request.url, headers['content-type'], headers['if-match'], headers['if-none-match']]
  const body = createHash('sha256').update(JSON.stringify(parts)).update(bytes).digest('base64url')
  return { stream: digest(`idempotency\n${user?.id ?? ''}\n${key}`), body }
}

const digest = (text: string): string => createHash('sha256').update(text).digest('base64url')

/**
 * Writes that are given a key (P7): each key is a stream of its own, kept like any other. Its first number holds the hash of what the key was
 * given with, as the details of a refusal; its second is the commit. So the commit is stored together with its verdict, once, and a request with
 * the same key finds both.
 */
export class IdempotentWrites {
  /** By key, so that no number is handed in twice at a time. */
  readonly #turns = new OneAtATime()

  /**
   * Commits under a key, once.
   * @throws {HttpProblem} 422 – the key was given with another body
   */
  write(call: Call, { stream, body }: Idempotency, wanted: Handed): Promise<Answer> {
    return this.#turns.run(`${call.contextId} ${stream}`, () => once(call, stream, body, wanted))
  }
}

async function once(call: Call, key: string, body: string, wanted: Handed): Promise<Answer> {
  const position = { key, mintedAt: call.node.engine.clock.now(), epoch: 0, settled: 0 }
  const claim = new ContextdError('aborted', 'An Idempotency-Key.', { details: { body } })
  const claimed = await submit(call, { operations: [], remove: false, initial: {}, refusal: claim }, { ...position, seq: 1 })
  if (claimed.type !== 'verdict') return claimed
  const { verdict } = claimed
  const known = verdict.type === 'refused' ? (verdict.details as { readonly body?: unknown } | undefined)?.body : undefined
  if (known !== body) throw reused()
  return submit(call, wanted, { ...position, seq: 2 })
}

const reused = (): HttpProblem =>
  new HttpProblem(422, bad('This Idempotency-Key was given with another request before. Take a new one for each write.'))
