-- Add one job. `extra` is '' or JSON with what is not default, by the names of the table of fields, and the queue if it is
-- another one; or that as a table. False if the id is known, unless it is that of a vacant job, or with `anew` of one that has ended; true if it
-- waits, under the given number; else what became of it: {state, when it was added, its number, not before, dependencies to
-- wait for}.
--- @include moves
--- @include removal
--- @include edges
--- @include add_plain
--- @include vacant

-- Ids of which it is known that no job has them or had them.
local unused = {}

local function take_over(known)
  local key = job_key(known.id)
  forget_edges(known.id)
  redis.call('ZREM', state_key(known), known.id)
  redis.call('HDEL', key, unpack(of_the_vacant))
end

local function has_edge(id, on)
  return redis.call('HEXISTS', job_key(id) .. ':dependencies', on) == 1
end

-- The vacant ones depend on the carrier, up to the first that depends on the one before it.
local function carry(ids, carrier)
  local before
  for _, carried in ipairs(ids) do
    local known = load(carried)
    if not is_vacant(known) then
      before = nil
    elseif before and has_edge(carried, before) then
      break
    else
      before = carried
      if not has_edge(carried, carrier) then
        graph_changes()
        local outcome = add_edge(known, carrier)
        join_flow(carried, known.number, { carrier })
        if outcome and not known.optional then
          fail_job(known, reason_of(carrier, outcome), nil, carrier, outcome.result)
        end
      end
    end
  end
end

-- Jobs that were not added, with the one that is there: id, id, ...
local instead = {}
-- Ids that a deduplication has kept or pushed out in this step, and those that hold it.
local stand_ins = {}
-- Whether a job was replaced, so that its dependents have to be released.
local replaced = false

-- Whose time is over gives its deduplication id up: 'dedup-until' knows when, so that they do not pile up in 'dedup'.
local function hold_for(queue, dedup, holder)
  local key, times, till = queue_key(queue, 'dedup'), queue_key(queue, 'dedup-until'), now + dedup.ttl
  redis.call('HSET', key, dedup.id, string.format('%.0f', till) .. holder)
  redis.call('ZADD', times, till, dedup.id)
  for _, over in ipairs(redis.call('ZRANGEBYSCORE', times, '-inf', now, 'LIMIT', 0, 10)) do
    redis.call('ZREM', times, over)
    local _, _, held = read_holder(redis.call('HGET', key, over) or '')
    if held > 0 and held <= now then
      redis.call('HDEL', key, over)
    end
  end
end

-- Whether a job may be added under its deduplication id, which it then holds: until it has ended, or for a time.
local function is_first(id, number, queue, dedup)
  local key = queue_key(queue, 'dedup')
  local value = redis.call('HGET', key, dedup.id)
  local holder, held_number, till = read_holder(value or '')
  if value and (till == 0 or till > now) then
    local known = load(holder)
    if known and known.number ~= held_number then
      known = nil
    end
    if not known and till == 0 then
      holder = nil -- it held the id until its end, and has gone without one
    elseif not (dedup.replace and known and known.state == 'delayed') then
      if dedup.extend and dedup.ttl and till > 0 then
        hold_for(queue, dedup, incarnation(holder, held_number))
      end
      instead[#instead + 1] = id
      instead[#instead + 1] = holder
      if known or redis.call('EXISTS', job_key(holder)) == 0 then
        stand_ins[id] = holder
      end
      if known then
        tell(queue, 'duplicated', holder, known.name)
      end
      return false
    end
    if known then
      delete_by_hand(known)
      replaced = true
      tell(queue, 'removed', holder, known.name)
      stand_ins[holder] = id
    end
  end
  if dedup.ttl then
    hold_for(queue, dedup, incarnation(id, number))
  else
    redis.call('HSET', key, dedup.id, incarnation(id, number))
  end
  return true
end

-- With those that hold the deduplication ids of others in place of them; each once.
local function dependencies_of(id, given)
  local found, has = {}, {}
  for _, dependency in ipairs(given) do
    local one = dependency
    while stand_ins[one] do
      one = stand_ins[one]
    end
    one = one == id and dependency or one
    if not has[one] then
      found[#found + 1], has[one] = one, true
    end
  end
  return found
end

local function add_job(queue, id, name, data, options, extra, number)
  local key = job_key(id)
  local more = type(extra) == 'table' and extra or extra ~= '' and cjson.decode(extra) or {}
  local known
  local fresh = unused[id]
  unused[id] = nil
  if not fresh and redis.call('EXISTS', key) == 1 then
    known = load(id)
  end
  if known and more.anew and finished(known.state) then
    delete_by_hand(known)
    tell(known.queue, 'removed', id, known.name)
    known, replaced = nil, true
  end
  if known then
    if more.vacant or not is_vacant(known) then
      if not more.vacant then
        tell(known.queue, 'duplicated', id, known.name)
      end
      return false
    end
  end
  number = known and known.number or number or redis.call('INCR', P .. ':number')
  if more.deduplication and not is_first(id, number, more.queue or queue, more.deduplication) then
    return false
  end
  stand_ins[id] = nil
  if more.dependencies and next(stand_ins) then
    more.dependencies = dependencies_of(id, more.dependencies)
  end
  if known then
    take_over(known)
    graph_changes()
  elseif not fresh and redis.call('EXISTS', key .. ':dependents') == 1 then
    set_aside(id)
  end
  if not known and is_plain(more) then
    add_plain(more.queue or queue, id, name, data, options, more, number)
    return true
  end
  local job = { id = id, queue = more.queue or queue, name = name, priority = more.priority or 0, due_ms = 0, pending = 0,
    message = more.message, forward = more.forward and '1', native = more.message or more.forward, vacant = more.vacant,
    group = more.group, number = number, kind = more.kind,
    optional = more.optional, keep_failed = more.keep_failed, deduplication = known and known.deduplication }
  local created = known and tonumber(redis.call('HGET', key, F.created_ms)) or now
  know_queue(job.queue)
  local fields = fields_of(job.queue, name, data, options, more)
  local function set(field, value)
    fields[#fields + 1] = field
    fields[#fields + 1] = value
  end
  if not known then
    set(F.created_ms, now)
    set(F.number, number)
  end
  local due = math.max(more.due_ms or 0, more.delay_ms and now + more.delay_ms or 0)
  if due > now then
    job.due_ms = due
    set(F.due_ms, due)
  end
  if more.deduplication then
    set(more.deduplication.ttl and F.throttle or F.deduplication, more.deduplication.id)
    job.deduplication = not more.deduplication.ttl and more.deduplication.id or job.deduplication
  end
  redis.call('HSET', key, unpack(fields))
  local failed_by, failure
  for _, dependency in ipairs(more.dependencies or {}) do
    local outcome = add_edge(job, dependency)
    if outcome and outcome.state ~= 'completed' and not job.optional and not failed_by then
      failed_by, failure = dependency, outcome
    end
  end
  if more.dependencies then
    join_flow(id, number, more.dependencies, not known)
  end
  if failed_by then
    fail_job(job, reason_of(failed_by, failure), nil, failed_by, failure.result)
  else
    make_ready(job)
  end
  local placed = { job.state, created, number, job.due_ms, job.pending }
  carry(more.carries or {}, id)
  return placed
end
