-- Stands before the scripts of the address allocator. KEYS[3] ipam, a hash of one VNI, [4] who was heard
-- when; ARGV[4] the owner.
-- "a:HEX" -> "node owner" (taken); "r:HEX" -> "until owner" (released, at rest until then, ms);
-- "o:OWNER" -> "subnet=HEX ..." (what an owner has, or had last). HEX is the whole address: overlapping subnets agree.
local IPAM, OWNER = KEYS[3], ARGV[4]

local function taken_by(value)
  return string.match(value or '', '^(%S+) (.+)$')
end

local function rests_for(value)
  local ends, owner = string.match(value or '', '^(%d+) (.+)$')
  return tonumber(ends) or 0, owner
end

local function addresses_of(owner)
  local list = {}
  for subnet, hex in string.gmatch(redis.call('HGET', IPAM, 'o:' .. owner) or '', '(%S+)=(%x+)') do
    list[#list + 1] = {subnet, hex}
  end
  return list
end

-- The owner's addresses without this one, and then with it if a subnet is given.
local function note(owner, hex, subnet)
  local words = {}
  for _, pair in ipairs(addresses_of(owner)) do
    if pair[2] ~= hex then words[#words + 1] = pair[1] .. '=' .. pair[2] end
  end
  if subnet then words[#words + 1] = subnet .. '=' .. hex end
  if #words == 0 then redis.call('HDEL', IPAM, 'o:' .. owner)
  else redis.call('HSET', IPAM, 'o:' .. owner, table.concat(words, ' ')) end
end

-- Give an address to the caller's owner, whoever had it before.
local function take(subnet, hex)
  local _, holder = taken_by(redis.call('HGET', IPAM, 'a:' .. hex))
  local _, rested = rests_for(redis.call('HGET', IPAM, 'r:' .. hex))
  for _, other in ipairs({holder or OWNER, rested or OWNER}) do
    if other ~= OWNER then note(other, hex) end
  end
  note(OWNER, hex, subnet)
  redis.call('HDEL', IPAM, 'r:' .. hex)
  redis.call('HSET', IPAM, 'a:' .. hex, NAME .. ' ' .. OWNER)
end
