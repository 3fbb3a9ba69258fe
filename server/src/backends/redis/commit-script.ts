import { lockPrelude, prelude, recordPrelude, script } from './script.ts'

/**
 * The commit step (P5, P6, P14), as `commitStep` decides it: all checks and reads, then all writes, then the publication.
 *
 * KEYS: 1 row · 2 snapshot · 3 log · 4 records (hash) · 5 uses (sorted set of streams by last use) · 6 locks (hash)
 * ARGV: 1 now · 2 life of an absent context's keys, ms · 3 records last used before this may go · 4 how many of them
 *   5–7 base: incarnation, version, revision · 8–10 head after it · 11 updated by · 12 '1': delete · 13 snapshot, or '' · 14 its size
 *   15 size of the entries · 16–19 retention: before, soft size, hard size, most versions · 20 most entries to trim
 *   21 channel · 22 message, or '' · 23 number of entries · 24 number of streams · 25 version of the definition · 26 number of demands of locks
 *   then for each demand: the lock's key · the token under which it is to be held, or '': nobody may hold it
 *   then the entries, as they go into the log
 *   then the keys of the streams
 *   then for each stream: the number of its runs, and for each run of consecutive numbers
 *     '1': the session is expired · epoch · first number · count · settled · verdict lines
 * Reply: { 'committed', '1': the log was empty before }
 *   or { 'members', … } with, for each run that holds no new commits only: its place among all runs (from 0), then 'expired', 'fenced' or 'gap';
 *     or 'repeat', a count, and as many recorded verdicts ('': no longer known)
 *   or { 'conflict', incarnation, version, revision, '1': the way is known, { entries since the base } }
 *   or { 'locked', places of the demands that are not met (from 0), … }
 */
