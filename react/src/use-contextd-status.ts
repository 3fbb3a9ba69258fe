import type { ContextStatus, RegisteredContexts } from '@contextd/client'
import { useMemo } from 'react'
import { useStore } from 'zustand/react'
import { contextStore } from './context-store.ts'
import type { ContextdHooks } from './contextd-hooks.ts'
import { useClient } from './provider.ts'

function useAnyContextdStatus(id: string): ContextStatus {
  const client = useClient('useContextdStatus')
  const store = useMemo(() => contextStore(client, id), [client, id])
  return useStore(store.status)
}

/**
 * How a context stands: its phase, version, number of pending writes, access, error. Opens the context.
 * @throws {TypeError} there is no provider, or the id is malformed
 */
export const useContextdStatus: ContextdHooks<RegisteredContexts>['useContextdStatus'] = useAnyContextdStatus
