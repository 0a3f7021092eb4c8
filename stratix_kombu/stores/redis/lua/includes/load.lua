-- Reading a job as a table of the fields that moves look at, by their names: id, queue, name, state, priority, ...
--- @include readable
--- @include state
--- @include lost

-- The job, or nil if there is none, or none that can be read: that is dropped. `queue` is that of the list that names it,
-- if one does: it is dropped from there, then.
local function load(id, queue)
  local v = read(id, --[[@moved]]) -- which begin with these four
  if not is_readable(v[1], v[2], v[3], v[4]) then
    if queue or v[1] or redis.call('EXISTS', job_key(id)) == 1 then
      drop(id, queue or v[1] or '')
    end
    return nil
  end
  local job = { id = id, --[[@job]] }
  job.native = job.message or job.forward
  return job
end

-- The job that a set of its queue names; one that does not belong there is dropped from it.
local function listed(key, id, queue)
  local job = load(id, queue)
  if job and state_key(job) ~= key then
    redis.call('ZREM', key, id)
    note(id, queue, 'out of place')
    return nil
  end
  return job
end

local function is_vacant(known)
  return known and known.vacant and (known.state == 'blocked' or known.state == 'delayed')
end
