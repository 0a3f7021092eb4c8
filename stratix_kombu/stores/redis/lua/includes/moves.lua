-- Moves between states. A `job` is a table made by load(): id, queue, name, state, prio, due, pending, ...
--- @include count
--- @include first
--- @include lost

-- The job, or nil if there is none, or none that can be read: that is dropped. `queue` is that of the list that names it,
-- if one does: it is dropped from there, then.
local function load(id, queue)
  local v = read(id, 'queue', 'name', 'state', 'prio', 'due', 'pending', 'optional', 'keep_completed', 'keep_failed', 'max',
    'made', 'failed_by', 'result', 'reason', 'vacant', 'msg', 'forward', 'dedup', 'finished', 'number', 'kind', 'throttle',
    'ended')
  if not is_readable(v[1], v[2], v[3], v[4]) then
    if queue or v[1] or redis.call('EXISTS', job_key(id)) == 1 then
      drop(id, queue or v[1] or '')
    end
    return nil
  end
  return {
    id = id, queue = v[1], name = v[2], state = v[3], prio = num(v[4], 0), due = num(v[5], 0), pending = num(v[6], 0),
    optional = v[7] == '1', keep_completed = v[8], keep_failed = v[9], max = num(v[10], 1), made = num(v[11], 0),
    failed_by = v[12], result = v[13], reason = v[14], vacant = v[15], message = v[16], forward = v[17], dedup = v[18],
    finished = num(v[19], 0), number = num(v[20], 0), kind = v[21], throttle = v[22],
    ended = v[23],
  }
end

local function state_key(job)
  if job.state == 'waiting' then
    return queue_key(job.queue, 'waiting:' .. job.prio)
  end
  return queue_key(job.queue, job.state)
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

local function finished(state)
  return state == 'completed' or state == 'failed'
end

-- A job that waited for another one to end may try; whether it does wait.
local function try_again(queue, id)
  local job = load(id, queue)
  if not job or job.state ~= 'waiting' then
    return false
  end
  send(job.id, queue, job.name, job.prio, job.message, job.forward)
  return true
end

-- A job of the queue is no longer active: the first one of those that wait for that may try.
local function let_in(queue)
  local crowd = queue_key(queue, 'crowd')
  if redis.call('EXISTS', crowd) == 0 then
    return
  end
  for _ = 1, 50 do
    local first = redis.call('ZPOPMIN', crowd)
    if not first[1] or try_again(queue, first[1]) then
      return
    end
  end
  add_to_worklist('opening', queue) -- none of them does wait: all may try
end

local function move(job, state, score)
  if job.state then
    redis.call('ZREM', state_key(job), job.id)
  end
  local was_active = job.state == 'active'
  job.state = state
  redis.call('ZADD', state_key(job), score or order(), job.id)
  if was_active and state ~= 'active' then
    let_in(job.queue)
  end
end

local function make_waiting(job)
  move(job, 'waiting')
  redis.call('HSET', job_key(job.id), 'state', 'waiting')
  redis.call('HDEL', job_key(job.id), 'due', 'sends', 'since')
  job.due = 0
  tell(job.queue, 'waiting', job.id, job.name)
  send(job.id, job.queue, job.name, job.prio, job.message, job.forward)
end

local function make_delayed(job, due)
  ticks = ticks + 1
  move(job, 'delayed', due * 1000 + ticks % 1000)
  expect(job.queue, 'delayed', due)
  job.due = due
  redis.call('HSET', job_key(job.id), 'state', 'delayed', 'due', due)
  tell(job.queue, 'delayed', job.id, job.name, string.format('%.0f', due))
end

-- Waiting, or delayed if its time has not come; blocked while it has dependencies to wait for, or is vacant.
local function make_ready(job)
  if job.pending > 0 or (job.vacant and job.due <= now) then
    move(job, 'blocked')
    redis.call('HSET', job_key(job.id), 'state', 'blocked')
    tell(job.queue, 'blocked', job.id, job.name)
  elseif job.due > now then
    make_delayed(job, job.due)
  else
    make_waiting(job)
  end
end

-- An edge: the field of a dependency in '<job>:dependencies' says which job of that id it is, by number, and how that
-- ended: '<number>:<state or nothing>'. The first release wrote the state only.
local function read_edge(value)
  local number, state = string.match(value, '^(%d+):(.*)$')
  return tonumber(number or 0), state or value
