-- Become a VTEP of this VNI. KEYS[8] the set of VNIs that this node joined. ARGV[4] gen, [5] the node's record, [6] the
-- VNI. Takes a rev if that changes anything. Returns {refused or '', rev}.
local refused = fence()
if refused then return {refused, 0} end
open(ARGV[4])
redis.pcall('SADD', KEYS[8], ARGV[6])
local old = redis.call('HGET', MEMBERS, NAME)
if old ~= ARGV[5] then
  if old then toggle('m', NAME, old) end
  toggle('m', NAME, ARGV[5])
  redis.call('HSET', MEMBERS, NAME, ARGV[5])
  log('join', NAME, ARGV[5])
end
commit()
return {'', rev}
