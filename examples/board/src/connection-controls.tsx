import type { ConnectionState } from '@contextd/client'
import { useState } from 'react'
import type { ReactNode } from 'react'
import { useConnection, useContextdClient } from './board.ts'
import { CheckIcon, CloudIcon } from './icons.tsx'
import { useSource } from './use-source.ts'

const words: Record<ConnectionState['name'], string> = {
  idle: 'idle',
  connecting: 'connecting',
  connected: 'connected',
  reconnecting: 'reconnecting',
  offline: 'offline',
  'needs-auth': 'signed out',
  'update-required': 'reload the page',
  closed: 'closed',
}

/** State of the connection, number of unsaved changes, and a switch that goes offline on purpose. */
export function ConnectionControls(): ReactNode {
  const client = useContextdClient()
  const { name } = useConnection()
  const pending = useSource(client.pending)
  const [offline, setOffline] = useState(false)
  const toggle = (): void => {
    setOffline(!offline)
    if (offline) client.connect()
    else client.disconnect()
  }
  return (
    <div className="connection" role="group" aria-label="Connection">
      <span className="state" role="status" data-testid="connection" data-state={name}>
        <span className="dot" /> <span className="state-name">{offline ? 'offline' : words[name]}</span>
      </span>
      <span className="saved" data-testid="unsaved" data-count={pending}>
        {pending === 0 ? (
          <>
            <CheckIcon /> All saved
          </>
        ) : (
          <>
            <CloudIcon /> {pending} unsaved
          </>
        )}
      </span>
      <button type="button" className="switch" role="switch" aria-checked={offline} data-testid="offline-toggle" onClick={toggle}>
        <span className="track" /> Work offline
      </button>
    </div>
  )
}
