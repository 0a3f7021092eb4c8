-- Counts of a queue at one instant: {paused, waiting, active, delayed, blocked, completed, failed, workers, age of the oldest
-- waiting or -1, how long the first delayed one has been due}.
--- @include present
--- @include oldest

local function status_of(queue)
  local oldest = oldest_in(queue)
  local waiting = redis.call('ZCARD', queue_key(queue, 'order')) + redis.call('ZCARD', queue_key(queue, 'aside'))
  local natives = {}
  for priority = 0, 9 do
    natives[priority + 1] = queue_key(queue, 'waiting:' .. priority)
  end
  for priority = 1, redis.call('EXISTS', unpack(natives)) > 0 and 10 or 0 do
    waiting = waiting + redis.call('ZCARD', natives[priority])
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
end
