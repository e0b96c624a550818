-- Stands before every script that changes one VNI. KEYS[3..9]: meta fdb log members moves groups
-- acks.
-- open(gen) reads gen, rev and digest; each change takes a rev by log(); commit() writes rev and digest back.
-- The digest is the XOR over all rows, members and groups of the first 64 bits of SHA-1(kind .. key .. ' ' .. text).
local META, FDB, LOG, MEMBERS, MOVES, GROUPS, ACKS = KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local LOG_LENGTH, ROW_BYTES = 4096, 2048
local gen, rev, high, low

local function open(fresh_gen)
  local meta = redis.call('HMGET', META, 'gen', 'rev', 'digest', 'schema')
  if not (meta[1] or meta[2] or meta[3] or meta[4]) then
    redis.call('DEL', FDB, LOG, MEMBERS, MOVES, GROUPS, ACKS)
    gen, rev, high, low = fresh_gen, 0, 0, 0
    return
  end
  if meta[4] and meta[4] ~= '1' and string.match(meta[4], '^%d$') then error('VXSCHEMA ' .. meta[4]) end
  if not string.match(meta[1] or '', '^%x+$') or #meta[1] ~= 16 or not string.match(meta[2] or '', '^%d+$')
    or #meta[2] > 15 or not string.match(meta[3] or '', '^%x+$') or #meta[3] ~= 16 then
    error('VXPOISON meta')
  end
  gen, rev = meta[1], tonumber(meta[2])
  high, low = tonumber(string.sub(meta[3], 1, 8), 16), tonumber(string.sub(meta[3], 9), 16)
end

local function digest()
  return bit.tohex(high) .. bit.tohex(low)
end

local function commit()
  redis.call('HSET', META, 'gen', gen, 'rev', integer(rev), 'digest', digest(), 'schema', '1')
end

-- Put an entry into the digest, or take it out: the same operation.
local function toggle(kind, key, text)
  local sum = redis.sha1hex(kind .. key .. ' ' .. text)
  high = bit.bxor(high, tonumber(string.sub(sum, 1, 8), 16))
  low = bit.bxor(low, tonumber(string.sub(sum, 9, 16), 16))
end

-- `value` is for readers, `why` (and the time) for whoever asks for the history.
local function log(op, key, value, why)
  rev = rev + 1
  redis.call('XADD', LOG, 'MAXLEN', '~', LOG_LENGTH, integer(rev) .. '-1', 'op', op, 'key', key, 'val', value,
    'dig', digest(), 'at', SINCE, 'why', why)
end

-- A row as a table, nil if the text is not one. Layout: "1 rev since epoch uid node vteps ips flags".
local function parse(text)
  if not text or #text > ROW_BYTES then return nil end
  local number, since, epoch, uid, node, vteps, ips, flags =
    string.match(text, '^1 (%d+) (%d+%.%d+) (%d+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
  if not number then return nil end
  return {rev = number, since = since, epoch = epoch, uid = uid, node = node, vteps = vteps, ips = ips, flags = flags}
end

local function has_flag(flags, flag)
  return string.find(',' .. flags .. ',', ',' .. flag .. ',', 1, true) ~= nil
end

-- Write a row with the next rev and log it; old is the text that it replaces (or false).
local function put_row(mac, old, row, why)
  local text = table.concat(
    {'1', integer(rev + 1), row.since, row.epoch, row.uid, row.node, row.vteps, row.ips, row.flags}, ' ')
  if old then toggle('r', mac, old) end
  toggle('r', mac, text)
  redis.call('HSET', FDB, mac, text)
  log('claim', mac, text, why)
  return text
end

-- The node that had the row is in the log, too.
local function drop_row(mac, old, node, why)
  toggle('r', mac, old)
  redis.call('HDEL', FDB, mac)
  redis.call('HDEL', MOVES, mac)
  log('withdraw', mac, node, why)
end

-- What is more and what is less in a list "a,b,c", as "+a,-b".
local function difference(old, new)
  local had, changes = {}, {}
  for word in string.gmatch(old, '[^,]+') do had[word] = true end
  for word in string.gmatch(new, '[^,]+') do
    if had[word] then had[word] = nil else changes[#changes + 1] = '+' .. word end
  end
  for word in string.gmatch(old, '[^,]+') do
    if had[word] then changes[#changes + 1] = '-' .. word end
  end
  return table.concat(changes, ',')
end

-- Write the groups of a member ('': none) and log what changed: the list may be long.
local function put_groups(name, text)
  local old = redis.call('HGET', GROUPS, name) or ''
  if text == old then return end
  if old ~= '' then toggle('g', name, old) end
  if text ~= '' then
    toggle('g', name, text)
    redis.call('HSET', GROUPS, name, text)
  else
    redis.call('HDEL', GROUPS, name)
  end
  log('groups', name, difference(old, text), '')
end

local function drop_member(name, why)
  put_groups(name, '')
  redis.call('HDEL', ACKS, name)
  local old = redis.call('HGET', MEMBERS, name)
  if not old then return end
  toggle('m', name, old)
  redis.call('HDEL', MEMBERS, name)
  log('leave', name, '', why)
end

-- Drop up to `limit` rows of a node; true when none is left.
local function drop_rows_of(node, limit, why)
  local cursor, found = '0', {}
  repeat
    local page = redis.call('HSCAN', FDB, cursor, 'COUNT', 512)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      local row = parse(page[2][i + 1])
      if row and row.node == node then found[#found + 1] = {page[2][i], page[2][i + 1]} end
    end
  until cursor == '0' or #found > limit
  for i = 1, math.min(#found, limit) do drop_row(found[i][1], found[i][2], node, why) end
  return #found <= limit
end
