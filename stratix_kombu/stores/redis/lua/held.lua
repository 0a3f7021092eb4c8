-- What a worker holds on a queue.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] worker
-- Returns id, token, id, ...
--- @include base

local found = {}
for _, id in ipairs(redis.call('ZRANGE', queue_key(ARGV[1], 'active'), 0, -1)) do
  local v = read(id, 'worker', 'token')
  if v[1] == ARGV[2] then
    found[#found + 1] = id
    found[#found + 1] = v[2]
  end
end
return found
