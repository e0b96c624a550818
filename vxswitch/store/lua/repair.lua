-- Make a VNI consistent again after something else wrote into its keys. ARGV[4] gen, [5] and [6] numbers, so many MACs,
-- so many members and then names with groups whose entries the caller found to make no sense, and which go, too.
-- Wrong types, rows, members and groups that do not parse, a digest or log that does not follow: they go, and a new gen
-- tells every owner to claim again. Nothing wrong: nothing changes. Returns how much was wrong.
local GROUPS_BYTES, wrong = 40960, 0

local function want_type(key, kind)
  local found = redis.call('TYPE', key)['ok']
  if found ~= kind and found ~= 'none' then
    redis.call('DEL', key)
    wrong = wrong + 1
  end
end

local function sum_up(key, kind, is_good)
  local cursor, bad = '0', {}
  repeat
    local page = redis.call('HSCAN', key, cursor, 'COUNT', 512)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      if is_good(page[2][i], page[2][i + 1]) then toggle(kind, page[2][i], page[2][i + 1])
      else bad[#bad + 1] = page[2][i] end
    end
  until cursor == '0'
  for _, field in ipairs(bad) do redis.call('HDEL', key, field) end
  wrong = wrong + #bad
end

local function is_row(mac, text)
  return #mac == 17 and string.match(mac, '^[%x:]+$') and parse(text) ~= nil
end

local function is_member(name, text)
  local _, node = string.match(text, '^1 %d+ (%S+) (%S+) %S+ %S+$')
  return #text <= ROW_BYTES and node == name
end

local function is_groups(name, text)
  return #text <= GROUPS_BYTES and string.match(text, '^[%x.:,]+$') and redis.call('HEXISTS', MEMBERS, name) == 1
end

-- The digest as stored; nil if the meta record does not hold, which then goes.
local function read_meta()
  local ok, why = pcall(open, ARGV[4])
  if ok then return digest() end
  why = type(why) == 'table' and why['err'] or tostring(why)
  if string.find(why, 'VXSCHEMA', 1, true) then error(why) end
  redis.call('DEL', META)
  wrong, rev = wrong + 1, 0
  return nil
end

for i, kind in ipairs({'hash', 'zset', 'hash', 'hash', 'stream', 'hash', 'hash', 'hash', 'hash'}) do want_type(KEYS[i], kind) end
if redis.call('EXISTS', META) == 0 and wrong == 0 then return 0 end
local stored = read_meta()
for i = 7, #ARGV do
  local key = i < 7 + ARGV[5] and FDB or i < 7 + ARGV[5] + ARGV[6] and MEMBERS or GROUPS
  wrong = wrong + redis.call('HDEL', key, ARGV[i])
end
high, low = 0, 0
sum_up(FDB, 'r', is_row)
sum_up(MEMBERS, 'm', is_member)
sum_up(GROUPS, 'g', is_groups)
local last = redis.call('XREVRANGE', LOG, '+', '-', 'COUNT', 1)[1]
local logged = tonumber(string.match(last and last[1] or '0-1', '^(%d+)-1$') or '')
if wrong == 0 and stored == digest() and logged == rev then return 0 end
gen = ARGV[4]
if logged and logged > rev and logged < rev + LOG_LENGTH then rev = logged end
redis.call('DEL', LOG)
log('reset', '', '', wrong .. ' entries made no sense')
commit()
return wrong + 1
