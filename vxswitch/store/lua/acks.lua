-- How far the members of a VNI with a live lease have come by their own word: {name, rev, name, rev, ...}.
local answer = {}
for _, name in ipairs(redis.call('HKEYS', MEMBERS)) do
  if lease_end(name) > NOW then
    answer[#answer + 1] = name
    answer[#answer + 1] = redis.call('HGET', ACKS, name) or '0'
  end
end
return answer
