-- No longer be a VTEP of this VNI: rows first, up to ARGV[6] a call, then the membership. KEYS[10] the set of VNIs that
-- this node joined. ARGV[4] gen, [5] VNI. Returns {refused or '', 1 when done}.
local refused = fence()
if refused == 'fenced' then return {refused, 1} end
open(ARGV[4])
local before = rev
local done = drop_rows_of(NAME, tonumber(ARGV[6]), 'left')
if done then
  drop_member(NAME, 'left')
  redis.pcall('SREM', KEYS[10], ARGV[5])
end
if rev ~= before then commit() end
return {'', done and 1 or 0}
