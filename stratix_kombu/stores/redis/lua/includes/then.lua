-- Ends of attempts. Jobs that an ending one adds: '' or a line with a JSON list of the arguments of add_job, `extra`
-- decoded, and behind it all messages: in `extra` stands how many bytes each one has.
--- @include tally
--- @include ended

local function add_then(text)
  if text ~= '' then
    --- @include add_job
    local line = string.find(text, '\n', 1, true)
    local at = line + 1
    for _, new in ipairs(cjson.decode(string.sub(text, 1, line - 1))) do
      local more = new[6]
      if more.message then
        more.message, at = string.sub(text, at, at + more.message - 1), at + more.message
      end
      add_job(unpack(new))
    end
  end
end

-- Whether the claim holds, or '*' is given for a job that has not finished; counts the attempt. Besides, whether it was
-- ended so before.
local function may_end(id, token, way)
  local v = read(id, F.state, F.token, F.queue, F.processed_ms, F.waiting_ms, F.created_ms, F.attempts_made, F.ended, F.name)
  local any = token == '*' and way ~= HAND_OVER
  local mark = mark_of(way, token)
  if v[1] == 'active' and (v[2] == token or any) then
    redis.call('HSET', job_key(id), F.attempts_made, num(v[7], 0) + 1, F.token, '', F.ended, mark)
    tally_attempt(v[3], v[4], v[5] or v[6], v[9], true)
    return true
  end
  local by_hand = any and v[1] and not finished(v[1])
  return by_hand, not by_hand and was_ended(id, mark, v[1], v[2], v[8])
end
