import type { MaterializedKeys } from '../backends/backend.ts'
import type { FetchRun, Materialize } from './source-types.ts'

/** Options, checked. */
export interface SourceSettings {
  readonly contextId: string
  readonly fetch: (params: unknown, run: FetchRun) => unknown
  readonly params: unknown
  readonly refreshIntervalMs: number
  readonly timeoutMs: number
  readonly materialize: readonly Materialize[]
}

const names = ['contextId', 'fetch', 'refreshIntervalMs', 'timeoutMs', 'params', 'materialize']
const types = ['list', 'hash', 'set', 'string']
/** Longest that a timer of Node counts, ms. */
const longestTimer = 2_147_483_647
/** Longest that a fetch may take when nothing is said, unless the interval is longer, ms. */
const defaultTimeoutMs = 60_000
/** Most bytes of a key. */
const keyBytes = 1_024

/** @throws {TypeError} an option is malformed, or unknown */
export function checkSource(options: unknown, materialized: MaterializedKeys | undefined): SourceSettings {
  if (typeof options !== 'object' || options === null) throw wrong('takes an object: { contextId, fetch, refreshIntervalMs, … }')
  for (const name of Object.keys(options)) if (!names.includes(name)) throw wrong(`has no option ${name}; it has ${names.join(', ')}`)
  const { contextId, fetch, params, materialize = [], ...times } = options as { readonly [name: string]: unknown }
  if (typeof fetch !== 'function') throw wrong('needs fetch, a function (params) => data')
  const refreshIntervalMs = checkTime('refreshIntervalMs', times['refreshIntervalMs'])
  const timeoutMs = checkTime('timeoutMs', times['timeoutMs'] ?? Math.max(defaultTimeoutMs, refreshIntervalMs))
  if (!Array.isArray(materialize)) throw wrong("takes materialize as a list: [{ key: 'users', type: 'hash', idProp: 'id' }]")
  const targets = materialize.map((target: unknown, index) => checkTarget(target, `materialize[${index}]`))
  if (targets.length > 0) checkTogether(targets, materialized)
  return {
    contextId: contextId as string,
    fetch: fetch as SourceSettings['fetch'],
    params,
    refreshIntervalMs,
    timeoutMs,
    materialize: targets,
  }
}

function checkTime(name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 1 && value <= longestTimer) return value
  throw wrong(`needs ${name}, a whole number of milliseconds from 1 to ${longestTimer}`)
}

function checkTarget(target: unknown, at: string): Materialize {
  if (typeof target !== 'object' || target === null) throw wrong(`takes ${at} as an object: { key, type, idProp }`)
  const { key, type, idProp, ...others } = target as { readonly [name: string]: unknown }
  const [other] = Object.keys(others)
  if (other !== undefined) throw wrong(`has no option ${other} in ${at}; it has key, type, idProp`)
  if (typeof key !== 'string' || key === '' || Buffer.byteLength(key) > keyBytes)
    throw wrong(`needs ${at}.key, a text of 1 to ${keyBytes} bytes`)
  if (typeof type !== 'string' || !types.includes(type)) throw wrong(`needs ${at}.type, one of ${types.join(', ')}`)
  if (idProp !== undefined && (typeof idProp !== 'string' || idProp === ''))
    throw wrong(`takes ${at}.idProp as the name of a property of each item`)
  if (type === 'hash' && idProp === undefined) throw wrong(`needs ${at}.idProp, the property of an item that is its field of the hash`)
  return target as Materialize
}

function checkTogether(targets: readonly Materialize[], materialized: MaterializedKeys | undefined): void {
  if (materialized === undefined) throw wrong('takes materialize only where the store has keys for other programs, which is Redis')
  const keys = targets.map(({ key }) => key)
  const twice = keys.find((key, index) => keys.indexOf(key) !== index)
  if (twice !== undefined) throw wrong(`takes each key of materialize once; ${JSON.stringify(twice)} is there twice`)
  for (const key of keys) {
    const refusal = materialized.refusal(key)
    if (refusal !== null) throw wrong(`cannot keep a copy in ${JSON.stringify(key)}: ${refusal}`)
  }
  const refusal = materialized.refusalTogether(keys)
  if (refusal !== null) throw wrong(`cannot put these keys in place together: ${refusal}`)
}

const wrong = (what: string): TypeError => new TypeError(`addSource ${what}`)
