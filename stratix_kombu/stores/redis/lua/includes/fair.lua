-- Places of jobs that have a group.
-- From which place a job of that priority was taken last. It is kept once there are groups, and begins where the first job
-- waits.
local function last_start(queue, priority)
  local starts = queue_key(queue, 'starts')
  local known = redis.call('ZSCORE', starts, priority)
  if known then
    return tonumber(known) - score_of(priority, 0)
  end
  local first = redis.call('ZRANGEBYSCORE', queue_key(queue, 'order'), priority * SPAN, (priority + 1) * SPAN - 1,
    'WITHSCORES', 'LIMIT', 0, 1)
  local started = first[2] and tonumber(first[2]) - score_of(priority, 0) - 1
    or num(redis.call('HGET', queue_key(queue, 'meta'), 'last:' .. priority), 0)
  redis.call('ZADD', starts, score_of(priority, started), priority)
  redis.call('HSET', queue_key(queue, 'meta'), 'fair', 1)
  return started
end

-- The place of a group's next job: after its last one, and no earlier than after the one that was taken last.
local function place_in_group(queue, priority, group)
  local groups, started = queue_key(queue, 'groups:' .. priority), last_start(queue, priority)
  local place = math.max(started, tonumber(redis.call('ZSCORE', groups, group) or 0)) + 1
  redis.call('ZADD', groups, place, group)
  local over = redis.call('ZRANGEBYSCORE', groups, '-inf', started, 'LIMIT', 0, 10)
  if over[1] then
    redis.call('ZREM', groups, unpack(over))
  end
  return place
end
