import type { RedisOptions } from 'ioredis'
import { reasonOf } from './errors.ts'
import { slotCount } from './slots.ts'

/** Where a server listens. */
export interface Address {
  readonly host: string
  readonly port: number
}

/** Address of a node as the Cluster tells it (`10.0.0.1:7000`), and where it is reached from here. */
export type NatMap = { readonly [told: string]: Address } | ((told: string) => Address | null)

/** Where servers are looked for. */
export interface ServersOptions {
  readonly connection: RedisOptions
  /** Any nodes of a Cluster, to begin with; none: the server that `connection` names. */
  readonly seeds: readonly Address[]
  /** Where nodes of a Cluster are reached from here. */
  readonly natMap: NatMap | undefined
}

/** One text for an address. */
export const nameOf = ({ host, port }: Address): string => `${host.includes(':') ? `[${host}]` : host}:${port}`

/** The address of which {@link nameOf} has made a text. */
export function addressNamed(name: string): Address {
  const colon = name.lastIndexOf(':')
  return { host: name.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(name.slice(colon + 1)) }
}

/** Where a node is reached from here that the Cluster tells by an address. */
export function reached(told: Address, natMap: NatMap | undefined): Address {
  const name = `${told.host}:${told.port}`
  return (typeof natMap === 'function' ? natMap(name) : natMap?.[name]) ?? told
}

/** Who owns each slot. */
export type SlotOwners = readonly (Address | undefined)[]

/**
 * Reads the reply of `CLUSTER SLOTS`.
 * @param asked the node that replied: it is meant where it names no host
 */
export function ownersOf(reply: unknown, asked: Address, natMap: NatMap | undefined): SlotOwners {
  const owners: (Address | undefined)[] = Array.from({ length: slotCount })
  for (const [from, to, [host, port]] of reply as readonly [number, number, [string | null, number]][]) {
    owners.fill(reached({ host: host || asked.host, port }, natMap), from, to + 1)
  }
  return owners
}

/** What a node says of a command that it has not begun: its slot is elsewhere, this time (`ask`) or from now on (`moved`), or on its way (`wait`). */
export type Redirection = { readonly type: 'moved' | 'ask'; readonly slot: number; readonly to: Address } | { readonly type: 'wait' }

/**
 * Reads an error as a redirection; null: it is none.
 * @param asked the node that replied: it is meant where no host is named
 */
export function redirectionOf(error: unknown, asked: Address, natMap: NatMap | undefined): Redirection | null {
  const reason = reasonOf(error)
  if (reason === 'TRYAGAIN') return { type: 'wait' }
  if (reason !== 'MOVED' && reason !== 'ASK') return null
  const found = /^[A-Z]+ (\d+) (\S*):(\d+)$/.exec((error as Error).message)
  if (!found || Number(found[1]) >= slotCount) return null
  const to = reached({ host: found[2] || asked.host, port: Number(found[3]) }, natMap)
  return { type: reason === 'MOVED' ? 'moved' : 'ask', slot: Number(found[1]), to }
}
