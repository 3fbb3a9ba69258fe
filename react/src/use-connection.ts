import type { ConnectionState } from '@contextd/client'
import { useStore } from 'zustand/react'
import { useClient } from './provider.ts'

/** State of the client's connection. @throws {TypeError} there is no provider */
export function useConnection(): ConnectionState {
  return useStore(useClient('useConnection').connection)
}
