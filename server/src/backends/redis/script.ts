import { createHash } from 'node:crypto'

/** A Lua script, and how many of its arguments are keys. */
export interface Script {
  readonly name: string
  readonly text: string
  readonly sha: string
  readonly keys: number
}

/** Makes a script of its text. */
export function script(name: string, keys: number, text: string): Script {
  return { name, keys, text, sha: createHash('sha1').update(text).digest('hex') }
}

/**
 * What every script on a context begins with.
 *
 * A row is a hash: `i v r` incarnation, version, revision · `c u b` created at, updated at, updated by (opaque) · `sv ss` version and size of the
 * snapshot · `fv` first version of the log · `ls sl` size of the log, and of its part above the snapshot.
 * An entry of the log is `<size> <baseRevision> <text>`; the texts of users' data are never decoded.
 * `readRow` also checks that snapshot and log are there. A context that has lost one of them to an eviction is gone as a whole: it reads as never
 * there, so that clients see another incarnation, and is created anew. One whose parts do not fit is being restored, or damaged: an error.
 */
export const prelude = `
local rowFields = { 'i', 'v', 'r', 'c', 'u', 'b', 'sv', 'ss', 'fv', 'ls', 'sl' }

local function int(number)
  return string.format('%.0f', number)
end

local function readRow()
  local values = redis.call('HMGET', KEYS[1], unpack(rowFields))
  local hasSnapshot = redis.call('STRLEN', KEYS[2]) > 0
  local logged = redis.call('LLEN', KEYS[3])
  if not values[2] then
    return nil, logged
  end
  local row = {}
  for index, field in ipairs(rowFields) do
    if not values[index] then
      return nil, logged, redis.error_reply('DAMAGED parts do not fit')
    end
    row[field] = values[index]
  end
  for _, field in ipairs({ 'sv', 'ss', 'fv', 'ls', 'sl' }) do
    row[field] = tonumber(row[field])
  end
  row.version = tonumber(row.v)
  if row.version == 0 then
    return row, logged
  end
  local expected = row.version - row.fv + 1
  if not hasSnapshot or (logged == 0 and row.sv < row.version) then
    return nil, logged
  end
  if logged == 0 and expected > 0 then
    row.fv, row.ls, row.sl = row.version + 1, 0, 0
  elseif logged ~= expected then
    return nil, logged, redis.error_reply('DAMAGED parts do not fit')
  end
  return row, logged
end

local function rowReply(row)
  if not row then
    return {}
  end
  local reply = {}
  for index, field in ipairs(rowFields) do
    local value = row[field]
    reply[index] = type(value) == 'number' and int(value) or value
  end
  return reply
end

local function baseOf(item)
  return string.match(item, '^%d+ (%S*) ')
end

local function entriesAfter(row, version)
  if not row or version + 1 < row.fv then
    return nil
  end
  return redis.call('LRANGE', KEYS[3], int(version + 1 - row.fv), -1)
end
`

/** What the scripts that look at records begin with: a record is `<epoch> <last>` and a line `<seq> <verdict>` for each verdict, in order. */
export const recordPrelude = `
local function readRecord(value)
  local epoch, last, from = string.match(value, '^(%d+) (%d+)\\n()')
  return epoch, tonumber(last), string.sub(value, from)
end

local function writeRecord(epoch, last, verdicts)
  return epoch .. ' ' .. int(last) .. '\\n' .. verdicts
end
`
