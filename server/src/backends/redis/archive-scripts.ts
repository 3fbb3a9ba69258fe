import { recordsPrunedPerStep } from '../../commits/commit-step.ts'
import type { ContextDump, RestoreBatch, RestoreResult, StoredStream } from '../backend.ts'
import { recordCutoff } from '../store-model.ts'
import { decodeLoad, decodeVerdicts, headOf } from './replies.ts'
import { prelude, recordPrelude, script } from './script.ts'
import { encodeVerdict } from './verdict-text.ts'

/**
 * All there is of a context.
 *
 * KEYS: 1 row · 2 snapshot · 3 log · 4 records (hash) · 5 uses (sorted set of streams by last use)
 * ARGV: none
 * Reply: { } – it is absent – or { { the row's fields }, snapshot, { the entries above it }, { field, value, … of the records }, { stream, last use, … } }
 */
export const dumpScript = script(
  'dump',
  5,
  `${prelude}
local row, _, damage = readRow()
if damage then
  return damage
end
if not row or row.version == 0 then
  return {}
end
return {
  rowReply(row), call('GET', KEYS[2]), entriesAfter(row, row.sv) or {}, call('HGETALL', KEYS[4]), call('ZRANGE', KEYS[5], 0, -1, 'WITHSCORES'),
}
`,
)

/**
 * Puts a context in place of what is there (P13), also of what is damaged, when any head will do.
 *
 * KEYS: 1 row · 2 snapshot · 3 log · 4 records (hash) · 5 uses (sorted set of streams by last use)
 * ARGV: 1 '1': the head that is there matters, 2–4 which: incarnation, version, revision · 5–7 head after it
 *   8 created at · 9 updated at · 10 updated by · 11 version of the definition · 12 snapshot · 13 its size
 *   14 records last used before this may go · 15 how many of them · 16 channel · 17 message, or ''
 *   then for each stream: its key · last use · epoch · last number · number up to which no verdict is known · first number of the verdicts, or '' · their lines
 * Reply: { 'restored' } or { 'conflict', incarnation, version, revision }
 */
export const restoreScript = script(
  'restore',
  5,
  `${prelude}${recordPrelude}
local row, _, damage = readRow()
if ARGV[1] == '1' then
  if damage then
    return damage
  end
  local i, v, r = '', '0', ''
  if row then
    i, v, r = row.i, row.v, row.r
  end
  if i ~= ARGV[2] or v ~= ARGV[3] or r ~= ARGV[4] then
    return { 'conflict', i, v, r }
  end
end

local written, used, seen, old = {}, {}, {}, {}
-- Of another type: an error now, not between two writes.
call('ZCARD', KEYS[5])
call('HLEN', KEYS[4])
for at = 18, #ARGV, 7 do
  local key, start = ARGV[at], ARGV[at + 5]
  local epoch, last, _, starts = readRecord(call('HGET', KEYS[4], key) or '')
  local newer = tonumber(ARGV[at + 2]) - (tonumber(epoch) or -1)
  if newer == 0 then
    newer = tonumber(ARGV[at + 3]) - last
  end
  if not seen[key] and newer > 0 then
    seen[key] = true
    for known in string.gmatch(starts or '', '%d+') do
      old[#old + 1] = key .. ' ' .. known
    end
    written[#written + 1] = key
    written[#written + 1] = writeRecord(ARGV[at + 2], tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), start == '' and '' or ' ' .. start)
    if start ~= '' then
      written[#written + 1] = key .. ' ' .. start
      written[#written + 1] = ARGV[at + 6]
    end
    used[#used + 1] = ARGV[at + 1]
    used[#used + 1] = key
  end
end

-- Writes. The first one is refused when Redis is out of memory, and with it all others.
local v = ARGV[6]
call('HSET', KEYS[1], 'i', ARGV[5], 'v', v, 'r', ARGV[7], 'c', ARGV[8], 'u', ARGV[9], 'b', ARGV[10],
  'sv', v, 'ss', ARGV[13], 'fv', int(tonumber(v) + 1), 'ls', '0', 'sl', '0', 'd', ARGV[11], 'x', '1')
call('SET', KEYS[2], ARGV[12])
call('DEL', KEYS[3])
for from = 1, #old, 1000 do
  call('HDEL', KEYS[4], unpack(old, from, math.min(from + 999, #old)))
end
for from = 1, #written, 1000 do
  call('HSET', KEYS[4], unpack(written, from, math.min(from + 999, #written)))
end
for from = 1, #used, 1000 do
  call('ZADD', KEYS[5], unpack(used, from, math.min(from + 999, #used)))
end
for _, key in ipairs(call('ZRANGEBYSCORE', KEYS[5], '-inf', '(' .. ARGV[14], 'LIMIT', 0, ARGV[15])) do
  local record = call('HGET', KEYS[4], key)
  for start in string.gmatch(record and select(4, readRecord(record)) or '', '%d+') do
    call('HDEL', KEYS[4], key .. ' ' .. start)
  end
  call('HDEL', KEYS[4], key)
  call('ZREM', KEYS[5], key)
end
for _, key in ipairs({ KEYS[1], KEYS[4], KEYS[5] }) do
  call('PERSIST', key)
end
if ARGV[17] ~= '' then
  call('SPUBLISH', ARGV[16], ARGV[17])
end
return { 'restored' }
`,
)

