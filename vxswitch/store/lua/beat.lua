-- One heartbeat: register or renew, ask about other nodes' leases, compare tables, tell how far the own ones have come.
-- KEYS[3] who was heard when, [4] the stream that tells of a loss, [5] vnis; meta and log of each VNI to compare, in turn;
-- meta and acks of each VNI whose rev is told. ARGV[4] vteps, [5] version, [6] lease ms, [7] for how long (ms) nodes may
-- come back after a loss, 0 from one that was never registered; then four lists, each after its length: names to ask
-- about; names that have no lease and are heard; gen, rev, digest of each VNI to compare; gen and rev of each VNI whose
-- rev is told.
-- Returns {status, epoch or detail, ms left of each name (-1: none), names whose lease ran out lately, verdict of
-- each VNI, the time in ms since 1970}.

-- Who was registered and is not: data are lost. The first one to find that tells all readers; and until all others
-- have come back no new network is made, for it might get the VNI of one that is there.
local function note_loss()
  if ARGV[7] == '0' or closed_until(KEYS[5]) > 0 then return end
  redis.call('HSET', KEYS[5], 'closed', integer(NOW + ARGV[7]))
  redis.call('XADD', KEYS[4], 'MAXLEN', 1, '*', 'w', '1')
end

local function register()
  local epoch, uid = registered(NAME)
  local live = lease_end(NAME) > NOW
  if not uid then note_loss() end
  if uid and uid ~= UID and live then
    return 'taken', string.match(redis.call('HGET', NODES, NAME), '^1 %d+ %S+ %S+ %S+ %S+')
  end
  if uid == UID and epoch > EPOCH and live then return 'fenced', integer(epoch) end
  local status = live and uid == UID and epoch == EPOCH and 'renewed' or 'registered'
  if status == 'registered' and uid == UID and epoch >= EPOCH then EPOCH = epoch + 1 end
  local record = table.concat({'1', integer(EPOCH), UID, NAME, ARGV[4], ARGV[5], ARGV[6]}, ' ')
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

-- No lease lasts longer than its owner said when it took it; one that does was taken before the clock went back, and
-- its owner may be dead. From now on it has what is left of a whole one at most.
local function shorten()
  for _, name in ipairs(redis.call('ZREVRANGEBYSCORE', LEASE, '+inf', integer(NOW + ARGV[6] + 1), 'LIMIT', 0, 16)) do
    local length = string.match(redis.call('HGET', NODES, name) or '', '^1 %d+ %S+ %S+ %S+ %S+ (%d+)$') or ARGV[6]
    if lease_end(name) > NOW + length then redis.call('ZADD', LEASE, integer(NOW + length), name) end
  end
end

-- What these nodes have is not to be deleted. Who has been heard no more for a day is forgotten.
local function hear(count, at)
  if count == 0 then return end
  for i = at, at + count - 1 do
    if lease_end(ARGV[i]) <= NOW then redis.call('ZADD', KEYS[3], integer(NOW), ARGV[i]) end
  end
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', integer(NOW - PRUNE_MS), 'LIMIT', 0, 16)) do
    redis.call('ZREM', KEYS[3], name)
  end
end

-- A rev of another gen says nothing. Keys of a wrong type are found by others.
local function tell(count, key, at)
  for _ = 1, count do
    if redis.pcall('HGET', KEYS[key], 'gen') == ARGV[at] then redis.pcall('HSET', KEYS[key + 1], NAME, ARGV[at + 1]) end
    key, at = key + 2, at + 2
  end
end

shorten()
local status, detail = register()
prune()
local names = tonumber(ARGV[8])
local heard = tonumber(ARGV[9 + names])
local compared = tonumber(ARGV[10 + names + heard])
local told = tonumber(ARGV[11 + names + heard + 3 * compared])
local left = ask(names, 9)
if status == 'renewed' then hear(heard, 10 + names) end
local lapsed = lapsed_lately(ARGV[6])
if status == 'renewed' then tell(told, 6 + 2 * compared, 12 + names + heard + 3 * compared) end
return {status, detail, left, lapsed, compare_all(compared, 6, 11 + names + heard), NOW}
