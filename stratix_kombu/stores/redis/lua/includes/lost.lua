-- Jobs whose record is missing (evicted, or deleted by hand) or unreadable. They are dropped from the lists that name them,
-- their dependents are told that they were removed, and they are noted for the clock to report once: see recover.lua.
local STATES = { waiting = true, active = true, delayed = true, blocked = true, completed = true, failed = true }
local LISTS = { 'active', 'delayed', 'blocked', 'completed', 'failed', 'parked', 'crowd' }
local lost = {}

local function note(id, queue, why)
  if not lost[id] then
    lost[id] = true
    redis.call('RPUSH', P .. ':lost', cjson.encode({ id, queue, why }))
    redis.call('LTRIM', P .. ':lost', -1000, -1)
  end
end

-- Work that a step leaves to release_page, which goes on with it a page at a time: see release.lua.
local function add_to_worklist(list, name)
  redis.call('ZADD', P .. ':' .. list, 'NX', order(), name)
end

-- The edges of a job that goes are left to release_page, under a name of their own.
local function leave_edges(id)
  local name = incarnation(id, redis.call('INCR', P .. ':number'))
  redis.call('RENAME', job_key(id) .. ':dependencies', job_key(name) .. ':dependencies')
  add_to_worklist('forgetting', name)
end

-- Whether state and priority are such that the lists of the job are known.
local function is_readable(queue, name, state, prio)
  prio = tonumber(prio or 0)
  return queue and name and STATES[state] and prio and prio >= 0 and prio <= 9 and prio % 1 == 0
end

-- Forget a job that has no record which could be read.
local function drop(id, queue)
  local key, found = job_key(id), 0
  for priority = 0, 9 do
    found = found + redis.call('ZREM', queue_key(queue, 'waiting:' .. priority), id)
  end
  for _, list in ipairs(LISTS) do
    found = found + redis.call('ZREM', queue_key(queue, list), id)
  end
  local unreadable = redis.call('DEL', key) == 1
  redis.call('DEL', key .. ':logs')
  if redis.call('EXISTS', key .. ':dependencies') == 1 then
    leave_edges(id)
  end
  if redis.call('EXISTS', key .. ':dependents') == 1 then
    add_to_worklist('releasing', id)
  end
  if unreadable or found > 0 then
    note(id, queue, unreadable and 'unreadable' or 'missing')
  end
end
