-- Let a frozen MAC move again. ARGV[4] gen, [5] mac. Returns 1 if it was frozen.
if fence() == 'fenced' then return 0 end
open(ARGV[4])
redis.call('HDEL', MOVES, ARGV[5])
local text = redis.call('HGET', FDB, ARGV[5])
local row = parse(text)
if not row or not has_flag(row.flags, 'frozen') then return 0 end
local kept = {}
for flag in string.gmatch(row.flags, '[^,]+') do
  if flag ~= 'frozen' then kept[#kept + 1] = flag end
end
row.flags = #kept > 0 and table.concat(kept, ',') or '-'
put_row(ARGV[5], text, row, 'thawed by hand')
commit()
return 1
