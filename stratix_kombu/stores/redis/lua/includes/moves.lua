-- Moves of jobs that go on or fail.
--- @include load
--- @include expect
--- @include place
--- @include ends

-- In a new place; or `again`, waiting since it had been, in the place that `score` says.
local function make_waiting(job, again, score)
  local key = job_key(job.id)
  if job.native then
    move(job, 'waiting')
  else
    move(job, 'waiting', score or next_score(job.queue, job.priority, job.group))
  end
  if again then
    redis.call('HSET', key, F.state, 'waiting')
  else
    redis.call('HSET', key, F.state, 'waiting', F.waiting_ms, now)
  end
  redis.call('HDEL', key, F.due_ms, F.dispatches)
  job.due_ms = 0
  tell(job.queue, 'waiting', job.id, job.name)
  send(job)
end

-- Jobs that are due at one instant keep the order in which they became delayed. The score is in thousandths of a
-- millisecond; if there are more, the next ones are due a little later.
local next_delays = {}

local function delay_score(queue, due)
  local id = queue .. due
  local score = next_delays[id]
  if not score then
    score = due * 1000
    for _ = 1, 100 do
      local last = redis.call('ZREVRANGEBYSCORE', queue_key(queue, 'delayed'), score + 999, score, 'WITHSCORES', 'LIMIT', 0, 1)
      score = last[2] and tonumber(last[2]) + 1 or score
      if score % 1000 ~= 0 or not last[2] then
        break
      end
    end
  end
  next_delays[id] = score + 1
  return score
end

local function make_delayed(job, due)
  move(job, 'delayed', delay_score(job.queue, due))
  expect(job.queue, 'delayed', due)
  job.due_ms = due
  redis.call('HSET', job_key(job.id), F.state, 'delayed', F.due_ms, due)
  tell(job.queue, 'delayed', job.id, job.name, string.format('%.0f', due))
end

-- Waiting, or delayed if its time has not come; blocked while it has dependencies to wait for, or is vacant.
local function make_ready(job)
  if job.pending > 0 or (job.vacant and job.due_ms <= now) then
    move(job, 'blocked')
    redis.call('HSET', job_key(job.id), F.state, 'blocked')
    tell(job.queue, 'blocked', job.id, job.name)
  elseif job.due_ms > now then
    make_delayed(job, job.due_ms)
  else
    make_waiting(job)
  end
end

-- It has not finished after all: nobody else may be added under its deduplication id, unless one was already.
local function hold_again(job)
  if job.deduplication then
    redis.call('HSETNX', queue_key(job.queue, 'dedup'), job.deduplication, incarnation(job.id, job.number))
  end
end

-- `job.cancelled`: it was cancelled, which is counted apart.
local function fail_job(job, reason, trace, failed_by, error)
  job.failed_reason, job.finished_ms = reason, now
  job.result = error ~= '' and error or nil
  local key = job_key(job.id)
  redis.call('HSET', key, F.state, 'failed', F.finished_ms, now, F.failed_reason, reason, F.stacktrace, trace or '',
    F.failed_by, failed_by or '', F.token, '')
  if job.result then
    redis.call('HSET', key, F.result, job.result)
  end
  count(job.queue, job.cancelled and CANCELLED or FAILED, 1)
  end_job(job, 'failed', job.keep_failed)
  tell(job.queue, 'failed', job.id, job.name, reason)
end

-- End a job that was cancelled while it was active; whether it was.
local function end_cancelled(job)
  local v = redis.call('HMGET', job_key(job.id), F.cancelled, F.cancel_error)
  if v[1] then
    fail_job(job, v[1], nil, nil, v[2])
  end
  return v[1]
end

-- No longer active, and not ended: waiting again, unless it was cancelled; `again` and `score` as above.
local function back(job, again, score)
  if not end_cancelled(job) then
    make_waiting(job, again, score)
  end
end

-- The last dependency has ended.
local function unblock(job)
  if job.vacant then
    fail_job(job, 'what it waited for ended without sending it')
  else
    make_ready(job)
  end
end
