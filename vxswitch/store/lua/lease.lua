-- Stands before every script. KEYS[1] nodes (hash name -> record), KEYS[2] lease (zset name -> ms since 1970).
-- ARGV[1..3] are the caller: name, uid, epoch. Time is the server's, so no node's clock matters.
local NODES, LEASE = KEYS[1], KEYS[2]
local NAME, UID, EPOCH = ARGV[1], ARGV[2], tonumber(ARGV[3])
local clock = redis.call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
local SINCE = string.format('%d.%06d', clock[1], clock[2])

local function integer(number)
  return string.format('%.0f', number)
end

-- The epoch and uid that a node is registered with; nil if it is not, or if its record is not one.
local function registered(name)
  local record = redis.call('HGET', NODES, name)
  local epoch, uid = string.match(record or '', '^1 (%d+) (%S+) ')
  return tonumber(epoch), uid
end

-- When the lease of a node ends (ms), 0 if it has none.
local function lease_end(name)
  return tonumber(redis.call('ZSCORE', LEASE, name) or 0) or 0
end

-- Whether a node has had no lease for the grace period (ms), and nobody heard it. heard: zset name -> when (ms).
local function is_dead(name, grace, heard)
  local at = tonumber(redis.call('ZSCORE', heard, name) or 0) or 0
  return math.max(lease_end(name), at) <= NOW - grace
end

-- Why the caller may not write, nil if it may: another start of it or another machine has its name, or its lease
-- has run out.
local function fence()
  local epoch, uid = registered(NAME)
  if uid and (uid ~= UID or epoch > EPOCH) then return 'fenced' end
  if not uid or epoch < EPOCH or lease_end(NAME) <= NOW then return 'no_lease' end
  return nil
end
