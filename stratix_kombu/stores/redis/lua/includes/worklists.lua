-- Telling dependents how a job ended, and waking them again when it is retried by hand: page by page.
-- An edge in '<dependency>:dependents' has the score 1 when the dependent knows the outcome, 0 before.
--- @include moves
--- @include lost
--- @include graph
--- @include outcome
--- @include revive

-- Where in the edges of a job a worklist goes on. The edges are left as they are meanwhile, so that none is passed over.
local function cursor_of(list, name)
  return redis.call('HGET', P .. ':cursors', list .. name) or '0'
end

local function set_cursor(list, name, cursor)
  if cursor == '0' then
    redis.call('HDEL', P .. ':cursors', list .. name)
    redis.call('ZREM', P .. ':' .. list, name)
  else
    redis.call('HSET', P .. ':cursors', list .. name, cursor)
    add_to_worklist(list, name)
  end
end

-- One more dependency has ended: where the search of seek_failure has passed it, it starts afresh.
local function look_from_the_start(job)
  if job.state == 'failed' then
    redis.call('HDEL', P .. ':cursors', 'seeking' .. job.id)
  end
end

-- A job of which is no longer known what it waits for has failed.
local function lose_edges(job)
  local key = job_key(job.id)
  if job.state == 'blocked' and job.pending > 0 and redis.call('EXISTS', key .. ':dependencies') == 0 then
    redis.call('HSET', key, F.pending, 0)
    job.pending = 0
    fail_job(job, 'the store has lost what this job depends on')
  end
end

local function settle_edge(job, dependency)
  local outcome, id = outcome_of(dependency), id_of(dependency)
  local edges = job_key(job.id) .. ':dependencies'
  local edge = redis.call('HGET', edges, id)
  local number, known = read_edge(edge or 'gone')
  if outcome and not edge then
    lose_edges(job)
  end
  if not outcome or known ~= '' then
    return
  end
  if outcome.kind == 'gate' then
    redis.call('HDEL', edges, id)
    forget_edge(job.id, id, number)
  else
    write_edge(job, id, number, outcome.state)
  end
  job.pending = bump(job.id, F.pending, -1)
  if job.state ~= 'blocked' then
    look_from_the_start(job)
    return
  end
  if outcome.state ~= 'completed' and not job.optional then
    fail_job(job, reason_of(id, outcome), nil, id, outcome.result)
  elseif job.pending == 0 then
    unblock(job)
  end
end

-- The dependency because of which a job had failed will run again: does the job wait for it again, or has it failed because
-- of another one as well? Looks at a page of its edges; how many those were.
local function seek_failure(job)
  local key = job_key(job.id)
  local page = redis.call('HSCAN', key .. ':dependencies', cursor_of('seeking', job.id), 'COUNT', 250)
  local edges = page[2]
  for i = 1, #edges, 2 do
    local number, state = read_edge(edges[i + 1])
    if state == 'failed' or state == 'removed' then
      local outcome = outcome_of(place_of(edges[i], number)) or { state = 'removed' }
      redis.call('HSET', key, F.failed_by, edges[i], F.failed_reason, reason_of(edges[i], outcome))
      set_cursor('seeking', job.id, '0')
      return #edges / 2
    end
  end
  set_cursor('seeking', job.id, page[1])
  if page[1] == '0' then
    wait_again(job)
  end
  return #edges / 2
end

local function revive_edge(job, name)
  local edges, dependency = job_key(job.id) .. ':dependencies', id_of(name)
  local edge = redis.call('HGET', edges, dependency)
  if job.state ~= 'failed' or job.optional or not edge then
    return
  end
  write_edge(job, dependency, read_edge(edge), '')
  job.pending = bump(job.id, F.pending, 1)
  if job.failed_by ~= dependency then
    return
  elseif edges_left > 0 then
    edges_left = edges_left - seek_failure(job)
  else
    add_to_worklist('seeking', job.id)
  end
end

-- The dependency starts afresh though it has completed: the job waits for it again, unless it runs.
local function rerun_edge(job, name)
  local edges, dependency = job_key(job.id) .. ':dependencies', id_of(name)
  local edge = redis.call('HGET', edges, dependency)
  local number, state = read_edge(edge or 'gone')
  if job.state == 'active' or not edge or state == '' then
    return
  end
  write_edge(job, dependency, number, '')
  job.pending = bump(job.id, F.pending, 1)
  if job.state == 'completed' or (job.state == 'failed' and (job.failed_by or '') == '' and not job.vacant) then
    rerun_job(job, true)
  elseif job.state == 'waiting' or job.state == 'delayed' then
    make_ready(job)
  end
end

local function tell_dependents(list, dependency, most)
  local told = list == 'reviving' and 1 or 0
  local anew = told == 1 and read(dependency, F.rerun)[1]
  local edges = job_key(dependency) .. ':dependents'
  local page = redis.call('ZRANGEBYSCORE', edges, told, told, 'LIMIT', 0, most)
  for _, id in ipairs(page) do
    redis.call('ZADD', edges, 1 - told, id)
    local job = load(id)
    if not job then
      redis.call('ZREM', edges, id)
      if redis.call('EXISTS', P .. ':forgetting') == 0 then
        note(id, '', 'missing')
        drop(id, '')
      end
    elseif anew then
      rerun_edge(job, dependency)
    elseif told == 1 then
      revive_edge(job, dependency)
    else
      settle_edge(job, dependency)
    end
  end
  if redis.call('ZCOUNT', edges, told, told) == 0 then
    redis.call('ZREM', P .. ':' .. list, dependency)
  end
  return #page
end

local function go_on_seeking(id)
  local job = load(id)
  if job and job.state == 'failed' and (job.failed_by or '') ~= '' then
    return seek_failure(job)
  end
  set_cursor('seeking', id, '0')
  return 1
end

local function go_on_forgetting(name, most)
  local id, key = id_of(name), job_key(name) .. ':dependencies'
  local page = redis.call('HSCAN', key, cursor_of('forgetting', name), 'COUNT', most)
  for i = 1, #page[2], 2 do
    local dependency, number = page[2][i], (read_edge(page[2][i + 1]))
    local later = redis.call('HGET', job_key(id) .. ':dependencies', dependency)
    if not later or read_edge(later) ~= number then
      forget_edge(id, dependency, number)
    end
  end
  set_cursor('forgetting', name, page[1])
  if page[1] == '0' then
    redis.call('UNLINK', key)
  end
  return #page[2] / 2
end
