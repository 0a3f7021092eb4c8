-- The sets that jobs are in by their states.
local function state_key(job)
  if job.state == 'waiting' then
    return queue_key(job.queue, 'waiting:' .. job.prio)
  end
  return queue_key(job.queue, job.state)
end

local function finished(state)
  return state == 'completed' or state == 'failed'
end
