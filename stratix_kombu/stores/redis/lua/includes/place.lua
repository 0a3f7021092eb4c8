-- The order of a queue's waiting jobs ('order', and 'aside' for those that are set aside): the score is made of priority and
-- place. Jobs of an earlier release stand before the others, see old.lua.
--- @include span

local function score_of(prio, place)
  return prio * SPAN + MIDDLE + place
end

-- The score of the next job of that priority.
local function next_score(queue, prio, group)
  if group then
    --- @include fair
    return score_of(prio, place_in_group(queue, prio, group))
  end
  return score_of(prio, redis.call('HINCRBY', queue_key(queue, 'meta'), 'last:' .. prio, 1))
end
