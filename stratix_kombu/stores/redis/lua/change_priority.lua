-- Another priority for a job that has not begun; one that waits gets a new place by it.
-- KEYS[1] '{namespace}'; ARGV[1] job; ARGV[2] priority
-- Returns {0, {}, {}} or {'gone'}, {'state', state}
--- @include base
--- @include load
--- @include place

local job = load(ARGV[1])
if not job then
  return { 'gone' }
end
if job.vacant then
  return { 'state', 'never sent' }
end
local waits = job.state == 'waiting'
if waits and job.native then
  return { 'state', 'sent' }
end
if not waits and job.state ~= 'delayed' and job.state ~= 'blocked' then
  return { 'state', job.state }
end
local prio = tonumber(ARGV[2])
if prio ~= job.priority then
  if waits then
    leave_sets(job)
    redis.call('ZADD', state_key(job), next_score(job.queue, prio, job.group), job.id)
  end
  redis.call('HSET', job_key(job.id), F.priority, prio)
end
return { 0, {}, {} }
