import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import type { Counts } from './counters.ts'

/** Whom a server lets connect. */
export interface AdmissionOptions {
  /** Origins of browsers that may connect, besides the server's own. */
  readonly origins: readonly string[]
  /** Sockets of one address; 0: any. */
  readonly socketsPerAddress: number
  /** Whether users are authenticated. */
  readonly authenticated: boolean
  /** Whether anybody may connect from anywhere without being authenticated. */
  readonly anonymous: boolean
  readonly counts: Counts
}

/** Decides at the door, for all transports: origin, address, and whether the server takes anybody at all. */
export class Admission {
  readonly #options: AdmissionOptions
  readonly #origins: ReadonlySet<string>
  readonly #addresses = new Map<string, number>()
  /** The server is closing. */
  closing = false

  constructor(options: AdmissionOptions) {
    this.#options = options
    this.#origins = new Set(options.origins)
  }

  /** Why a request may not connect; null: it may. */
  refusal(request: IncomingMessage): string | null {
    if (this.closing) return 'the server is closing'
    const { authenticated, anonymous, counts } = this.#options
    if (!authenticated && !anonymous && !isLoopback(request.socket.localAddress ?? '')) {
      return 'without authentication only the loopback address is served; set authenticate, or anonymous'
    }
    if (!this.#isAllowedOrigin(request)) {
      counts.refusedOrigins += 1
      return 'the origin is not allowed; add it to cors.origin'
    }
    if (this.#isFull(request.socket.remoteAddress ?? '')) {
      counts.refusedAddresses += 1
      return 'too many connections from this address (socketsPerAddress)'
    }
    return null
  }

  /** Counts a connection. @returns false: it is one too many, and not counted */
  enter(address: string): boolean {
    if (this.#isFull(address)) return false
    this.#addresses.set(address, (this.#addresses.get(address) ?? 0) + 1)
    return true
  }

  /** A connection that was counted is gone. */
  exit(address: string): void {
    const left = (this.#addresses.get(address) ?? 1) - 1
    if (left > 0) this.#addresses.set(address, left)
    else this.#addresses.delete(address)
  }

  #isFull(address: string): boolean {
    const { socketsPerAddress } = this.#options
    return socketsPerAddress > 0 && (this.#addresses.get(address) ?? 0) >= socketsPerAddress
  }

  /** Absent: no browser. Its own: the host that the request was sent to. Else it must be listed, letter by letter. */
  #isAllowedOrigin({ headers, socket }: IncomingMessage): boolean {
    const { origin, host } = headers
    if (origin === undefined || this.#origins.has(origin)) return true
    const own = /^https?:\/\/([^/?#@\\]+)$/.exec(origin)?.[1]
    if (own === undefined || own !== host) return false
    // A name that somebody else lets point here would be "own" too: where nobody is authenticated, only names of the loopback are.
    return this.#options.authenticated || !isLoopback(socket.localAddress ?? '') || isLoopback(hostnameOf(own))
  }
}

/** A host without its port; IPv6 addresses without brackets. */
export const hostnameOf = (host: string): string => host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')

/** Whether an address, or `localhost`, is this machine's own. */
export function isLoopback(host: string): boolean {
  const address = host.replace(/^::ffff:/i, '')
  return address === 'localhost' || address === '::1' || (isIP(address) === 4 && address.startsWith('127.'))
}
