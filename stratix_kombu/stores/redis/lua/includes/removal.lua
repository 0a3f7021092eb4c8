-- Removing records.
--- @include state
--- @include graph
--- @include expiry

-- Forget a record; keep how it ended for dependents that may still ask, and of a young one that it was there: see
-- add_fresh.lua. `is_told`: how it ended is kept besides.
local function delete(job, is_told)
  local key = job_key(job.id)
  free_id(job, job.deduplication)
  no_expiry(job)
  leave_sets(job)
  if job.state == 'active' then
    vacate(job.queue, job.group)
  end
  forget_edges(job.id)
  if redis.call('EXISTS', key .. ':dependents') == 1 then
    local outcome = P .. ':outcome:' .. job.id
    redis.call('HSET', outcome, F.state, finished(job.state) and job.state or 'removed', F.failed_reason,
      job.failed_reason or '', F.number, job.number, F.kind, job.kind or '')
    if job.result then
      redis.call('HSET', outcome, F.result, job.result)
    end
    if not finished(job.state) then
      add_to_worklist('releasing', job.id)
    end
  end
  redis.call('DEL', key, key .. ':logs', P .. ':attempts:' .. job.id, P .. ':ended:' .. job.id)
  local left = (job.created_ms or 0) + 60000 - now
  if left > 0 and not is_told then
    redis.call('SET', P .. ':gone:' .. job.id, '', 'PX', left)
  end
end

-- Retention removes a job. How it ended can be asked for a minute after that (ENDED_KEPT_MS) by who waits for it, and by
-- who ended it (see ended.lua).
local function retire(job)
  local left = job.finished_ms + 60000 - now
  local token = left > 0 and job.state == 'completed' and read(job.id, F.token)[1] or ''
  delete(job, true)
  local how = job.state == 'failed' and job.cancelled and 'cancelled' or job.state
  if left > 0 then
    local said = job.state == 'completed' and job.result or job.failed_reason or ''
    local mark = token ~= '' and 'c:' .. token or job.ended or ''
    local value = how .. ':' .. string.format('%.0f', job.finished_ms) .. ':' .. mark .. '\n' .. said
    redis.call('SET', P .. ':ended:' .. job.id, value, 'PX', left)
  end
  if job.kind == 'run' then
    --- @include runs
    end_run(job, how)
  end
end

-- As users do: what holds its deduplication id for a time gives that up too.
local function delete_by_hand(job)
  free_id(job, job.throttle)
  delete(job)
end
