-- Completing jobs, see complete.lua. From ARGV[first] on, per job: id, token, result, jobs to be added (see then.lua), new
-- data or ''. Answers ids of those whose claim is not held.
--- @include ends
--- @include release
--- @include then

local function complete_jobs(first)
  -- Of many jobs most have no dependents, add no others, and are all kept: they change their lists together.
  local plain, dependents = #ARGV >= first + 6, {}
  for i = first, plain and #ARGV or 0, 5 do
    dependents[#dependents + 1] = job_key(ARGV[i]) .. ':dependents'
    plain = plain and ARGV[i + 3] == '' and #dependents <= 1000
  end
  plain = plain and redis.call('EXISTS', unpack(dependents)) == 0
  local leaving, arriving
  local flush = plain and function()
    for queue, ids in pairs(leaving or {}) do
      redis.call('ZREM', queue_key(queue, 'active'), unpack(ids))
      redis.call('ZADD', queue_key(queue, 'completed'), unpack(arriving[queue]))
    end
    leaving, arriving = {}, {}
  end
  if plain then
    flush()
  end

  local stale = {}
  for i = first, #ARGV, 5 do
    local id, result = ARGV[i], ARGV[i + 2]
    local key = job_key(id)
    local v = read(id, F.state, F.token, F.queue, F.name, F.attempts_made, F.keep_completed, F.failed_reason,
      F.priority, F.deduplication, F.processed_ms, F.waited_ms, F.ended, F.number, F.kind, F.group)
    local mark = mark_of(COMPLETE, ARGV[i + 1])
    local by_hand = mark == '' and v[1] and not finished(v[1])
    if not by_hand and (v[1] ~= 'active' or v[2] ~= ARGV[i + 1]) then
      if not was_ended(id, v[12], mark) then
        stale[#stale + 1] = id
      end
    else
      local queue = v[3]
      touch(queue)
      tally_count(queue, COMPLETED)
      if v[1] == 'active' then
        tally_attempt(queue, num(v[10], now), num(v[11], 0), v[4])
      end
      local made = num(v[5], 0) + (v[1] == 'active' and 1 or 0)
      mark = v[1] == 'active' and mark or v[12] or ''
      redis.call('HSET', key, F.state, 'completed', F.finished_ms, now, F.attempts_made, made, F.result, result,
        F.token, '', F.ended, mark)
      if v[7] then
        redis.call('HDEL', key, F.failed_reason, F.stacktrace)
      end
      if ARGV[i + 4] ~= '' then
        redis.call('HSET', key, F.data, ARGV[i + 4])
      end
      if plain and v[1] == 'active' and not v[6] and not v[9] then
        local ids, places = leaving[queue] or {}, arriving[queue] or {}
        ids[#ids + 1], places[#places + 1], places[#places + 2] = id, order(), id
        leaving[queue], arriving[queue] = ids, places
        vacate(queue, v[15])
      else
        if plain then
          flush()
        end
        local job = { id = id, queue = queue, name = v[4], state = v[1], result = result, priority = num(v[8], 0),
          deduplication = v[9], finished_ms = now, number = num(v[13], 0), kind = v[14], ended = mark, group = v[15] }
        if v[1] == 'waiting' then
          local w = redis.call('HMGET', key, F.line, F.forward)
          job.line, job.native = w[1], w[2] or redis.call('HSTRLEN', key, F.message) > 0
        end
        end_job(job, 'completed', v[6])
      end
      tell(queue, 'completed', id, v[4], result)
      add_then(ARGV[i + 3])
    end
  end
  if plain then
    flush()
  end
  return stale
end
