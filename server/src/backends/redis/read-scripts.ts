import { prelude, script } from './script.ts'

/**
 * A context as it is stored.
 *
 * KEYS: 1 row · 2 snapshot · 3 log
 * ARGV: none
 * Reply: { { the row's fields, or nothing }, snapshot or '', { the entries above it } }
 */
export const loadScript = script(
  'load',
  3,
  `${prelude}
local row, _, damage = readRow()
if damage then
  return damage
end
if not row or row.version == 0 then
  return { rowReply(row), '', {} }
end
return { rowReply(row), call('GET', KEYS[2]), entriesAfter(row, row.sv) or {} }
`,
)

/**
 * Entries of the log.
 *
 * KEYS: 1 row · 2 snapshot · 3 log
 * ARGV: 1 the version after which they begin
 * Reply: { revision of the head, version of the first one, { entries } }
 */
export const logScript = script(
  'log',
  3,
  `${prelude}
local row, _, damage = readRow()
if damage then
  return damage
end
if not row or row.version == 0 then
  return { '', '0', {} }
end
local after = math.max(tonumber(ARGV[1]), row.fv - 1)
return { row.r, int(after + 1), call('LRANGE', KEYS[3], after + 1 - row.fv, -1) }
`,
)
