-- Add one job. `extra` is '' or JSON with what is not default: prio, delay, due, max, deps, optional, keep_completed,
-- keep_failed, limit, queue, msg, stalls, vacant, carries, forward. Whether the id was new, or that of a vacant job.
local known_queues = {}
local of_the_vacant = { 'vacant', 'due', 'sends', 'since', 'reserved', 'optional', 'opts', 'prio', 'max', 'keep_completed',
  'keep_failed', 'msg', 'stalls', 'forward', 'pending' }

local function is_vacant(known)
  return known and known.vacant and (known.state == 'blocked' or known.state == 'delayed')
end

local function take_over(known)
  local key = job_key(known.id)
  for _, dependency in ipairs(redis.call('HKEYS', key .. ':dependencies')) do
    forget_edge(known.id, dependency)
  end
  redis.call('DEL', key .. ':dependencies')
  redis.call('ZREM', state_key(known), known.id)
  redis.call('HDEL', key, unpack(of_the_vacant))
end

local function carry(carried, carrier)
  local known = load(carried)
  if is_vacant(known) and redis.call('HEXISTS', job_key(carried) .. ':dependencies', carrier) == 0 then
    local outcome = add_edge(known, carrier)
    if outcome and not known.optional then
      fail_job(known, reason_of(carrier, outcome), nil, carrier, outcome.result)
    end
  end
end

-- Jobs that were not added, with the one that is there: id, id, ...
local instead = {}
-- Whether a job was replaced, so that its dependents have to be told.
local replaced = false

-- Whether a job may be added under its deduplication id; one without a time to live holds it until it has ended.
local function is_first(id, queue, dedup)
  local ttl = dedup.ttl and queue_key(queue, 'dedup:' .. dedup.id)
  local holder
  if ttl then
    holder = redis.call('GET', ttl)
  else
    holder = redis.call('HGET', queue_key(queue, 'dedup'), dedup.id)
  end
  if holder then
    local known = load(holder)
    if not known and not ttl then
      holder = nil -- it held the id until its end, and has gone without one
    elseif not (dedup.replace and known and known.state == 'delayed') then
      if dedup.extend and ttl then
        redis.call('PEXPIRE', ttl, dedup.ttl)
      end
      instead[#instead + 1] = id
      instead[#instead + 1] = holder
      if known then
        tell(queue, 'duplicated', holder, known.name)
      end
      return false
    end
    if known then
      delete(known)
      replaced = true
      tell(queue, 'removed', holder, known.name)
    end
  end
  if ttl then
    redis.call('SET', ttl, id, 'PX', dedup.ttl)
  else
    redis.call('HSET', queue_key(queue, 'dedup'), dedup.id, id)
  end
  return true
end

local function add_job(queue, id, name, data, options, extra)
  local key = job_key(id)
  local more = extra ~= '' and cjson.decode(extra) or {}
  local new = true
  local known
  if redis.call('EXISTS', key) == 1 then
    known = load(id)
  end
  if known then
    if more.vacant or not is_vacant(known) then
      if not more.vacant then
        tell(known.queue, 'duplicated', id, known.name)
      end
      return false
    end
    new = false
  end
  if more.dedup and not is_first(id, more.queue or queue, more.dedup) then
    return false
  end
  if not new then
    take_over(known)
  end
  local job = { id = id, queue = queue, name = name, prio = 0, due = 0, pending = 0, message = more.msg,
    forward = more.forward and '1', vacant = more.vacant }
  local fields = { 'name', name, 'data', data }
  local function set(field, value)
    fields[#fields + 1] = field
    fields[#fields + 1] = value
  end
  if new then
    set('created', now)
  end
  if options ~= '' then
    set('opts', options)
  end
  local dependencies
  if extra ~= '' then
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
    for _, field in ipairs({ 'prio', 'max', 'keep_completed', 'keep_failed', 'limit', 'msg', 'stalls', 'dead' }) do
      if more[field] then
        set(field, more[field])
      end
    end
    if more.dedup and not more.dedup.ttl then
      set('dedup', more.dedup.id)
    end
    for _, flag in ipairs({ 'optional', 'vacant', 'forward' }) do
      if more[flag] then
        set(flag, 1)
      end
    end
  end
  set('queue', job.queue)
  if not known_queues[job.queue] then
    known_queues[job.queue] = true
    redis.call('SADD', P .. ':queues', job.queue)
  end
  if not dependencies and job.due == 0 and not job.vacant and not more.carries then
    -- The usual case, with as few commands as it takes.
    set('state', 'waiting')
    redis.call('HSET', key, unpack(fields))
    redis.call('ZADD', queue_key(job.queue, 'waiting:' .. job.prio), order(), id)
    tell(job.queue, 'waiting', id, name)
    send(id, job.queue, name, job.prio, job.message, job.forward)
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
    fail_job(job, reason_of(failed_by, failure), nil, failed_by, failure.result)
  else
    make_ready(job)
  end
  for _, carried in ipairs(more.carries or {}) do
    carry(carried, id)
  end
  return true
end
