-- The lowest free host address of a subnet; what the owner has, or had last and nobody took since, comes first.
-- ARGV[5] subnet, [6] the address's leading hex digits, [7] and [8] the first and last host as its low 32 bits,
-- [9] grace ms, [10] quarantine ms. Returns {hex} or {} if the subnet is full.
local subnet, prefix, first, last, grace = ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local QUARANTINE = tonumber(ARGV[10])
local CHUNK = 64

local function had_before()
  for _, pair in ipairs(addresses_of(OWNER)) do
    local value = redis.call('HGET', IPAM, 'a:' .. pair[2])
    local _, holder = taken_by(value)
    if pair[1] == subnet and (not value or holder == OWNER) then return pair[2] end
  end
  return nil
end

-- The lowest address for which is_free(value of a:, value of r:) holds.
local function lowest(is_free)
  for from = first, last, CHUNK do
    local fields, hexes = {}, {}
    for n = from, math.min(from + CHUNK - 1, last) do
      local hex = prefix .. string.format('%08x', n)
      hexes[#hexes + 1] = hex
      fields[#fields + 1] = 'a:' .. hex
      fields[#fields + 1] = 'r:' .. hex
    end
    local values = redis.call('HMGET', IPAM, unpack(fields))
    for i, hex in ipairs(hexes) do
      if is_free(values[2 * i - 1], values[2 * i]) then return hex end
    end
  end
  return nil
end

-- What rests for longer than the quarantine was put there before the clock went back.
local function untouched(taken, resting)
  local ends = rests_for(resting)
  return not taken and (ends <= NOW or ends > NOW + QUARANTINE)
end

-- Only when nothing else is left: what belongs to a node that has been dead for the grace period.
local function abandoned(taken, resting)
  local node = taken_by(taken)
  return taken and (not node or is_dead(node, grace, KEYS[4]))
end

local hex = had_before() or lowest(untouched) or lowest(abandoned)
if not hex then return {} end
take(subnet, hex)
return {hex}
