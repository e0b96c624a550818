-- No longer be a VTEP of this VNI: rows first, up to ARGV[6] a call, then the membership. KEYS[8] the set of VNIs that
-- this node joined. ARGV[4] gen, [5] VNI. Returns {refused or '', 1 when done}.
local refused = fence()
if refused == 'fenced' then return {refused, 1} end
open(ARGV[4])
local before = rev
local done = drop_rows_of(NAME, tonumber(ARGV[6]))
if done then
  drop_member(NAME)
  redis.pcall('SREM', KEYS[8], ARGV[5])
end
if rev ~= before then commit() end
return {'', done and 1 or 0}
