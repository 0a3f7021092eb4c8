-- Telling dependents how a job ended, and waking them again when it is retried by hand: page by page.
-- An edge in '<dependency>:dependents' has the score 1 when the dependent has been told, 0 before.
-- How a job ended, or nil; and its number, or nil if there is neither a record nor an outcome.
local function outcome_of(name)
  local v = read(name, 'state', 'reason', 'result', 'number', 'kind')
  local there = STATES[v[1]] and v[1]
  if not there then
    v = redis.call('HMGET', P .. ':outcome:' .. name, 'state', 'reason', 'result', 'number', 'kind')
  end
  local outcome = { state = v[1] or 'removed', reason = v[2] or '', result = v[3] or nil, kind = v[5] }
  return (not there or finished(there)) and outcome or nil, v[1] and tonumber(v[4] or 0)
end

-- The beginning of a reason: no more bytes than are kept of one (MAX_REASON_BYTES), and no part of a character.
local function bounded(reason)
  local last = 4096
  if #reason <= last then
    return reason
  end
  while last > 0 and string.find(string.sub(reason, last + 1, last + 1), '[\128-\191]') do
    last = last - 1
  end
  return string.sub(reason, 1, last)
end

local function reason_of(dependency, outcome)
  if outcome.state == 'removed' then
    return 'dependency ' .. dependency .. ' was removed'
  end
  return bounded('dependency ' .. dependency .. ' failed: ' .. outcome.reason)
end

local function settle_edge(job, dependency)
  local outcome, id = outcome_of(dependency), id_of(dependency)
  local edges = job_key(job.id) .. ':dependencies'
  local number, known = read_edge(redis.call('HGET', edges, id) or 'gone')
  if not outcome or known ~= '' then
    return
  end
  if outcome.kind == 'gate' then
    redis.call('HDEL', edges, id)
    forget_edge(job.id, id, number)
  else
    write_edge(job, id, number, outcome.state)
  end
  job.pending = bump(job.id, 'pending', -1)
  if job.state ~= 'blocked' then
    return
  end
  if outcome.state ~= 'completed' and not job.optional then
    fail_job(job, reason_of(id, outcome), nil, id, outcome.result)
  elseif job.pending == 0 then
    unblock(job)
  end
end

local function revive_dependents(job)
  redis.call('ZREM', P .. ':releasing', job.id)
  if redis.call('EXISTS', job_key(job.id) .. ':dependents') == 1 then
    add_to_worklist('reviving', job.id)
  end
end

local function revive_edge(job, name)
  if job.state ~= 'failed' or job.optional then
    return
  end
  local key, dependency = job_key(job.id), id_of(name)
  write_edge(job, dependency, read_edge(redis.call('HGET', key .. ':dependencies', dependency) or ''), '')
  job.pending = bump(job.id, 'pending', 1)
  if job.failed_by ~= dependency then
    return
  end
  local edges = redis.call('HGETALL', key .. ':dependencies')
  for i = 1, #edges, 2 do
    local number, state = read_edge(edges[i + 1])
    if state == 'failed' or state == 'removed' then
      local outcome = outcome_of(place_of(edges[i], number)) or { state = 'removed' }
      redis.call('HSET', key, 'failed_by', edges[i], 'reason', reason_of(edges[i], outcome))
      return
    end
  end
  redis.call('HDEL', key, 'failed_by', 'reason', 'trace', 'finished', 'result')
  no_expiry(job)
  hold_again(job)
  make_ready(job)
  revive_dependents(job)
end

local function retry_job(job)
  redis.call('HDEL', job_key(job.id), 'failed_by', 'reason', 'trace', 'finished', 'result', 'cancel', 'cancel_error')
  no_expiry(job)
  hold_again(job)
  make_ready(job)
  revive_dependents(job)
end

-- Handle up to `limit` edges; whether some are left.
local function release_page(limit)
  while limit > 0 do
    local list, told = 'reviving', 1
    local dependency = redis.call('ZRANGE', P .. ':reviving', 0, 0)[1]
    if not dependency then
      list, told = 'releasing', 0
      dependency = redis.call('ZRANGE', P .. ':releasing', 0, 0)[1]
    end
    if not dependency then
      return 0
    end
    local edges = job_key(dependency) .. ':dependents'
    local page = redis.call('ZRANGEBYSCORE', edges, told, told, 'LIMIT', 0, limit)
    for _, id in ipairs(page) do
      redis.call('ZADD', edges, 1 - told, id)
      local job = load(id)
      if not job then
        redis.call('ZREM', edges, id)
        note(id, '', 'missing')
      elseif list == 'reviving' then
        revive_edge(job, dependency)
      else
        settle_edge(job, dependency)
      end
    end
    limit = limit - math.max(#page, 1)
    if redis.call('ZCOUNT', edges, told, told) == 0 then
      redis.call('ZREM', P .. ':' .. list, dependency)
    end
  end
  return math.min(redis.call('ZCARD', P .. ':reviving') + redis.call('ZCARD', P .. ':releasing'), 1)
end
