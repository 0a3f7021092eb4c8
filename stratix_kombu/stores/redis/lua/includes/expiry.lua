-- How long a finished job is kept, in ms as text; '' forever.
local function age_of(job)
  local keep = job.state == 'completed' and job.keep_completed or job.state == 'failed' and job.keep_failed
  return keep and string.match(keep, '%d*$') or ''
end

-- A finished job goes on, or is deleted: its age has no say any more.
local function no_expiry(job)
  if age_of(job) ~= '' then
    redis.call('ZREM', P .. ':expiring', job.id)
  end
end
