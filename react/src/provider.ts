import type { BaseClient } from '@contextd/client'
import { createContext, createElement, useContext } from 'react'
import type { ReactNode } from 'react'

const ClientContext = createContext<BaseClient | null>(null)

/** Gives the client to the hooks below it. @throws {TypeError} `client` is not one */
export function ContextdProvider({ client, children }: { client: BaseClient; children?: ReactNode }): ReactNode {
  if (typeof (client as { context?: unknown } | undefined)?.context !== 'function') {
    throw new TypeError('ContextdProvider: `client` is not a client. Give it what createClient({ url }) returned.')
  }
  return createElement(ClientContext.Provider, { value: client }, children)
}

/** The client of the provider above. @throws {TypeError} there is none; `hook` says who asks */
export function useClient(hook: string): BaseClient {
  const client = useContext(ClientContext)
  if (!client)
    throw new TypeError(`${hook}: there is no client. Render this component below <ContextdProvider client={createClient({ url })}>.`)
  return client
}
