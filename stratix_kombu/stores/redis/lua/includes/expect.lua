-- The queues of the namespace by when the first of their delayed jobs is due ('delayed') and of their leases runs out
-- ('active'), and by when they are to be sent what is owed to them ('opens'), in ms. An entry is never too late. It may be
-- too early, for a job that has gone since; that is fixed when its time comes. So a step of the clock touches the queues
-- that have something due, and no others.
local expected = {}

local function first_key(part)
  return P .. ':first:' .. part
end

local function expect(queue, part, at)
  local id = part .. queue
  if expected[id] and expected[id] <= at then
    return
  end
  expected[id] = at
  if part == 'active' then -- nobody is woken for it
    redis.call('ZADD', first_key(part), 'LT', at, queue)
    return
  end
  local known = tonumber(redis.call('ZSCORE', first_key(part), queue))
  if not known or known > at then
    redis.call('ZADD', first_key(part), at, queue)
    --- @include wake
    wake(at)
  end
end
