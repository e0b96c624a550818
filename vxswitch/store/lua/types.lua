-- Remove keys that something else made of another type. KEYS[1..]: keys, ARGV[1..]: the types they must have.
local wrong = 0
for i, key in ipairs(KEYS) do
  local found = redis.call('TYPE', key)['ok']
  if found ~= ARGV[i] and found ~= 'none' then
    redis.call('DEL', key)
    wrong = wrong + 1
  end
end
return wrong
