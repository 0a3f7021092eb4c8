-- Send again the messages that seem lost. The score of a waiting job is when it was sent first; each time it is sent
-- again its grace doubles, which moves the score ahead.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] queue; ARGV[5] grace in ms; ARGV[6] 1 if the broker's queue
--   is empty; ARGV[7] page
-- Returns {more, {}, ready}
--- @again
--- @include base
--- @include send
--- @include moves

local queue, grace, left = ARGV[4], tonumber(ARGV[5]) * 1000, tonumber(ARGV[7])
local meta = queue_key(queue, 'meta')
if redis.call('HEXISTS', meta, 'paused') == 1 then
  return { 0, {}, ready }
end
for _, id in ipairs(redis.call('ZRANGE', queue_key(queue, 'parked'), 0, left - 1)) do
  redis.call('ZREM', queue_key(queue, 'parked'), id)
  local job = load(id, queue)
  if job and job.state == 'waiting' then
    send(id, queue, job.name, job.prio, job.message, job.forward)
    left = left - 1
  end
end
for priority = 0, 9 do
  local key = queue_key(queue, 'waiting:' .. priority)
  local latest = now_us
  if ARGV[6] ~= '1' then
    latest = math.min(now_us, tonumber(redis.call('HGET', meta, 'claimed:' .. priority) or 0))
  end
  local lost = {}
  if left > 0 then
    lost = redis.call('ZRANGEBYSCORE', key, '-inf', latest - grace, 'LIMIT', 0, left)
  end
  left = left - #lost
  for _, id in ipairs(lost) do
    local job = listed(key, id, queue)
    if job then
      local sends = bump(id, 'sends', 1)
      if sends == 1 then
        redis.call('HSET', job_key(id), 'since', redis.call('ZSCORE', key, id))
      end
      redis.call('ZADD', key, now_us + grace * (2 ^ math.min(sends, 20) - 1), id)
      send(id, queue, job.name, priority, job.message, job.forward)
    end
  end
end
return { left <= 0 and 1 or 0, {}, ready }
