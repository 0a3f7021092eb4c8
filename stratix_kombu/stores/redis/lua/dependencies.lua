-- The jobs a job depends on.
-- KEYS[1] '{namespace}'; ARGV[1] job
-- Returns per dependency: id, state or '', 1 if there is a result, result
--- @include base

local found = {}
local function add(id, state, result)
  found[#found + 1] = id
  found[#found + 1] = state
  found[#found + 1] = result and 1 or 0
  found[#found + 1] = result or ''
end
for _, id in ipairs(redis.call('HKEYS', job_key(ARGV[1]) .. ':dependencies')) do
  local v = read(id, 'state', 'result')
  if not v[1] then
    v = redis.call('HMGET', P .. ':outcome:' .. id, 'state', 'result')
  end
  if v[1] and v[1] ~= 'removed' then
    add(id, v[1], v[1] == 'completed' and v[2] or nil)
  else
    add(id, '')
  end
end
return found
