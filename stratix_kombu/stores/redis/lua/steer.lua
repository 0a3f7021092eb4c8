-- Set a queue's limit or its bound of active jobs for all workers, or hold it.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] queue; ARGV[5] 'limit' | 'most_active' | 'held'; ARGV[6] JSON,
--   a number, or for how many ms; '' takes it away
-- Returns {0, {}, ready}
--- @include base
--- @include send
--- @include moves

local queue, field, value = ARGV[4], ARGV[5], ARGV[6]
local meta = queue_key(queue, 'meta')
if value == '' then
  redis.call('HDEL', meta, field)
elseif field == 'held' then
  redis.call('HSET', meta, field, string.format('%.0f', now + tonumber(value)))
else
  redis.call('HSET', meta, field, value)
end
while field ~= 'held' and redis.call('EXISTS', queue_key(queue, 'crowd')) == 1 do
  let_in(queue)
end
return { 0, {}, ready }
