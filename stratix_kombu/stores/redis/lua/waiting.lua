-- Of which priorities jobs wait.
-- KEYS[1] '{namespace}'; ARGV[1] queue
-- Returns the priorities, the most urgent first
--- @again
--- @include base

local found = {}
for priority = 0, 9 do
  if redis.call('EXISTS', queue_key(ARGV[1], 'waiting:' .. priority)) == 1 then
    found[#found + 1] = priority
  end
end
return found
