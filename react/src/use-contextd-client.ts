import type { RegisteredContexts } from '@contextd/client'
import type { ContextdHooks } from './contextd-hooks.ts'
import { useClient } from './provider.ts'

type Registered = ContextdHooks<RegisteredContexts>

/** The provider's client: `pending`, `rejected`, `connect`, `disconnect`, … @throws {TypeError} there is no provider */
export const useContextdClient = (() => useClient('useContextdClient')) as Registered['useContextdClient']
