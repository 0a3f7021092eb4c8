-- Add one job. `extra` is '' or JSON with what is not default: prio, delay, due, max, deps, optional, keep_completed,
-- keep_failed, limit, queue. Whether the id was new.
local known_queues = {}

local function add_job(queue, id, name, data, options, extra)
  local key = job_key(id)
  if redis.call('EXISTS', key) == 1 then
    local known = redis.call('HMGET', key, 'queue', 'name')
    tell(known[1], 'duplicated', id, known[2])
    return false
  end
  local job = { id = id, queue = queue, name = name, prio = 0, due = 0, pending = 0 }
  local fields = { 'name', name, 'data', data, 'created', now }
  local function set(field, value)
    fields[#fields + 1] = field
    fields[#fields + 1] = value
  end
  if options ~= '' then
    set('opts', options)
  end
  local dependencies
  if extra ~= '' then
    local more = cjson.decode(extra)
    job.queue = more.queue or queue
    job.prio = more.prio or 0
    job.optional = more.optional
    job.keep_failed = more.keep_failed
    dependencies = more.deps
    local due = math.max(more.due or 0, more.delay and now + more.delay or 0)
    if due > now then
      job.due = due
      set('due', due)
    end
    for _, field in ipairs({ 'prio', 'max', 'keep_completed', 'keep_failed', 'limit' }) do
      if more[field] then
        set(field, more[field])
      end
    end
    if more.optional then
      set('optional', 1)
    end
  end
  set('queue', job.queue)
  if not known_queues[job.queue] then
    known_queues[job.queue] = true
    redis.call('SADD', P .. ':queues', job.queue)
  end
  if not dependencies and job.due == 0 then
    -- The usual case, with as few commands as it takes.
    set('state', 'waiting')
    redis.call('HSET', key, unpack(fields))
    redis.call('ZADD', queue_key(job.queue, 'waiting:' .. job.prio), order(), id)
    tell(job.queue, 'waiting', id, name)
    send(id, job.queue, name, job.prio)
    return true
  end
  redis.call('HSET', key, unpack(fields))
  local failed_by, failure
  for _, dependency in ipairs(dependencies or {}) do
    local outcome = add_edge(job, dependency)
    if outcome and outcome.state ~= 'completed' and not job.optional and not failed_by then
      failed_by, failure = dependency, outcome
    end
  end
  if failed_by then
    fail_job(job, reason_of(failed_by, failure), nil, failed_by)
  else
    make_ready(job)
  end
  return true
end
