-- Forget a queue that has no jobs.
-- KEYS[1] '{namespace}'; ARGV[1] queue
-- Returns 1, or 0 if it has jobs
--- @include base
--- @include unused

local queue = ARGV[1]
if has_jobs(queue) then
  return 0
end
forget(queue)
local minutes, this = {}, math.floor(now / 60000)
for minute = this - KEPT_S / 60, this do
  minutes[#minutes + 1] = minute_key(queue, minute)
end
redis.call('UNLINK', unpack(minutes))
return 1
