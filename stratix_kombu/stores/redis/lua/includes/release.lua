-- Telling dependents how a job ended, and waking them again when it is retried by hand: page by page.
-- An edge in '<dependency>:dependents' has the score 1 when the dependent has been told, 0 before.
-- What a step leaves to be gone on with stands in worklists, see release_page.

-- How a job ended, or nil; and its number, or nil if there is neither a record nor an outcome. A completed one without
-- its result, which may be large.
local function outcome_of(name)
  local key, v = job_key(name), read(name, 'state', 'number', 'kind')
  local there = STATES[v[1]] and v[1]
  if not there then
    key = P .. ':outcome:' .. name
    v = redis.call('HMGET', key, 'state', 'number', 'kind')
  elseif not finished(there) then
    return nil, tonumber(v[2] or 0)
  end
  local outcome = { state = v[1] or 'removed', reason = '', kind = v[3] }
  if outcome.state ~= 'completed' then
    local why = redis.call('HMGET', key, 'reason', 'result')
    outcome.reason, outcome.result = why[1] or '', why[2] or nil
  end
  return outcome, v[1] and tonumber(v[2] or 0)
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

-- One more dependency has ended: where the search of seek_failure has passed it, it begins anew.
local function look_from_the_start(job)
  if job.state == 'failed' then
    redis.call('HDEL', P .. ':cursors', 'seeking' .. job.id)
  end
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
    look_from_the_start(job)
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

local function wait_again(job, ...)
  redis.call('HDEL', job_key(job.id), 'failed_by', 'reason', 'trace', 'finished', 'result', ...)
  no_expiry(job)
  hold_again(job)
  make_ready(job)
  revive_dependents(job)
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
      redis.call('HSET', key, 'failed_by', edges[i], 'reason', reason_of(edges[i], outcome))
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
  job.pending = bump(job.id, 'pending', 1)
  if job.failed_by ~= dependency then
    return
  elseif edges_left > 0 then
    edges_left = edges_left - seek_failure(job)
  else
    add_to_worklist('seeking', job.id)
  end
end

local function retry_job(job)
  wait_again(job, 'cancel', 'cancel_error')
end

-- The worklists: what each is of, and how a page of its first entry is done. They answer how much that was.
--   reviving, releasing  jobs that will run again or have ended, whose dependents are to be told
--   seeking              jobs of which it is to be known whether they wait again
--   forgetting           edges of jobs that have gone
--   opening              queues whose crowded jobs may try
local worklists, of_worklists = { 'reviving', 'releasing', 'seeking', 'forgetting', 'opening' }, {}
for i, list in ipairs(worklists) do
  of_worklists[i] = P .. ':' .. list
end

local function tell_dependents(list, dependency, most)
  local told = list == 'reviving' and 1 or 0
  local edges = job_key(dependency) .. ':dependents'
  local page = redis.call('ZRANGEBYSCORE', edges, told, told, 'LIMIT', 0, most)
  for _, id in ipairs(page) do
    redis.call('ZADD', edges, 1 - told, id)
    local job = load(id)
    if not job then
      redis.call('ZREM', edges, id)
      if redis.call('EXISTS', P .. ':forgetting') == 0 then
        note(id, '', 'missing')
      end
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

local function go_on_opening(queue, most)
  local crowd = queue_key(queue, 'crowd')
  local page = redis.call('ZPOPMIN', crowd, most)
  for i = 1, #page, 2 do
    try_again(queue, page[i])
  end
  if redis.call('EXISTS', crowd) == 0 then
    redis.call('ZREM', P .. ':opening', queue)
  end
  return #page / 2
end

-- Do about so much of what was left; whether some is left.
local function release_page(limit)
  while limit > 0 and redis.call('EXISTS', unpack(of_worklists)) > 0 do
    for i, list in ipairs(worklists) do
      local first = redis.call('ZRANGE', of_worklists[i], 0, 0)[1]
      if first then
        local done
        if i <= 2 then
          done = tell_dependents(list, first, limit)
        elseif list == 'seeking' then
          done = go_on_seeking(first)
        elseif list == 'forgetting' then
          done = go_on_forgetting(first, limit)
        else
          done = go_on_opening(first, limit)
        end
        limit = limit - math.max(done, 1)
        break
      end
    end
  end
  return math.min(redis.call('EXISTS', unpack(of_worklists)), 1)
end
