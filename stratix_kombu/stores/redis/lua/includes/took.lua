-- The answer of a take that is asked for again: the claims that are still held, under leases that begin now.
local function answer_again(took)
  local parts = {}
  for part in string.gmatch(took .. '\n', '([^\n]*)\n') do
    parts[#parts + 1] = part
  end
  local answer = { now, parts[2], tonumber(parts[3]), tonumber(parts[4]) }
  for i = 5, #parts do
    local id = parts[i]
    local held = read(id, F.state, F.token, F.processed_ms, F.attempts_started)
    if held[1] == 'active' and held[2] == request .. ':' .. (i - 5) then
      local starts = num(held[3], now)
      redis.call('ZADD', active, math.max(starts, now) + lease, id)
      expect(queue, 'active', now + lease)
      local flat = redis.call('HGETALL', job_key(id))
      local last = #flat
      flat[last + 1], flat[last + 2], flat[last + 3], flat[last + 4] = id, i - 5, starts, num(held[4], 1)
      answer[#answer + 1] = flat
    end
  end
  return answer
end
