-- Take the own lease back and say so in every joined VNI. KEYS[3..]: meta and log of each.
local function say(meta_key, log_key)
  local meta = redis.call('HMGET', meta_key, 'rev', 'digest')
  if not meta[1] then return end
  local rev = integer(meta[1] + 1)
  redis.call('XADD', log_key, 'MAXLEN', '~', 4096, rev .. '-1', 'op', 'lapse', 'key', NAME, 'val', '', 'dig', meta[2],
    'at', SINCE, 'why', '')
  redis.call('HSET', meta_key, 'rev', rev)
end

if fence() == 'fenced' then return 0 end
redis.call('ZADD', LEASE, integer(NOW), NAME)
for i = 3, #KEYS, 2 do pcall(say, KEYS[i], KEYS[i + 1]) end
return 1
