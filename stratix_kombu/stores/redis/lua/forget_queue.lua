-- Forget a queue that has no jobs.
-- KEYS[1] '{namespace}'; ARGV[1] queue
-- Returns 1, or 0 if it has jobs
--- @include base
--- @include count
--- @include first
--- @include present

local queue = ARGV[1]
local sets = { 'active', 'delayed', 'blocked', 'completed', 'failed' }
for priority = 0, 9 do
  sets[#sets + 1] = 'waiting:' .. priority
end
for _, set in ipairs(sets) do
  if redis.call('EXISTS', queue_key(queue, set)) == 1 then
    return 0
  end
end
for _, part in ipairs({ 'events', 'meta', 'parked', 'crowd', 'dedup', 'dedup-until', 'workers', 'worker-info', 'totals', 'names' }) do
  redis.call('UNLINK', queue_key(queue, part))
end
local minutes, this = {}, math.floor(now / 60000)
for minute = this - KEPT_S / 60, this do
  minutes[#minutes + 1] = minute_key(queue, minute)
end
redis.call('UNLINK', unpack(minutes))
for _, part in ipairs({ 'delayed', 'active' }) do
  redis.call('ZREM', first_key(part), queue)
end
if present_on(queue) == 0 then
  redis.call('UNLINK', queue_key(queue, 'serving'))
  redis.call('SREM', P .. ':queues', queue)
end
return 1
