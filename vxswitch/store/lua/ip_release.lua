-- All that an owner has goes into quarantine. ARGV[5] quarantine ms. Returns how many.
local count = 0
for _, pair in ipairs(addresses_of(OWNER)) do
  local hex = pair[2]
  local _, holder = taken_by(redis.call('HGET', IPAM, 'a:' .. hex))
  if holder == OWNER then
    redis.call('HDEL', IPAM, 'a:' .. hex)
    redis.call('HSET', IPAM, 'r:' .. hex, integer(NOW + ARGV[5]) .. ' ' .. OWNER)
    count = count + 1
  end
end
return count
