import { prelude, script } from './script.ts'

/**
 * Puts a context into the index, before it is created or restored.
 *
 * KEYS: 1 ids · 2 ids found without a context, by when that was first found · 3 updated · 4 touched · 5 logged
 * ARGV: 1 the id · 2 bound of its last use · 3 bound of its oldest entry, or '': its log will be empty
 * Reply: 1
 */
export const addToIndexScript = script(
  'add to index',
  5,
  `
redis.call('ZSCORE', KEYS[2], ARGV[1])
redis.call('ZCARD', KEYS[3])
redis.call('ZCARD', KEYS[5])
redis.call('ZADD', KEYS[1], 0, ARGV[1])
redis.call('ZADD', KEYS[3], 'LT', ARGV[2], ARGV[1])
if ARGV[3] ~= '' then
  redis.call('ZADD', KEYS[5], 'LT', ARGV[3], ARGV[1])
end
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
`,
)

/**
 * Puts a context into the index that may have lost it: with bounds that are corrected when it is looked at.
 *
 * KEYS: 1 ids · 2 ids found without a context, by when that was first found · 3 updated · 4 touched · 5 logged
 * ARGV: 1 the id
 * Reply: 1
 */
export const keepInIndexScript = script(
  'keep in index',
  5,
  `
for _, key in ipairs({ KEYS[1], KEYS[3], KEYS[5] }) do
  redis.call('ZADD', key, 'NX', 0, ARGV[1])
end
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
`,
)

/**
 * Notes ids that were found without a context, and takes those out of the index that were found so long ago. Whoever creates a context
 * puts its id back and ends its note in one step, so that no context that is being created is taken out.
 *
 * KEYS: 1 ids · 2 ids found without a context, by when that was first found · 3 updated · 4 touched · 5 logged
 * ARGV: 1 how long ago, ms · 2 until when the others are not looked at again: least bounds of their last use and of their oldest entry, or '' · 3 … the ids
 * Reply: how many were taken out
 */
export const cleanIndexScript = script(
  'clean index',
  5,
  `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for _, key in ipairs(KEYS) do
  redis.call('ZCARD', key)
end
local removed = 0
for index = 3, #ARGV do
  local id = ARGV[index]
  local noted = redis.call('ZSCORE', KEYS[2], id)
  if noted and now - tonumber(noted) > tonumber(ARGV[1]) then
    for _, key in ipairs(KEYS) do
      redis.call('ZREM', key, id)
    end
    removed = removed + 1
  else
    redis.call('ZADD', KEYS[2], 'NX', string.format('%.0f', now), id)
    if ARGV[2] ~= '' then
      redis.call('ZADD', KEYS[3], 'XX', 'GT', ARGV[2], id)
      redis.call('ZADD', KEYS[5], 'XX', 'GT', ARGV[2], id)
    end
  end
end
return removed
`,
)

/**
 * Notes that contexts are in use.
 *
 * KEYS: 1 ids · 2 ids found without a context, by when that was first found · 3 updated · 4 touched
 * ARGV: 1 now · 2 … the ids
 * Reply: 1
 */
export const touchScript = script(
  'touch',
  4,
  `
redis.call('ZCARD', KEYS[3])
redis.call('ZCARD', KEYS[4])
for index = 2, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[index]) then
    redis.call('ZADD', KEYS[4], 'GT', ARGV[1], ARGV[index])
    redis.call('ZADD', KEYS[3], 'XX', 'GT', ARGV[1], ARGV[index])
  end
end
return 1
`,
)

/**
 * Takes contexts whose log was found empty out of `logged`, where nothing was written there meanwhile: the next entry puts them back.
 *
 * KEYS: 1 logged
 * ARGV: id, bound that it had, …
 * Reply: 1
 */
export const unlogScript = script(
  'unlog',
  1,
  `
for index = 1, #ARGV, 2 do
  local bound = redis.call('ZSCORE', KEYS[1], ARGV[index])
  if bound and tonumber(bound) == tonumber(ARGV[index + 1]) then
    redis.call('ZREM', KEYS[1], ARGV[index])
  end
end
return 1
`,
)

/**
 * What cleanup wants to know of a context.
 *
 * KEYS: 1 row · 2 snapshot · 3 log
 * ARGV: none
 * Reply: { } – it is absent – or { incarnation, version, revision, updated at, number of entries, when the oldest was committed, or '' }
 */
export const lookScript = script(
  'look',
  3,
  `${prelude}
local row, logged, damage = readRow()
if damage then
  return damage
end
if not row or row.version == 0 then
  return {}
end
local oldest = call('LINDEX', KEYS[3], 0)
return { row.i, row.v, row.r, row.u, int(logged), oldest and string.match(oldest, '^%d+ %S* %[([%d.eE+-]+)') or '' }
`,
)
