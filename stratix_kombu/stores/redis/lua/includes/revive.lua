-- Jobs that run again.
--- @include moves
--- @include expiry

local function revive_dependents(job)
  redis.call('ZREM', P .. ':releasing', job.id)
  if redis.call('EXISTS', job_key(job.id) .. ':dependents') == 1 then
    add_to_worklist('reviving', job.id)
  end
end

local function begin_again(job, ...)
  --- @include attempted
  keep_last(job.id)
  local token = read(job.id, F.token)[1] or ''
  if token ~= '' then -- see ended.lua
    redis.call('HSET', job_key(job.id), F.token, '', F.ended, 'c:' .. token)
  end
  redis.call('HDEL', job_key(job.id), F.failed_by, F.failed_reason, F.stacktrace, F.finished_ms, F.result, F.rerun, ...)
  no_expiry(job)
  hold_again(job)
  make_ready(job)
end

local function wait_again(job, ...)
  begin_again(job, ...)
  revive_dependents(job)
end

local function retry_job(job)
  wait_again(job, 'cancel', 'cancel_error')
end

-- It has ended well, or by itself, and starts afresh; with `dependents` what depends on it does too. Those that were not told
-- of its end are told of the next one.
local function rerun_job(job, dependents)
  begin_again(job, 'cancel', 'cancel_error')
  if dependents then
    redis.call('HSET', job_key(job.id), F.rerun, 1)
    revive_dependents(job)
  else
    redis.call('ZREM', P .. ':releasing', job.id)
  end
end
