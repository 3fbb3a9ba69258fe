import { setTimeout as pause } from 'node:timers/promises'
import { ContextdError, isErrorCode } from '@contextd/protocol'
import type { ContextInfo, Delta, JsonObject, Snapshot, SyncAnswer } from '@contextd/protocol'
import { readEvents } from './server-events.ts'
import type { Conditions, Exported, Target, Written } from './target.ts'

/** How often a request is sent again that the server did not take. */
const mostTries = 5
/** Longest pauses, ms. */
const longestWaitMs = 10_000
const longestBackOffMs = 5_000
const firstBackOffMs = 250

interface Asked {
  readonly headers?: { readonly [name: string]: string }
  readonly type?: string
  readonly body?: unknown
  readonly signal?: AbortSignal
}

/** The contexts of a server, over its HTTP API. */
export class UrlTarget implements Target {
  readonly #base: string
  readonly #origin: string
  readonly #token: string | undefined

  constructor(url: string, token: string | undefined) {
    this.#origin = new URL(url).origin
    this.#base = `${url.replace(/\/+$/, '')}/v1`
    this.#token = token
  }

  async get(id: string): Promise<Snapshot | null> {
    return this.#orNull(this.#json<Snapshot>('GET', at(id)))
  }

  at(id: string, version: number): Promise<Snapshot> {
    return this.#json('GET', `${at(id)}/versions/${version}`)
  }

  set(id: string, state: JsonObject, conditions: Conditions): Promise<Written> {
    return this.#json('PUT', at(id) + queryOf({ ...conditions }), { body: state })
  }

  update(id: string, patch: JsonObject, conditions: Conditions): Promise<Written> {
    return this.#json('PATCH', at(id) + queryOf({ ...conditions }), { body: patch, type: 'application/merge-patch+json' })
  }

  async delete(id: string, conditions: Conditions): Promise<void> {
    await this.#ask('DELETE', at(id) + queryOf({ ...conditions }))
  }

  async list(options: { prefix: string; limit: number; offset: number; order: 'asc' | 'desc' }): Promise<ContextInfo[]> {
    return (await this.#json<{ contexts: ContextInfo[] }>('GET', `/contexts${queryOf(options)}`)).contexts
  }

  async history(id: string, limit: number): Promise<Delta[]> {
    return (await this.#json<{ deltas: Delta[] }>('GET', `${at(id)}/history${queryOf({ limit })}`)).deltas
  }

  export(id: string): Promise<Exported | null> {
    return this.#orNull(this.#json<Exported>('GET', `${at(id)}/export`))
  }

  restore(id: string, exported?: Exported): Promise<Snapshot> {
    return this.#json('POST', `${at(id)}/restore`, exported === undefined ? {} : { body: exported })
  }

  cleanup(limit: number | undefined): Promise<{ contexts: number; deltas: number }> {
    return this.#json('POST', `/cleanup${queryOf({ limit })}`)
  }

  async *watch(id: string, signal: AbortSignal, told: (message: string) => void): AsyncGenerator<SyncAnswer> {
    let last = ''
    for (let failures = 0; ;) {
      let wait = Math.min(longestBackOffMs, firstBackOffMs * 2 ** failures)
      try {
        const headers = { accept: 'text/event-stream', ...(last !== '' && { 'last-event-id': last }) }
        const response = await this.#ask('GET', `${at(id)}/events`, { headers, signal })
        if (failures > 0) told(`connected to ${this.#origin} again`)
        failures = 0
        wait = firstBackOffMs
        for await (const event of readEvents(response.body!)) {
          if (event.retry !== undefined) wait = Number(event.retry)
          if (event.event === 'error') return
          if (event.id !== undefined) last = event.id
          const answer = event.data === undefined ? null : (JSON.parse(event.data) as SyncAnswer)
          if (answer !== null && answer.type !== 'no_change') yield answer
        }
      } catch (error) {
        if (signal.aborted) return
        const { code, message, retryable } = error as ContextdError
        // It was there before: it is deleted.
        if (code === 'not_found' && last !== '') return
        if (last === '' || (error instanceof ContextdError && !retryable)) throw error
        if (failures === 0) told(`${message} Trying again.`)
        failures += 1
      }
      if (signal.aborted) return
      await pause(wait, undefined, { signal }).catch(() => {})
    }
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  async #orNull<T>(answer: Promise<T>): Promise<T | null> {
    try {
      return await answer
    } catch (error) {
      if (error instanceof ContextdError && error.code === 'not_found') return null
      throw error
    }
  }

  async #json<T>(method: string, path: string, asked: Asked = {}): Promise<T> {
    const response = await this.#ask(method, path, asked)
    try {
      return (await response.json()) as T
    } catch (cause) {
      throw new ContextdError('internal', `What ${this.#origin} answered is no JSON, or broke off.`, { cause })
    }
  }

  /** Sends a request; again, when the server says that it has not taken it. @throws {ContextdError} what it answered · `offline` */
  async #ask(method: string, path: string, asked: Asked = {}): Promise<Response> {
    for (let tries = 1; ; tries += 1) {
      const response = await this.#fetch(method, path, asked)
      if (response.ok) return response
      const again = response.status === 429 || response.status === 503
      if (!again || tries === mostTries || asked.signal !== undefined) throw await this.#errorOf(response)
      await response.body?.cancel()
      await pause(Math.min(longestWaitMs, 1_000 * (Number(response.headers.get('retry-after')) || 1)))
    }
  }

  async #fetch(method: string, path: string, { headers, type = 'application/json', body, signal }: Asked): Promise<Response> {
    try {
      return await fetch(this.#base + path, {
        method,
        headers: {
          ...(this.#token !== undefined && { authorization: `Bearer ${this.#token}` }),
          ...(body !== undefined && { 'content-type': type }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        ...(signal !== undefined && { signal }),
      })
    } catch (cause) {
      if (signal?.aborted) throw cause
      throw new ContextdError(
        'offline',
        `No server answers at ${this.#origin}. Start one with contextd, or name another with --url or a store with --store.`,
        { cause },
      )
    }
  }

  async #errorOf(response: Response): Promise<ContextdError> {
    const problem = (await response.json().catch(() => null)) as {
      code?: unknown
      detail?: unknown
      details?: object
      contextId?: string
    } | null
    if (problem !== null && isErrorCode(problem.code) && typeof problem.detail === 'string') {
      const { code, detail, details, contextId } = problem
      return new ContextdError(code, detail, { ...(details !== undefined && { details }), ...(contextId !== undefined && { contextId }) })
    }
    return new ContextdError('internal', `${this.#origin} answered ${response.status}, and not as contextd does. Is --url right?`)
  }
}

const at = (id: string): string => `/contexts/${encodeURIComponent(id)}`

function queryOf(values: { readonly [name: string]: string | number | undefined }): string {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== '')
  return given.length === 0
    ? ''
    : `?${new URLSearchParams(given.map(([name, value]): [string, string] => [name, String(value)])).toString()}`
}
