-- Claim up to 64 MACs of one VNI, in order.
-- ARGV[4] gen, [5] vteps, [6] row limit, [7] hold-down ms, [8] contested window ms, [9] contested moves to freeze,
-- [10] freeze ms, then mac, evidence, ips, flags of each. Returns {refused or '', row or ''} of each.
local VTEPS, LIMIT, HOLD, WINDOW, MOVES_TO_FREEZE, FREEZE =
  ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])

local function lives(row)
  local _, uid = registered(row.node)
  return uid == row.uid and lease_end(row.node) > NOW
end

-- Times that cannot be, seen from now, were noted before the clock went back, and bind nobody.
local function is_frozen(moves)
  local thaws = tonumber(string.match(moves or '', '^frozen:(%d+)$'))
  return thaws and thaws > NOW and thaws <= NOW + FREEZE
end

local function moved_lately(row)
  local age = NOW - math.floor(row.since * 1000)
  return age >= 0 and age < HOLD
end

-- Note that the MAC was taken from a live node; true if that freezes it.
local function contested(mac, moves, loser)
  local recent = {}
  for at, uid in string.gmatch(moves or '', '(%d+):(%S+)') do
    if tonumber(at) > NOW - WINDOW and tonumber(at) <= NOW then recent[#recent + 1] = at .. ':' .. uid end
  end
  recent[#recent + 1] = integer(NOW) .. ':' .. loser
  if #recent < MOVES_TO_FREEZE then
    redis.call('HSET', MOVES, mac, table.concat(recent, ' '))
    return false
  end
  redis.call('HSET', MOVES, mac, 'frozen:' .. integer(NOW + FREEZE))
  return true
end

local function with_frozen(flags)
  return flags == '-' and 'frozen' or flags .. ',frozen'
end

-- A row of the caller that begins now.
local function fresh(ips, flags)
  return {since = SINCE, epoch = ARGV[3], uid = UID, node = NAME, vteps = VTEPS, ips = ips, flags = flags}
end

-- The same node again: unchanged is not written, and what is frozen stays so.
local function again(mac, text, row, evidence, ips, flags)
  local why = evidence .. ', again'
  if has_flag(row.flags, 'frozen') then
    if is_frozen(redis.call('HGET', MOVES, mac)) then flags = with_frozen(flags) else why = why .. ', thawed' end
  end
  if row.epoch == ARGV[3] and row.vteps == VTEPS and row.ips == ips and row.flags == flags then return '', text end
  row.epoch, row.vteps, row.ips, row.flags = ARGV[3], VTEPS, ips, flags
  return '', put_row(mac, text, row, why)
end

local function take(mac, text, row, evidence, ips, flags)
  if has_flag(row.flags, 'sticky') then return 'sticky', text end
  local moves = redis.call('HGET', MOVES, mac)
  if is_frozen(moves) then return 'frozen', text end
  local why = evidence .. ', from ' .. row.node
  if lives(row) then
    if evidence == 'reassert' then return 'moved', text end
    if evidence == 'frame' and moved_lately(row) then return 'hold_down', text end
    why = why .. ', contested'
    if contested(mac, moves, row.uid) then
      flags = with_frozen(flags)
      why = why .. ', frozen'
    end
  end
  return '', put_row(mac, text, fresh(ips, flags), why)
end

local function claim(count, mac, evidence, ips, flags)
  local text = redis.call('HGET', FDB, mac)
  local row = parse(text)
  if row and row.node == NAME and row.uid == UID then return again(mac, text, row, evidence, ips, flags) end
  if row then return take(mac, text, row, evidence, ips, flags) end
  if text then error('VXPOISON row') end
  if count() >= LIMIT then return 'full', '' end
  return '', put_row(mac, false, fresh(ips, flags), evidence)
end

local refused, answers = fence(), {}
if refused then
  for i = 11, #ARGV, 4 do answers[#answers + 1] = {refused, redis.call('HGET', FDB, ARGV[i]) or ''} end
  return answers
end
open(ARGV[4])
local before = rev
local function count() return redis.call('HLEN', FDB) end
for i = 11, #ARGV, 4 do
  local why, text = claim(count, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
  answers[#answers + 1] = {why, text}
end
if rev ~= before then commit() end
return answers
