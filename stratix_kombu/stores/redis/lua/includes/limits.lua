-- Window limits (see model/limiter.py): the last `max` starts are the truth, slots only spread those who come back.
local function free_at(key, limit)
  local first = redis.call('ZRANGE', key, -limit.max, -limit.max, 'WITHSCORES')
  if first[2] then
    return tonumber(first[2]) + limit.duration
  end
  return 0
end

local function remember(key, instant, limit)
  redis.call('ZADD', key, instant, string.format('%.0f', order()))
  redis.call('ZREMRANGEBYRANK', key, 0, -limit.max - 1)
  redis.call('PEXPIRE', key, limit.duration * 2 + math.max(instant - now, 0) + 60000)
end

-- nil if the job may start now (it is counted then), else the slot it has to come back at.
local function refuse(limits, reserved)
  local refused = {}
  for _, limit in ipairs(limits) do
    local key = P .. ':limit:' .. limit.key
    local free = free_at(key .. ':starts', limit)
    if not reserved then
      free = math.max(free, free_at(key .. ':slots', limit))
    end
    if free > now then
      refused[#refused + 1] = limit
    end
  end
  local slot
  for _, limit in ipairs(refused) do
    local key = P .. ':limit:' .. limit.key
    local mine = math.max(now + 1, free_at(key .. ':slots', limit), free_at(key .. ':starts', limit))
    remember(key .. ':slots', mine, limit)
    slot = math.max(slot or 0, mine)
  end
  if slot then
    return slot
  end
  for _, limit in ipairs(limits) do
    local key = P .. ':limit:' .. limit.key
    remember(key .. ':starts', now, limit)
    if not reserved then
      remember(key .. ':slots', now, limit)
    end
  end
end
