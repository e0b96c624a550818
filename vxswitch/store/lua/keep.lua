-- Renew the own lease by its key alone: KEYS[1] and KEYS[2] are both the lease. For heartbeats while the keys of a slot are
-- on their way, when no script over several keys runs. Whose name it is was asked by the heartbeat before; nobody can take
-- a name whose lease is live.
-- ARGV[4] lease ms, [5] how many names to ask about, then these.
-- Returns {1 if it was live still, else 0, ms left of each name (-1: none), names whose lease ran out lately, the time in ms}.
local live = lease_end(NAME) > NOW
if live then redis.call('ZADD', LEASE, integer(NOW + ARGV[4]), NAME) end
return {live and 1 or 0, ask(tonumber(ARGV[5]), 6), lapsed_lately(ARGV[4]), NOW}
