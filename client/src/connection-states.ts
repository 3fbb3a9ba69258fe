import type { ContextdError } from '@contextd/protocol'

/** State of the connection. */
export type ConnectionState =
  | { name: 'idle' }
  | { name: 'connecting'; attempt: number }
  | { name: 'connected'; role: 'solo' | 'leader' | 'follower' }
  /** `nextAttemptAt`: ms since the epoch. */
  | { name: 'reconnecting'; attempt: number; nextAttemptAt: number }
  | { name: 'offline' }
  | { name: 'needs-auth'; error: ContextdError }
  | { name: 'update-required'; error: ContextdError }
  | { name: 'closed' }
export type ConnectionName = ConnectionState['name']

/** What moves a connection from state to state. */
export type ConnectionSignal =
  /** Something is to be sent or watched. */
  | 'needed'
  /** The application says so: also after `needs-auth` and `update-required`. */
  | 'connect'
  | 'disconnect'
  /** It is time for the next attempt. */
  | 'due'
  | 'opened'
  /** An attempt failed, or the connection was lost. */
  | 'lost'
  /** The same, where there is no network. */
  | 'lost_offline'
  | 'unauthenticated'
  | 'outdated'
  /** The browser says that there is a network, or none. */
  | 'online'
  | 'offline'
  | 'destroy'

type Row = { readonly [S in ConnectionSignal]: ConnectionName }
const row = (self: ConnectionName, moves: Partial<Row>): Row => ({
  needed: self,
  connect: self,
  disconnect: 'idle',
  due: self,
  opened: self,
  lost: self,
  lost_offline: self,
  unauthenticated: self,
  outdated: self,
  online: self,
  offline: self,
  destroy: 'closed',
  ...moves,
})
const trying: Partial<Row> = {
  opened: 'connected',
  lost: 'reconnecting',
  lost_offline: 'offline',
  unauthenticated: 'needs-auth',
  outdated: 'update-required',
  offline: 'offline',
}

/** Where each signal leads from each state. */
export const transitions: { readonly [N in ConnectionName]: Row } = {
  idle: row('idle', { needed: 'connecting', connect: 'connecting' }),
  connecting: row('connecting', trying),
  connected: row('connected', { ...trying, opened: 'connected' }),
  reconnecting: row('reconnecting', { connect: 'connecting', due: 'connecting', online: 'connecting', offline: 'offline' }),
  offline: row('offline', { connect: 'connecting', due: 'connecting', online: 'connecting' }),
  'needs-auth': row('needs-auth', { connect: 'connecting' }),
  'update-required': row('update-required', { connect: 'connecting' }),
  closed: row('closed', { disconnect: 'closed' }),
}
