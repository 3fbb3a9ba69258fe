import type { RegisteredContexts } from '@contextd/client'
import { useCallback, useInsertionEffect, useRef } from 'react'
import type { AnyHandle } from './context-store.ts'
import type { ContextdHooks } from './contextd-hooks.ts'
import { useHandle } from './use-contextd-handle.ts'

type Registered = ContextdHooks<RegisteredContexts>
type Mutate = (handle: AnyHandle, ...args: unknown[]) => unknown

function useAnyContextdMutation(id: string, mutate: Mutate): (...args: unknown[]) => unknown {
  const handle = useHandle('useContextdMutation', id)
  const rendered = useRef({ handle, mutate })
  // Before all other effects, so that one of them that calls the mutation calls this render's.
  useInsertionEffect(() => {
    rendered.current = { handle, mutate }
  })
  return useCallback((...args) => rendered.current.mutate(rendered.current.handle, ...args), [])
}

/**
 * A function that never changes, and calls yours, as last rendered, with the handle of the context; it returns what yours does.
 * `const vote = useContextdMutation('board:1', (board, by: number) => board.at('votes').increment(by))`
 * @throws {TypeError} there is no provider, or the id is malformed
 */
export const useContextdMutation = useAnyContextdMutation as unknown as Registered['useContextdMutation']
