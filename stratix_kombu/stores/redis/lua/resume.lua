-- End a pause and send what was parked.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] queue; ARGV[5] page
-- Returns {more, {}, ready}
-- Events resumed
--- @include base
--- @include send
--- @include moves

local queue = ARGV[4]
if redis.call('HDEL', queue_key(queue, 'meta'), 'paused') == 1 then
  tell(queue, 'resumed')
end
local parked = queue_key(queue, 'parked')
for _, id in ipairs(redis.call('ZRANGE', parked, 0, tonumber(ARGV[5]) - 1)) do
  redis.call('ZREM', parked, id)
  local job = load(id, queue)
  if job and job.state == 'waiting' then
    send(id, queue, job.name, job.prio, job.message, job.forward)
  end
end
return { redis.call('EXISTS', parked), {}, ready }
