-- The neighbours of jobs, without gates; an id that another job has by now is left out.
-- KEYS[1] '{namespace}'; ARGV[1] page; then ids
-- Returns for the first ones of the jobs, as many as have together so many edges: {ids it depends on, ids that depend on
--   it}; 0 for one that alone has more
--- @again
--- @include base
--- @include graph

local page = tonumber(ARGV[1])
local found, left = {}, page
for i = 2, #ARGV do
  local key = job_key(ARGV[i])
  local count = redis.call('HLEN', key .. ':dependencies') + redis.call('ZCARD', key .. ':dependents')
  if count > left and left < page then
    break
  elseif count > page then
    found[#found + 1] = 0
    break
  end
  local before, edges = {}, redis.call('HGETALL', key .. ':dependencies')
  for j = 1, #edges, 2 do
    local v = read(edges[j], F.number, F.kind, F.queue)
    if not v[3] or (num(v[1], 0) == read_edge(edges[j + 1]) and v[2] ~= 'gate') then
      before[#before + 1] = edges[j]
    end
  end
  found[#found + 1] = { before, redis.call('ZRANGE', key .. ':dependents', 0, -1) }
  left = left - count
end
return found
