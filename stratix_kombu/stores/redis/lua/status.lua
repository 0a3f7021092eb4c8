-- Counts of a queue at one instant.
-- KEYS[1] '{namespace}'; ARGV[1] queue
-- Returns {paused, waiting, active, delayed, blocked, completed, failed, workers, age of the oldest waiting or -1, how long
--   the first delayed one has been due}
--- @again
--- @include base
--- @include present
--- @include place

local queue = ARGV[1]
local waiting, oldest = 0, nil

-- Of a set, and of the first job that has a score between these, since when it waits.
local function look(set, from, to)
  local first = redis.call('ZRANGEBYSCORE', queue_key(queue, set), from, to, 'LIMIT', 0, 1)[1]
  local v = first and read(first, 'waiting', 'created')
  local since = v and num(v[1] or v[2])
  oldest = since and math.min(oldest or since, since) or oldest
  return first
end

for _, set in ipairs({ 'order', 'aside' }) do
  local size = redis.call('ZCARD', queue_key(queue, set))
  waiting = waiting + size
  for priority = 0, size > 0 and 9 or -1 do
    look(set, string.format('%.0f', priority * SPAN), string.format('(%.0f', (priority + 1) * SPAN))
  end
end
for priority = 0, 9 do
  if look('waiting:' .. priority, '-inf', '+inf') then
    waiting = waiting + redis.call('ZCARD', queue_key(queue, 'waiting:' .. priority))
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
  oldest and math.max(now - oldest, 0) or -1,
  due and math.max(now - math.floor(tonumber(due) / 1000), 0) or 0,
}
