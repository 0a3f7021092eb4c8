-- Jobs that run again.
--- @include moves
--- @include expiry

local function revive_dependents(job)
  redis.call('ZREM', P .. ':releasing', job.id)
  if redis.call('EXISTS', job_key(job.id) .. ':dependents') == 1 then
    add_to_worklist('reviving', job.id)
  end
end

local function wait_again(job, ...)
  redis.call('HDEL', job_key(job.id), 'failed_by', 'reason', 'trace', 'finished', 'result', ...)
  no_expiry(job)
  hold_again(job)
  make_ready(job)
  revive_dependents(job)
end

local function retry_job(job)
  wait_again(job, 'cancel', 'cancel_error')
end
