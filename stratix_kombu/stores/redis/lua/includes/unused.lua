-- Queues that nobody uses: no jobs, no workers, no settings, no schedules.
--- @include count
--- @include first
--- @include present

local SETS = { 'active', 'delayed', 'blocked', 'completed', 'failed', 'order', 'aside' }
local PARTS = {
  'events', 'meta', 'lines', 'unsent', 'unsent-lines', 'grouped', 'starts', 'dedup', 'dedup-until', 'totals', 'names',
  'noted', 'named',
  'parked', 'crowd', 'workers', 'worker-info',
}
for priority = 0, 9 do
  SETS[#SETS + 1] = 'waiting:' .. priority
  PARTS[#PARTS + 1] = 'groups:' .. priority
end

-- Presence was said for each queue.
local OF_EARLIER_VERSIONS = { 'workers', 'worker-info' }

local function keys_of(queue, parts)
  local keys = {}
  for i, part in ipairs(parts) do
    keys[i] = queue_key(queue, part)
  end
  return keys
end

local function has_jobs(queue)
  return redis.call('EXISTS', unpack(keys_of(queue, SETS))) > 0
end

-- Its workers stay; with them its name.
local function forget(queue)
  redis.call('UNLINK', unpack(keys_of(queue, PARTS)))
  for _, part in ipairs({ 'delayed', 'active', 'opens' }) do
    redis.call('ZREM', first_key(part), queue)
  end
  redis.call('ZREM', P .. ':unused', queue)
  local hours, this = {}, math.floor(now / 3600000)
  for hour = this - HOURS_KEPT, this do
    hours[#hours + 1] = hour_key(queue, hour)
  end
  redis.call('UNLINK', unpack(hours))
  if present_on(queue) == 0 then
    redis.call('UNLINK', queue_key(queue, 'serving'))
    redis.call('SREM', P .. ':queues', queue)
  end
end

-- Whether it has been used since an instant, as far as its events show, or is to be kept anyway.
local function is_used(queue, since)
  local newest = redis.pcall('XREVRANGE', queue_key(queue, 'events'), '+', '-', 'COUNT', 1)
  if newest.err or (newest[1] and tonumber(string.match(newest[1][1], '^%d+')) > since) then
    return true
  end
  local v = redis.call('HMGET', queue_key(queue, 'meta'), 'paused', 'limit', 'global_concurrency', 'held')
  local until_ms = redis.call('ZRANGE', queue_key(queue, 'dedup-until'), -1, -1, 'WITHSCORES')[2]
  return v[1] or v[2] or v[3] or num(v[4], 0) > now or num(until_ms, 0) > now or has_jobs(queue)
    or redis.call('EXISTS', queue_key(queue, 'schedules')) == 1 or present_on(queue) > 0
end

-- Forget a queue that nobody has used for so long, and of the workers that a queue knows of those that are gone for good.
-- How many workers it knows of.
local function tidy(queue, unused_ms)
  local unused, serving = P .. ':unused', queue_key(queue, 'serving')
  if is_used(queue, now - unused_ms) then
    redis.call('ZREM', unused, queue)
  else
    local since = tonumber(redis.call('ZSCORE', unused, queue))
    if not since then
      redis.call('ZADD', unused, now, queue)
    elseif since <= now - unused_ms then
      forget(queue)
    end
  end
  redis.call('UNLINK', unpack(keys_of(queue, OF_EARLIER_VERSIONS)))
  local known = redis.call('HLEN', serving)
  if known > 0 and known <= MOST_COUNTED then
    local workers = redis.call('HKEYS', serving)
    local processes = redis.call('HMGET', P .. ':process', unpack(workers))
    for i, worker in ipairs(workers) do
      if not processes[i] then
        redis.call('HDEL', serving, worker)
        redis.call('HDEL', queue_key(queue, 'meta'), 'took:' .. worker)
      end
    end
  end
  return known
end
