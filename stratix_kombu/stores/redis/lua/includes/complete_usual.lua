-- Completing jobs as most are: their claims are held, nobody depends on them, they add no others, they are kept, and nothing
-- waits for their end. Without what the others need, the making of which takes longer than all commands. From ARGV[first] on
-- as complete_jobs.lua says; what that does is done here, too, if all of them are such. Then `is_completed` is true.
local is_completed = false
local function complete_usual()
  local queue, jobs, asked = nil, {}, { P .. ':reviving', P .. ':releasing', P .. ':seeking', P .. ':forgetting' }
  for i = first, #ARGV, 5 do
    local id, key = ARGV[i], job_key(ARGV[i])
    local v = redis.pcall('HMGET', key, F.state, F.token, F.queue, F.name, F.keep_completed, F.deduplication, F.group,
      F.failed_reason, F.attempts_made, F.processed_ms, F.waiting_ms, F.created_ms)
    queue = queue or v[3]
    if v[1] ~= 'active' or v[2] ~= ARGV[i + 1] or not v[3] or v[3] ~= queue or not v[4] or v[5] or v[6] or v[7]
      or ARGV[i + 3] ~= '' or ARGV[i + 4] ~= '' or jobs[id] or #jobs == 1000 then
      return
    end
    jobs[id], jobs[#jobs + 1] = key, v
    asked[#asked + 1] = key .. ':dependents'
  end
  if not queue or redis.call('EXISTS', unpack(asked)) > 0 then
    return
  end
  local waits = redis.call('HMGET', queue_key(queue, 'meta'), 'crowded', 'lined', 'unsent_lines')
  if waits[1] or waits[2] or waits[3] then
    return
  end
  --- @include tally
  --- @include instant
  is_completed = true
  local ids, places = {}, {}
  for n, v in ipairs(jobs) do
    local i = first + 5 * n - 5
    local id, token, result = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    redis.call('HSET', jobs[id], F.state, 'completed', F.finished_ms, now_text, F.attempts_made,
      v[9] and num(v[9], 0) + 1 or '1', F.result, result, F.token, '', F.ended, 'c:' .. token) -- see ended.lua
    if v[8] then
      redis.call('HDEL', jobs[id], F.failed_reason, F.stacktrace)
    end
    ids[n], places[2 * n - 1], places[2 * n] = id, order(), id
    tally_count(queue, COMPLETED)
    tally_attempt(queue, v[10], v[11] or v[12], v[4])
    tell(queue, 'completed', id, v[4], result)
  end
  redis.call('ZREM', queue_key(queue, 'active'), unpack(ids))
  redis.call('ZADD', queue_key(queue, 'completed'), unpack(places))
  if redis.call('EXISTS', queue_key(queue, 'active'), queue_key(queue, 'order')) == 0 then
    --- @include drained
    tell_if_drained(queue)
  end
  write_tallies()
end
complete_usual()
