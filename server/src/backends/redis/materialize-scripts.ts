import { lockPrelude, script } from './script.ts'
import type { Script } from './script.ts'

/** How long it is remembered what was put in place, and under which token: far longer than a node pauses, ms. */
const fenceMs = 86_400_000

/**
 * Adds to what is being made ready, and lets it expire: in one step, so that nothing stays of a process that ends in between.
 *
 * KEYS: 1 where it lies
 * ARGV: 1 the command that adds · 2 how long it is kept, ms · then what the command takes
 * Reply: none
 */
export const fillScript = script(
  'fill',
  1,
  `redis.call(ARGV[1], KEYS[1], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
`,
)

/**
 * Puts keys in place that lie ready under other names, all of them or none.
 *
 * KEYS: 1 fence: `<token> <mark> <'1' or '0' for each key: it is there>` of what was put in place last
 *   then for each key: the key · where its new content lies
 *   then, where they lie on the same node: locks of the context
 * ARGV: 1 key of the lock, or '' on a Cluster: the highest token counts there · 2 its token · 3 mark
 *   then for each key: its type · '1': there is new content, '': the key is to be gone
 * Reply: { 'swapped' }, { 'locked' }, { 'lost' }: what lay ready is gone, or { 'type', which key (from 1), what it holds }
 */
export const swapScript = (keys: number, isCluster: boolean): Script =>
  script(
    `swap ${keys}`,
    1 + 2 * keys + (isCluster ? 0 : 1),
    `${lockPrelude}
local count = (#ARGV - 3) / 2
if ARGV[1] == '' then
  local last = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+)') or '0'
  if tonumber(last) > tonumber(ARGV[2]) then
    return { 'locked' }
  end
else
  local lock = readLock(KEYS[#KEYS], ARGV[1], redisTime())
  if not lock or lock.token ~= ARGV[2] then
    return { 'locked' }
  end
end
local there = ''
for index = 1, count do
  local held = redis.call('TYPE', KEYS[2 * index])['ok']
  if held ~= 'none' and held ~= ARGV[2 * index + 2] then
    return { 'type', tostring(index), held }
  end
  local filled = ARGV[2 * index + 3] == '1'
  if filled and redis.call('EXISTS', KEYS[2 * index + 1]) == 0 then
    return { 'lost' }
  end
  there = there .. (filled and '1' or '0')
end
redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. there, 'PX', '${fenceMs}')
for index = 1, count do
  redis.call('UNLINK', KEYS[2 * index])
  if ARGV[2 * index + 3] == '1' then
    redis.call('PERSIST', KEYS[2 * index + 1])
    redis.call('RENAME', KEYS[2 * index + 1], KEYS[2 * index])
  end
end
return { 'swapped' }
`,
  )

/**
 * Tells whether keys are there as they were put in place.
 *
 * KEYS: 1 fence, as of a swap · then the keys
 * ARGV: 1 mark
 * Reply: 1 or 0
 */
export const standScript = (keys: number): Script =>
  script(
    `stand ${keys}`,
    1 + keys,
    `local mark, there = string.match(redis.call('GET', KEYS[1]) or '', '^%d+ (%S+) (%d+)$')
if mark ~= ARGV[1] or #there ~= #KEYS - 1 then
  return 0
end
for index = 2, #KEYS do
  if string.sub(there, index - 1, index - 1) == '1' and redis.call('EXISTS', KEYS[index]) == 0 then
    return 0
  end
end
return 1
`,
  )
