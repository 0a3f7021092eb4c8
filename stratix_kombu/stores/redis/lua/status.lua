-- Counts of a queue at one instant.
-- KEYS[1] '{namespace}'; ARGV[1] queue
-- Returns {paused, waiting, active, delayed, blocked, completed, failed, workers, age of the oldest waiting or -1, how long
--   the first delayed one has been due}
--- @again
--- @include base
--- @include present
--- @include oldest

local queue = ARGV[1]
local oldest = oldest_in(queue)
local waiting = redis.call('ZCARD', queue_key(queue, 'order')) + redis.call('ZCARD', queue_key(queue, 'aside'))
for priority = 0, 9 do
  waiting = waiting + redis.call('ZCARD', queue_key(queue, 'waiting:' .. priority))
end
local counts = {}
for i, state in ipairs({ 'active', 'delayed', 'blocked', 'completed', 'failed' }) do
  counts[i] = redis.call('ZCARD', queue_key(queue, state))
end
local due = redis.call('ZRANGE', queue_key(queue, 'delayed'), 0, 0, 'WITHSCORES')[2]
return {
  redis.call('HEXISTS', queue_key(queue, 'meta'), 'paused'), waiting, counts[1], counts[2], counts[3], counts[4],
  counts[5], present_on(queue),
  oldest and math.max(now - oldest, 0) or -1,
  due and math.max(now - math.floor(tonumber(due) / 1000), 0) or 0,
}
