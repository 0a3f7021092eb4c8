-- The order of a queue's waiting jobs ('order', and 'aside' for those that are set aside): the score is made of priority and
-- place. Jobs of an earlier release stand before the others, see old.lua.
--- @include span

local function score_of(priority, place)
  return priority * SPAN + MIDDLE + place
end

-- The score of the next job of that priority.
local function next_score(queue, priority, group)
  if group then
    --- @include fair
    return score_of(priority, place_in_group(queue, priority, group))
  end
  return score_of(priority, redis.call('HINCRBY', queue_key(queue, 'meta'), 'last:' .. priority, 1))
end
