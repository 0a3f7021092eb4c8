-- Create or replace a schedule, remove it, or pause and resume it.
-- KEYS[1] '{namespace}'; ARGV[1] 'put' | 'remove' | 'pause' | 'resume'; ARGV[2] key; ARGV[3] the schedule as JSON,
--   or its next slot or ''
-- Returns 1, or 0 if there is no such schedule
--- @include base

local schedules = P .. ':schedules'
local found = redis.call('HGET', schedules, ARGV[2])
if ARGV[1] ~= 'put' and not found then
  return 0
end
local text = ARGV[3]
local schedule = cjson.decode(ARGV[1] == 'put' and text or found)
local due = P .. ':due' .. (schedule.owner or '')
if ARGV[1] == 'remove' then
  redis.call('HDEL', schedules, ARGV[2])
  redis.call('ZREM', due, ARGV[2])
  return 1
end
if ARGV[1] ~= 'put' then
  schedule.paused = ARGV[1] == 'pause'
  schedule.next_ms = tonumber(text) or schedule.next_ms
  text = cjson.encode(schedule)
elseif found then
  local known = cjson.decode(found)
  if known.owner ~= schedule.owner then
    redis.call('ZREM', P .. ':due' .. (known.owner or ''), ARGV[2])
  elseif known.rule == schedule.rule then
    schedule.next_ms, schedule.runs, schedule.paused = known.next_ms, known.runs, known.paused
    text = cjson.encode(schedule)
  end
end
redis.call('HSET', schedules, ARGV[2], text)
if schedule.next_ms > 0 and not schedule.paused then
  redis.call('ZADD', due, schedule.next_ms, ARGV[2])
else
  redis.call('ZREM', due, ARGV[2])
end
return 1
