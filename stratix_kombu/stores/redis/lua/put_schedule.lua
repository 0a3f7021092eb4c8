-- Create or replace a schedule, remove it, pause and resume it, or keep a run that was added besides.
-- KEYS[1] '{namespace}'; ARGV[1] 'put' | 'remove' | 'pause' | 'resume' | 'ran'; ARGV[2] key; ARGV[3] the schedule as JSON,
--   or its next slot or '', or the id of the run
-- Returns 1, or 0 if there is no such schedule
--- @include base

-- Queues are kept as long as they have schedules: see unused.lua.
local function belongs_to(before, after)
  if before and before.queue then
    redis.call('SREM', queue_key(before.queue, 'schedules'), ARGV[2])
  end
  if after then
    redis.call('SADD', queue_key(after.queue, 'schedules'), ARGV[2])
  end
end

local schedules, step, key, text = P .. ':schedules', ARGV[1], ARGV[2], ARGV[3]
local found = redis.call('HGET', schedules, key)
local known = decoded(found)
local schedule = known
if step == 'put' then
  schedule = cjson.decode(text)
elseif step == 'remove' then
  redis.call('ZREM', P .. ':due' .. (known and known.owner or ''), key)
  belongs_to(known, nil)
  return redis.call('HDEL', schedules, key)
elseif not known or not num(known.next_ms) then
  return 0
elseif step == 'ran' then
  --- @include runs
  add_run(known, string.match(text, '[^:]*$'))
  redis.call('HSET', schedules, key, cjson.encode(known))
  return 1
else
  schedule.paused = step == 'pause'
  schedule.next_ms = tonumber(text) or schedule.next_ms
  text = cjson.encode(schedule)
end
local due = P .. ':due' .. (schedule.owner or '')
if step == 'put' and known then
  schedule.recent = known.recent
  text = cjson.encode(schedule)
  if known.owner ~= schedule.owner then
    redis.call('ZREM', P .. ':due' .. (known.owner or ''), key)
  elseif known.rule == schedule.rule and num(known.next_ms) then
    schedule.next_ms, schedule.runs, schedule.paused = known.next_ms, known.runs, known.paused
    text = cjson.encode(schedule)
  end
end
belongs_to(known, schedule)
redis.call('HSET', schedules, key, text)
if schedule.next_ms > 0 and not schedule.paused then
  redis.call('ZADD', due, schedule.next_ms, key)
  if due == P .. ':due' then
    --- @include wake
    wake(schedule.next_ms)
  end
else
  redis.call('ZREM', due, key)
end
return 1
