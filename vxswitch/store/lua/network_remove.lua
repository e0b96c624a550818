-- Remove a network and the keys of its VNI. KEYS[3] networks, [4] vnis, [5] who was heard when, [6] members, [7..] the
-- VNI's other keys.
-- ARGV[4] name, [5] vni, [6] the record as the caller read it, [7] grace ms.
-- Without KEYS[6..] the record makes no sense, and only it goes. A member that has been dead for the grace period does
-- not stand in the way.
-- Returns {'removed' | 'changed' | 'busy', the member}.
if redis.call('HGET', KEYS[3], ARGV[4]) ~= ARGV[6] then return {'changed', ''} end
for _, member in ipairs(KEYS[6] and redis.call('HKEYS', KEYS[6]) or {}) do
  if member ~= NAME and not is_dead(member, ARGV[7], KEYS[5]) then return {'busy', member} end
end
redis.call('HDEL', KEYS[3], ARGV[4])
if redis.call('HGET', KEYS[4], ARGV[5]) == ARGV[4] then redis.call('HDEL', KEYS[4], ARGV[5]) end
for i = 6, #KEYS do redis.call('UNLINK', KEYS[i]) end
return {'removed', ''}
