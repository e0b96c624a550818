-- An address asked for by name: quarantine is no obstacle, only another owner on a live node is.
-- ARGV[5] subnet, [6] hex. Returns '' or the other owner and its node.
local node, holder = taken_by(redis.call('HGET', IPAM, 'a:' .. ARGV[6]))
if holder and holder ~= OWNER and lease_end(node) > NOW then return holder .. ' on ' .. node end
take(ARGV[5], ARGV[6])
return ''