/**
 * The restore script's ARGV; `message` is what it publishes.
 * @throws {TypeError} a stream's key has white space
 */
export function restoreArguments(batch: RestoreBatch, channel: string, message: string): string[] {
  const { base, head, now, sessionTtlMs, createdAt, updatedAt, updatedBy, schema, snapshot, streams } = batch
  return [
    base === null ? '' : '1',
    base?.incarnation ?? '',
    String(base?.version ?? 0),
    base?.revision ?? '',
    head.incarnation,
    String(head.version),
    head.revision,
    String(createdAt),
    String(updatedAt),
    JSON.stringify(updatedBy),
    String(schema),
    snapshot,
    String(snapshot.length),
    String(recordCutoff(now, sessionTtlMs)),
    String(recordsPrunedPerStep),
    channel,
    message,
    ...streams.flatMap(streamArguments),
  ]
}

function streamArguments({ key, usedAt, epoch, last, verdicts }: StoredStream): string[] {
  if (/\s/.test(key)) throw new TypeError('The key of a stream has no white space.')
  const known = verdicts.toSorted(([a], [b]) => a - b)
  const first = known[0]?.[0]
  const lines = known.map(([seq, verdict]) => `${seq} ${encodeVerdict(verdict)}\n`).join('')
  const start = first === undefined ? '' : String(first)
  return [key, String(usedAt), String(epoch), String(last), String(first === undefined ? last : first - 1), start, lines]
}

/** What the restore script replied. */
export function decodeRestore(reply: unknown): RestoreResult {
  const [type, incarnation, version, revision] = reply as readonly string[]
  return type === 'restored' ? { type } : { type: 'conflict', head: headOf(incarnation!, version!, revision!) }
}

/** What the dump script replied. */
export function decodeDump(reply: unknown): ContextDump | null {
  const [fields, snapshot, items, records, uses] = reply as readonly [string[]?, string?, string[]?, string[]?, string[]?]
  if (!fields) return null
  const stored = decodeLoad([fields, snapshot, items])!
  const values = pairsOf(records!)
  const usedAt = pairsOf(uses!)
  const streams = [...values]
    .filter(([field]) => !field.includes(' '))
    .map(([key, value]) => decodeStream(key, value, values, Number(usedAt.get(key) ?? stored.row.updatedAt)))
  return { stored, streams: streams.toSorted((a, b) => (a.key < b.key ? -1 : 1)) }
}

function decodeStream(key: string, value: string, values: ReadonlyMap<string, string>, usedAt: number): StoredStream {
  const [epoch, last, floor, ...starts] = value.split(' ')
  const lines = starts.map((start) => values.get(`${key} ${start}`) ?? '').join('')
  return { key, epoch: Number(epoch), last: Number(last), verdicts: decodeVerdicts(lines, Number(floor)), usedAt }
}

function pairsOf(flat: readonly string[]): Map<string, string> {
  const pairs = new Map<string, string>()
  for (let at = 0; at < flat.length; at += 2) pairs.set(flat[at]!, flat[at + 1]!)
  return pairs
}
