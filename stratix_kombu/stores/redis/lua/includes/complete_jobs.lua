-- Completing jobs, see complete.lua. From ARGV[first] on, per job: id, token, result, jobs to be added (see then.lua), new
-- data or '', new message or ''. Answers ids of those whose claim is not held.
--- @include ends
--- @include release
--- @include then
--- @include instant
--- @include replaced

local function complete_jobs(first)
  --- @include despite_full
  local stale = {}
  for i = first, #ARGV, 6 do
    local id, result = ARGV[i], ARGV[i + 2]
    local key = job_key(id)
    local v = redis.pcall('HMGET', key, F.state, F.token, F.queue, F.name, F.attempts_made, F.keep_completed,
      F.failed_reason, F.deduplication, F.group, F.processed_ms, F.waiting_ms, F.created_ms)
    local mark = mark_of(COMPLETE, ARGV[i + 1])
    local by_hand = ends_by_hand(ARGV[i + 1], v[1])
    if not by_hand and (v[1] ~= 'active' or v[2] ~= ARGV[i + 1]) then
      if not was_ended(id, mark, v[1], v[2], read(id, F.ended)[1]) then
        stale[#stale + 1] = id
      end
    else
      local queue, made = v[3], v[5] or '0'
      touch(queue)
      tally_count(queue, COMPLETED)
      if v[1] == 'active' then
        tally_attempt(queue, v[10], v[11] or v[12], v[4])
        made = v[5] and num(v[5], 0) + 1 or '1'
      else
        mark = read(id, F.ended)[1] or ''
      end
      local w = redis.call('HMGET', key, F.number, F.kind, F.priority, F.line, F.forward)
      local had_message = v[1] == 'waiting' and redis.call('HSTRLEN', key, F.message) > 0
      redis.call('HSET', key, F.state, 'completed', F.finished_ms, now_text, F.attempts_made, made, F.result, result,
        replaced(ARGV[i + 4], ARGV[i + 5]))
      if by_hand then
        redis.call('HSET', key, F.token, '', F.ended, mark)
      end
      if v[7] then
        redis.call('HDEL', key, F.failed_reason, F.stacktrace)
      end
      local job = { id = id, queue = queue, name = v[4], state = v[1], result = result, deduplication = v[8],
        finished_ms = now, ended = mark, group = v[9], number = num(w[1], 0), kind = w[2], priority = num(w[3], 0) }
      if v[1] == 'waiting' then
        job.line, job.native = w[4], w[5] or had_message
      end
      end_job(job, 'completed', v[6])
      tell(queue, 'completed', id, v[4], result)
      add_then(ARGV[i + 3])
    end
  end
  return stale
end
