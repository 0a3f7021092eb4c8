-- The jobs a job depends on, without gates, a page at a time.
-- KEYS[1] '{namespace}'; ARGV[1] job; ARGV[2] cursor, first '0'; ARGV[3] about how many
-- Returns {cursor, then per dependency: id, state or '', 1 if there is a result (and 2 more if another job has the id by
--   now), result}; the cursor is '0' after the last page
--- @again
--- @include base
--- @include graph

local found = {}
local function add(id, state, result, other)
  found[#found + 1] = id
  found[#found + 1] = state
  found[#found + 1] = (result and 1 or 0) + (other and 2 or 0)
  found[#found + 1] = result or ''
end
local page = redis.call('HSCAN', job_key(ARGV[1]) .. ':dependencies', ARGV[2], 'COUNT', ARGV[3])
local edges = page[2]
for i = 1, #edges, 2 do
  local id, number = edges[i], (read_edge(edges[i + 1]))
  local v = read(id, F.state, F.result, F.number, F.kind)
  local other = v[1] and num(v[3], 0) ~= number
  if other then
    v = redis.call('HMGET', P .. ':outcome:' .. incarnation(id, number), F.state, F.result)
  elseif not v[1] then
    v = redis.call('HMGET', P .. ':outcome:' .. place_of(id, number), F.state, F.result, F.number, F.kind)
  end
  if v[4] ~= 'gate' then
    local there = v[1] and v[1] ~= 'removed'
    add(id, there and v[1] or '', v[1] == 'completed' and v[2] or nil, other)
  end
end
return { page[1], found }
