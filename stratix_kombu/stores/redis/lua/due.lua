-- Schedules whose slot has come.
-- KEYS[1] '{namespace}'; ARGV[1] page; ARGV[2] owner
-- Returns {now, ms until the next slot or -1, schedules as JSON}
--- @again
--- @include base
--- @include lost

local due, page = P .. ':due' .. ARGV[2], tonumber(ARGV[1])
local found = {}
for _, key in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, page)) do
  local schedule = redis.call('HGET', P .. ':schedules', key)
  if schedule and num((decoded(schedule) or {}).next_ms) then
    found[#found + 1] = schedule
  else
    redis.call('ZREM', due, key)
    note(key, '', schedule and 'unreadable schedule' or 'missing schedule')
  end
end
local next_ms = -1
if #found == page and redis.call('ZCOUNT', due, '-inf', now) > page then
  next_ms = 0
else
  local first = redis.call('ZRANGEBYSCORE', due, '(' .. string.format('%.0f', now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] then
    next_ms = tonumber(first[2]) - now
  end
end
return { now, next_ms, found }
