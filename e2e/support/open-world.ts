import type { Client, HandleOf } from '@contextd/client'
import { afterEach } from 'vitest'
import { ClientWorld } from './client-world.ts'
import type { Open } from './client-world.ts'

const closing: (() => Promise<unknown>)[] = []

/** Closes something after the test. */
export const closeAfter = (close: () => Promise<unknown>): void => void closing.push(close)
/** Closes, after each test of a file, what it has opened. */
export function closeAfterEach(): void {
  afterEach(async () => {
    for (const close of closing.splice(0).toReversed()) await close()
  })
}

/** A world that is closed after the test. */
export async function openWorld(options: Parameters<typeof ClientWorld.open>[0] = {}): Promise<ClientWorld> {
  const world = await ClientWorld.open(options)
  closeAfter(() => world.close())
  return world
}

/** The handle of a context that is watched, once it is live. */
export async function live(
  client: Client<Open>,
  id = 'c',
  initial: Open['']['state'] = { n: 0, list: [] },
): Promise<HandleOf<Open, string>> {
  const handle = client.context(id, { initial })
  handle.subscribe(() => {})
  await handle.ready({ live: true })
  return handle
}
