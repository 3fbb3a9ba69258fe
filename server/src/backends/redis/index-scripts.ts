import { script } from './script.ts'

/**
 * Puts a context into the index, before its first commit.
 *
 * KEYS: 1 ids · 2 ids found without a context, by when that was first found
 * ARGV: 1 the id
 * Reply: 1
 */
export const addToIndexScript = script(
  'add to index',
  2,
  `
redis.call('ZSCORE', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[1], 0, ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
`,
)

/**
 * Notes ids that were found without a context, and takes those out of the index that were found so long ago. Whoever creates a context
 * puts its id back and ends its note in one step, so that no context that is being created is taken out.
 *
 * KEYS: 1 ids · 2 ids found without a context, by when that was first found
 * ARGV: 1 how long ago, ms · 2 … the ids
 * Reply: how many were taken out
 */
export const cleanIndexScript = script(
  'clean index',
  2,
  `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZCARD', KEYS[1])
local removed = 0
for index = 2, #ARGV do
  local noted = redis.call('ZSCORE', KEYS[2], ARGV[index])
  if not noted then
    redis.call('ZADD', KEYS[2], string.format('%.0f', now), ARGV[index])
  elseif now - tonumber(noted) > tonumber(ARGV[1]) then
    redis.call('ZREM', KEYS[1], ARGV[index])
    redis.call('ZREM', KEYS[2], ARGV[index])
    removed = removed + 1
  end
end
return removed
`,
)
