-- The neighbours of jobs.
-- KEYS[1] '{namespace}'; ARGV ids
-- Returns per job: {ids it depends on, ids that depend on it}
--- @include base

local found = {}
for i = 1, #ARGV do
  local key = job_key(ARGV[i])
  found[i] = { redis.call('HKEYS', key .. ':dependencies'), redis.call('ZRANGE', key .. ':dependents', 0, -1) }
end
return found
