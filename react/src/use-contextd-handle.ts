import type { RegisteredContexts } from '@contextd/client'
import { useEffect, useMemo } from 'react'
import { contextStore } from './context-store.ts'
import type { AnyHandle, ContextStore, HandleOptions } from './context-store.ts'
import type { ContextdHooks } from './contextd-hooks.ts'
import { useClient } from './provider.ts'

type Registered = ContextdHooks<RegisteredContexts>

/** The handle of a context, kept as long as the component is mounted; `hook` says who asks. */
export function useHandle(hook: string, id: string, options?: HandleOptions): AnyHandle {
  const client = useClient(hook)
  // Options count once: an object written inline must not make another handle at every render.
  // oxlint-disable-next-line react-hooks/exhaustive-deps
  const [store, handle] = useMemo(() => storeAndHandle(contextStore(client, id, options), options), [client, id])
  useEffect(() => {
    store.settle()
    return store.hold()
  }, [store])
  return handle
}

function storeAndHandle(store: ContextStore, options: HandleOptions | undefined): [ContextStore, AnyHandle] {
  return [store, store.handle(options)]
}

function useAnyContextdHandle(id: string, options?: HandleOptions): AnyHandle {
  return useHandle('useContextdHandle', id, options)
}

/**
 * The handle of a context, stable while the id is; having it opens nothing, writing does.
 * `initial` is what an absent context reads as, for everybody who reads this id; what is given first counts.
 * @throws {TypeError} there is no provider, or the id is malformed
 */
export const useContextdHandle = useAnyContextdHandle as unknown as Registered['useContextdHandle']
