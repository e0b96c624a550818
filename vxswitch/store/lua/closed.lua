-- Stands before the scripts that know of losses: until when (ms since 1970) no new network may be made, 0 = one may.
-- The mark is a field of vnis. What somebody else wrote there keeps nobody waiting for long.
local LONGEST_MS = 600000

local function closed_until(vnis)
  local at = tonumber(redis.call('HGET', vnis, 'closed') or '') or 0
  return at > NOW and at < NOW + LONGEST_MS and at or 0
end
