import type { Head } from '@contextd/protocol'
import type { SyncQuery } from '../backend.ts'
import { prelude, recordPrelude, script } from './script.ts'

/**
 * The sync step (P10, P11), as `syncStep` decides it. It writes only when it raises the stream's epoch, so that it works where nothing may be written.
 *
 * KEYS: 1 row · 2 snapshot · 3 log · 4 records (hash) · 5 uses (sorted set of streams by last use)
 * ARGV: 1 now · 2 life of an absent context's keys, ms · 3 stream · 4 '1': the session is expired · 5 epoch · 6 told · 7 settled
 *   8 '1': the client has a head, 9–11 which: incarnation, version, revision · 12 '1': the node has one, 13–15 which · 16 most versions of a delta, 0: any
 * Reply: { 'expired' }
 *   or { 'found', { the row's fields, or nothing }, epoch, last, epoch and last before ('' and '': not raised), '1': rolled back,
 *     way, snapshot or '', { entries }, number up to which no verdict is known any more, { verdict lines } }
 */
export const syncScript = script(
  'sync',
  5,
  `${prelude}${recordPrelude}
local key, epoch, told, settled = ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local client = ARGV[8] == '1' and { i = ARGV[9], v = ARGV[10], r = ARGV[11], version = tonumber(ARGV[10]) } or nil
local known = ARGV[12] == '1' and { i = ARGV[13], v = ARGV[14], r = ARGV[15], version = tonumber(ARGV[14]) } or nil
local mostVersions = tonumber(ARGV[16])

local row, _, damage = readRow()
if damage then
  return damage
end
local head = row or { i = '', v = '0', r = '', version = 0 }
local record = call('HGET', KEYS[4], key)
if not record and ARGV[4] == '1' then
  return { 'expired' }
end
local wasEpoch, wasLast, floor, starts = '0', 0, 0, ''
if record then
  wasEpoch, wasLast, floor, starts = readRecord(record)
end
local lines = {}
for start in string.gmatch(starts, '%d+') do
  lines[#lines + 1] = call('HGET', KEYS[4], key .. ' ' .. start) or nil
end

local function sameHead(a, b)
  return a.i == b.i and a.v == b.v and a.r == b.r
end

-- The base revision of the entry that follows a version; nil: the log does not tell.
local function baseAfter(version)
  if not row or version + 1 < row.fv or version >= row.version then
    return nil
  end
  return baseOf(call('LINDEX', KEYS[3], version + 1 - row.fv))
end

local standing = 'other incarnation'
if not client then
  standing = 'unknown'
elseif sameHead(client, head) then
  standing = 'head'
elseif client.i == head.i and head.version > 0 then
  local base = baseAfter(client.version)
  if client.version >= head.version then
    standing = 'not in history'
  elseif not base then
    standing = 'unknown'
  else
    standing = base == client.r and 'behind' or 'not in history'
  end
end

-- The entries that follow the client's version, when they are a smaller way than the whole state.
local function shortEntries()
  if mostVersions > 0 and head.version - client.version > mostVersions then
    return nil
  end
  local entries, size = {}, 0
  local from, last = client.version + 1 - row.fv, head.version - row.fv
  while from <= last do
    for _, item in ipairs(call('LRANGE', KEYS[3], from, from + 127)) do
      size = size + tonumber(string.match(item, '^%d+'))
      entries[#entries + 1] = item
    end
    if size > row.ss + row.sl then
      return nil
    end
    from = from + 128
  end
  return entries
end

local way, snapshot, entries = nil, '', nil
if standing == 'head' or head.version == 0 then
  way, entries = 'same', {}
elseif standing == 'behind' then
  way, entries = 'since', shortEntries()
end
if not entries and known and known.i == head.i and known.version > 0 then
  way = 'known'
  if sameHead(known, head) then
    entries = {}
  elseif baseAfter(known.version) == known.r then
    entries = entriesAfter(row, known.version)
  end
end
if not entries then
  way, snapshot, entries = 'stored', call('GET', KEYS[2]), entriesAfter(row, row.sv) or {}
end

local lost = standing == 'not in history'
local reply = { 'found', rowReply(row), wasEpoch, int(wasLast), '', '', '', way, snapshot, entries, int(floor), lines }
if lost or tonumber(wasEpoch) ~= epoch or wasLast < told then
  reply[5], reply[6] = reply[3], reply[4]
  reply[3], reply[4] = int(math.max(tonumber(wasEpoch), epoch) + 1), int(math.max(wasLast, settled))
  if lost or (standing == 'unknown' and client and client.version > 0) then
    reply[7] = '1'
  end
  -- Of another type: an error now, not between two writes.
  call('ZCARD', KEYS[5])
  call('HSET', KEYS[4], key, writeRecord(reply[3], tonumber(reply[4]), floor, starts))
  call('ZADD', KEYS[5], ARGV[1], key)
  if head.version == 0 then
    call('PEXPIRE', KEYS[4], ARGV[2])
    call('PEXPIRE', KEYS[5], ARGV[2])
  end
end
return reply
`,
)

/** The script's ARGV. */
export function syncArguments(query: SyncQuery, expired: boolean, absentLifeMs: number): string[] {
  const { stream, head, known, now, maxVersions } = query
  const numbers = [stream.epoch, stream.told, stream.settled].map(String)
  return [
    String(now),
    String(absentLifeMs),
    stream.key,
    expired ? '1' : '',
    ...numbers,
    ...headArguments(head),
    ...headArguments(known),
    String(maxVersions),
  ]
}

const headArguments = (head: Head | null): string[] =>
  head === null ? ['', '', '0', ''] : ['1', head.incarnation, String(head.version), head.revision]
