-- Send again the messages that seem lost: permits as many as are missing in the broker's queue, and those of native jobs. The
-- score of a waiting native job is when it was sent first; each time it is sent again its grace doubles, which moves the
-- score ahead.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] queue; ARGV[5] grace in ms; ARGV[6] how many messages the
--   broker's queue held, or ''; ARGV[7] page; ARGV[8] how many it was sent since
-- Returns {more, {}, ready}
--- @again
--- @include base
--- @include send
--- @include moves
--- @include reopen
--- @include despite_full

local queue, grace, left = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[7])
local meta = queue_key(queue, 'meta')
local set = redis.call('HMGET', meta, 'paused', 'owed', 'short')
if set[1] then
  return { 0, {}, sent() }
end

-- Whether there are more permits missing than a page.
local function send_missing()
  local missing = waiting_in(queue) - num(set[2], 0) - (tonumber(ARGV[6]) or 0) - tonumber(ARGV[8])
  missing = ARGV[6] == '' and math.min(missing, 1) or missing
  if missing <= 0 then
    if set[3] then
      redis.call('HDEL', meta, 'short')
    end
    return false
  end
  local since = num(set[3], now)
  local is_due = now - since >= grace
  if is_due then
    send_permits(queue, math.min(missing, left))
  end
  redis.call('HSET', meta, 'short', is_due and missing <= left and now or since)
  return is_due and missing > left
end

local more = send_missing()
for priority = 0, 9 do
  local key = queue_key(queue, 'waiting:' .. priority)
  local latest = now_us
  if (tonumber(ARGV[6]) or 0) > 0 then
    latest = math.min(now_us, tonumber(redis.call('HGET', meta, 'claimed:' .. priority) or 0))
  end
  local lost = left > 0 and redis.call('ZRANGEBYSCORE', key, '-inf', latest - grace * 1000, 'LIMIT', 0, left) or {}
  left = left - #lost
  for _, id in ipairs(lost) do
    local job = listed(key, id, queue)
    if job and (job.line or redis.call('ZSCORE', queue_key(queue, 'unsent'), id)) then
      redis.call('ZADD', key, order() + grace * 1000, id) -- it is sent when it may start
    elseif job then
      local sends = bump(id, F.dispatches, 1)
      redis.call('ZADD', key, order() + grace * 1000 * (2 ^ math.min(sends, 20) - 1), id)
      send(job)
    end
  end
end
return { (more or left <= 0) and 1 or 0, {}, sent() }
