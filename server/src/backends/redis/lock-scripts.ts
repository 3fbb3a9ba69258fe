import type { Author } from '@contextd/protocol'
import type { HeldLock, LockRequest, LockResult } from '../backend.ts'
import { lockPrelude, script } from './script.ts'

/** How long the last token is remembered after the last lease: longer than the clocks of nodes differ, ms. */
const memoryMs = 86_400_000

const replyOf = `
local function replyOf(type, lock, time)
  return { type, lock.token, lock.since, lock.holder, string.format('%.0f', lock.lease - time) }
end
`

/**
 * Takes a lock, or gives a hold more time, as `lockStep` decides it. Each step also looks at a few other locks, and removes those whose lease is over.
 *
 * KEYS: 1 locks
 * ARGV: 1 key · 2 hold · 3 holder · 4 length of the lease, ms · 5 '1': only a hold that is still there · 6 now · 7 life of the keys after the lease, ms
 * Reply: { 'held', token, since, holder, what is left of the lease } or { 'locked', the same of who holds it } or { 'locked' }
 */
export const lockScript = script(
  'lock',
  1,
  `${lockPrelude}${replyOf}
local key, hold, time = ARGV[1], ARGV[2], redisTime()
local lock, fields = readLock(KEYS[1], key, time), {}
local mine = lock and lock.hold == hold
if not mine and (lock or ARGV[5] == '1') then
  return lock and replyOf('locked', lock, time) or { 'locked' }
end
if not mine then
  local last = redis.call('HGET', KEYS[1], '#') or '0'
  local token = string.format('%.0f', math.max(tonumber(last) + 1, tonumber(ARGV[6])))
  lock = { token = token, since = ARGV[6], hold = hold, holder = ARGV[3] }
  fields = { '#', token }
end
lock.lease = time + tonumber(ARGV[4])
local over = {}
local some = redis.call('HRANDFIELD', KEYS[1], 8, 'WITHVALUES')
for index = 1, #some, 2 do
  local other = lockOf(some[index + 1])
  if some[index] ~= key and other and other.lease <= time then
    over[#over + 1] = some[index]
  end
end
local life = lock.lease - time + tonumber(ARGV[7])
local living = redis.call('PTTL', KEYS[1])

local value = string.format('%.0f', lock.lease) .. ' ' .. lock.token .. ' ' .. lock.since .. ' ' .. #lock.hold .. ' ' .. lock.hold .. lock.holder
redis.call('HSET', KEYS[1], key, value, unpack(fields))
if #over > 0 then
  redis.call('HDEL', KEYS[1], unpack(over))
end
if living < life then
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', life))
end
return replyOf('held', lock, time)
`,
)

/**
 * Ends a hold.
 *
 * KEYS: 1 locks
 * ARGV: 1 key · 2 hold
 * Reply: 1, or 0: it was over
 */
export const unlockScript = script(
  'unlock',
  1,
  `${lockPrelude}
local lock, time = lockOf(redis.call('HGET', KEYS[1], ARGV[1])), redisTime()
if not lock or lock.hold ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[1])
return lock.lease > time and 1 or 0
`,
)

/**
 * The locks that are held.
 *
 * KEYS: 1 locks
 * ARGV: none
 * Reply: { { key, token, since, holder, what is left of the lease }, … }
 */
export const locksScript = script(
  'locks',
  1,
  `${lockPrelude}${replyOf}
local held, time = {}, redisTime()
local stored = redis.call('HGETALL', KEYS[1])
for index = 1, #stored, 2 do
  local lock = lockOf(stored[index + 1])
  if lock and lock.lease > time then
    held[#held + 1] = replyOf(stored[index], lock, time)
  end
end
return held
`,
)

/** The lock script's ARGV. */
export const lockArguments = ({ key, hold, holder, ttlMs, extend, now }: LockRequest): string[] => [
  key,
  hold,
  JSON.stringify(holder),
  String(ttlMs),
  extend ? '1' : '',
  String(now),
  String(memoryMs),
]

type LockFields = readonly [first: string, token: string, since: string, holder: string, remainingMs: string]

/** What the lock script replied. */
export function decodeLock(reply: unknown, key: string): LockResult {
  const fields = reply as LockFields | readonly ['locked']
  if (fields.length === 1) return { type: 'locked', by: null }
  const lock = heldLock(key, fields)
  return fields[0] === 'held' ? { type: 'held', lock } : { type: 'locked', by: lock }
}

/** What the locks script replied, by key. */
export function decodeLocks(reply: unknown): HeldLock[] {
  return (reply as LockFields[]).map((fields) => heldLock(fields[0], fields)).toSorted((a, b) => (a.key < b.key ? -1 : 1))
}

const heldLock = (key: string, [, token, since, holder, remainingMs]: LockFields): HeldLock => ({
  key,
  token: Number(token),
  holder: JSON.parse(holder) as Author,
  since: Number(since),
  remainingMs: Number(remainingMs),
})
