-- What comes first in the index of expect.lua.
--- @include expect

-- The queue that comes first, and when that is.
local function first_queue(part)
  local first = redis.call('ZRANGE', first_key(part), 0, 0, 'WITHSCORES')
  return first[1], tonumber(first[2])
end

-- When the first job of the queue's set comes; the index is made to say so.
local function look_again(queue, part)
  expected[part .. queue] = nil
  local first = redis.call('ZRANGE', queue_key(queue, part), 0, 0, 'WITHSCORES')
  if not first[1] then
    redis.call('ZREM', first_key(part), queue)
    return nil
  end
  local at = part == 'delayed' and math.floor(tonumber(first[2]) / 1000) or tonumber(first[2])
  redis.call('ZADD', first_key(part), at, queue)
  return at
end
