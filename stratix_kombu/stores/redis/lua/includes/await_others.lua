-- Dependents of jobs that complete, see complete_usual.lua: as most of those are, each depends on others besides that have
-- not ended yet, so that it learns of an end and does nothing.
local edges, left = {}, {}

-- Whether they are such, and know of none of these ends yet.
local function all_await_others(jobs)
  if redis.call('EXISTS', P .. ':reviving', P .. ':releasing', P .. ':seeking', P .. ':forgetting') > 0 then
    return false
  end
  for n, v in ipairs(jobs) do
    local id = ARGV[first + 6 * n - 6]
    local found = filled[id] and {} or redis.call('ZRANGE', P .. ':job:' .. id .. ':dependents', 0, 1, 'WITHSCORES')
    if found[3] then
      return false
    elseif found[1] then
      local dependent = P .. ':job:' .. found[1]
      if not left[dependent] then
        local w = redis.pcall('HMGET', dependent, F.state, F.pending)
        left[dependent] = w[1] == 'blocked' and tonumber(w[2]) or 0
      end
      left[dependent] = left[dependent] - 1
      local edge, number = redis.call('HGET', dependent .. ':dependencies', id), redis.call('HGET', v[9], F.number)
      if found[2] ~= '0' or left[dependent] < 1 or not number or edge ~= number .. ':' then -- see graph.lua
        return false
      end
      edges[#edges + 1] = { dependent, id, edge, found[1] }
    end
  end
  return true
end

local function tell_dependents()
  for _, edge in ipairs(edges) do
    redis.call('HSET', edge[1] .. ':dependencies', edge[2], edge[3] .. 'completed')
    redis.call('ZADD', P .. ':job:' .. edge[2] .. ':dependents', 1, edge[4])
  end
  for dependent, pending in pairs(left) do
    redis.call('HSET', dependent, F.pending, pending)
  end
end
