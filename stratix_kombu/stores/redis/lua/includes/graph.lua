-- Edges between jobs.
--- @include worklist
--- @include leave_edges

-- An edge: the field of a dependency in '<job>:dependencies' says which job of that id it is, by number, and how that
-- ended: '<number>:<state or nothing>'. The first release wrote the state only.
local function read_edge(value)
  local number, state = string.match(value, '^(%d+):(.*)$')
  return tonumber(number or 0), state or value
end

local function write_edge(job, dependency, number, state)
  redis.call('HSET', job_key(job.id) .. ':dependencies', dependency, string.format('%.0f:%s', number, state))
end

-- A job has been given dependencies: it is the root of a flow unless a job depends on it, and they are none any more; gates
-- (see names.py) do not count. 'flows' holds the roots by their numbers. `is_new`: no job can depend on it yet.
local function join_flow(id, number, dependencies, is_new)
  local below = {}
  for _, dependency in ipairs(dependencies) do
    if string.sub(dependency, -5) ~= '#gate' then
      below[#below + 1] = dependency
    end
  end
  for first = 1, #below, 1000 do
    redis.call('ZREM', P .. ':flows', unpack(below, first, math.min(first + 999, #below)))
  end
  if #below > 0 and (is_new or redis.call('EXISTS', job_key(id) .. ':dependents') == 0) then
    redis.call('ZADD', P .. ':flows', number, id)
  end
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
  local number = redis.call('HGET', P .. ':outcome:' .. id, F.number)
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
    redis.call('ZREM', P .. ':flows', id)
    edges_left = edges_left - count
    local edges = redis.call('HGETALL', key)
    for i = 1, #edges, 2 do
      forget_edge(id, edges[i], (read_edge(edges[i + 1])))
    end
    redis.call('DEL', key)
  end
end
