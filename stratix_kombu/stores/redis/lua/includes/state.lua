-- The sets that jobs are in by their states. A native job waits by the time of its dispatch.
local function state_key(job)
  if job.state ~= 'waiting' then
    return queue_key(job.queue, job.state)
  elseif job.native then
    return queue_key(job.queue, 'waiting:' .. job.priority)
  end
  return queue_key(job.queue, job.line and 'aside' or 'order')
end

-- Out of all sets that name it.
local function leave_sets(job)
  redis.call('ZREM', state_key(job), job.id)
  if job.state == 'waiting' then
    if job.native then
      redis.call('ZREM', queue_key(job.queue, 'unsent'), job.id)
    end
    if job.line then
      redis.call('ZREM', queue_key(job.queue, (job.native and 'unsent:' or 'line:') .. job.line), job.id)
      redis.call('HDEL', job_key(job.id), F.line)
      job.line = nil
    end
  end
end

local function finished(state)
  return state == 'completed' or state == 'failed'
end
