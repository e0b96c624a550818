-- Delete rows and membership of a node that has been dead for the grace period, as this server's clock judges, and that
-- nobody has heard since. KEYS[10] the set of VNIs that it joined, [11] who was heard when. ARGV[4] gen, [5] VNI, [6] rows a call, [7] the node, [8] grace ms.
-- Returns 'alive', 'later', 'more' or 'done'.
local DEAD, WHY = ARGV[7], 'dead, says ' .. NAME
if fence() then return 'later' end
local ends = redis.call('ZSCORE', LEASE, DEAD)
if not ends then
  redis.call('ZADD', LEASE, integer(NOW), DEAD)
  return 'later'
end
if tonumber(ends) > NOW then return 'alive' end
if tonumber(redis.call('ZSCORE', KEYS[11], DEAD) or 0) > NOW then -- noted before the clock went back
  redis.call('ZADD', KEYS[11], integer(NOW), DEAD)
end
if not is_dead(DEAD, ARGV[8], KEYS[11]) then return 'later' end
open(ARGV[4])
local before = rev
local done = drop_rows_of(DEAD, tonumber(ARGV[6]), WHY)
if done then
  drop_member(DEAD, WHY)
  redis.pcall('SREM', KEYS[10], ARGV[5])
end
if rev ~= before then commit() end
return done and 'done' or 'more'
