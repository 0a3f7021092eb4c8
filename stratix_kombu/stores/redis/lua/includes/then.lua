-- Ends of attempts, and the jobs that an ending one adds.
--- @include tally
--- @include ended
--- @include successors

local function add_then(text)
  if text ~= '' then
    --- @include add_job
    for _, new in ipairs(successors_of(text)) do
      add_job(unpack(new))
    end
  end
end

-- Whether it is the end by hand of a job that has not finished: '*', or '-', which leaves one alone that is active.
local function ends_by_hand(token, state)
  return (token == '*' or token == '-' and state ~= 'active') and state and not finished(state)
end

-- Whether the claim holds, or the job is ended by hand; counts the attempt. Besides, whether it was ended so before.
local function may_end(id, token, way)
  local v = read(id, F.state, F.token, F.queue, F.processed_ms, F.waiting_ms, F.created_ms, F.attempts_made, F.ended, F.name)
  local by_hand = way ~= HAND_OVER and ends_by_hand(token, v[1])
  local mark = mark_of(way, token)
  if v[1] == 'active' and (v[2] == token or by_hand) then
    redis.call('HSET', job_key(id), F.attempts_made, num(v[7], 0) + 1, F.token, '', F.ended, mark)
    tally_attempt(v[3], v[4], v[5] or v[6], v[9], true)
    return true
  end
  return by_hand, not by_hand and was_ended(id, mark, v[1], v[2], v[8])
end
