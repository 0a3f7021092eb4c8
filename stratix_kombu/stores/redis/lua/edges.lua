-- The neighbours of jobs.
-- KEYS[1] '{namespace}'; ARGV[1] page; then ids
-- Returns for the first ones of the jobs, as many as have together so many edges: {ids it depends on, ids that depend on
--   it}; 0 for one that alone has more
--- @include base

local page = tonumber(ARGV[1])
local found, left = {}, page
for i = 2, #ARGV do
  local key = job_key(ARGV[i])
  local edges = redis.call('HLEN', key .. ':dependencies') + redis.call('ZCARD', key .. ':dependents')
  if edges > left and left < page then
    break
  elseif edges > page then
    found[#found + 1] = 0
    break
  end
  found[#found + 1] = { redis.call('HKEYS', key .. ':dependencies'), redis.call('ZRANGE', key .. ':dependents', 0, -1) }
  left = left - edges
end
return found
