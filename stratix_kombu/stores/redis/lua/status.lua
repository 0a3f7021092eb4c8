-- Counts of a queue at one instant.
-- KEYS[1] '{namespace}'; ARGV[1] queue
-- Returns {paused, waiting, active, delayed, blocked, completed, failed, workers, age of the oldest waiting or -1, how long
--   the first delayed one has been due}
--- @again
--- @include base
--- @include present

local queue = ARGV[1]
local waiting, oldest = 0, nil
for priority = 0, 9 do
  local first = redis.call('ZRANGE', queue_key(queue, 'waiting:' .. priority), 0, 0, 'WITHSCORES')
  if first[2] then
    waiting = waiting + redis.call('ZCARD', queue_key(queue, 'waiting:' .. priority))
    oldest = math.min(oldest or tonumber(first[2]), tonumber(first[2]))
  end
end
local counts = {}
for i, state in ipairs({ 'active', 'delayed', 'blocked', 'completed', 'failed' }) do
  counts[i] = redis.call('ZCARD', queue_key(queue, state))
end
local due = redis.call('ZRANGE', queue_key(queue, 'delayed'), 0, 0, 'WITHSCORES')[2]
return {
  redis.call('HEXISTS', queue_key(queue, 'meta'), 'paused'), waiting, counts[1], counts[2], counts[3], counts[4],
  counts[5], present_on(queue),
  oldest and math.max(math.floor((now_us - oldest) / 1000), 0) or -1,
  due and math.max(now - math.floor(tonumber(due) / 1000), 0) or 0,
}
