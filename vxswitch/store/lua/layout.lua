-- Note into how many buckets the cluster's VNIs are divided, or find that it was noted otherwise. KEYS[3] vnis, ARGV[4]
-- the number. Returns the number that stands; a store that cannot be written now is told by the heartbeat.
local found = redis.pcall('HGET', KEYS[3], 'buckets')
if type(found) == 'string' then return found end
if not found then redis.pcall('HSET', KEYS[3], 'buckets', ARGV[4]) end
return ARGV[4]