export const commitScript = script(
  'commit',
  6,
  `${prelude}${recordPrelude}${lockPrelude}
local now, baseI, baseV, baseR, headI, headV, headR = ARGV[1], ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local remove, snapshot, message = ARGV[12] == '1', ARGV[13], ARGV[22]
local entries, streams = tonumber(ARGV[23]), tonumber(ARGV[24])
local firstDemand, demands = 27, tonumber(ARGV[26])
local firstEntry = firstDemand + 2 * demands
local firstStream = firstEntry + entries

-- The lines above a number, which is among them.
local function above(lines, seq)
  local found = string.find(lines, '\\n' .. int(seq + 1) .. ' ', 1, true)
  return string.sub(lines, found + 1)
end

-- The pieces of a stream's verdicts, without those that hold none above the floor.
local function settle(key, starts, last, floor, dropped)
  while true do
    local start, following = string.match(starts, '^ (%d+) ?(%d*)')
    if not start or (following == '' and last or tonumber(following) - 1) > floor then
      return starts
    end
    dropped[#dropped + 1] = key .. ' ' .. start
    starts = string.sub(starts, #start + 2)
  end
end

-- The verdict of a number, from the pieces of this batch or the stored ones; '': no longer known.
local function recorded(pieces, key, starts, floor, seq)
  local piece = nil
  for start in string.gmatch(starts, '%d+') do
    if tonumber(start) <= seq then
      piece = key .. ' ' .. start
    end
  end
  local lines = seq > floor and piece and (pieces[piece] or call('HGET', KEYS[4], piece))
  local _, to = string.find('\\n' .. (lines or ''), '\\n' .. int(seq) .. ' ', 1, true)
  if not to then
    return ''
  end
  return string.sub(lines, to, string.find(lines, '\\n', to, true) - 1)
end

local row, logged, damage = readRow()
if damage then
  return damage
end

-- Each member against the record of its stream.
local records = nil
if streams > 0 then
  records = call('HMGET', KEYS[4], unpack(ARGV, firstStream, firstStream + streams - 1))
else
  -- Of another type: an error now, not between two writes.
  call('HLEN', KEYS[4])
end
local answers, written, dropped, used, touched, pieces = { 'members' }, {}, {}, {}, {}, {}
local at, run = firstStream + streams, 0
for stream = 1, streams do
  local key, runs = ARGV[firstStream + stream - 1], tonumber(ARGV[at])
  local epoch, last, floor, starts = '0', 0, 0, ''
  local begun = records[stream]
  if begun then
    epoch, last, floor, starts = readRecord(begun)
  end
  at = at + 1
  for _ = 1, runs do
    local first, count, settled, lines = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), ARGV[at + 5]
    local refused = nil
    if not begun and ARGV[at] == '1' then
      refused = 'expired'
    elseif ARGV[at + 1] ~= epoch then
      refused = 'fenced'
    elseif first > last + 1 then
      refused = 'gap'
    end
    if refused then
      answers[#answers + 1] = int(run)
      answers[#answers + 1] = refused
    else
      local repeats = math.min(count, last - first + 1)
      if repeats > 0 then
        answers[#answers + 1] = int(run)
        answers[#answers + 1] = 'repeat'
        answers[#answers + 1] = int(repeats)
        for seq = first, first + repeats - 1 do
          answers[#answers + 1] = recorded(pieces, key, starts, floor, seq)
        end
      end
      if repeats < count then
        if repeats > 0 then
          lines = above(lines, last)
        end
        local start = int(last + 1)
        local piece = key .. ' ' .. start
        pieces[piece] = lines
        written[#written + 1] = piece
        written[#written + 1] = lines
        starts = starts .. ' ' .. start
        last = first + count - 1
        floor = math.max(floor, math.min(settled, last))
        begun = true
      end
    end
    at = at + 6
    run = run + 1
  end
  starts = settle(key, starts, last, floor, dropped)
  written[#written + 1] = key
  written[#written + 1] = writeRecord(epoch, last, floor, starts)
  used[#used + 1] = now
  used[#used + 1] = key
  touched[key] = true
end
if #answers > 1 then
  return answers
end

-- The base against the head.
local atI, atV, atR = '', '0', ''
if row then
  atI, atV, atR = row.i, row.v, row.r
end
if atI ~= baseI or atV ~= baseV or atR ~= baseR then
  local missed = nil
  local base = tonumber(baseV)
  if row and atI == baseI and row.version > base then
    missed = entriesAfter(row, base)
    if missed and baseOf(missed[1]) ~= baseR then
      missed = nil
    end
  end
  return { 'conflict', atI, atV, atR, missed and '1' or '', missed or {} }
end

-- What is demanded of locks.
if demands > 0 then
  local unmet, time = { 'locked' }, redisTime()
  for demand = 0, demands - 1 do
    local lock = readLock(KEYS[6], ARGV[firstDemand + 2 * demand], time)
    if (lock and lock.token or '') ~= ARGV[firstDemand + 2 * demand + 1] then
      unmet[#unmet + 1] = int(demand)
    end
  end
  if #unmet > 1 then
    return unmet
  end
end

-- The row after it.
local created = not row or row.version == 0
local unchanged = headI == baseI and headV == baseV and headR == baseR
local after = nil
if remove or (unchanged and not row) then
  after = { c = '0', sv = 0, ss = 0, fv = 1, ls = 0, sl = 0, d = '0', x = '' }
elseif not unchanged then
  local size = tonumber(ARGV[15])
  local before = row
  if created then
    before = { c = now, sv = 0, ss = 0, fv = 1, ls = 0, sl = 0, x = '' }
  end
  after = {
    c = before.c, sv = before.sv, ss = before.ss, fv = before.fv, ls = before.ls + size, sl = before.sl + size, d = ARGV[25], x = before.x,
  }
  if snapshot ~= '' then
    after.sv, after.ss, after.sl = tonumber(headV), tonumber(ARGV[14]), 0
  end
end

-- What leaves the log, and which old records go.
local trim = 0
if entries > 0 then
  local before, soft, hard, most = tonumber(ARGV[16]), tonumber(ARGV[17]), tonumber(ARGV[18]), tonumber(ARGV[19])
  local kept = created and 0 or logged
  local size, length = after.ls, tonumber(headV) - after.fv + 1
  local limit = math.min(tonumber(ARGV[20]), after.sv - after.fv + 1)
  while trim < limit do
    local large, hardly, long = size > math.max(soft, after.ss), size > hard, most > 0 and length > most
    if not hardly and not long and (not large or tonumber(after.c) >= before) then
      break
    end
    local item = trim < kept and call('LINDEX', KEYS[3], trim) or ARGV[firstEntry + trim - kept]
    local itemSize, committedAt = string.match(item, '^(%d+) %S* %[([%d.eE+-]+)')
    if not hardly and not long and tonumber(committedAt) >= before then
      break
    end
    trim = trim + 1
    size = size - tonumber(itemSize)
    length = length - 1
  end
  after.fv = after.fv + trim
  after.ls = size
end
local old = {}
local most = tonumber(ARGV[4])
for _, key in ipairs(call('ZRANGEBYSCORE', KEYS[5], '-inf', '(' .. ARGV[3], 'LIMIT', 0, most + streams)) do
  if not touched[key] and #old < most then
    old[#old + 1] = key
    local record = call('HGET', KEYS[4], key)
    for start in string.gmatch(record and select(4, readRecord(record)) or '', '%d+') do
      dropped[#dropped + 1] = key .. ' ' .. start
    end
  end
end

-- Writes. The first one is refused when Redis is out of memory, and with it all others; only a delete is let through then.
if remove then
  call('DEL', KEYS[2], KEYS[3])
end
for from = firstEntry, firstEntry + entries - 1, 1000 do
  call('RPUSH', KEYS[3], unpack(ARGV, from, math.min(from + 999, firstEntry + entries - 1)))
end
if after then
  call('HSET', KEYS[1], 'i', headI, 'v', headV, 'r', headR, 'c', after.c, 'u', now, 'b', ARGV[11],
    'sv', after.sv, 'ss', after.ss, 'fv', after.fv, 'ls', after.ls, 'sl', after.sl, 'd', after.d, 'x', after.x)
end
if streams > 0 then
  for from = 1, #written, 1000 do
    call('HSET', KEYS[4], unpack(written, from, math.min(from + 999, #written)))
  end
  for from = 1, #used, 1000 do
    call('ZADD', KEYS[5], unpack(used, from, math.min(from + 999, #used)))
  end
end
if after and created and logged > 0 and not remove then
  -- Left over from a life that ended without a delete.
  call('LTRIM', KEYS[3], logged, -1)
  if entries == 0 then
    call('DEL', KEYS[2])
  end
end
if snapshot ~= '' then
  call('SET', KEYS[2], snapshot)
end
if trim > 0 then
  call('LTRIM', KEYS[3], trim, -1)
end
for from = 1, #dropped, 1000 do
  call('HDEL', KEYS[4], unpack(dropped, from, math.min(from + 999, #dropped)))
end
if #old > 0 then
  call('HDEL', KEYS[4], unpack(old))
  call('ZREM', KEYS[5], unpack(old))
end
if headV == '0' then
  for _, key in ipairs({ KEYS[1], KEYS[4], KEYS[5] }) do
    call('PEXPIRE', key, ARGV[2])
  end
elseif created then
  for _, key in ipairs({ KEYS[1], KEYS[4], KEYS[5] }) do
    call('PERSIST', key)
  end
end
if message ~= '' then
  call('SPUBLISH', ARGV[21], message)
end
return { 'committed', logged == 0 and '1' or '' }
`,
)
