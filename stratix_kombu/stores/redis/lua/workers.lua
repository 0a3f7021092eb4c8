-- Workers present on a queue.
-- KEYS[1] '{namespace}'; ARGV[1] queue
-- Returns now, id, description, id, ...
--- @include base

local found = { now }
for _, id in ipairs(redis.call('ZRANGEBYSCORE', queue_key(ARGV[1], 'workers'), '(' .. string.format('%.0f', now), '+inf')) do
  found[#found + 1] = id
  found[#found + 1] = redis.call('HGET', queue_key(ARGV[1], 'worker-info'), id) or '{}'
end
return found
