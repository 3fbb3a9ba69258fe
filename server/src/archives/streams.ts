import { DecodeError, decode, recordSchema } from '@contextd/protocol'
import type { JsonValue, StreamRecord } from '@contextd/protocol'
import type { StoredStream } from '../backends/backend.ts'

/** What travels with an exported state so that it can go on as it was. */
export interface ArchivedStreams {
  /** Version of the definition that the state is of; 0: none was declared. */
  readonly schema: number
  readonly records: readonly StoredStream[]
}

/** Longest key of a stream's record. */
const longestKey = 128

/** Writes records down for an archive: `{ schema, records: [[key, last use, epoch, last number, verdicts], …] }`, opaque to it. */
export function encodeStreams({ schema, records }: ArchivedStreams): JsonValue {
  return {
    schema,
    records: records.map(({ key, usedAt, epoch, last, verdicts }) => [key, usedAt, epoch, last, verdicts as unknown as JsonValue]),
  }
}

/** Reads what {@link encodeStreams} wrote. @throws {DecodeError} it is something else */
export function decodeStreams(streams: JsonValue): ArchivedStreams {
  if (typeof streams !== 'object' || streams === null || Array.isArray(streams)) throw new DecodeError('streams', 'what export was given')
  const { schema, records } = streams
  if (!isTime(schema)) throw new DecodeError('streams.schema', 'a whole number')
  if (!Array.isArray(records)) throw new DecodeError('streams.records', 'a list')
  const keys = new Set<string>()
  return {
    schema,
    records: records.map((each, index) => {
      const record = decodeRecord(each, `streams.records[${index}]`)
      if (keys.has(record.key)) throw new DecodeError(`streams.records[${index}]`, 'a key that no other record has')
      keys.add(record.key)
      return record
    }),
  }
}

function decodeRecord(record: JsonValue, at: string): StoredStream {
  if (!Array.isArray(record)) throw new DecodeError(at, 'a list')
  const [key, usedAt, epoch, last, verdicts] = record
  if (typeof key !== 'string' || key === '' || key.length > longestKey || /\s/.test(key)) throw new DecodeError(`${at}[0]`, 'a key')
  if (!isTime(usedAt)) throw new DecodeError(`${at}[1]`, 'a time')
  const decoded = decode(recordSchema, { epoch, last, verdicts })
  if (!isAscending(decoded)) throw new DecodeError(`${at}[4]`, 'verdicts by number, none above the last')
  return { key, usedAt, ...decoded }
}

const isTime = (value: JsonValue | undefined): value is number => Number.isSafeInteger(value) && (value as number) >= 0

const isAscending = ({ last, verdicts }: StreamRecord): boolean =>
  verdicts.every(([seq], index) => seq <= last && seq > (verdicts[index - 1]?.[0] ?? 0))
