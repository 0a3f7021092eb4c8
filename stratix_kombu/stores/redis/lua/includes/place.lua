-- The order of a queue's waiting jobs ('order', and 'aside' for those that are set aside): the score is made of priority and
-- place. Jobs of an earlier release stand before the others, see old.lua.
local SPAN, MIDDLE = 2 ^ 44, 2 ^ 43

local function score_of(prio, place)
  return prio * SPAN + MIDDLE + place
end

-- The place of a group's next job: after its last one, and no earlier than after the one that was taken last.
local function place_in_group(queue, prio, group)
  local groups = queue_key(queue, 'groups:' .. prio)
  local started = redis.call('ZSCORE', queue_key(queue, 'starts'), prio)
  started = started and tonumber(started) - score_of(prio, 0) or 0
  local place = math.max(started, tonumber(redis.call('ZSCORE', groups, group) or 0)) + 1
  redis.call('ZADD', groups, place, group)
  local over = redis.call('ZRANGEBYSCORE', groups, '-inf', started, 'LIMIT', 0, 10)
  if over[1] then
    redis.call('ZREM', groups, unpack(over))
  end
  return place
end

-- The score of the next job of that priority.
local function next_score(queue, prio, group)
  if group then
    return score_of(prio, place_in_group(queue, prio, group))
  end
  return score_of(prio, redis.call('HINCRBY', queue_key(queue, 'meta'), 'last:' .. prio, 1))
end
