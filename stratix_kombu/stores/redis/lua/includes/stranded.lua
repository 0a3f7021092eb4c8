-- Jobs that nothing would unblock, since the server has lost the edges: evicted, or deleted by
-- hand. Each walk looks at some blocked jobs, and puts right what it finds.
--- @include worklists

local MOST_JOBS, MOST_EDGES = 20, 200

-- The dependency does not know of the job: it learns of it now, or will.
local function rejoin(job, dependency, number)
  local place = place_of(dependency, number)
  local outcome, found = outcome_of(place)
  if found and number > 0 and found ~= number then
    place = incarnation(dependency, number) -- the id is another job's by now
    outcome = outcome_of(place)
  end
  if outcome then
    settle_edge(job, place)
  else
    redis.call('ZADD', job_key(place) .. ':dependents', 0, job.id)
  end
end

-- How many edges of the job it has looked at; the next time it goes on behind them.
local function look_at_edges(job)
  local key = job_key(job.id)
  local cursor = redis.call('HGET', key, F.looked) or '0'
  local page = redis.call('HSCAN', key .. ':dependencies', cursor, 'COUNT', 50)
  if page[1] ~= cursor then
    redis.call('HSET', key, F.looked, page[1])
  end
  for i = 1, #page[2], 2 do
    local number, state = read_edge(page[2][i + 1])
    local list = job_key(place_of(page[2][i], number)) .. ':dependents'
    if job.state == 'blocked' and state == '' and not redis.call('ZSCORE', list, job.id) then
      rejoin(job, page[2][i], number)
    end
  end
  lose_edges(job)
  return #page[2] / 2
end

-- Begins anywhere, so that all have their turn.
local function look_at_blocked(queues)
  local chance = now_us % 999983
  local queue = queues[chance % math.max(#queues, 1) + 1]
  local blocked = queue and queue_key(queue, 'blocked')
  local count = queue and redis.call('ZCARD', blocked) or 0
  if count == 0 then
    return
  end
  local first, edges = chance % count, 0
  for _, id in ipairs(redis.call('ZRANGE', blocked, first, first + MOST_JOBS - 1)) do
    local key = job_key(id)
    if redis.call('EXISTS', key, key .. ':dependencies', key .. ':dependents') == 0 then
      redis.call('ZREM', blocked, id) -- it knew before, when the outcome of its dependency came
    elseif edges < MOST_EDGES then
      local job = listed(blocked, id, queue)
      edges = edges + (job and look_at_edges(job) or 1)
    end
  end
end

-- Jobs that are set aside, in a line that the server has lost.
local function look_at_aside(queue)
  local aside = queue_key(queue, 'aside')
  local size = redis.call('ZCARD', aside)
  local first = size > 0 and now_us % 999983 % size or 0
  local page = size > 0 and redis.call('ZRANGE', aside, first, first + 4, 'WITHSCORES') or {}
  for i = 1, #page, 2 do
    local job = listed(aside, page[i], queue)
    if job then
      local line = queue_key(queue, 'line:' .. job.line)
      if not redis.call('ZSCORE', line, job.id) then
        redis.call('ZADD', line, page[i + 1], job.id)
      end
      redis.call('ZADD', queue_key(queue, 'lines'), 'NX', now, job.line)
      redis.call('HSET', queue_key(queue, 'meta'), 'lined', 1)
    end
  end
end
