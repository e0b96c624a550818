-- Stands before the scripts that tell how the leases stand.
local PRUNE_MS = 86400000

-- Ms left to each of `count` nodes whose names begin at ARGV[at]; -1: none. What lasts for a day is no lease.
local function ask(count, at)
  local left = {}
  for i = 1, count do
    local ends = lease_end(ARGV[at + i - 1])
    left[i] = ends > NOW and ends - NOW < PRUNE_MS and ends - NOW or -1
  end
  return left
end

-- The nodes whose lease ran out in the time of the last ten, the latest first.
local function lapsed_lately(lease_ms)
  return redis.call('ZREVRANGEBYSCORE', LEASE, integer(NOW), integer(NOW - 10 * lease_ms), 'LIMIT', 0, 256)
end
