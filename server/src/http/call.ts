import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Change, Head, Limits } from '@contextd/protocol'
import type { Access, User } from '../authorize.ts'
import type { Answer } from '../commits/commit-queue.ts'
import type { Contexts } from '../contexts/contexts-types.ts'
import type { EngineNode } from '../engine/engine-node.ts'
import type { CommitRequest } from '../engine/engine.ts'
import { problemOf } from './problem.ts'
import type { Query } from './query.ts'

/** Where a caller stands. */
export type Tag = Pick<Head, 'version' | 'revision'>
/** What is handed in for a request; the rest follows from who asks. */
export type Handed = Pick<CommitRequest, 'operations' | 'remove' | 'initial'> & Partial<CommitRequest>
/** An `Idempotency-Key`, and what it was given with. */
export interface Idempotency {
  /** Names the stream of the key. */
  readonly stream: string
  /** Hash of method, path, conditions and body. */
  readonly body: string
}

/** What the calls of one server share. */
export interface HttpNode {
  readonly engine: EngineNode
  /** The engine's calls, whose deltas are lists of changes whatever the server's own callers chose. */
  readonly contexts: Contexts<{}, Change[]>
  readonly limits: Limits
  readonly access: Access
  /** Answers with a stream of events: what is new since a version (null: everything), then every commit. */
  openStream(call: Call, from: Tag | null): Promise<void>
  /** Commits under a key, once. */
  writeOnce(call: Call, key: Idempotency, handed: Handed): Promise<Answer>
}

/** One request, once it is known who asks what. */
export interface Call {
  readonly node: HttpNode
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly user: User | null
  /** The context that it is about; `''`: none. */
  readonly contextId: string
  /** The steps of the path after the context. */
  readonly steps: readonly string[]
  readonly query: Query
}

type Headers = { readonly [name: string]: string }

/** Answers with JSON. */
export function sendJson(
  { request, response }: Pick<Call, 'request' | 'response'>,
  status: number,
  value: unknown,
  headers: Headers = {},
): void {
  sendText(request, response, status, { 'content-type': 'application/json; charset=utf-8', ...headers }, `${JSON.stringify(value)}\n`)
}

/** Answers without a body. */
export function sendEmpty({ response }: Pick<Call, 'response'>, status: number, headers: Headers = {}): void {
  response.writeHead(status, { 'cache-control': 'no-cache', ...headers }).end()
}

/** Answers with an error. */
export function sendProblem(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  const { status, headers, body } = problemOf(error)
  sendText(request, response, status, { 'content-type': 'application/problem+json; charset=utf-8', ...headers }, `${body}\n`)
}

function sendText(request: IncomingMessage, response: ServerResponse, status: number, headers: Headers, body: string): void {
  response.writeHead(status, {
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-cache',
    'x-content-type-options': 'nosniff',
    ...headers,
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}

/**
 * Answers with a JSON object that holds one list, item by item, no faster than the caller reads: `{"deltas":[…]}`.
 * @param items may be long, and each large
 */
export async function sendList({ request, response }: Call, name: string, items: Iterable<unknown>): Promise<void> {
  response.writeHead(200, {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-cache',
    'x-content-type-options': 'nosniff',
  })
  if (request.method === 'HEAD') return void response.end()
  let text = `{${JSON.stringify(name)}:[`
  let comma = ''
  for (const item of items) {
    text += comma + JSON.stringify(item)
    comma = ','
    if (text.length < chunkSize) continue
    if (!response.write(text)) await drained(response)
    if (response.destroyed) return
    text = ''
  }
  response.end(`${text}]}\n`)
}

/** Length of the pieces in which lists are sent, UTF-16 units. */
const chunkSize = 65_536

/** Resolves when what was written has left, or never will. */
export function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done)
      response.off('close', done)
      resolve()
    }
    response.once('drain', done)
    response.once('close', done)
  })
}

const answering = new WeakMap<Socket, Set<() => void>>()

/** Calls once when an answer is over: sent, or its connection gone. An answer that waits behind others on a connection hears nothing of its end. */
export function whenOver({ socket }: IncomingMessage, response: ServerResponse, done: () => void): void {
  const open = answering.get(socket) ?? new Set()
  if (!answering.has(socket)) {
    answering.set(socket, open)
    socket.once('close', () => {
      for (const over of open) over()
    })
  }
  const over = (): void => {
    if (open.delete(over)) done()
  }
  open.add(over)
  response.once('close', over)
}
