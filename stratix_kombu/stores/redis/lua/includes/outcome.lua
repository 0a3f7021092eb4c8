--- @include state
--- @include readable
--- @include bounded

-- How a job ended, or nil; and its number, or nil if there is neither a record nor an outcome. A completed one without
-- its result, which may be large.
local function outcome_of(name)
  local key, v = job_key(name), read(name, F.state, F.number, F.kind)
  local there = STATES[v[1]] and v[1]
  if not there then
    key = P .. ':outcome:' .. name
    v = redis.call('HMGET', key, F.state, F.number, F.kind)
  elseif not finished(there) then
    return nil, tonumber(v[2] or 0)
  end
  local outcome = { state = v[1] or 'removed', failed_reason = '', kind = v[3] }
  if outcome.state ~= 'completed' then
    local why = redis.call('HMGET', key, F.failed_reason, F.result)
    outcome.failed_reason, outcome.result = why[1] or '', why[2] or nil
  end
  return outcome, v[1] and tonumber(v[2] or 0)
end

local function reason_of(dependency, outcome)
  if outcome.state == 'removed' then
    return 'dependency ' .. dependency .. ' was removed'
  end
  return bounded('dependency ' .. dependency .. ' failed: ' .. outcome.failed_reason, 4096) -- MAX_REASON_BYTES
end
