-- The jobs a job depends on, without gates, a page at a time.
-- KEYS[1] '{namespace}'; ARGV[1] job; ARGV[2] cursor, first '0'; ARGV[3] about how many
-- Returns {cursor, then per dependency: id, state or '', 1 if there is a result (and 2 more if another job has the id by
--   now), result, when it finished or ''}; the cursor is '0' after the last page
--- @again
--- @include base
--- @include graph

local found = {}
local function add(id, state, result, other, finished)
  local n = #found
  found[n + 1], found[n + 2], found[n + 3] = id, state, (result and 1 or 0) + (other and 2 or 0)
  found[n + 4], found[n + 5] = result or '', finished or ''
end
local page = redis.call('HSCAN', job_key(ARGV[1]) .. ':dependencies', ARGV[2], 'COUNT', ARGV[3])
local edges = page[2]
for i = 1, #edges, 2 do
  local id, number = edges[i], (read_edge(edges[i + 1]))
  local v = read(id, F.state, F.result, F.number, F.kind, F.finished_ms)
  local other = v[1] and num(v[3], 0) ~= number
  if other then
    v = redis.call('HMGET', P .. ':outcome:' .. incarnation(id, number), F.state, F.result)
  elseif not v[1] then
    v = redis.call('HMGET', P .. ':outcome:' .. place_of(id, number), F.state, F.result, F.number, F.kind)
  end
  if v[4] ~= 'gate' then
    local there = v[1] and v[1] ~= 'removed'
    add(id, there and v[1] or '', v[1] == 'completed' and v[2] or nil, other, v[5])
  end
end
return { page[1], found }
