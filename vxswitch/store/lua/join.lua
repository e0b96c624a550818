-- Become a VTEP of this VNI. KEYS[10] the set of VNIs that this node joined. ARGV[4] gen, [5] the node's record, [6] the
-- VNI, [7] the groups that its ports listen to ('' none, '=' those that the store has). Takes a rev for each change.
-- Another record is another start of the node: it has applied nothing yet. Returns {refused or '', rev}.
local refused = fence()
if refused then return {refused, 0} end
open(ARGV[4])
redis.pcall('SADD', KEYS[10], ARGV[6])
local old = redis.call('HGET', MEMBERS, NAME)
if old ~= ARGV[5] then
  if old then toggle('m', NAME, old) end
  toggle('m', NAME, ARGV[5])
  redis.call('HSET', MEMBERS, NAME, ARGV[5])
  redis.call('HDEL', ACKS, NAME)
  log('join', NAME, ARGV[5], 'epoch ' .. ARGV[3])
end
if ARGV[7] ~= '=' then put_groups(NAME, ARGV[7]) end
commit()
return {'', rev}
