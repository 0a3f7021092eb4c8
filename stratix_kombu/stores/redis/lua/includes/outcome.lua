--- @include state
--- @include readable

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

-- The beginning of a reason: no more bytes than are kept of one (MAX_REASON_BYTES), and no part of a character.
local function bounded(reason)
  local last = 4096
  if #reason <= last then
    return reason
  end
  while last > 0 and string.find(string.sub(reason, last + 1, last + 1), '[\128-\191]') do
    last = last - 1
  end
  return string.sub(reason, 1, last)
end

local function reason_of(dependency, outcome)
  if outcome.state == 'removed' then
    return 'dependency ' .. dependency .. ' was removed'
  end
  return bounded('dependency ' .. dependency .. ' failed: ' .. outcome.failed_reason)
end
