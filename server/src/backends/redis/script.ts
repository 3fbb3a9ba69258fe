import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'
import { reasonOf } from './errors.ts'

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

/** Runs a script by a way to send commands; its text is sent only where Redis does not know it (any more). */
export async function runScript(
  send: (command: (client: Redis) => Promise<unknown>) => Promise<unknown>,
  { sha, text, keys }: Script,
  names: readonly string[],
  args: readonly string[],
): Promise<unknown> {
  try {
    return await send((client) => client.evalsha(sha, keys, ...names.slice(0, keys), ...args))
  } catch (error) {
    if (reasonOf(error) !== 'NOSCRIPT') throw error
    return await send((client) => client.eval(text, keys, ...names.slice(0, keys), ...args))
  }
}

/**
 * What every script on a context begins with.
 *
 * A row is a hash: `i v r` incarnation, version, revision · `c u b` created at, updated at, updated by (opaque) · `sv ss` version and size of the
 * snapshot · `fv` first version of the log · `ls sl` size of the log, and of its part above the snapshot · `d` version of the definition ·
 * `x` '1': restored.
 * An entry of the log is `<size> <baseRevision> <text>`; the texts of users' data are never decoded.
 * `readRow` also checks that snapshot and log are there. A context that has lost one of them to an eviction is gone as a whole: it reads as never
 * there, so that clients see another incarnation, and is created anew. One whose parts do not fit is being restored, or damaged: an error.
 */
export const prelude = `
local call = redis.call

-- Whole numbers below 2^53; as arguments of a command they are written so anyway.
local function int(number)
  return string.format('%.0f', number)
end

local function readRow()
  local values = call('HMGET', KEYS[1], 'i', 'v', 'r', 'c', 'u', 'b', 'sv', 'ss', 'fv', 'ls', 'sl', 'd', 'x')
  local hasSnapshot = call('STRLEN', KEYS[2]) > 0
  local logged = call('LLEN', KEYS[3])
  if not values[2] then
    return nil, logged
  end
  local i, v, r, c, u, b, sv, ss, fv, ls, sl, d, x = unpack(values)
  if not (i and r and c and u and b and sv and ss and fv and ls and sl and d and x) then
    return nil, logged, redis.error_reply('DAMAGED parts do not fit')
  end
  local row = {
    i = i, v = v, r = r, c = c, u = u, b = b, d = d, x = x, version = tonumber(v),
    sv = tonumber(sv), ss = tonumber(ss), fv = tonumber(fv), ls = tonumber(ls), sl = tonumber(sl),
  }
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
  return {
    row.i, row.v, row.r, row.c, row.u, row.b, int(row.sv), int(row.ss), int(row.fv), int(row.ls), int(row.sl),
    row.d, row.x,
  }
end

local function baseOf(item)
  return string.match(item, '^%d+ (%S*) ')
end

local function entriesAfter(row, version)
  if not row or version + 1 < row.fv then
    return nil
  end
  return call('LRANGE', KEYS[3], version + 1 - row.fv, -1)
end
`

/**
 * What the scripts that look at records begin with. The record of a stream is `<epoch> <last> <floor> <start> <start> …`: no verdict up to the floor
 * is known any more; the others lie in pieces, a line `<seq> <verdict>` for each, under `<stream> <start>` with the first number of the piece.
 * So a commit need not read and write what is already there: in Redis' Lua each byte of a new string costs more than copying it.
 */
export const recordPrelude = `
local function readRecord(value)
  local epoch, last, floor, starts = string.match(value, '^(%d+) (%d+) (%d+)(.*)$')
  return epoch, tonumber(last), tonumber(floor), starts
end

local function writeRecord(epoch, last, floor, starts)
  return epoch .. ' ' .. int(last) .. ' ' .. int(floor) .. starts
end
`

/**
 * What the scripts that look at locks begin with. Locks lie in a hash, by key: `<end of the lease> <token> <since> <length of hold> <hold><holder>`,
 * the holder opaque; and the token that was given last under `#`, which is no key. Leases run by the clock of Redis.
 */
export const lockPrelude = `
local function redisTime()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function lockOf(value)
  local lease, token, since, length, rest = string.match(value or '', '^(%d+) (%d+) (%d+) (%d+) (.*)$')
  if not lease then
    return nil
  end
  length = tonumber(length)
  return { lease = tonumber(lease), token = token, since = since, hold = string.sub(rest, 1, length), holder = string.sub(rest, length + 1) }
end

-- A lock that is held.
local function readLock(locks, key, time)
  local lock = lockOf(redis.call('HGET', locks, key))
  return lock and lock.lease > time and lock or nil
end
`
