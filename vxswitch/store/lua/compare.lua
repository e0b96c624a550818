-- Stands before the scripts that compare tables. For each VNI two keys, meta and log, and three arguments: the gen, rev
-- and digest of its reader.
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

-- For `count` VNIs, whose keys begin at KEYS[key] and their arguments at ARGV[at]: '' if reader and store are of one
-- history, else what differs.
local function compare_all(count, key, at)
  local verdicts = {}
  for _ = 1, count do
    local ok, verdict = pcall(history, KEYS[key], KEYS[key + 1], ARGV[at], ARGV[at + 1], ARGV[at + 2])
    verdicts[#verdicts + 1] = ok and verdict or 'poison'
    key, at = key + 2, at + 3
  end
  return verdicts
end
