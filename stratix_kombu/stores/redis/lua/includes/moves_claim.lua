--- @include expect

-- A claim refused by a limit: the job is delayed to its slot, and remembers that it has one.
local function delay_limited(queue, id, name, slot, spread)
  ticks = ticks + 1
  redis.call('ZADD', queue_key(queue, 'delayed'), slot * 1000 + ticks % 1000, id)
  expect(queue, 'delayed', slot)
  redis.call('HSET', job_key(id), 'state', 'delayed', 'due', slot)
  if spread then
    redis.call('HSET', job_key(id), 'reserved', 1)
  else
    redis.call('HDEL', job_key(id), 'reserved')
  end
  tell(queue, 'delayed', id, name, string.format('%.0f', slot))
end
