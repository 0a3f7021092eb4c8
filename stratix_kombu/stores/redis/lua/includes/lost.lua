-- Jobs whose record is missing (evicted, or deleted by hand) or unreadable. They are dropped from the lists that name them,
-- their dependents learn that they were removed, and they are noted for the clock to report once: see recover.lua.
--- @include leave_edges

local LISTS = { 'active', 'delayed', 'blocked', 'completed', 'failed', 'order', 'aside', 'unsent' }
local lost = {}

local function note(id, queue, why)
  if not lost[id] then
    lost[id] = true
    redis.call('RPUSH', P .. ':lost', cjson.encode({ id, queue, why }))
    redis.call('LTRIM', P .. ':lost', -1000, -1)
  end
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
  redis.call('DEL', key .. ':logs', P .. ':attempts:' .. id)
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

-- A job that has been taken out of a list is not there: its record cannot be read, or says that it is somewhere else.
local function drop_or_note(id, queue, is_there)
  if is_there then
    note(id, queue, 'out of place')
  else
    drop(id, queue)
    note(id, queue, 'missing')
  end
end
