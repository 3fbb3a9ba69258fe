import { createClient } from '@contextd/client'
import type { ContextHandle } from '@contextd/client'
import { createContexts, createServer } from 'contextd'
import type { Contexts } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'
import type { RedisBackendOptions } from 'contextd/backends/redis'
import { closeAfter } from './open-world.ts'
import { until } from './wait.ts'

type Notes = { [id: `note:${string}`]: { state: { n: number } } }

/** A client of a node of its own that has a note open, and every reset that it is told. */
export interface NoteNode {
  readonly contexts: Contexts
  readonly note: ContextHandle<{ n: number }>
  readonly resets: readonly string[]
}

/** The note that they all have open. */
export const noteId = 'note:rolled'

/** A node on a Redis with a client. */
export async function noteNode({ redisOptions, ...redis }: RedisBackendOptions): Promise<NoteNode> {
  const contexts = createContexts({ backend: redisBackend({ ...redis, redisOptions: { ...redisOptions, commandTimeout: 1_000 } }) })
  const server = createServer({ contexts })
  await server.listen({ port: 0 })
  const client = createClient<Notes>({ url: server.url! })
  closeAfter(async () => {
    await client.destroy()
    await server.close({ drainMs: 0 })
    await contexts.close()
  })
  const note = client.context(noteId, { initial: { n: 0 } })
  note.subscribe(() => {})
  await note.ready({ live: true })
  const resets: string[] = []
  note.status.subscribe(({ reset }, previous) => {
    if (reset !== null && reset !== previous.reset) resets.push(reset)
  })
  return { contexts, note, resets }
}

/** Whether all clients show a number. */
export const allShow = (nodes: readonly NoteNode[], n: number): boolean => nodes.every(({ note }) => note.get()?.n === n)

/** Everybody goes on from a state, each write once. */
export async function goOn(nodes: readonly NoteNode[], from: number): Promise<void> {
  await Promise.all(nodes.map(({ note }) => note.at('n').increment(10)))
  await until('all go on from there', () => allShow(nodes, from + 10 * nodes.length))
}