end

local function write_edge(job, dependency, number, state)
  redis.call('HSET', job_key(job.id) .. ':dependencies', dependency, string.format('%.0f:%s', number, state))
end

-- It is said in a number how often edges came to jobs that others may wait for: see add_dependency.lua.
local function graph_changes()
  redis.call('INCR', P .. ':graph')
end

-- Under which name the other end of an edge knows of it: the dependency's id, or what is left of it.
local function place_of(dependency, number)
  local name = incarnation(dependency, number)
  return redis.call('EXISTS', job_key(name) .. ':dependents') == 1 and name or dependency
end

-- The id is about to be used again, and jobs depend on the one that had it.
local function set_aside(id)
  local number = redis.call('HGET', P .. ':outcome:' .. id, 'number')
  if not number then
    -- Of the first release, or lost: the edges know.
    local dependent = redis.call('ZRANGE', job_key(id) .. ':dependents', 0, 0)[1]
    number = read_edge(redis.call('HGET', job_key(dependent) .. ':dependencies', id) or '')
  end
  local name = incarnation(id, tonumber(number))
  redis.call('RENAME', job_key(id) .. ':dependents', job_key(name) .. ':dependents')
  if redis.call('EXISTS', P .. ':outcome:' .. id) == 1 then
    redis.call('RENAME', P .. ':outcome:' .. id, P .. ':outcome:' .. name)
  end
  for _, list in ipairs({ P .. ':releasing', P .. ':reviving' }) do
    local since = redis.call('ZSCORE', list, id)
    if since then
      redis.call('ZREM', list, id)
      redis.call('ZADD', list, since, name)
    end
  end
  if redis.call('EXISTS', P .. ':outcome:' .. name) == 0 then
    redis.call('ZADD', P .. ':releasing', 'NX', order(), name) -- its record is lost, and with it how it ended
  end
end

-- A dependent has one edge to an id: it is known to the job that has the id, or to one that had it before.
local function forget_edge(dependent, dependency, number)
  local name = dependency
  if redis.call('ZREM', job_key(name) .. ':dependents', dependent) == 0 then
    name = incarnation(dependency, number)
    redis.call('ZREM', job_key(name) .. ':dependents', dependent)
  end
  if redis.call('EXISTS', job_key(name) .. ':dependents') == 0 then
    redis.call('DEL', P .. ':outcome:' .. name)
    redis.call('ZREM', P .. ':releasing', name)
  end
end

-- How many edges of jobs that go a step may still look at.
local edges_left = 250

-- The job no longer depends on any: what is too much for this step is left to release_page, under a name of its own.
local function forget_edges(id)
  local key = job_key(id) .. ':dependencies'
  local count = redis.call('HLEN', key)
  if count > edges_left then
    leave_edges(id)
  elseif count > 0 then
    edges_left = edges_left - count
    local edges = redis.call('HGETALL', key)
    for i = 1, #edges, 2 do
      forget_edge(id, edges[i], (read_edge(edges[i + 1])))
    end
    redis.call('DEL', key)
  end
end

-- The id and number of the job that holds a deduplication id, and until when (0 = until it has ended). The first release
-- wrote the id only.
local function read_holder(value)
  local head, number, id = string.match(value, '^(%d*)\n(%d+):(.*)$')
  return id or value, tonumber(number or 0), tonumber(head) or 0
end

-- Others may be added under its deduplication id, which it holds no longer.
local function free_id(job, dedup)
  if dedup then
    local key = queue_key(job.queue, 'dedup')
    local holder = redis.call('HGET', key, dedup)
    local held_by, number = read_holder(holder or '')
    if holder and held_by == job.id and number == job.number then
      redis.call('HDEL', key, dedup)
    end
  end
end

-- It has not ended after all: nobody else may be added under its deduplication id, unless one was already.
local function hold_again(job)
  if job.dedup then
    redis.call('HSETNX', queue_key(job.queue, 'dedup'), job.dedup, incarnation(job.id, job.number))
  end
end

-- How long a finished job is kept, in ms as text; '' for ever.
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

