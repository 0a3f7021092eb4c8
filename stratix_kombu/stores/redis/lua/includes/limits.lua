-- Rate limits (see model/limiter.py): starts are the truth, slots only spread those who come back. A limit is {key, max,
-- spacing, early, ahead}: how far apart starts are, how early a job comes back, and how long before its start a claim is
-- granted, in ms. A bucket has `initial` too; `bounce` false: what is refused stays waiting.
local function decode_limit(text)
  local limit = decoded(text)
  if not limit or type(limit.key) ~= 'string' then
    return nil
  end
  for _, number in ipairs({ 'max', 'spacing', 'early', 'ahead' }) do
    if type(limit[number]) ~= 'number' then
      return nil
    end
  end
  return limit
end

local function limit_key(limit)
  return P .. ':limit:' .. limit.key
end

-- The instant at which a bucket would be full again.
local function full_at(limit, kind)
  local known = redis.call('HGET', limit_key(limit) .. ':bucket', kind)
  return tonumber(known) or (now + (limit.max - limit.initial) * limit.spacing)
end

-- When there is room for one more. After `ahead` others, whose instants are in the set `others`.
local function free_at(limit, kind, ahead, others)
  ahead = ahead or 0
  if limit.initial then
    return math.ceil(full_at(limit, kind) - (limit.max - 1 - ahead) * limit.spacing)
  end
  local key, place = limit_key(limit) .. ':' .. kind, ahead - limit.max
  if place >= 0 then
    key, place = others, -limit.max
  end
  local first = redis.call('ZRANGE', key, place, place, 'WITHSCORES')
  return first[2] and tonumber(first[2]) + limit.spacing or 0
end

local function remember(limit, kind, instant)
  if limit.initial then
    local key = limit_key(limit) .. ':bucket'
    local full = math.max(full_at(limit, kind), instant) + limit.spacing
    redis.call('HSET', key, kind, string.format('%.6f', full))
    redis.call('PEXPIRE', key, math.ceil(math.max(full - now, 0)) + 86400000)
    return
  end
  local key = limit_key(limit) .. ':' .. kind
  redis.call('ZADD', key, instant, string.format('%.0f', order()))
  redis.call('ZREMRANGEBYRANK', key, -limit.max - 100, -limit.max - 1) -- of what is more than `max`, so many at once
  redis.call('PEXPIRE', key, limit.spacing * 2 + math.max(instant - now, 0) + 60000)
end

-- Whether nobody waits for a slot of the queue's limit: what is left of them is of jobs that were removed.
local function unclaimed(limit, queue)
  return limit.key == 'queue:' .. queue and redis.call('EXISTS', queue_key(queue, 'delayed')) == 0
end

-- The next slot; who had one already gets the room of the next start that is not spoken for.
local function reserve(limit, queue, id, reserved, from)
  if reserved then
    local retries = limit_key(limit) .. ':retries'
    redis.call('ZREM', retries, id)
    local over = redis.call('ZRANGEBYSCORE', retries, '-inf', from, 'LIMIT', 0, 100)
    if over[1] then
      redis.call('ZREM', retries, unpack(over))
    end
    local ahead = redis.call('ZCOUNT', retries, string.format('(%.0f', from), '+inf')
    local slot = math.max(from + 1, free_at(limit, 'starts', ahead, retries))
    redis.call('ZADD', retries, slot, id)
    redis.call('PEXPIRE', retries, slot - now + 60000)
    return slot
  end
  if unclaimed(limit, queue) then
    redis.call('DEL', limit_key(limit) .. ':slots')
    redis.call('HDEL', limit_key(limit) .. ':bucket', 'slots')
  end
  local slot = math.max(from + 1, free_at(limit, 'slots'), free_at(limit, 'starts'))
  remember(limit, 'slots', slot)
  return slot
end

-- The first instant at which a job may start.
local function start_at(limit, queue, reserved)
  local free = free_at(limit, 'starts')
  if reserved or unclaimed(limit, queue) then
    return free
  end
  return math.max(free, free_at(limit, 'slots'))
end

-- Delay a job until a little before its slot; the instant, and whether it has a slot of these limits now.
local function defer(limits, queue, id, reserved, held)
  local slot, early = 0, nil
  for _, limit in ipairs(limits) do
    slot = math.max(slot, reserve(limit, queue, id, reserved, math.max(now, held)))
    early = math.min(early or limit.early, limit.early)
  end
  return math.max(slot - (early or 0), held, now + 1), #limits > 0
end

-- {starts = instant}: it is counted, and `instant` is now or a little ahead. Or {again = instant}, when to come back,
-- with `stays` or `spread`.
local function ask(of_queue, of_job, queue, id, reserved, held)
  local limits, late, starts = {}, {}, now
  for _, limit in ipairs({ of_queue or false, of_job or false }) do
    if limit then
      local free = start_at(limit, queue, reserved)
      limits[#limits + 1] = limit
      starts = math.max(starts, free)
      if held > now or free > now + limit.ahead then
        late[#late + 1] = limit
        if limit == of_queue and limit.bounce == false then
          return { again = math.max(free - limit.early, held), stays = true }
        end
      end
    end
  end
  if #late > 0 or held > now then
    local again, spread = defer(late, queue, id, reserved, held)
    return { again = again, spread = spread }
  end
  for _, limit in ipairs(limits) do
    remember(limit, 'starts', starts)
    if reserved then
      redis.call('ZREM', limit_key(limit) .. ':retries', id)
    else
      remember(limit, 'slots', starts)
    end
  end
  return { starts = starts }
end
