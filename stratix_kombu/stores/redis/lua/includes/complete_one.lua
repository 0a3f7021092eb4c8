-- Completing one job alone, as most are that are completed so: its claim is held, nobody depends on it, it adds no others, it
-- is kept, and nothing waits for its end. Without what the others need, the making of which takes longer than all commands.
-- From ARGV[first] on as complete_jobs.lua says; what that does is done here, too. Then `is_completed` is true.
local is_completed = false
if #ARGV == first + 4 and ARGV[first + 3] == '' and ARGV[first + 4] == '' then
  local id, token = ARGV[first], ARGV[first + 1]
  local key = job_key(id)
  local v = read(id, F.state, F.token, F.queue, F.name, F.attempts_made, F.processed_ms, F.waited_ms,
    F.keep_completed, F.failed_reason, F.deduplication, F.group)
  if v[1] == 'active' and v[2] == token and v[3] and v[4] and not (v[8] or v[9] or v[10] or v[11])
    and redis.call('EXISTS', key .. ':dependents', P .. ':reviving', P .. ':releasing', P .. ':seeking', P .. ':forgetting') == 0 then
    local queue = v[3]
    local waits = redis.call('HMGET', queue_key(queue, 'meta'), 'crowded', 'lined', 'unsent_lines')
    if not (waits[1] or waits[2] or waits[3]) then
      --- @include tally
      is_completed = true
      tally_count(queue, COMPLETED)
      tally_attempt(queue, num(v[6], now), num(v[7], 0), v[4])
      redis.call('HSET', key, F.state, 'completed', F.finished_ms, now, F.attempts_made, num(v[5], 0) + 1,
        F.result, ARGV[first + 2], F.token, '', F.ended, 'c:' .. token) -- see ended.lua
      redis.call('ZREM', queue_key(queue, 'active'), id)
      redis.call('ZADD', queue_key(queue, 'completed'), order(), id)
      tell(queue, 'completed', id, v[4], ARGV[first + 2])
      if redis.call('EXISTS', queue_key(queue, 'active'), queue_key(queue, 'order')) == 0 then
        --- @include drained
        tell_if_drained(queue)
      end
      write_tallies()
    end
  end
end
