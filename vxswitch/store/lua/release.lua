-- Give MACs back: compare and delete. ARGV[4] gen, then mac and rev of each; rev 0 = whatever it is now.
-- A row goes only if it is this node's (the fence proves that no newer start of the node lives) and has that rev.
-- A MAC that another node has by now: the move was orderly, so it does not count as contested.
local function forget_contest(mac)
  local moves = redis.call('HGET', MOVES, mac)
  if not moves or string.match(moves, '^frozen:') then return end
  local others = {}
  for at, uid in string.gmatch(moves, '(%d+):(%S+)') do
    if uid ~= UID then others[#others + 1] = at .. ':' .. uid end
  end
  if #others == 0 then redis.call('HDEL', MOVES, mac)
  else redis.call('HSET', MOVES, mac, table.concat(others, ' ')) end
end

if fence() == 'fenced' then return {'fenced', 0} end
open(ARGV[4])
local before = rev
for i = 5, #ARGV, 2 do
  local text = redis.call('HGET', FDB, ARGV[i])
  local row = parse(text)
  if row and row.node == NAME then
    if ARGV[i + 1] == '0' or ARGV[i + 1] == row.rev then drop_row(ARGV[i], text, NAME, 'released') end
  elseif row then
    forget_contest(ARGV[i])
  end
end
if rev ~= before then commit() end
return {'', rev - before}
