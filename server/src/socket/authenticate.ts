import { ContextdError, isContextdError, oldestWireVersion } from '@contextd/protocol'
import type { WireError } from '@contextd/protocol'
import type { Socket } from 'socket.io'
import type { Handshake, User } from '../authorize.ts'
import { wireError } from './errors.ts'

/** The hook that finds out who it is. */
export type Authenticate = (handshake: Handshake) => User | null | Promise<User | null>

/** What is asked of a hook's answer. */
interface Watch {
  now(): number
  /** Told what a hook threw that was no refusal. */
  failed(error: unknown): void
}

/** Lets a socket in: its wire version is still spoken, and the application knows its user. @throws {ContextdError} why not */
export async function authenticated(socket: Socket, authenticate: Authenticate | undefined, watch: Watch): Promise<User | null> {
  const { auth, headers, query, address } = socket.handshake
  const wire: unknown = auth['wire']
  if (!Number.isSafeInteger(wire) || (wire as number) < oldestWireVersion) {
    throw new ContextdError('update_required', `This server speaks wire version ${oldestWireVersion} and newer. Update the client.`)
  }
  if (authenticate === undefined) return null
  return recognised(authenticate, { auth, headers, query, address, transport: 'socket' }, watch)
}

/** Asks the hook who it is. @throws {ContextdError} `unauthenticated` – it does not know · what it says itself */
export async function recognised(authenticate: Authenticate, handshake: Handshake, watch: Watch): Promise<User> {
  const user = await asked(authenticate, handshake, watch)
  if (user === null || user === undefined) throw unauthenticated()
  if (typeof user !== 'object' || typeof user.id !== 'string' || user.id === '' || user.id.length > 256) {
    watch.failed(new TypeError('authenticate must give a user with an id of 1 to 256 characters, or null'))
    throw unauthenticated()
  }
  if (user.expiresAt !== undefined && !(user.expiresAt > watch.now())) throw unauthenticated()
  return user
}

/** A hook that throws did not recognise the caller, unless it says by a `ContextdError` what else is the matter. */
async function asked(authenticate: Authenticate, handshake: Handshake, watch: Watch): Promise<User | null> {
  try {
    return await authenticate(handshake)
  } catch (error) {
    if (isContextdError(error)) throw error
    watch.failed(error)
    throw unauthenticated()
  }
}

const unauthenticated = (): ContextdError =>
  new ContextdError('unauthenticated', 'The server does not know who this is. Sign in, and try again.')

/** An error as Socket.IO hands it to the client's `connect_error`: with the coded one as `data`. */
export function connectError(error: unknown): Error & { readonly data: WireError } {
  const data = wireError(error)
  return Object.assign(new Error(data.message), { data })
}
