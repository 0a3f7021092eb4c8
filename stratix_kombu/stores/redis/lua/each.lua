-- Do the same to jobs that are named: those whose state allows it.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] queue; ARGV[5] 'remove' | 'retry' | 'promote' | 'cancel'; ARGV[6]
--   the state in which a rule has found them or ''; ARGV[7] the reason of a cancellation; ARGV[8] page for releases; then ids
-- Returns {more, {}, ready, -1, ids}
-- Events of remove.lua, retry.lua, promote_job.lua or cancel.lua; those of release.lua
--- @include base
--- @include send
--- @include moves
--- @include removal
--- @include revive
--- @include release
--- @include despite_full

local queue, action, state, reason = ARGV[4], ARGV[5], ARGV[6], ARGV[7]

local function may_be_retried(job)
  return job.state == 'failed' and not job.vacant and (state == '' or (job.failed_by or '') == '')
end

local function cancel(job)
  redis.call('HSET', job_key(job.id), F.cancelled, reason, F.cancel_error, '')
  if job.state ~= 'active' then
    job.cancelled = true
    fail_job(job, reason, nil, nil, '')
  end
end

-- Whether its state allows it.
local function act(job)
  if action == 'cancel' and not finished(job.state) then
    cancel(job)
  elseif action == 'retry' and may_be_retried(job) then
    retry_job(job)
  elseif action == 'promote' and job.state == 'delayed' and not job.vacant then
    make_waiting(job)
  elseif action == 'remove' and job.state ~= 'active' then
    delete_by_hand(job)
    tell(job.queue, 'removed', job.id, job.name)
  else
    return false
  end
  return true
end

local done = {}
for i = 9, #ARGV do
  local job = load(ARGV[i])
  if job and job.queue == queue and (state == '' or job.state == state) and act(job) then
    done[#done + 1] = job.id
  end
end
return { release_page(tonumber(ARGV[8])), {}, sent(), -1, done, '' }
