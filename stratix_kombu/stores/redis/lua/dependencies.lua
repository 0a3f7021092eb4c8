-- The jobs a job depends on, a page at a time.
-- KEYS[1] '{namespace}'; ARGV[1] job; ARGV[2] cursor, first '0'; ARGV[3] about how many
-- Returns {cursor, then per dependency: id, state or '', 1 if there is a result, result}; the cursor is '0' after the last page
--- @include base

local found = {}
local function add(id, state, result)
  found[#found + 1] = id
  found[#found + 1] = state
  found[#found + 1] = result and 1 or 0
  found[#found + 1] = result or ''
end
local page = redis.call('HSCAN', job_key(ARGV[1]) .. ':dependencies', ARGV[2], 'COUNT', ARGV[3])
for i = 1, #page[2], 2 do
  local id = page[2][i]
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
return { page[1], found }
