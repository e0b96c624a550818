-- Create a network. KEYS[3] networks (name -> record), KEYS[4] vnis (vni -> name, and 'next' for the allocator).
-- ARGV[4] name, [5] vni (0: allocate), [6] the record with "vni":0 in it, [7] first VNI to allocate, [8] highest VNI.
-- ARGV[9] '1': the caller has had this network before the store lost its data. Any other new one waits until all nodes
-- had the time to say what they have (beat.lua), and one that the store does not know may not have heard of a loss.
-- Returns {'created' | 'exists' | 'vni' | 'none_free' | 'closed' | 'stranger', record, the name that has the VNI, or ms}.
local NETWORKS, VNIS, TRIES = KEYS[3], KEYS[4], 100000
local name, first, highest = ARGV[4], tonumber(ARGV[7]), tonumber(ARGV[8])

-- The name that has a VNI, nil if it is free (an entry whose network is gone counts for nothing).
local function holder(vni)
  local other = redis.call('HGET', VNIS, integer(vni))
  if other and other ~= name and redis.call('HEXISTS', NETWORKS, other) == 1 then return other end
  return nil
end

local function allocate()
  local vni = tonumber(redis.call('HGET', VNIS, 'next') or '') or first
  for _ = 1, TRIES do
    if vni ~= math.floor(vni) or vni < first or vni > highest then vni = first end
    if not holder(vni) then
      redis.call('HSET', VNIS, 'next', integer(vni + 1))
      return vni
    end
    vni = vni + 1
  end
  return nil
end

local existing = redis.call('HGET', NETWORKS, name)
local prefix = '{"name":"' .. name .. '","vni":'
if existing and string.sub(existing, 1, #prefix) == prefix then return {'exists', existing} end
if ARGV[9] ~= '1' then
  local _, uid = registered(NAME)
  if uid ~= UID then return {'stranger', ''} end
  local closed = closed_until(VNIS)
  if closed > 0 then return {'closed', integer(closed - NOW)} end
end
local vni = tonumber(ARGV[5])
if vni == 0 then
  vni = allocate()
  if not vni then return {'none_free', ''} end
elseif holder(vni) then
  return {'vni', holder(vni)}
end
local record = string.gsub(ARGV[6], '"vni":0', '"vni":' .. integer(vni), 1)
redis.call('HSET', NETWORKS, name, record)
redis.call('HSET', VNIS, integer(vni), name)
return {'created', record}
