import type { RegisteredContexts } from '@contextd/client'
import { useEffect, useMemo } from 'react'
import { contextStore } from './context-store.ts'
import type { AnyHandle, HandleOptions } from './context-store.ts'
import type { ContextdHooks } from './contextd-hooks.ts'
import { useClient } from './provider.ts'

type Registered = ContextdHooks<RegisteredContexts>

/** The handle of a context, kept as long as the component is mounted; `hook` says who asks. */
export function useHandle(hook: string, id: string, options?: HandleOptions): AnyHandle {
  const client = useClient(hook)
  // Options count when the store is made; an object written inline must not make another one at every render.
  // oxlint-disable-next-line react-hooks/exhaustive-deps
  const store = useMemo(() => contextStore(client, id, options), [client, id])
  useEffect(() => {
    if (options !== undefined) store.declare(options)
  })
  useEffect(() => store.hold(), [store])
  return store.handle
}

function useAnyContextdHandle(id: string, options?: HandleOptions): AnyHandle {
  return useHandle('useContextdHandle', id, options)
}

/**
 * The handle of a context, stable while the id is, and the same for all components; having it opens nothing, writing does.
 * `initial` is what an absent context reads as, and counts for everybody who reads this id; give it where the id is named first.
 * @throws {TypeError} there is no provider, or the id is malformed
 */
export const useContextdHandle = useAnyContextdHandle as unknown as Registered['useContextdHandle']
