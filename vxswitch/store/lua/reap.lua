-- Delete rows and membership of a node that has been dead for the grace period, as this server's clock judges.
-- KEYS[8] the set of VNIs that it joined. ARGV[4] gen, [5] VNI, [6] rows a call, [7] the node, [8] grace ms.
-- Returns 'alive', 'later', 'more' or 'done'.
local DEAD = ARGV[7]
if fence() then return 'later' end
local ends = redis.call('ZSCORE', LEASE, DEAD)
if not ends then
  redis.call('ZADD', LEASE, integer(NOW), DEAD)
  return 'later'
end
if tonumber(ends) > NOW then return 'alive' end
if tonumber(ends) > NOW - ARGV[8] then return 'later' end
open(ARGV[4])
local before = rev
local done = drop_rows_of(DEAD, tonumber(ARGV[6]))
if done then
  drop_member(DEAD)
  redis.pcall('SREM', KEYS[8], ARGV[5])
end
if rev ~= before then commit() end
return done and 'done' or 'more'