-- Forget a record; keep how it ended for dependents that may still ask.
local function delete(job)
  local key = job_key(job.id)
  free_id(job, job.dedup)
  no_expiry(job)
  redis.call('ZREM', state_key(job), job.id)
  redis.call('ZREM', queue_key(job.queue, 'parked'), job.id)
  redis.call('ZREM', queue_key(job.queue, 'crowd'), job.id)
  forget_edges(job.id)
  if redis.call('EXISTS', key .. ':dependents') == 1 then
    local outcome = P .. ':outcome:' .. job.id
    redis.call('HSET', outcome, 'state', finished(job.state) and job.state or 'removed', 'reason', job.reason or '',
      'number', job.number, 'kind', job.kind or '')
    if job.result then
      redis.call('HSET', outcome, 'result', job.result)
    end
    if not finished(job.state) then
      add_to_worklist('releasing', job.id)
    end
  end
  redis.call('DEL', key, key .. ':logs', P .. ':ended:' .. job.id)
end

-- Retention removes a job. How it ended can be asked for a minute after that (ENDED_KEPT_MS) by who waits for it, and by
-- who ended it (see ended.lua).
local function retire(job)
  delete(job)
  local left = job.finished + 60000 - now
  if left > 0 then
    local said = job.state == 'completed' and job.result or job.reason or ''
    local value = job.state .. ':' .. string.format('%.0f', job.finished) .. ':' .. (job.ended or '') .. '\n' .. said
    redis.call('SET', P .. ':ended:' .. job.id, value, 'PX', left)
  end
end

-- As users do: what holds its deduplication id for a time gives that up too.
local function delete_by_hand(job)
  free_id(job, job.throttle)
  delete(job)
end

-- How many old jobs of more than one a step may still remove.
local old_left = 100

-- Retention is written 'count:age', either part may be empty. Where it has become less, two go for one that ends.
local function retain(job, keep)
  local count, age = string.match(keep, '^(%d*):(%d*)$')
  if not count then
    return
  elseif count == '0' then
    retire(job)
    return
  end
  if age ~= '' then
    redis.call('ZADD', P .. ':expiring', now + tonumber(age), job.id)
  end
  if count ~= '' then
    local key = state_key(job)
    local surplus = math.min(redis.call('ZCARD', key) - tonumber(count), math.max(old_left, 2))
    if surplus > 0 then
      old_left = old_left - surplus
      for _, old in ipairs(redis.call('ZRANGE', key, 0, surplus - 1)) do
        local other = old == job.id and job or listed(key, old, job.queue)
        if other then
          retire(other)
        end
      end
    end
  end
end

local function end_job(job, state, keep)
  free_id(job, job.dedup)
  if job.state == 'waiting' then
    redis.call('ZREM', queue_key(job.queue, 'parked'), job.id)
  end
  move(job, state)
  if redis.call('EXISTS', job_key(job.id) .. ':dependents') == 1 then
    add_to_worklist('releasing', job.id)
  end
  if keep then
    retain(job, keep)
  end
end

local function fail_job(job, reason, trace, failed_by, error)
  job.reason, job.finished = reason, now
  job.result = error ~= '' and error or nil
  local key = job_key(job.id)
  redis.call('HSET', key, 'state', 'failed', 'finished', now, 'reason', reason, 'trace', trace or '', 'failed_by',
    failed_by or '', 'token', '')
  if job.result then
    redis.call('HSET', key, 'result', job.result)
  end
  count(job.queue, FAILED, 1)
  end_job(job, 'failed', job.keep_failed)
  tell(job.queue, 'failed', job.id, job.name, reason)
end

-- End a job that was cancelled while it was active; whether it was.
local function end_cancelled(job)
  local v = redis.call('HMGET', job_key(job.id), 'cancel', 'cancel_error')
  if v[1] then
    fail_job(job, v[1], nil, nil, v[2])
  end
  return v[1]
end

-- No longer active, and not ended: waiting again, unless it was cancelled.
local function back(job)
  if not end_cancelled(job) then
    make_waiting(job)
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

-- Queues whose jobs a step has ended: each may be drained by it.
local touched = {}

local function touch(queue)
  if not touched[queue] then
    touched[queue] = true
    touched[#touched + 1] = queue
  end
end

local function tell_drained()
  for _, queue in ipairs(touched) do
    local left = redis.call('EXISTS', queue_key(queue, 'active'))
    for priority = 0, 9 do
      if left > 0 then
        break
      end
      left = redis.call('EXISTS', queue_key(queue, 'waiting:' .. priority))
    end
    if left == 0 then
      tell(queue, 'drained')
    end
  end
end
