-- Rate limits (see model/limiter.py): starts are the truth, slots only spread those who come back. A limit is {key, max,
-- duration} or, for a bucket, {key, max, rate, initial}; `bounce` false: what is refused stays waiting.
local SLACK = 0.02

local function decode_limit(text)
  return text and text ~= '' and cjson.decode(text) or nil
end

local function limit_key(limit)
  return P .. ':limit:' .. limit.key
end

-- The instant at which a bucket would be full again.
local function full_at(limit, kind)
  local known = redis.call('HGET', limit_key(limit) .. ':bucket', kind)
  return tonumber(known) or (now + (limit.max - limit.initial) * 1000 / limit.rate)
end

-- When there is room for one more, or for `ahead` more before it.
local function free_at(limit, kind, ahead)
  ahead = ahead or 0
  if limit.rate then
    return math.ceil(full_at(limit, kind) - (limit.max - 1 - ahead) * 1000 / limit.rate)
  end
  local place = math.min(ahead, limit.max - 1) - limit.max
  local first = redis.call('ZRANGE', limit_key(limit) .. ':' .. kind, place, place, 'WITHSCORES')
  return first[2] and tonumber(first[2]) + limit.duration or 0
end

local function remember(limit, kind, instant)
  if limit.rate then
    local key = limit_key(limit) .. ':bucket'
    local full = math.max(full_at(limit, kind), instant) + 1000 / limit.rate
    redis.call('HSET', key, kind, string.format('%.6f', full))
    redis.call('PEXPIRE', key, math.ceil(math.max(full - now, 0)) + 86400000)
    return
  end
  local key = limit_key(limit) .. ':' .. kind
  redis.call('ZADD', key, instant, string.format('%.0f', order()))
  redis.call('ZREMRANGEBYRANK', key, 0, -limit.max - 1)
  redis.call('PEXPIRE', key, limit.duration * 2 + math.max(instant - now, 0) + 60000)
end

-- The next slot; who had one already gets the room of the next start that is not spoken for.
local function reserve(limit, reserved, from)
  if reserved then
    local retries = limit_key(limit) .. ':retries'
    redis.call('ZREMRANGEBYSCORE', retries, '-inf', from)
    local slot = math.max(from + 1, free_at(limit, 'starts', redis.call('ZCARD', retries)))
    redis.call('ZADD', retries, slot, string.format('%.0f', order()))
    redis.call('PEXPIRE', retries, slot - now + 60000)
    return slot
  end
  local slack = math.ceil(SLACK * (limit.rate and 1000 / limit.rate or limit.duration))
  local slot = math.max(from + 1, free_at(limit, 'slots') + slack, free_at(limit, 'starts'))
  remember(limit, 'slots', slot)
  return slot
end

-- 0, or the first instant at which the next start may be.
local function limited_until(limit, reserved)
  local free = free_at(limit, 'starts')
  if not reserved then
    free = math.max(free, free_at(limit, 'slots'))
  end
  return free > now and free or 0
end

-- nil if the job may start now (it is counted then), else the slot to come back at, and whether it stays waiting.
local function refuse(of_queue, of_job, reserved, held)
  local limits, untils, any = {}, {}, held > now
  for _, limit in ipairs({ of_queue or false, of_job or false }) do
    if limit then
      limits[#limits + 1] = limit
      untils[#limits] = limited_until(limit, reserved)
      any = any or untils[#limits] > 0
    end
  end
  if of_queue and of_queue.bounce == false and (untils[1] > 0 or held > now) then
    return math.max(untils[1], held), true
  end
  if not any then
    for _, limit in ipairs(limits) do
      remember(limit, 'starts', now)
      if not reserved then
        remember(limit, 'slots', now)
      end
    end
    return nil
  end
  local slot = held
  for i, limit in ipairs(limits) do
    if untils[i] > 0 or held > now then
      slot = math.max(slot, reserve(limit, reserved, math.max(now, held)))
    end
  end
  return slot, false, #limits > 0
end
