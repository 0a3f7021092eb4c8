-- Jobs whose lease ran out: waiting again, or failed when it happened too often.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] most stalls; ARGV[5] page; ARGV[6] page for releases
-- Returns {more, {}, ready, -1, recovered ids}
-- Events stalled, waiting | failed, drained; those of release.lua
--- @include base
--- @include send
--- @include moves
--- @include release
--- @include edges
--- @include add_job
--- @include bury

local left, recovered = tonumber(ARGV[5]), {}
for _, queue in ipairs(redis.call('SMEMBERS', P .. ':queues')) do
  local expired = redis.call('ZRANGEBYSCORE', queue_key(queue, 'active'), '-inf', now, 'LIMIT', 0, math.max(left, 0))
  if #expired > 0 then
    touch(queue)
    left = left - #expired
  end
  for _, id in ipairs(expired) do
    recovered[#recovered + 1] = id
    local job = load(id)
    local stalls = redis.call('HINCRBY', job_key(id), 'stalled', 1)
    redis.call('HSET', job_key(id), 'token', '')
    count(queue, STALLED, 1)
    tell(queue, 'stalled', id, job.name)
    local allowed = redis.call('HGET', job_key(id), 'stalls') or ARGV[4]
    if stalls > tonumber(allowed) then
      local reason = 'stalled more than ' .. allowed .. ' times: its worker stopped renewing the lease'
      bury(id, reason)
      fail_job(job, reason)
    else
      back(job)
    end
  end
end
local more = release_page(tonumber(ARGV[6]))
tell_drained()
return { left <= 0 and 1 or more, {}, ready, -1, recovered }
