-- Since when jobs of a queue wait: of each priority the first one in order, the first that is set aside, and the native one
-- that was dispatched first.
--- @include place

local function since_of(id)
  local v = read(id, F.waiting_ms, F.created_ms)
  return num(v[1] or v[2])
end

local NATIVE = { 'waiting:0', 'waiting:1', 'waiting:2', 'waiting:3', 'waiting:4', 'waiting:5', 'waiting:6', 'waiting:7',
  'waiting:8', 'waiting:9' }

local function oldest_in(queue)
  local oldest, base, natives = math.huge, queue_key(queue, ''), {}
  local order, aside = base .. 'order', base .. 'aside'
  for i, name in ipairs(NATIVE) do
    natives[i] = base .. name
  end
  if redis.call('EXISTS', order, aside, unpack(natives)) == 0 then
    return nil -- as in most of many queues
  end
  for _, key in ipairs({ order, aside }) do
    local from = '-inf'
    while from do -- one priority after the other
      local first = redis.call('ZRANGEBYSCORE', key, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
      from = first[2] and string.format('%.0f', (math.floor(tonumber(first[2]) / SPAN) + 1) * SPAN)
      oldest = first[1] and math.min(oldest, since_of(first[1]) or oldest) or oldest
    end
  end
  for priority = 0, redis.call('EXISTS', unpack(natives)) > 0 and 9 or -1 do
    local first = redis.call('ZRANGE', natives[priority + 1], 0, 0)[1]
    oldest = first and math.min(oldest, since_of(first) or oldest) or oldest
  end
  return oldest < math.huge and oldest or nil
end
