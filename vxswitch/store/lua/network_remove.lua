-- Remove a network and the keys of its VNI. KEYS[3] networks, [4] vnis, [5] members, [6..] the VNI's other keys.
-- ARGV[4] name, [5] vni, [6] the record as the caller read it, [7] grace ms.
-- Without KEYS[5..] the record makes no sense, and only it goes. A member that has been dead for the grace period does
-- not stand in the way.
-- Returns {'removed' | 'changed' | 'busy', the member}.
if redis.call('HGET', KEYS[3], ARGV[4]) ~= ARGV[6] then return {'changed', ''} end
for _, member in ipairs(KEYS[5] and redis.call('HKEYS', KEYS[5]) or {}) do
  if member ~= NAME and lease_end(member) > NOW - ARGV[7] then return {'busy', member} end
end
redis.call('HDEL', KEYS[3], ARGV[4])
if redis.call('HGET', KEYS[4], ARGV[5]) == ARGV[4] then redis.call('HDEL', KEYS[4], ARGV[5]) end
for i = 5, #KEYS do redis.call('UNLINK', KEYS[i]) end
return {'removed', ''}
