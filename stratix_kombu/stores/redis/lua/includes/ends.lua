-- Moves from one state to another, and ends of jobs. A `job` is a table as load() makes it.
--- @include count
--- @include state
--- @include worklist

-- How many jobs of each queue are no longer active: at the end of the step as many others may try, where something has
-- refused one.
local vacated, vacant_queues = {}, {}

let_in = function()
  for _, queue in ipairs(vacant_queues) do
    local v = redis.call('HMGET', queue_key(queue, 'meta'), 'crowded', 'lined', 'unsent_lines', 'paused')
    if (v[1] or v[2] or v[3]) and not v[4] then
      --- @include reopen
      let_others_in(queue, vacated[queue], v[1], v[3])
    end
  end
end

local function vacate(queue, group)
  if not vacated[queue] then
    vacated[queue] = 0
    vacant_queues[#vacant_queues + 1] = queue
  end
  vacated[queue] = vacated[queue] + 1
  if group then
    local grouped = queue_key(queue, 'grouped')
    if redis.call('HINCRBY', grouped, group, -1) <= 0 then
      redis.call('HDEL', grouped, group)
    end
    redis.call('ZADD', queue_key(queue, 'lines'), 'XX', 0, 'g:' .. group)
  end
end

local function move(job, state, score)
  if job.state then
    leave_sets(job)
    if job.state == 'active' and state ~= 'active' then
      vacate(job.queue, job.group)
    end
  end
  job.state = state
  redis.call('ZADD', state_key(job), score or order(), job.id)
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

-- Making what removes records takes longer than most commands: it is made for the first one.
local retire_first
local function retire_it(job)
  if not retire_first then
    --- @include removal
    retire_first = retire
  end
  retire_first(job)
end

-- How many old jobs of more than one a step may still remove.
local old_left = 100

-- Retention is written 'count:age', either part may be empty. Where it has become less, two go for one that ends.
local function retain(job, keep)
  local count, age = string.match(keep, '^(%d*):(%d*)$')
  if not count then
    return
  elseif count == '0' then
    retire_it(job)
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
      --- @include load
      for _, old in ipairs(redis.call('ZRANGE', key, 0, surplus - 1)) do
        local other = old == job.id and job or listed(key, old, job.queue)
        if other then
          retire_it(other)
        end
      end
    end
  end
end

local function end_job(job, state, keep)
  free_id(job, job.deduplication)
  move(job, state)
  if redis.call('EXISTS', job_key(job.id) .. ':dependents') == 1 then
    add_to_worklist('releasing', job.id)
  end
  if keep then
    retain(job, keep)
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
    if redis.call('EXISTS', queue_key(queue, 'active'), queue_key(queue, 'order')) == 0 then
      --- @include drained
      tell_if_drained(queue)
    end
  end
end
