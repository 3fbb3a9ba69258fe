import { ContextdError, assertJson, authorSchema, decode, deepestNesting } from '@contextd/protocol'
import type { Author, JsonObject, JsonValue, Limits } from '@contextd/protocol'
import type { StoredStream } from '../backends/backend.ts'
import { copyJson, takeState } from '../json-copy.ts'
import { serverAuthor } from '../commits/known-context.ts'
import { decodeStreams } from './streams.ts'

/** What an archive gave back, checked. */
export interface CheckedContext {
  readonly version: number
  readonly state: JsonObject
  /** The state as JSON. */
  readonly snapshot: string
  /** Null: the context starts a new life. */
  readonly incarnation: string | null
  readonly streams: readonly StoredStream[]
  readonly schema: number
  readonly createdAt: number
  readonly updatedAt: number
  readonly updatedBy: Author
}

/** Longest incarnation. */
const longestToken = 64
/** Versions from here on leave no room for commits. */
const highestVersion = Number.MAX_SAFE_INTEGER / 2

/**
 * Looks through what an archive gave back: it may be anything.
 * @param now takes the place of times that are not there, or not yet
 * @throws {ContextdError} `invalid_state` – it is damaged · `too_large`
 */
export function checkArchived(
  contextId: string,
  archived: unknown,
  limits: Pick<Limits, 'depth' | 'operations' | 'stateBytes'>,
  now: number,
): CheckedContext {
  const given = fieldsOf(contextId, archived)
  const { version, incarnation, createdAt, updatedAt, updatedBy } = given
  if (given['contextId'] !== undefined && given['contextId'] !== contextId) throw damaged(contextId, 'it is of another context')
  if (!isWhole(version) || version < 1 || version > highestVersion) throw damaged(contextId, 'version must be a whole number of at least 1')
  if (incarnation !== undefined && !isToken(incarnation)) throw damaged(contextId, 'incarnation must be a token')
  if (createdAt !== undefined && !isWhole(createdAt)) throw damaged(contextId, 'createdAt must be a time')
  if (updatedAt !== undefined && !isWhole(updatedAt)) throw damaged(contextId, 'updatedAt must be a time')
  const state = stateOf(contextId, given['state'], limits)
  const snapshot = JSON.stringify(state)
  const size = Buffer.byteLength(snapshot)
  if (limits.stateBytes > 0 && size > limits.stateBytes) {
    throw new ContextdError(
      'too_large',
      `What the archive has of ${contextId} has ${size} bytes; the limit is ${limits.stateBytes} (stateBytes).`,
      {
        contextId,
      },
    )
  }
  const { streams, schema } = streamsOf(contextId, given['streams'], now)
  const changed = Math.min(updatedAt ?? now, now)
  return {
    version,
    state,
    snapshot,
    incarnation: incarnation === undefined || given['streams'] === undefined ? null : incarnation,
    streams,
    schema,
    createdAt: Math.min(createdAt ?? changed, changed),
    updatedAt: changed,
    updatedBy: updatedBy === undefined ? serverAuthor : authorOf(contextId, updatedBy),
  }
}

/** Read once, so that what is checked is what is stored. */
function fieldsOf(contextId: string, archived: unknown): { readonly [field: string]: unknown } {
  if (typeof archived !== 'object' || archived === null) throw damaged(contextId, 'it is no object')
  try {
    return { ...archived }
  } catch (error) {
    throw damaged(contextId, 'it cannot be read', error)
  }
}

const isWhole = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const isToken = (value: unknown): value is string => typeof value === 'string' && value !== '' && value.length <= longestToken

function stateOf(contextId: string, state: unknown, limits: Pick<Limits, 'depth' | 'operations'>): JsonObject {
  try {
    return takeState(state, limits)[0].value
  } catch (error) {
    throw damaged(contextId, error instanceof Error ? error.message : 'the state is no JSON', error)
  }
}

function streamsOf(contextId: string, given: unknown, now: number): { streams: StoredStream[]; schema: number } {
  if (given === undefined) return { streams: [], schema: 0 }
  try {
    const streams = copyJson(given) as JsonValue
    assertJson(streams, ['streams'], deepestNesting)
    const { records, schema } = decodeStreams(streams)
    // One from the future would never be forgotten.
    return { streams: records.map((record) => ({ ...record, usedAt: Math.min(record.usedAt, now) })), schema }
  } catch (error) {
    throw damaged(contextId, error instanceof Error ? error.message : 'streams', error)
  }
}

function authorOf(contextId: string, author: unknown): Author {
  try {
    return decode(authorSchema, author)
  } catch (error) {
    throw damaged(contextId, 'updatedBy must be an author: { userId, actor }', error)
  }
}

function damaged(contextId: string, why: string, cause?: unknown): ContextdError {
  return new ContextdError('invalid_state', `What the archive has of ${contextId} is damaged: ${why}.`, { contextId, cause })
}
