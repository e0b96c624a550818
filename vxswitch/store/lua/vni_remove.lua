-- Remove the keys of a VNI whose network's record is in another bucket. KEYS[3] who was heard when, [4] members, [5..]
-- the VNI's other keys. ARGV[4] grace ms: a member that has been dead for so long does not stand in the way.
-- Returns {'removed' | 'busy', the member}.
for _, member in ipairs(redis.call('HKEYS', KEYS[4])) do
  if member ~= NAME and not is_dead(member, ARGV[4], KEYS[3]) then return {'busy', member} end
end
for i = 4, #KEYS do redis.call('UNLINK', KEYS[i]) end
return {'removed', ''}
