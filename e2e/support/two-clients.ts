import type { Client, ContextHandle } from '@contextd/client'
import { afterEach, beforeEach } from 'vitest'
import { ClientWorld } from './client-world.ts'
import { until } from './wait.ts'

export interface Item {
  id: string
  title: string
  done?: boolean
}
export interface Board {
  title: string
  votes: number
  items: Item[]
  labels: string[]
  meta: { color?: string | null; tags: Record<string, string> }
}
export type Boards = { [id: `board:${string}`]: { state: Board } }
export type Handle = ContextHandle<Board>

export const start: Board = {
  title: 'Start',
  votes: 0,
  items: [
    { id: 'a', title: 'A' },
    { id: 'b', title: 'B' },
  ],
  labels: ['x', 'y'],
  meta: { tags: {} },
}

/** A server and two clients, new for each test of a file. */
export class TwoClients {
  world!: ClientWorld
  here!: Client<Boards>
  there!: Client<Boards>
  /** What `authorize` answers. */
  allowed: (action: string) => boolean = () => true

  constructor() {
    beforeEach(async () => {
      this.allowed = () => true
      this.world = await ClientWorld.open({ server: { authorize: ({ action }) => this.allowed(action) } })
      this.here = this.world.client<Boards>()
      this.there = this.world.client<Boards>()
    })
    afterEach(() => this.world.close())
  }

  /** The same context in both clients, live. */
  async both(id: `board:${string}` = 'board:1'): Promise<[Handle, Handle]> {
    await this.world.contexts.set(id, start as never)
    const handles: [Handle, Handle] = [this.here.context(id), this.there.context(id)]
    for (const handle of handles) handle.subscribe(() => {})
    await Promise.all(handles.map((handle) => handle.ready({ live: true })))
    return handles
  }
}

/** Waits until two handles show the same, with nothing pending. */
export async function same(a: Handle, b: Handle): Promise<void> {
  const settled = (): boolean => a.status.get().pending + b.status.get().pending === 0
  await until('both show the same', () => settled() && JSON.stringify(a.get()) === JSON.stringify(b.get()))
}
