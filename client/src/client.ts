import { ContextdError, decode, isContextId, listSchema } from '@contextd/protocol'
import type { ContextDefinition, ContextInfo, InferContexts, JsonObject } from '@contextd/protocol'
import { checkOptions, definitionFinder } from './client-options.ts'
import type { Client, ClientOptions, RegisteredContexts } from './client-types.ts'
import { Connection } from './connection.ts'
import { createHandle } from './context-handle.ts'
import { Rejected } from './rejected.ts'
import { Session } from './session.ts'
import type { Source } from './source.ts'
import { callSafely } from './timers.ts'
import { takeValue } from './values.ts'
import type { Write } from './write.ts'
import type { Plan } from './writer.ts'

/** Creates a client; it connects at the first need. With `contexts` their types are the client's. @throws {TypeError} an option is malformed */
export function createClient<const D extends readonly ContextDefinition[]>(
  options: ClientOptions & { contexts: D },
): Client<InferContexts<D>>
export function createClient<C = RegisteredContexts>(options: ClientOptions & { contexts?: readonly ContextDefinition[] }): Client<C>
export function createClient(options: ClientOptions & { contexts?: readonly ContextDefinition[] }): Client<object> {
  const { contexts, onError: tell, ...connecting } = checkOptions(options)
  const onError = (error: ContextdError): void => callSafely(tell, error)
  const definitionOf = definitionFinder(contexts)
  const rejected = new Rejected()
  const connection = new Connection({ ...connecting, onError })
  const session = new Session(connection, {
    itemKeyOf: (contextId) => definitionOf(contextId)?.itemKey ?? 'id',
    refused: (contextId, refusal) => {
      // What was never computed cannot be offered again as it is.
      if (refusal.error.code !== 'aborted') rejected.add(contextId, refusal)
      onError(refusal.error)
    },
    failed: onError,
  })
  let destroyed: ContextdError | null = null

  const context = (id: string, given: unknown = {}): unknown => {
    const { initial } = checkContextOptions(given)
    if (!isContextId(id))
      throw new TypeError(
        `malformed context id ${JSON.stringify(id)}: 1 to 128 of A-Z a-z 0-9 . _ : - @ + ~, the first a letter or a digit`,
      )
    const defined = initial ?? initialOf(definitionOf(id), id)
    const taken = defined === undefined ? undefined : (takeValue(defined, { name: 'initial' }) as JsonObject)
    if (taken) session.offerInitial(id, taken)
    return createHandle(session, id, taken)
  }

  const list = async (asked: { prefix?: string; limit?: number } = {}): Promise<ContextInfo[]> => {
    const query = checkListQuery(asked)
    if (destroyed) throw destroyed
    connection.need()
    await connected(connection.state)
    return session.list(query)
  }

  const client = {
    connection: connection.state,
    connect: () => {
      if (!destroyed) connection.connect()
    },
    disconnect: () => connection.disconnect(),
    pending: session.pending,
    rejected: rejected.list,
    context,
    retry: (id: string): Write => {
      const again = rejected.take(id)
      if (!again) throw new TypeError(`there is no rejected write ${JSON.stringify(id)}`)
      return session.open(again.contextId).submit(again.plan as Plan<void>)
    },
    discard: (id: string) => void rejected.take(id),
    list,
    prefetch: async (id: string): Promise<void> => {
      const handle = context(id) as ReturnType<typeof createHandle>
      await handle.ready()
      handle.leave()
    },
    flush: (timeoutMs?: number) => drained(session.pending, timeoutMs),
    destroy: async (): Promise<void> => {
      if (destroyed) return
      destroyed = new ContextdError('closed', 'The client was destroyed.')
      session.close(destroyed)
      connection.destroy()
    },
  }
  return client as unknown as Client<object>
}

function checkContextOptions(options: unknown): { readonly initial?: unknown } {
  if (typeof options !== 'object' || options === null) throw new TypeError('client.context takes an object of options')
  for (const name of Object.keys(options)) if (name !== 'initial') throw new TypeError(`client.context: unknown option "${name}"`)
  const { initial } = options as { readonly initial?: unknown }
  if (initial !== undefined && (typeof initial !== 'object' || initial === null || Array.isArray(initial))) {
    throw new TypeError('client.context: initial is the state of an absent context, an object')
  }
  return { initial }
}

/** What the server could not read would cost the connection. */
function checkListQuery(query: unknown): { prefix?: string; limit?: number } {
  try {
    return decode(listSchema, query)
  } catch (cause) {
    throw new TypeError('client.list takes a prefix (at most 256 characters) and a limit (1 to 1,000)', { cause })
  }
}

function initialOf(definition: ContextDefinition | undefined, id: string): unknown {
  const initial: unknown = definition?.initial
  return typeof initial === 'function' ? (initial as (contextId: string) => unknown)(id) : initial
}

/** Waits until there is a connection, if one is being made. */
function connected(state: Connection['state']): Promise<void> {
  return new Promise((resolve, reject) => {
    const check = (): boolean => {
      const now = state.get()
      if (now.name === 'connected') resolve()
      else if (now.name === 'needs-auth' || now.name === 'update-required') reject(now.error)
      else if (now.name !== 'connecting') reject(new ContextdError('offline', 'There is no connection to the server.'))
      else return false
      return true
    }
    if (check()) return
    const end = state.subscribe(() => {
      if (check()) end()
    })
  })
}

function drained(pending: Source<number>, timeoutMs: number | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (pending.get() === 0) return resolve()
    const timer =
      timeoutMs === undefined
        ? null
        : setTimeout(() => {
            end()
            reject(new ContextdError('timeout', `Writes are still pending after ${timeoutMs} ms. They are sent all the same.`))
          }, timeoutMs)
    const end = pending.subscribe((count) => {
      if (count > 0) return
      if (timer !== null) clearTimeout(timer)
      end()
      resolve()
    })
  })
}
