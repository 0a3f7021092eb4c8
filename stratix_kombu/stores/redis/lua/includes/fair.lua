-- Places of jobs that have a group.
-- From which place a job of that priority was taken last. It is kept once there are groups, and begins where the first job
-- waits.
local function last_start(queue, prio)
  local starts = queue_key(queue, 'starts')
  local known = redis.call('ZSCORE', starts, prio)
  if known then
    return tonumber(known) - score_of(prio, 0)
  end
  local first = redis.call('ZRANGEBYSCORE', queue_key(queue, 'order'), prio * SPAN, (prio + 1) * SPAN - 1, 'WITHSCORES',
    'LIMIT', 0, 1)
  local started = first[2] and tonumber(first[2]) - score_of(prio, 0) - 1
    or num(redis.call('HGET', queue_key(queue, 'meta'), 'last:' .. prio), 0)
  redis.call('ZADD', starts, score_of(prio, started), prio)
  redis.call('HSET', queue_key(queue, 'meta'), 'fair', 1)
  return started
end

-- The place of a group's next job: after its last one, and no earlier than after the one that was taken last.
local function place_in_group(queue, prio, group)
  local groups, started = queue_key(queue, 'groups:' .. prio), last_start(queue, prio)
  local place = math.max(started, tonumber(redis.call('ZSCORE', groups, group) or 0)) + 1
  redis.call('ZADD', groups, place, group)
  local over = redis.call('ZRANGEBYSCORE', groups, '-inf', started, 'LIMIT', 0, 10)
  if over[1] then
    redis.call('ZREM', groups, unpack(over))
  end
  return place
end
