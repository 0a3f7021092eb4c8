-- Reading a job as a table: id, queue, name, state, prio, due, pending, ...
--- @include readable
--- @include state

-- The job, or nil if there is none, or none that can be read: that is dropped. `queue` is that of the list that names it,
-- if one does: it is dropped from there, then.
local function load(id, queue)
  local v = read(id, 'queue', 'name', 'state', 'prio', 'due', 'pending', 'optional', 'keep_completed', 'keep_failed', 'max',
    'made', 'failed_by', 'result', 'reason', 'vacant', 'msg', 'forward', 'dedup', 'finished', 'number', 'kind', 'throttle',
    'ended', 'cancel', 'group', 'line', 'created')
  if not is_readable(v[1], v[2], v[3], v[4]) then
    if queue or v[1] or redis.call('EXISTS', job_key(id)) == 1 then
      --- @include lost
      drop(id, queue or v[1] or '')
    end
    return nil
  end
  return {
    id = id, queue = v[1], name = v[2], state = v[3], prio = num(v[4], 0), due = num(v[5], 0), pending = num(v[6], 0),
    optional = v[7] == '1', keep_completed = v[8], keep_failed = v[9], max = num(v[10], 1), made = num(v[11], 0),
    failed_by = v[12], result = v[13], reason = v[14], vacant = v[15], message = v[16], forward = v[17], dedup = v[18],
    finished = num(v[19], 0), number = num(v[20], 0), kind = v[21], throttle = v[22],
    ended = v[23], cancelled = v[24], group = v[25], line = v[26], native = v[16] or v[17],
    created = num(v[27], 0),
  }
end

-- The job that a set of its queue names; one that does not belong there is dropped from it.
local function listed(key, id, queue)
  local job = load(id, queue)
  if job and state_key(job) ~= key then
    redis.call('ZREM', key, id)
    --- @include lost
    note(id, queue, 'out of place')
    return nil
  end
  return job
end

local function is_vacant(known)
  return known and known.vacant and (known.state == 'blocked' or known.state == 'delayed')
end
