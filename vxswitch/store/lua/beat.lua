-- One heartbeat: register or renew, ask about other nodes' leases, compare tables.
-- KEYS[3..]: meta and log of each VNI to compare, in turn.
-- ARGV[4] vteps, [5] version, [6] lease ms, [7] number of names, names..., then gen, rev, digest of each VNI.
-- Returns {status, epoch or detail, ms left of each name (-1: none), names whose lease ran out lately, verdict of
-- each VNI}.
local PRUNE_MS = 86400000

local function register()
  local epoch, uid = registered(NAME)
  local live = lease_end(NAME) > NOW
  if uid and uid ~= UID and live then return 'taken', redis.call('HGET', NODES, NAME) end
  if uid == UID and epoch > EPOCH and live then return 'fenced', integer(epoch) end
  local status = live and uid == UID and epoch == EPOCH and 'renewed' or 'registered'
  if status == 'registered' and uid == UID and epoch >= EPOCH then EPOCH = epoch + 1 end
  local record = table.concat({'1', integer(EPOCH), UID, NAME, ARGV[4], ARGV[5]}, ' ')
  if redis.call('HGET', NODES, NAME) ~= record then redis.call('HSET', NODES, NAME, record) end
  redis.call('ZADD', LEASE, integer(NOW + ARGV[6]), NAME)
  return status, integer(EPOCH)
end

-- Nodes gone for a day are forgotten, so that names made up by a scaler do not add up.
local function prune()
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', LEASE, '-inf', integer(NOW - PRUNE_MS), 'LIMIT', 0, 16)) do
    redis.call('ZREM', LEASE, name)
    redis.call('HDEL', NODES, name)
  end
end

local status, detail = register()
prune()
local left = {}
for i = 1, tonumber(ARGV[7]) do
  local ends = lease_end(ARGV[7 + i])
  left[i] = ends > NOW and ends - NOW < PRUNE_MS and ends - NOW or -1
end
local lapsed = redis.call('ZREVRANGEBYSCORE', LEASE, integer(NOW), integer(NOW - 10 * ARGV[6]), 'LIMIT', 0, 256)
return {status, detail, left, lapsed, compare_all(8 + ARGV[7])}
