import type { RegisteredContexts } from '@contextd/client'
import type { ContextdHooks } from './contextd-hooks.ts'
import { ContextdProvider } from './provider.ts'
import { useConnection } from './use-connection.ts'
import { useContextd } from './use-contextd.ts'
import { useContextdClient } from './use-contextd-client.ts'
import { useContextdHandle } from './use-contextd-handle.ts'
import { useContextdMutation } from './use-contextd-mutation.ts'
import { useContextdStatus } from './use-contextd-status.ts'

const hooks = { ContextdProvider, useContextd, useContextdHandle, useContextdClient, useContextdMutation, useContextdStatus, useConnection }

/**
 * The hooks typed for contexts of your own, without `Register`; the same functions at run time.
 * `export const { useContextd } = createContextdHooks<{ [id: `board:${string}`]: { state: Board } }>()`
 */
export function createContextdHooks<C = RegisteredContexts>(): ContextdHooks<C> {
  return hooks as unknown as ContextdHooks<C>
}
