import type { PruneBatch } from '../backend.ts'
import { prelude, script } from './script.ts'

/**
 * Prunes a log, as `pruneCount` decides it.
 *
 * KEYS: 1 row · 2 snapshot · 3 log
 * ARGV: 1–3 the head that must be there: incarnation, version, revision · 4 '1': a snapshot is written first, 5 which · 6 its size
 *   7 entries committed before this go · 8 most entries that stay, 0: any
 * Reply: how many entries went; nil: the head is another
 */
export const pruneScript = script(
  'prune',
  3,
  `${prelude}
local row, logged, damage = readRow()
if damage then
  return damage
end
if not row or row.version == 0 or row.i ~= ARGV[1] or row.v ~= ARGV[2] or row.r ~= ARGV[3] then
  return false
end
if ARGV[4] == '1' then
  row.sv, row.ss, row.sl = row.version, tonumber(ARGV[6]), 0
end
local before, most = tonumber(ARGV[7]), tonumber(ARGV[8])
local trim, limit = 0, math.min(logged, row.sv - row.fv + 1)
while trim < limit do
  local items = call('LRANGE', KEYS[3], trim, math.min(trim + 63, limit - 1))
  local ended = false
  for _, item in ipairs(items) do
    local size, committedAt = string.match(item, '^(%d+) %S* %[([%d.eE+-]+)')
    if tonumber(committedAt) >= before and (most == 0 or logged - trim <= most) then
      ended = true
      break
    end
    trim = trim + 1
    row.ls = row.ls - tonumber(size)
  end
  if ended then
    break
  end
end
row.fv = row.fv + trim

-- Writes. A snapshot is refused when Redis is out of memory; to trim is let through then, and what follows it.
local function writeRow()
  call('HSET', KEYS[1], 'sv', row.sv, 'ss', row.ss, 'fv', row.fv, 'ls', row.ls, 'sl', row.sl)
end
if ARGV[4] == '1' then
  writeRow()
  call('SET', KEYS[2], ARGV[5])
end
if trim > 0 then
  call('LTRIM', KEYS[3], trim, -1)
  writeRow()
end
return trim
`,
)

/** The prune script's ARGV. */
export const pruneArguments = ({ base, snapshot, before, maxVersions }: PruneBatch): string[] => [
  base.incarnation,
  String(base.version),
  base.revision,
  snapshot === null ? '' : '1',
  snapshot ?? '',
  String(snapshot?.length ?? 0),
  String(before),
  String(maxVersions),
]
