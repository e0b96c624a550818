-- Stands before the scripts that compare tables: KEYS[3..] are meta and log of each VNI, and from ARGV[at] on stand the
-- reader's gen, rev and digest of each.
local function history(meta_key, log_key, gen, rev, digest)
  local meta = redis.call('HMGET', meta_key, 'gen', 'rev', 'digest')
  if meta[1] ~= gen then return 'gen' end
  local stored = tonumber(meta[2] or '') or 0
  if stored < tonumber(rev) then return 'rev' end
  if stored == tonumber(rev) then return meta[3] == digest and '' or 'digest' end
  if rev == '0' then return '' end
  local entry = redis.call('XRANGE', log_key, rev .. '-1', rev .. '-1')[1]
  if not entry then return 'trimmed' end
  return entry[2][8] == digest and '' or 'digest'
end

-- For each VNI '' if reader and store are of one history, else what differs.
local function compare_all(at)
  local verdicts = {}
  for i = 3, #KEYS, 2 do
    local ok, verdict = pcall(history, KEYS[i], KEYS[i + 1], ARGV[at], ARGV[at + 1], ARGV[at + 2])
    verdicts[#verdicts + 1] = ok and verdict or 'poison'
    at = at + 3
  end
  return verdicts
end
